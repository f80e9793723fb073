"""Checkpoints: tensors and plain values only, so that reading one runs nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Protocol

import torch

FORMAT: Final = "synthforge-checkpoint"
VERSION: Final = 1


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, or not of this training."""


def refuse_to_replace(path: Path, *, resume: bool) -> None:
    """Keep a new training from writing over the model of an old one.

    Raises:
        CheckpointError: the file is there, and the training does not go on from it.
    """
    if path.exists() and not resume:
        raise CheckpointError(
            f"{path} holds a trained model: --resume goes on from it; another --out keeps it, and "
            "a new training starts where it was moved or deleted"
        )


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all; random states are added.

    Args:
        path: of the file; one of that name is replaced.
        content: tensors and plain values under strings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "format": FORMAT,
        "version": VERSION,
        **content,
        "random": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
    }
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(whole, temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running anything that it holds.

    Raises:
        CheckpointError: it is no checkpoint of a version that this release reads.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError:  # its message names the file and what is wrong with it
        raise
    except Exception as error:  # torch.load raises many kinds on what it refuses
        raise CheckpointError(
            f"{path.name} is no checkpoint of this trainer, or is torn: a stage1.pt or stage2.pt "
            "that it has written would do"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} is no checkpoint of this trainer")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path.name} has version {content.get('version')}; this release reads {VERSION}"
        )
    return content


class Resumable(Protocol):
    """What stops and goes on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        ...


def go_on(training: Resumable, path: Path, device: torch.device | str) -> dict[str, Any]:
    """Put a fresh training, and the random generators, where a checkpoint's stopped.

    Returns:
        All that the checkpoint holds.

    Raises:
        CheckpointError: it is no checkpoint of ours, or of a model that differs from this one.
    """
    content = load_checkpoint(path, device)
    try:
        training.load_state_dict(content["training"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds another model than this training's: --resume goes on with the recipe, "
            "method and set that it began with; another --out starts anew"
        ) from error
    restore_random_states(content)
    return content


def restore_random_states(content: dict[str, Any]) -> None:
    """Put the global random generators where they stood when the checkpoint was written."""
    torch.set_rng_state(content["random"]["cpu"].cpu())
    if content["random"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in content["random"]["cuda"]])
