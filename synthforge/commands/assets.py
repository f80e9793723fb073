"""Commands about files of users: what is there, bring it in, check it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthforge.assets import (
    ASSETS_VARIABLE,
    IMPORTED,
    NEEDED,
    OFFICIAL_SOURCES,
    SET_TO,
    AssetEntry,
    AssetKind,
)
from synthforge.commands.inputs import (
    USAGE,
    CommandError,
    JsonOption,
    absolute,
    show_help_alone,
)
from synthforge.console import note, progress, say

if TYPE_CHECKING:
    from workers.assets import AssetRegistry
    from workers.assets.loading import AssetLoader

_MEBIBYTE = 1 << 20
_ICT_FACEKIT = "ict-facekit"
_NO_REGISTRY = f"give --registry, or set {SET_TO}"
_NO_ICT = "lacks ict_head: synthforge assets import ict-facekit DIR brings it in"

app = typer.Typer()
assets = typer.Typer(
    help="Files of yours: those that next3d needs, and another head.",
    epilog="Example: synthforge assets import next3d_ffhq_512.pkl --registry assets",
    callback=show_help_alone,
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(assets, name="assets")

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry", envvar=ASSETS_VARIABLE, help="Folder or s3:// URL that keeps the assets."
    ),
]


class WiringName(StrEnum):
    """Which planes a checkpoint textures."""

    FRONT_PLANE = "front-plane"
    THREE_PLANE = "three-plane"


class ReleaseName(StrEnum):
    """Releases of FLAME: their files do not tell, their licences differ."""

    FLAME_2020 = "2020"
    FLAME_2023 = "2023"
    FLAME_2023_OPEN = "2023-open"


@assets.command(epilog="Example: synthforge assets status --registry s3://faces/assets")
def status(registry: RegistryOption = None, as_json: JsonOption = False) -> None:
    """Show which assets are there, which are missing, where they come from, on which terms."""
    from workers.assets import open_assets  # noqa: PLC0415

    found = open_assets(None) if registry is None else _registry(registry)
    held = {entry.kind: entry for entry in found.entries()}
    if as_json:
        say(json.dumps([_as_row(kind, held.get(kind)) for kind in IMPORTED]))
        return
    for kind in IMPORTED:
        for line in _status_lines(kind, held.get(kind)):
            say(line)
    say(f"generator.head ict {'has what it needs' if 'ict_head' in held else _NO_ICT}")
    missing = [kind for kind in NEEDED["next3d"] if kind not in held]
    if missing:
        say(f"next3d lacks {', '.join(missing)}: synthforge assets import FILE brings each in")
    else:
        say("next3d has what it needs")
    if registry is None:
        say(f"there is no registry: {_NO_REGISTRY}")


@assets.command("import", epilog="Example: synthforge assets import flame2023.pkl --release 2023")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(help="As its publisher distributes it, any name; or ict-facekit DIR."),
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="Of ict-facekit: a clone of ICT-FaceKit.")
    ] = None,
    registry: RegistryOption = None,
    wiring: Annotated[
        WiringName | None,
        typer.Option(help="Of a checkpoint; by default read from the source text in it."),
    ] = None,
    release: Annotated[
        ReleaseName | None,
        typer.Option(help="Of a FLAME model; without it the strict licence is recorded."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recognise a file by its content, convert it to a safe format, keep it with its provenance."""
    if folder is None and str(file) != _ICT_FACEKIT:
        from workers.assets.importing import import_asset  # noqa: PLC0415

        added = import_asset(
            file,
            _registry(registry),
            wiring=None if wiring is None else wiring.value,
            release=None if release is None else release.value,
        )
    else:
        _check_head_arguments(file, folder, wiring, release)
        from workers.assets.ict.importing import import_ict_facekit  # noqa: PLC0415

        assert folder is not None  # noqa: S101 - checked
        added = (import_ict_facekit(folder, _registry(registry)),)
    for entry in added:
        if as_json:
            say(entry.model_dump_json())
            continue
        wired = f", {entry.wiring}" if entry.wiring else ""
        say(f"{entry.kind}  {entry.name}{wired}  sha256 {entry.sha256}")
        note(f"licence that datasets inherit: {entry.licence}")


@assets.command(epilog="Example: synthforge assets check --precision")
def check(
    registry: RegistryOption = None,
    precision: Annotated[
        bool, typer.Option("--precision", help="Draw faces in bfloat16 and float16 too.")
    ] = False,
    pictures: Annotated[int, typer.Option(min=1, max=1000, help="Faces for --precision.")] = 4,
    device: Annotated[str, typer.Option(help="For --precision: cpu, or cuda.")] = "cpu",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for fetched files; by default a temporary one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch every asset, open it and hold it against the others; exit code 1 if one is wrong."""
    from workers.assets.checking import check_assets  # noqa: PLC0415
    from workers.assets.loading import AssetLoader  # noqa: PLC0415

    source = _registry(registry)
    with tempfile.TemporaryDirectory(prefix="synthforge-assets-") as folder:
        loader = AssetLoader(source, cache or Path(folder))
        findings = list(check_assets(loader))
        for found in findings if not as_json else ():
            say(f"{'ok ' if found.is_right else 'BAD'}  {found.kind}: {found.says}")
        measured = list(_precisions(loader, pictures, device, as_json=as_json)) if precision else []
    if as_json:
        rows = [{"kind": f.kind, "ok": f.is_right, "says": f.says} for f in findings]
        say(json.dumps({"findings": rows, "precisions": measured}))
    wrong = [found.kind for found in findings if not found.is_right]
    if not findings:
        raise CommandError("the registry is empty: synthforge assets import FILE adds to it")
    if wrong:
        raise CommandError(f"{', '.join(wrong)}: import the files again")


@assets.command(epilog="Example: synthforge assets calibrate --registry s3://faces/assets")
def calibrate(
    registry: RegistryOption = None,
    faces: Annotated[int, typer.Option(min=8, max=10_000, help="Faces to draw.")] = 64,
    as_json: JsonOption = False,
) -> None:
    """Fit the head model's mesh to the matter that the checkpoint draws; keep map and residual."""
    from workers.assets.snapshot import AssetSnapshot  # noqa: PLC0415
    from workers.generators.next3d.calibrating import calibrate as fitted  # noqa: PLC0415

    source = _registry(registry).storage
    with progress("calibrate") as show:
        fit, entry = fitted(
            AssetSnapshot.of(None if source is None else source.url),
            faces,
            lambda done: show(done, faces),
        )
    if as_json:
        say(entry.model_dump_json())
        return
    say(
        f"mesh to matter, root mean square over held-out faces: {fit.before_m * 1000:.1f} mm "
        f"before, {fit.after_m * 1000:.1f} mm after"
    )
    say(f"calibration  sha256 {entry.sha256}")


def _check_head_arguments(
    file: Path, folder: Path | None, wiring: WiringName | None, release: ReleaseName | None
) -> None:
    if str(file) != _ICT_FACEKIT:
        raise CommandError(f"{file} {folder}: import one file, or ict-facekit DIR", USAGE)
    if folder is None:
        raise CommandError("ict-facekit: give the folder of the clone: ict-facekit DIR", USAGE)
    if wiring is not None or release is not None:
        raise CommandError("ict-facekit: --wiring and --release belong to next3d's files", USAGE)


def _precisions(
    loader: AssetLoader, num_pictures: int, device: str, *, as_json: bool
) -> Iterator[dict[str, object]]:
    import torch  # noqa: PLC0415

    from workers.assets.precision import (  # noqa: PLC0415
        SAFE_PSNR_DB,
        measure_precisions,
        posed_heads,
    )

    model = loader.flame_model()
    heads = posed_heads(model, loader.landmarks(model), num_pictures)
    for found in measure_precisions(loader.checkpoint(), heads, torch.device(device)):
        if not as_json:
            verdict = "safe" if found.is_safe else "not safe"
            say(
                f"{found.name}: PSNR against float32 {found.worst_db:.1f} dB at worst of "
                f"{num_pictures} faces: {verdict} (from {SAFE_PSNR_DB:g} dB on)"
            )
        yield {"precision": found.name, "psnr_db": found.psnr_db, "is_safe": found.is_safe}


def _registry(url: str | None) -> AssetRegistry:
    from workers.assets import open_assets  # noqa: PLC0415

    if url is None:
        raise CommandError(
            f"no registry: {_NO_REGISTRY}",
            USAGE,
        )
    return open_assets(absolute(url))


def _status_lines(kind: AssetKind, entry: AssetEntry | None) -> Iterator[str]:
    official = OFFICIAL_SOURCES[kind]
    need = "needed" if kind in NEEDED["next3d"] else "optional"
    if entry is None:
        yield f"missing  {kind} ({need}): {official.name}"
        yield f"         from {official.site}: {official.files}"
        yield f"         licence: {official.licence}"
        return
    details = " ".join(filter(None, (entry.version, entry.wiring)))
    size = f"{entry.num_bytes / _MEBIBYTE:.1f} MiB"
    yield f"present  {kind} ({need}): {entry.name} {details}".rstrip() + f", {size}"
    yield f"         sha256 {entry.sha256}, from {entry.provenance.file} ({entry.source})"
    yield f"         licence: {entry.licence}"


def _as_row(kind: AssetKind, entry: AssetEntry | None) -> dict[str, object]:
    official = OFFICIAL_SOURCES[kind]
    return {
        "kind": kind,
        "is_needed": kind in NEEDED["next3d"],
        "files": official.files,
        "site": official.site,
        "licence": official.licence if entry is None else entry.licence,
        "asset": None if entry is None else entry.model_dump(mode="json"),
    }
