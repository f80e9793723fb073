"""What an operator may set: one frozen record, read once from the environment."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, get_type_hints

from synthforge import telemetry
from synthforge.jobs import GENERATOR_KINDS, GeneratorKind
from synthforge.urls import UrlError, canonical_url

ENV_PREFIX: Final = "SYNTHFORGE_"
MAX_PORT: Final = 65_535
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _setting(default: Any, what: str) -> Any:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True)
class Settings:
    """Every setting; `SYNTHFORGE_<NAME>` in upper case sets it.

    Raises:
        ValueError: naming the setting, its value and what would do.
    """

    database_url: str = _setting(
        "sqlite:///synthforge.db", "SQLAlchemy URL of the database: sqlite:/// or postgresql://"
    )
    sqlite_synchronous: Literal["normal", "full"] = _setting(
        "normal", "full: a power cut takes no acknowledged change, at one fsync a change"
    )
    output_prefixes: tuple[str, ...] = _setting(
        ("out/datasets",), "comma-separated URLs that datasets may lie under; the first by default"
    )
    whole_prefix: Literal["refused", "allowed"] = _setting(
        "refused", "allowed: a job may take an output prefix itself, and is then alone there"
    )
    generators: tuple[GeneratorKind, ...] = _setting(
        GENERATOR_KINDS, "comma-separated generators that the pools can run"
    )
    assets: str = _setting(
        "", "folder or s3:// URL of the registry of licensed assets (synthforge assets)"
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8000, "TCP port to listen on; 0 takes a free one")
    auth: Literal["keys", "off"] = _setting(
        "keys", "off: whoever reaches the port may do everything; `synthforge up` on loopback"
    )
    rate_limit_per_s: float = _setting(
        2000.0, "requests a second of one key, twice as many at once; of each replica"
    )
    body_limit_bytes: int = _setting(1 << 20, "largest request body")
    worker_body_limit_bytes: int = _setting(
        8 << 20, "largest request body of a pool: a report lists its shard's samples"
    )
    lease_s: float = _setting(30.0, "a lease lapses when its pool is silent for so long")
    heartbeat_s: float = _setting(5.0, "a pool reports progress this often")
    stall_s: float = _setting(300.0, "a lease lapses when its progress stands still for so long")
    ray_jobs_url: str = _setting(
        "", "Ray's dashboard, as http://HEAD:8265: the service keeps a pool running there"
    )
    pool_arguments: str = _setting("--workers 1", "of that pool, as `synthforge work` takes them")
    public_url: str = _setting("http://127.0.0.1:8000", "by which that pool reaches the service")
    launch_interval_s: float = _setting(15.0, "how often it is looked whether that pool runs")
    retry_after_s: float = _setting(1.0, "a pool that found no work asks again after this")
    reap_interval_s: float = _setting(1.0, "how often lapsed leases are looked for")
    idempotency_kept_s: float = _setting(86_400.0, "how long an Idempotency-Key is remembered")
    events_kept_s: float = _setting(
        2_592_000.0, "synthforge gc forgets events, logs and deliveries after so long: 30 days"
    )
    unfinished_kept_s: float = _setting(
        604_800.0, "synthforge gc deletes what failed and cancelled jobs left after so long: 7 days"
    )
    jobs_kept_s: float = _setting(
        15_552_000.0, "synthforge gc forgets jobs without data after so long: 180 days"
    )
    events_poll_s: float = _setting(0.25, "how often an event stream looks for news")
    events_keepalive_s: float = _setting(15.0, "a silent event stream says that it lives")
    webhook_hosts: tuple[str, ...] = _setting(
        (), "comma-separated hosts that webhooks may go to, *.example.com for all below one"
    )
    webhook_private: Literal["refused", "allowed"] = _setting(
        "refused", "allowed: webhooks to private addresses and over http too; for tests"
    )
    webhook_timeout_s: float = _setting(
        10.0, "a webhook's host has taken what is sent, and answered, within so long"
    )
    preview_timeout_s: float = _setting(30.0, "a preview is waited for so long")
    max_previews: int = _setting(16, "previews that may be waited for at once")
    traces_url: str = _setting(
        "",
        "OTLP/HTTP endpoint that traces go to, as http://COLLECTOR:4318/v1/traces; of pools too; "
        "needs the extra telemetry; empty: none are made",
    )
    shutdown_grace_s: float = _setting(10.0, "open requests get so long to end at shutdown")

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone reaches the service."""
        return self.host in LOOPBACK_HOSTS

    def __post_init__(self) -> None:
        if not self.output_prefixes:
            raise ValueError("output_prefixes is empty: one s3:// or file:/// URL would do")
        if not self.generators:
            raise ValueError("generators is empty: 'builtin' would do")
        object.__setattr__(self, "output_prefixes", _canonical_prefixes(self.output_prefixes))
        object.__setattr__(self, "assets", _canonical_assets(self.assets))
        telemetry.check(self.traces_url)
        for host in self.webhook_hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"webhook_hosts: {host!r} is no host: hooks.example.com, or *.example.com for "
                    "all below one, would do"
                )
        for name in _NUMBERS:
            value = getattr(self, name)
            if not value > 0 and name != "port":
                raise ValueError(f"{name} {value!r} is not positive")
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port {self.port} is not one: 0 to {MAX_PORT} would do")
        if not self.heartbeat_s < self.lease_s:
            raise ValueError(
                f"heartbeat_s {self.heartbeat_s:g} is not below lease_s {self.lease_s:g}: "
                "a pool would lapse between two heartbeats"
            )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings that the environment sets; the others keep their defaults.

        Raises:
            ValueError: naming the variable, its value and what would do.
        """
        given = os.environ if environment is None else environment
        hints = get_type_hints(cls)
        values = {}
        for item in dataclasses.fields(cls):
            variable = ENV_PREFIX + item.name.upper()
            if variable in given:
                values[item.name] = _read(variable, given[variable], hints[item.name])
        return cls(**values)


_HOST: Final = re.compile(
    r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*"
)
_NUMBERS: Final = tuple(
    item.name for item in dataclasses.fields(Settings) if isinstance(item.default, int | float)
)


def describe_settings() -> tuple[tuple[str, str, str], ...]:
    """Return for each setting its variable, its default and the line that says what it does."""
    return tuple(
        (ENV_PREFIX + item.name.upper(), _shown(item.default), str(item.metadata["what"]))
        for item in dataclasses.fields(Settings)
    )


def _shown(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _canonical_prefixes(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    try:
        here = str(Path.cwd())
        return tuple(canonical_url(prefix, working_folder=here) for prefix in prefixes)
    except UrlError as error:
        raise ValueError(f"output_prefixes: {error}") from None


def _canonical_assets(url: str) -> str:
    try:
        return canonical_url(url, working_folder=str(Path.cwd())) if url else ""
    except UrlError as error:
        raise ValueError(f"assets: {error}") from None


def _read(variable: str, text: str, kind: Any) -> Any:
    """Turn the text of a variable to the type of its setting."""
    if kind is str:
        return text
    if kind in (int, float):
        return _number(variable, text, kind)
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == tuple[GeneratorKind, ...]:
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        return tuple(_one_of(variable, part, GENERATOR_KINDS) for part in parts)
    return _one_of(variable, text, kind.__args__)


def _number(variable: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{variable} is {text!r}: {wanted} would do") from None


def _one_of(variable: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ValueError(f"{variable} is {text!r}: one of {', '.join(choices)} would do")
    return text
