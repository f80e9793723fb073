"""Settings: from the environment, checked, each with a line that says what it does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from service.settings import Settings, describe_settings


def test_the_environment_sets_what_it_names() -> None:
    settings = Settings.from_env(
        {
            "SYNTHFORGE_DATABASE_URL": "sqlite:////data/x.db",
            "SYNTHFORGE_OUTPUT_PREFIXES": "s3://bucket/data/, file:///mnt/./faces",
            "SYNTHFORGE_GENERATORS": "builtin, next3d",
            "SYNTHFORGE_LEASE_S": "12.5",
            "SYNTHFORGE_PORT": "0",
            "SYNTHFORGE_SQLITE_SYNCHRONOUS": "full",
            "UNRELATED": "x",
        }
    )
    assert settings.output_prefixes == ("s3://bucket/data", "file:///mnt/faces")
    assert settings.generators == ("builtin", "next3d")
    assert (settings.lease_s, settings.port, settings.sqlite_synchronous) == (12.5, 0, "full")


def test_without_an_environment_the_defaults_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env({}) == Settings()
    assert Settings().output_prefixes == (f"file://{tmp_path}/out/datasets",)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PORT", "http", "SYNTHFORGE_PORT is 'http': a whole number would do"),
        ("LEASE_S", "soon", "SYNTHFORGE_LEASE_S is 'soon': a number would do"),
        ("PORT", "65536", "port 65536 is not one"),
        ("LEASE_S", "0", "lease_s 0.0 is not positive"),
        ("LEASE_S", "nan", "lease_s nan is not positive"),
        ("LEASE_S", "5", "heartbeat_s 5 is not below lease_s 5"),
        ("GENERATORS", "magic", "SYNTHFORGE_GENERATORS is 'magic': one of builtin, next3d"),
        ("GENERATORS", ",", "generators is empty"),
        ("OUTPUT_PREFIXES", "", "output_prefixes is empty"),
        ("OUTPUT_PREFIXES", "ftp://x/y", "output_prefixes: URL 'ftp://x/y'"),
        ("SQLITE_SYNCHRONOUS", "off", "one of normal, full would do"),
        ("WEBHOOK_HOSTS", "hooks.example.com,https://x.example", "'https://x.example' is no host"),
        ("WEBHOOK_HOSTS", "hooks.example.com:8443", "is no host"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(variable: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_env({f"SYNTHFORGE_{variable}": text})


def test_every_setting_says_what_it_does() -> None:
    described = describe_settings()
    assert len(described) == len(dataclasses.fields(Settings))
    for variable, _default, what in described:
        assert variable.startswith("SYNTHFORGE_")
        assert len(what) > 10
