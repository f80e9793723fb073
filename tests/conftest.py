"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded fixtures beside the checkout; skips where there is none, fails in CI."""
    path = Path(os.environ.get("SYNTHFORGE_SHARED", REPOSITORY.parent / "shared"))
    if path.is_dir():
        return path
    message = f"no recorded fixtures at {path.name}/ beside the checkout (set SYNTHFORGE_SHARED)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
