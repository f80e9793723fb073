"""`python -m tools.docs`: write the generated pages."""

from __future__ import annotations

from pathlib import Path

from tools.docs import PAGES

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page())
        print(name)


if __name__ == "__main__":
    main()
