"""Commands about a dataset that lies in a folder or an object store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from synthforge.commands.inputs import CommandError, JsonOption, absolute
from synthforge.console import manifest_lines, note, progress, say
from synthforge.field_errors import field_errors
from synthforge.shards import MANIFEST_NAME, Manifest
from synthforge.storage import NotFound, open_storage

app = typer.Typer()


@app.command(epilog="Example: synthforge verify s3://faces/sets/faces-100k")
def verify(url: str, as_json: JsonOption = False) -> None:
    """Check every byte of a dataset against its manifest; exit code 1 if anything is wrong."""
    check_dataset(url, as_json=as_json)


@app.command(epilog="Example: synthforge inspect out/faces")
def inspect(url: str, as_json: JsonOption = False) -> None:
    """Show what a dataset holds."""
    manifest = read_manifest(url)
    if as_json:
        sys.stdout.write(manifest.to_json().decode())
        return
    for line in manifest_lines(manifest, absolute(url)):
        say(line)


@app.command(epilog="Example: synthforge regenerate out/faces --index 42 --out sample")
def regenerate(
    url: str,
    index: Annotated[int, typer.Option(min=0, help="Of the sample.")],
    out: Annotated[Path, typer.Option(help="Folder for the sample's files.")],
) -> None:
    """Make one sample of a dataset again, byte for byte."""
    from workers.regenerate import regenerate as make_again  # noqa: PLC0415
    from workers.regenerate import write_sample  # noqa: PLC0415

    sample, is_same_fingerprint = make_again(read_manifest(url), index)
    if not is_same_fingerprint:
        note("this machine's fingerprint is not the shard's: labels agree, bytes may differ")
    for path in write_sample(sample, out):
        say(str(path))


def check_dataset(url: str, *, as_json: bool = False) -> None:
    """Verify a dataset, show what was found, and fail if anything is wrong."""
    from synthforge.verification import verify_dataset  # noqa: PLC0415

    storage = open_storage(absolute(url))
    total = read_manifest(url).num_samples
    with progress("verify") as show:
        findings = list(
            verify_dataset(storage, on_progress=lambda done: show(done.num_samples, total))
        )
    if as_json:
        found = [{"where": finding.where, "what": finding.what} for finding in findings]
        say(json.dumps({"url": storage.url, "ok": not findings, "findings": found}))
    for finding in findings if not as_json else ():
        say(str(finding))
    if findings:
        raise CommandError(f"{storage.url} does not verify: {len(findings)} findings")
    if not as_json:
        say(f"{storage.url}: {total} samples verified")


def read_manifest(url: str) -> Manifest:
    """Read the manifest of the dataset at a URL."""
    storage = open_storage(absolute(url))
    try:
        return Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    except NotFound:
        raise CommandError(
            f"{storage.url}: no dataset here, {MANIFEST_NAME}: no such object"
        ) from None
    except ValidationError as error:
        first = field_errors(error)[0]
        what = f"{first.field}: {first.message}"
        raise CommandError(f"{storage.url}/{MANIFEST_NAME} is no manifest: {what}") from None
