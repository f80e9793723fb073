"""Traces, where an operator asks for them: from a request over its job's leases to the shards.

Off unless `tracing` is given the URL of a collector (SYNTHFORGE_TRACES_URL); nothing is imported,
made or sent before. What is at hand travels as W3C's `traceparent`: with a request as its header,
with a job in its row and its leases, within a process in a context variable. OpenTelemetry's own
variables (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, ...) are obeyed.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACES_VARIABLE: Final = "SYNTHFORGE_TRACES_URL"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_HEADER: Final = "traceparent"
_SENT_EVERY_MS: Final = 1000
_STOP_MS: Final = 3000

Value = str | int | float
Kind = Literal["server", "client", "internal"]

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Span(Protocol):
    """What is at work now; it may learn more of itself while it lasts."""

    def rename(self, name: str) -> None:
        """Call it otherwise than when it began."""

    def note(self, **attributes: Value) -> None:
        """Say more about it."""


class _NoSpan:
    def rename(self, name: str) -> None:
        pass

    def note(self, **attributes: Value) -> None:
        pass


_NO_SPAN: Final = _NoSpan()


class Tracer:
    """Makes spans by OpenTelemetry's SDK."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra: only where it is asked for
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = provider
        self._tracer = provider.get_tracer("synthforge")

    @contextmanager
    def span(
        self, name: str, parent: str | None, kind: Kind, attributes: Mapping[str, Value]
    ) -> Iterator[Span]:
        """Time a block; what is done in it is its child."""
        span = self._tracer.start_span(
            name,
            context=self._context(parent or _current.get()),
            kind=self._trace.SpanKind[kind.upper()],
            attributes=_named(attributes),
        )
        token = _current.set(self._traceparent(span))
        try:
            yield _OtelSpan(span)
        except BaseException as error:
            kind_of = self._trace.StatusCode.ERROR
            span.set_status(self._trace.Status(kind_of, type(error).__name__))
            raise
        finally:
            _current.reset(token)
            span.end()

    def record(
        self,
        name: str,
        parent: str | None,
        window_ns: tuple[int, int],
        attributes: Mapping[str, Value],
    ) -> None:
        """Make a span of what is over."""
        span = self._tracer.start_span(
            name,
            context=self._context(parent or _current.get()),
            start_time=window_ns[0],
            attributes=_named(attributes),
        )
        span.end(end_time=window_ns[1])

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(_STOP_MS)
        self._provider.shutdown()

    def _context(self, parent: str | None) -> object:
        return self._propagator.extract({_HEADER: parent} if parent else {})

    def _traceparent(self, span: object) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return carrier.get(_HEADER)


class _OtelSpan:
    def __init__(self, span: object) -> None:
        self._span: Final = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)  # type: ignore[attr-defined]

    def note(self, **attributes: Value) -> None:
        self._span.set_attributes(_named(attributes))  # type: ignore[attr-defined]


_tracer: Tracer | None = None


def is_on() -> bool:
    """Tell whether this process traces."""
    return _tracer is not None


def traceparent() -> str | None:
    """Return the span at hand, as W3C's Trace Context writes it; None where none is."""
    return _current.get()


def valid(text: str | None) -> str | None:
    """Return a `traceparent` if it is one."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def outgoing() -> dict[str, str]:
    """Return the headers that go with a request, so that what it causes is this span's child."""
    held = _current.get()
    return {_HEADER: held} if held else {}


@contextmanager
def span(
    name: str,
    parent: str | None = None,
    attributes: Mapping[str, Value] = MappingProxyType({}),
    kind: Kind = "internal",
) -> Iterator[Span]:
    """Trace a block, where this process traces.

    Args:
        name: of few kinds: an id belongs into the attributes.
        parent: a `traceparent`; by default the span at hand.
        attributes: ids and counts, never a secret.
        kind: OpenTelemetry's.
    """
    if _tracer is None:
        yield _NO_SPAN
        return
    with _tracer.span(name, parent, kind, attributes) as made:
        yield made


def record(
    name: str,
    window_ns: tuple[int, int],
    attributes: Mapping[str, Value],
    parent: str | None = None,
) -> None:
    """Trace what is over: when it began and ended, nanoseconds since 1970. Else as `span`."""
    if _tracer is not None:
        _tracer.record(name, parent, window_ns, attributes)


def check(url: str) -> None:
    """Hold that traces can be sent to a URL, if one is given.

    Raises:
        ValueError: the URL is none, or the extra is not installed.
    """
    if not url:
        return
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{TRACES_VARIABLE} is {url!r}: http://COLLECTOR:4318/v1/traces would do")
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        if not _is_installed(package):
            raise ValueError(
                f"{TRACES_VARIABLE} is set and {package} is not installed: "
                "pip install '.[telemetry]' in the clone"
            )


def start(url: str, program: str) -> None:
    """Trace from here on, and send to a collector by OTLP over HTTP; nothing without a URL.

    A process that traces already goes on as it does.

    Raises:
        ValueError: as `check`.
    """
    check(url)
    if url and not is_on():
        _use(_sending_to(url, program))


@contextmanager
def tracing(url: str, program: str) -> Iterator[None]:
    """As `start`, for as long as the block runs; what is left is sent when it ends."""
    is_ours = not is_on()
    start(url, program)
    try:
        yield
    finally:
        if is_ours and _tracer is not None:
            _tracer.close()
            _use(None)


@contextmanager
def using(tracer: Tracer) -> Iterator[None]:
    """Trace by a given tracer; for tests."""
    before = _tracer
    _use(tracer)
    try:
        yield
    finally:
        _use(before)


def _use(tracer: Tracer | None) -> None:
    global _tracer  # noqa: PLW0603 - as OpenTelemetry has it, one a process
    _tracer = tracer


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _sending_to(url: str, program: str) -> Tracer:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": program}))
    exporter = OTLPSpanExporter(endpoint=url)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_SENT_EVERY_MS))
    return Tracer(provider)


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """Return attributes under our own name space, as OpenTelemetry asks."""
    return {f"synthforge.{name}": value for name, value in attributes.items()}
