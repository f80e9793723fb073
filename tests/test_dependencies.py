"""The arrows between packages, and the doors that heavy libraries stay behind."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("synthforge", "service", "workers", "trainer")
COMPOSITION_ROOT = "synthforge/cli.py"

# Who may import what, by the path's beginning.
DOORS = {
    "ray": ("workers/pool.py", "workers/actors.py", "workers/ray_runtime.py", "trainer/ray_"),
    "boto3": ("synthforge/storage/",),
    "botocore": ("synthforge/storage/",),
    "sqlalchemy": ("service/",),
    "alembic": ("service/",),
    "fastapi": ("service/",),
    "starlette": ("service/",),
    "uvicorn": ("service/",),
    "pytorch3d": ("workers/raster/pytorch3d_backend.py",),
    "webdataset": ("trainer/",),
    "opentelemetry": ("synthforge/telemetry.py",),
    "typer": (COMPOSITION_ROOT, "synthforge/commands/"),
}
CONTRACT = (
    "assets",
    "conventions",
    "distributions",
    "jobs",
    "leases",
    "parameters",
    "samples",
    "shards",
    "urls",
)
HEAVY = ("torch", "ray", "numpy", "boto3", "cv2")


def sources() -> list[Path]:
    return sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_the_arrows_allow(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    own = name.split("/", maxsplit=1)[0]
    for module in imported(path):
        if module in OURS and name != COMPOSITION_ROOT and "synthforge/commands/" not in name:
            assert module in {own, "synthforge"}, f"{name} imports {module}"
        for library, doors in DOORS.items():
            if module == library:
                assert name.startswith(doors), f"{name} imports {library}"


def test_the_contract_imports_nothing_heavy() -> None:
    modules = ", ".join(f"synthforge.{name}" for name in CONTRACT)
    program = f"import sys, {modules}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("service.app", ("ray", "torch", "numpy", "cv2")),
        ("trainer.stream", ("ray", "fastapi", "sqlalchemy")),
        ("synthforge.cli", ("ray", "torch", "fastapi", "numpy", "boto3")),
    ],
)
def test_a_program_loads_only_its_own_libraries(module: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_nothing_unsafe_is_loaded() -> None:
    for path in sources():
        text = path.read_text()
        assert "pickle.load" not in text, path
        assert "weights_only=False" not in text.replace(" ", ""), path
        assert "allow_pickle=True" not in text.replace(" ", ""), path
