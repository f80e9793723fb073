"""Writes the pages of docs/ that the code already knows: `python -m tools.docs`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel

from service.app import create_app
from service.settings import Settings, describe_settings
from synthforge.conventions import CLASSES
from synthforge.distributions import Mixture, Uniform
from synthforge.job_status import JobStatus
from synthforge.jobs import ANNOTATIONS, JobSpec
from synthforge.parameters import ACTION_UNITS, PresetName
from synthforge.samples import MEMBERS, AttributesMeta, EyeMeta, OcclusionMeta, SampleMeta
from synthforge.shards import Manifest, ShardRecord
from workers.generators.builtin.head import load_head

_HEADER: Final = "<!-- Written by `python -m tools.docs`; the code is the source. -->"


def contract_page() -> str:
    """Return docs/contract.md."""
    return "\n".join(
        [
            _HEADER,
            "# The contract",
            "",
            "Frames, signs and pixels: [conventions.md](conventions.md). JSON schema: "
            "`/openapi.json` of a running service, or `JobSpec.model_json_schema()`.",
            "",
            *_job_section(),
            *_sample_section(),
            *_dataset_section(),
        ]
    )


def _job_section() -> list[str]:
    return [
        "## Job",
        "",
        "Only `count` is required. A field that varies takes a number (fixed), `[low, high]` "
        "(uniform), or an object with a `type`: `uniform` (low, high), `normal` (mean, std, "
        "low, high), `choice` (values, weights), `mixture` (weights, parts). A coefficients "
        'field takes one distribution, drawn for each coefficient, or `{"per_index": {"0": '
        "...}}` (the others are 0). Sections of the other generator are refused.",
        "",
        "| field | what | default |",
        "|---|---|---|",
        *_job_rows(),
        "",
        f"`expression.presets`: weights of {_names(get_args(PresetName))}.",
        "",
        f"`expression.action_units`: any of {_names(ACTION_UNITS)}.",
        "",
        f"`annotations`: any of {_names(ANNOTATIONS)}.",
        "",
        *_coefficient_names(),
    ]


def _coefficient_names() -> Iterator[str]:
    """Yield what `per_index` numbers of our own head; other heads bring their own."""
    head = load_head()
    yield "### What `per_index` numbers"
    yield ""
    yield (
        "Of the embedded head. Of `ict` and `next3d` the numbers are those of their own files; "
        "`next3d` has principal components, which have no names."
    )
    for field, names in (
        ("identity.shape", head.shape_names),
        ("expression.coefficients", head.expression_names),
    ):
        yield ""
        yield f"`{field}`: {', '.join(f'{number} {name}' for number, name in enumerate(names))}."
    yield ""


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _sample_section() -> list[str]:
    return [
        "## Files of a sample",
        "",
        "In this order in the tar, each only if asked for. Keys are `%09d` of the index.",
        "",
        "| member | encoding | dtype, shape | asked for by | content |",
        "|---|---|---|---|---|",
        *(
            f"| `K.{m.suffix}` | {m.encoding} | {m.dtype} {m.shape} | "
            f"{m.annotation or 'always'} | {m.meaning} |"
            for m in MEMBERS
        ),
        "",
        "## `K.json`",
        "",
        *_model_rows(SampleMeta),
        "",
        "Each of `eyes.left`, `eyes.right`:",
        "",
        *_model_rows(EyeMeta),
        "",
        "`occlusion`, by the class' name: a class lies at a pixel when the pixel's centre is "
        "in one of its triangles, front or back, whatever stands before it.",
        "",
        *_model_rows(OcclusionMeta),
        "",
        "`attributes`: words are bands of the numbers beside them, and say how the face was "
        "drawn, not who people are.",
        "",
        *_model_rows(AttributesMeta),
        "",
        "## Classes",
        "",
        ", ".join(f"{class_id} {name}" for class_id, name in CLASSES.items()),
        "",
    ]


def _dataset_section() -> list[str]:
    return [
        "## Manifest",
        "",
        *_model_rows(Manifest),
        "",
        "A shard:",
        "",
        *_model_rows(ShardRecord),
        "",
        "`digest` is the sha256 of the ASCII lines `<split> <%06d number> <num_samples> "
        "<sha256>`, each ended by a newline, in the order of the splits and numbers.",
        "",
        "## Job status",
        "",
        *_model_rows(JobStatus),
        "",
    ]


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = [
        f"| `{variable}` | `{default}` | {what} |"
        for variable, default, what in describe_settings()
    ]
    return "\n".join(
        [
            _HEADER,
            "# Settings of the service",
            "",
            "Environment variables; a command's options stand above them.",
            "",
            "| variable | default | what it does |",
            "|---|---|---|",
            *rows,
            "",
            "The object store is found through the usual `AWS_*` variables: `AWS_ENDPOINT_URL`, "
            "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`. Without those two keys "
            "the rest of boto3's default chain is asked: `AWS_PROFILE`, a web identity (IRSA: "
            "`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`), a container's or an instance's role; "
            "`AWS_SESSION_TOKEN` goes along. A presigned link ends with the credentials that "
            "signed it, however long it was asked for.",
            "",
            "Commands that talk to a service read `SYNTHFORGE_SERVICE`, and its key from the file "
            "that `SYNTHFORGE_KEY_FILE` names, or from `SYNTHFORGE_KEY`; pools read `RAY_ADDRESS`.",
            "",
        ]
    )


def http_page() -> str:
    """Return docs/http.md."""
    with tempfile.TemporaryDirectory() as folder:
        service = create_app(Settings(database_url=f"sqlite:///{folder}/docs.db"))
        document = service.openapi()
    lines = [
        _HEADER,
        "# HTTP",
        "",
        "Bodies are JSON. Errors are problem details (RFC 9457) that name field, value and what "
        "would do. A session with curl, and webhooks: [api.md](api.md). `/openapi.json` is the "
        "full document. `/docs` is a page to try it, which a browser loads from a CDN: without a "
        "way out of the network it stays empty.",
        "",
        "Unless `SYNTHFORGE_AUTH` is off, a request carries `Authorization: Bearer KEY`, and the "
        "key has the scope of the route or `admin`. A job is changed by the key that ordered it, "
        "or by an admin's.",
        "",
        "| route | scope | what it does | query | answers |",
        "|---|---|---|---|---|",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            summary = operation.get("description", "").splitlines()[0]
            answers = ", ".join(operation["responses"])
            scope = operation.get("x-scope", "")
            query = "; ".join(_query(operation, document["components"]["schemas"]))
            lines.append(
                f"| `{method.upper()} {path}` | {scope} | {summary} | {query} | {answers} |"
            )
    return "\n".join([*lines, ""])


def _query(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield each query parameter of a route, with what it takes."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            schema, what = parameter["schema"], parameter.get("description")
            told = [part for part in (what, *_bounds(schema, schemas)) if part]
            yield f"`{parameter['name']}`: {', '.join(told)}"


def _bounds(schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield the values, or the least and the largest, and the default of a JSON schema."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    for kind in kinds:
        items = kind.get("items", kind)
        if "$ref" in items:
            items = schemas[items["$ref"].rpartition("/")[2]]
        values = [items["const"]] if "const" in items else items.get("enum", ())
        if values:
            yield f"one of {_names(values)}"
        if "minimum" in kind and "maximum" in kind:
            yield f"{kind['minimum']} to {kind['maximum']}"
        if kind.get("type") == "array":
            yield "may be repeated"
    if schema.get("default") is not None:
        yield f"default {schema['default']}"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/contract.md": contract_page,
    "docs/settings.md": settings_page,
    "docs/http.md": http_page,
}


def _job_rows() -> Iterator[str]:
    """Yield a row a field, sections after plain fields."""
    for name, field in JobSpec.model_fields.items():
        section = _section_of(field.annotation)
        if section is None:
            yield f"| `{name}` | {field.description or ''} | {_default(field)} |"
            continue
        for inner, inner_field in section.model_fields.items():
            what = inner_field.description or ""
            yield f"| `{name}.{inner}` | {what} | {_default(inner_field)} |"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    return _plain(field.get_default(call_default_factory=True))


def _plain(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(str, value))
        case BaseModel():
            return _plain_model(value)
    return str(value) or "empty"


def _plain_model(model: BaseModel) -> str:
    match model:
        case Uniform(low=low, high=high):
            return f"[{low:g}, {high:g}]"
        case Mixture(weights=weights, parts=parts):
            shares = zip(weights, parts, strict=True)
            return "; ".join(f"{w / sum(weights):.0%} {_plain(part)}" for w, part in shares)
    data = model.model_dump(exclude_none=True)
    return ", ".join(f"{key} {_plain(data[key])}" for key in data if key != "type")


def _model_rows(model: type[BaseModel]) -> Iterator[str]:
    yield "| field | content |"
    yield "|---|---|"
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        inner = f": {', '.join(section.model_fields)}" if section is not None else ""
        yield f"| `{name}` | {field.description or _type_name(field.annotation)}{inner} |"


def _type_name(annotation: Any) -> str:
    name = getattr(annotation, "__name__", str(annotation))
    return name.replace("typing.", "").replace("|", "or")
