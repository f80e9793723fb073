"""What the commands say when something is in the way, and where they keep what they keep."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.demo import interruptible
from service.objects import warn_of_unlistable
from service.server import listen
from service.settings import Settings
from synthforge import console
from synthforge.commands import engine, inputs
from synthforge.console import estimate_lines
from synthforge.ray_environment import signals_kept
from tests.test_cli import own_log, run

__all__ = ["own_log"]

STOPPED = "stopped; jobs that had not ended go on when it is started again"
NOBODY = "http://127.0.0.1:9"  # the port of discard, which no machine serves any more


def test_who_waits_for_a_service_is_told_so_and_what_would_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "PATIENCE_S", 0.3)
    code, out, err = run(["jobs", "--service", NOBODY], monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"synthforge: {NOBODY} cannot be reached: Connection refused: trying again for 0.3 s",
        f"synthforge: {NOBODY} cannot be reached: Connection refused: `synthforge up` starts a "
        "service here, --service names another",
    ]


def test_a_port_that_is_taken_is_said_to_be_with_what_would_do() -> None:
    settings = Settings(port=0)
    with listen(settings) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^port {port} is taken: --port 0 takes a free one$"):
            listen(replace(settings, port=port))


def test_an_address_that_is_not_this_machines_is_named() -> None:
    wanted = r"^SYNTHFORGE_HOST 192\.0\.2\.1, port 0 cannot be listened on: Cannot assign"
    with pytest.raises(OSError, match=wanted):
        listen(Settings(host="192.0.2.1", port=0))


def test_up_says_where_jobs_are_kept_and_warns_of_an_output_that_will_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_run_pool", lambda *_: None)
    (tmp_path / "file").touch()
    code, out, err = run(["up", "--port", "0", "--output", "file"], monkeypatch, capsys)
    assert code == 0
    assert out.endswith(f"output file://{tmp_path}/file, database {tmp_path}/synthforge.db\n")
    assert err.startswith("warning: output cannot be listed now, and jobs will fail there: file:")
    assert err.splitlines()[1:] == [STOPPED]
    code, _, err = run(["up", "--port", "0", "--output", "folder"], monkeypatch, capsys)
    assert (code, err.splitlines()) == (0, [STOPPED])


def test_a_store_that_nobody_serves_is_warned_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": NOBODY,
    }.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    warn_of_unlistable(["s3://faces/sets"], told.append).join(30)
    assert len(told) == 1
    assert "s3://faces/sets: Could not connect to the endpoint" in told[0]


def test_a_store_that_never_answers_delays_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_run_pool", lambda *_: None)
    monkeypatch.setattr(engine, "STORE_ANSWERS_S", 0.05)
    answers = threading.Event()
    monkeypatch.setattr("service.objects.listing_fault", lambda _: answers.wait() and None)
    code, out, _ = run(["up", "--port", "0"], monkeypatch, capsys)
    answers.set()
    assert (code, out.count("\n")) == (0, 1)


@pytest.mark.parametrize("group", ["keys", "assets", "train"])
def test_a_group_without_a_command_shows_its_help(
    group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run([group], monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert f"synthforge {group} [OPTIONS] COMMAND" in err.splitlines()[0]
    assert "Commands:\n" in err


@pytest.mark.parametrize("command", ["up", "serve", "work"])
def test_help_tells_the_default_output(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run([command, "--help"], monkeypatch, capsys)
    assert "default SYNTHFORGE_OUTPUT_PREFIXES, else out/datasets." in " ".join(out.split())


def test_a_demo_that_is_interrupted_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert interruptible(interrupted) == 130
    assert capsys.readouterr().out == "stopped\n"


def test_a_bare_command_shows_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run([], monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert "generate" in err


def test_less_than_a_second_is_not_said_to_be_none() -> None:
    figure = {"basis": "built-in", "num_samples": 0}
    found = {"num_samples": 1, "num_shards": 1, "workers": 2, "num_bytes": 9, "num_refusals": 0}
    found |= {"wall_s": 0.3, "worker_seconds": 1200.4, "gpu_seconds": 0.0}
    per_sample = ("seconds_per_sample", "bytes_per_sample", "refusals_per_sample")
    lines = list(estimate_lines(found | dict.fromkeys(per_sample, figure)))
    assert lines[1].startswith("time      under 1 s on 2 workers, 1,200 s of one (")
    assert lines[2] == "GPU       0 s"
    alone = list(estimate_lines(found | dict.fromkeys(per_sample, figure) | {"workers": 1}))
    assert " on 1 worker, " in alone[1]


def test_ray_is_silent_about_signals_of_a_thread_that_has_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("ray._private.worker")

    def connect() -> None:
        with signals_kept():
            log.warning("SIGTERM handler is not set because current thread is not the main thread.")
            log.warning("a warning of weight")

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    assert caplog.messages == ["a warning of weight"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ([0, 1, 6], ["0/9", "2/9"]),  # what is new, every 5 s
        ([0, 30, 59], ["0/9"]),  # what is not, once a minute
        ([0, 30, 61], ["0/9", "0/9"]),
    ],
)
def test_in_a_log_progress_repeats_nothing_before_a_minute_has_passed(
    seconds: list[float],
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = {0: 0, 1: 1, 6: 2}
    now = 0.0
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now))
    with console.progress("job") as show:
        for now in seconds:
            show(done.get(int(now), 0), 9)
    assert capsys.readouterr().err.splitlines() == [f"job {each}" for each in shown]


def test_the_last_step_is_shown_at_once_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("job") as show:
        for done in (8, 9, 9):
            show(done, 9)
    assert capsys.readouterr().err.splitlines() == ["job 8/9", "job 9/9"]


def test_gc_names_the_database_that_is_not_there_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNTHFORGE_DATABASE_URL", raising=False)
    code, out, err = run(["gc", "--dry-run"], monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert f"no database {tmp_path}/synthforge.db: set SYNTHFORGE_DATABASE_URL as" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("jobs.db", "database_url is no URL: sqlite:///FILE or postgresql://HOST/NAME would do"),
        ("sqlite:///:memory:", "SQLite needs a file, sqlite:///FILE"),
    ],
)
def test_gc_says_which_database_would_do(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", url)
    _, _, err = run(["gc"], monkeypatch, capsys)
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("{}/file/faces", "output file://{0}/file/faces: {0}/file/faces/.synthforge cannot be"),
        ("s3://faces/set", "what is known of s3://faces/set is kept here: {0}/file/generate/"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_with_what_would_do(
    output: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "spec.json").write_text('{"count": 4}')
    monkeypatch.setenv("SYNTHFORGE_CACHE", f"{tmp_path}/file")
    arguments = ["generate", f"{tmp_path}/spec.json", "--output", output.format(tmp_path)]
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 1
    assert f"synthforge: {said.format(tmp_path)}" in err
    assert "(Not a directory): " in err


@pytest.mark.parametrize(
    ("given", "would_do"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("ftp://localhost", "http://HOST:PORT"),
        ("", "http://HOST:PORT"),
        ("http://", "http://HOST:PORT"),
    ],
)
@pytest.mark.parametrize("command", [["jobs"], ["work", "--output", "out"]])
def test_a_service_that_is_no_url_is_refused_with_one_that_would_do(
    command: list[str],
    given: str,
    would_do: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run([*command, "--service", given], monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert err == f"synthforge: --service, SYNTHFORGE_SERVICE: {given!r}: {would_do} would do\n"
