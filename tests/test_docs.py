"""Every setting, route, sample member, class and command is documented."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from service.app import create_app
from service.settings import Settings, describe_settings
from service.webhooks import signature
from synthforge.cli import app
from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import MEMBERS
from tools.docs import PAGES

ROOT = Path(__file__).resolve().parent.parent


def page(name: str) -> str:
    return (ROOT / name).read_text()


def commands() -> list[str]:
    """Return every command as it is typed."""
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [f"{name} {sub}" for sub in inner] if inner else [name]
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert page(name) == PAGES[name](), f"{name} is old: `python -m tools.docs` writes it anew"


def test_every_command_is_in_the_readme_and_has_an_example() -> None:
    readme = page("README.md")
    for command in commands():
        assert f"synthforge {command}" in readme, command
    for command in get_command(app).commands.values():  # type: ignore[attr-defined]
        for leaf in (command, *getattr(command, "commands", {}).values()):
            assert "Example: " in (leaf.epilog or ""), leaf.name


def test_every_member_and_class_is_in_the_conventions_or_the_contract() -> None:
    text = page("docs/conventions.md") + page("docs/contract.md")
    for member in MEMBERS:
        assert f"`K.{member.suffix}`" in text, member.suffix
    for name in CLASSES.values():
        assert name in text, name


def test_every_field_of_a_job_is_in_the_contract() -> None:
    text = page("docs/contract.md")
    for section, field in JobSpec.model_fields.items():
        assert f"`{section}" in text, section
        inner = getattr(field.annotation, "model_fields", {})
        for name in inner:
            assert f"`{section}.{name}`" in text, f"{section}.{name}"


def test_every_setting_and_route_is_documented(tmp_path: Path) -> None:
    settings_page = page("docs/settings.md")
    for variable, _, _ in describe_settings():
        assert f"`{variable}`" in settings_page, variable
    service = create_app(Settings(database_url=f"sqlite:///{tmp_path}/jobs.db"))
    http_page = page("docs/http.md")
    for path, methods in service.openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in http_page, f"{method} {path}"


def test_the_signature_check_of_the_pages_tells_ours_from_others() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page("docs/api.md"), re.DOTALL)
    held: dict[str, Any] = {}
    exec(code, held)
    secret, other, body, now = "whsec_c2VjcmV0", "whsec_b3RoZXI=", b'{"seq":5}', int(time.time())

    def genuine(key: str, sent: bytes, at: int) -> bool:
        headers = {"Webhook-Id": "msg-1", "Webhook-Timestamp": str(at)}
        headers["Webhook-Signature"] = signature(secret, "msg-1", at, body)
        return bool(held["is_genuine"](key, headers, sent))

    assert genuine(secret, body, now)
    assert not genuine(other, body, now)
    assert not genuine(secret, body + b" ", now)
    assert not genuine(secret, body, now - 3600)


def test_links_between_pages_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
