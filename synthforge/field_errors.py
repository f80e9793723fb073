"""What is wrong with a request, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from synthforge.distributions import STRICT

MOST_SHOWN: Final = 5  # faults in one line
_MESSAGES: Final = {"extra_forbidden": "no such field (docs/contract.md lists them)"}
WHOLE_BODY: Final = "(body)"  # the field of what is wrong with a document as a whole
_UNION_TAGS: Final = {"fixed", "uniform", "normal", "choice", "mixture", "each"}


class FieldError(BaseModel):
    """One thing wrong with a request: where, what was given, what would do."""

    model_config = STRICT
    field: str
    message: str
    value: str | None = None


class SpecError(ValueError):
    """A job spec that cannot be accepted; `errors` names every field at fault."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        shown = [f"{error.field}: {error.message}{_given(error)}" for error in errors[:MOST_SHOWN]]
        more = f" (and {len(errors) - MOST_SHOWN} more)" if len(errors) > MOST_SHOWN else ""
        super().__init__("; ".join(shown) + more)


def _given(error: FieldError) -> str:
    """Name the value at fault, where the message does not yet."""
    if error.value is None or error.value in error.message or error.field == WHOLE_BODY:
        return ""
    return f" (given: {error.value})"


def field_errors(error: ValidationError) -> list[FieldError]:
    """Turn pydantic's findings into ours: a dotted path without the tags of unions."""
    found = []
    for item in error.errors(include_url=False):
        path = _dotted(item["loc"], item.get("ctx", {}).get("field"))
        message = _MESSAGES.get(item["type"], item["msg"]).removeprefix("Value error, ")
        shown = _shown(item.get("input"))
        found.append(FieldError(field=path, message=message, value=shown))
    return found


def _dotted(location: tuple[int | str, ...], own_field: str | None) -> str:
    if own_field:
        return own_field
    parts: list[str] = []
    for index, part in enumerate(location):
        doubled = part == "per_index" and index and location[index - 1] == "per_index"
        if part not in _UNION_TAGS and part != "[key]" and not doubled:
            parts.append(str(part))
    return ".".join(parts) or WHOLE_BODY


def _shown(value: Any) -> str | None:
    """Return a short form of a refused value; a whole section is not repeated."""
    if isinstance(value, Mapping) or value is None:
        return None
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
