"""What is wrong with a request, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

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


def field_errors(error: ValidationError, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Turn pydantic's findings into ours: a dotted path without the tags of unions.

    Args:
        error: of pydantic.
        model: that refused; a field that it lacks is then held against those it has.
    """
    found = []
    for item in error.errors(include_url=False):
        path = _dotted(item["loc"], item.get("ctx", {}).get("field"))
        message = _MESSAGES.get(item["type"], item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden" and model is not None:
            message = _meant(item["loc"], model) or message
        # Of text that is no JSON the message tells the line and column.
        shown = None if item["type"] == "json_invalid" else _shown(item.get("input"))
        found.append(FieldError(field=path, message=message, value=shown))
    return found


def _meant(location: tuple[int | str, ...], model: type[BaseModel]) -> str | None:
    """Name the field that a mistyped one stands for, if one is near."""
    models = [model]
    for part in location[:-1]:
        fields = [each.model_fields[part] for each in models if part in each.model_fields]
        inner = [found for field in fields for found in _models_in(field.annotation)]
        models = inner or models  # else the part is a union's tag or a list's index
    names = [name for each in models for name in each.model_fields]
    near = get_close_matches(str(location[-1]), names, 1) or _inside(models, str(location[-1]))
    return f"no such field: did you mean {near[0]}?" if near else None


def _inside(models: Sequence[type[BaseModel]], name: str) -> list[str]:
    """Return the places of a field among those of fields."""
    fields = [(field, info) for each in models for field, info in each.model_fields.items()]
    inner = [(field, found) for field, info in fields for found in _models_in(info.annotation)]
    return sorted({f"{field}.{name}" for field, found in inner if name in found.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


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
