"""What the service never loads: it decides and remembers, and never sees a pixel."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import service

FOLDER = Path(service.__file__).parent
REFUSED = {"ray", "torch", "numpy", "boto3", "botocore", "workers", "trainer"}


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_of_the_service_imports_nothing_heavy(path: Path) -> None:
    assert not _imported(path) & REFUSED


def test_a_running_service_has_loaded_nothing_heavy() -> None:
    code = "import service.server, sys; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & REFUSED
