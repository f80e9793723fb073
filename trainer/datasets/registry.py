"""Names of the real sets to their readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from trainer.datasets.aflw2000 import open_aflw2000
from trainer.datasets.celebamask import open_celebamask
from trainer.datasets.face_synthetics import open_face_synthetics
from trainer.datasets.lapa import open_lapa
from trainer.datasets.real_set import DatasetError, RealSet
from trainer.datasets.w300 import open_300w
from trainer.datasets.wflw import open_wflw

READERS: Final[dict[str, Callable[[Path], RealSet]]] = {
    "300w": open_300w,
    "lapa": open_lapa,
    "celebamask": open_celebamask,
    "aflw2000": open_aflw2000,
    "facesynthetics": open_face_synthetics,
    "wflw": open_wflw,
}


def open_real_set(name: str, folder: Path) -> RealSet:
    """Open a set by its name.

    Raises:
        DatasetError: there is no reader of that name, or the folder does not hold the set.
    """
    if name not in READERS:
        raise DatasetError(f"set {name!r}: one of {', '.join(READERS)} would do")
    return READERS[name](folder)


def parse_named(text: str) -> tuple[str, str]:
    """Split `NAME=VALUE`.

    Raises:
        DatasetError: it is not of that form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise DatasetError(f"{text!r}: NAME=DIR would do, with NAME one of {', '.join(READERS)}")
    return name, value
