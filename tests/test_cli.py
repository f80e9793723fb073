"""The commands: exit codes, one-line errors, standard input, JSON."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.server import serving
from service.settings import Settings
from synthforge import __version__, cli, client
from synthforge.commands import engine, inputs
from synthforge.job_logs import LEVELS, LogBatch, LogLine
from synthforge.shards import SUMMARY_NAMES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command sends the root logger's records to a stream that is closed soon."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Run a command as a shell would; return exit code, standard output and error."""
    monkeypatch.setattr(sys, "argv", ["synthforge", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fly"], 2, "No such command"),
        (["verify"], 2, "Missing argument"),
        (["submit", "absent.json"], 2, "absent.json: No such file or directory"),
        (["verify", "ftp://host/x"], 2, "ftp"),
        (["verify", "nothing-here"], 1, "no such object"),
        (["inspect", "nothing-here"], 1, "no such object"),
        (["regenerate", "nothing-here", "--index", "0", "--out", "x"], 1, "no such object"),
        (["cancel", "job-1", "--service", "http://127.0.0.1:9"], 1, "cannot be reached"),
        (["train", "stage1", "--data", "nothing-here", "--out", "x"], 1, "manifest"),
    ],
)
def test_an_error_is_one_line_that_says_what_is_wrong(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "PATIENCE_S", 0.0)
    found, out, err = run(arguments, monkeypatch, capsys)
    assert found == code
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("synthforge: ")
    assert said in err


def test_a_spec_that_cannot_be_made_is_a_usage_error_naming_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"count": 0}')
    code, _, err = run(["generate", str(path), "--output", str(tmp_path)], monkeypatch, capsys)
    assert code == 2
    assert "count: " in err
    assert not (tmp_path / "manifest.json").exists()


def test_a_document_that_is_no_manifest_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text('{"schema_version": 1}')
    code, _, err = run(["inspect", str(tmp_path)], monkeypatch, capsys)
    assert code == 1
    assert (
        err == f"synthforge: file://{tmp_path}/manifest.json is no manifest: job: Field required\n"
    )


def test_generate_leaves_a_dataset_that_is_there_already_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text('{"count": 1}')
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "manifest.json").write_text("precious")

    def no_pool(*_arguments: object, **_options: object) -> None:
        pytest.fail("a pool was started for a job that is refused")

    monkeypatch.setattr(engine, "_run_pool", no_pool)
    arguments = ["generate", str(tmp_path / "spec.json"), "--output", str(tmp_path / "faces")]
    code, out, err = run(arguments, monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert "a dataset lies there already" in err
    assert (tmp_path / "faces" / "manifest.json").read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a worker cannot start: no room"), "a worker cannot start: no room"),
        (ModuleNotFoundError("No module named 'ray'", name="ray"), "package ray is not installed"),
    ],
)
def test_what_nobody_expected_is_one_line_too(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(engine, "_run_pool", fail)
    code, _, err = run(["work"], monkeypatch, capsys)
    assert (code, err.count("\n")) == (1, 1)
    assert said in err


def test_a_traceback_is_shown_to_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("deep")

    monkeypatch.setattr(engine, "_run_pool", fail)
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(RuntimeError, match="deep"):
        run(["work"], monkeypatch, capsys)


def test_generate_without_an_output_says_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"count": 1}')
    code, _, err = run(["generate", str(path)], monkeypatch, capsys)
    assert (code, "--output URL" in err) == (2, True)


def test_help_and_version_are_on_standard_output() -> None:
    done = CliRunner().invoke(cli.app, ["--version"])
    assert done.output.strip() == __version__
    for command in ("generate", "verify", "train"):
        assert CliRunner().invoke(cli.app, [command, "--help"]).exit_code == 0


def test_generate_makes_verifies_and_shows_a_dataset_from_standard_input(tmp_path: Path) -> None:
    spec = {"count": 6, "image": {"size": 64}, "output": {"samples_per_shard": 3}}
    synthforge = [sys.executable, "-m", "synthforge"]
    made = subprocess.run(
        [*synthforge, "generate", "-", "--output", str(tmp_path / "faces"), "--workers", "1"],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"RAY_DEDUP_LOGS": "0"},
    )
    assert made.returncode == 0, made.stderr
    assert "6 samples verified" in made.stdout
    assert {path.name for path in (tmp_path / "faces").iterdir()} == {
        "shards", "manifests", "manifest.json", *SUMMARY_NAMES,
    }  # fmt: skip
    shown = CliRunner().invoke(cli.app, ["inspect", str(tmp_path / "faces")])
    assert "samples      6" in shown.output
    checked = CliRunner().invoke(cli.app, ["verify", str(tmp_path / "faces"), "--json"])
    assert json.loads(checked.stdout)["ok"] is True

    shard = next((tmp_path / "faces" / "shards").iterdir())
    torn = bytearray(shard.read_bytes())
    torn[5000] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(torn)
    checked = CliRunner().invoke(cli.app, ["verify", str(tmp_path / "faces"), "--json"])
    assert checked.exit_code == 1
    assert json.loads(checked.stdout)["findings"]


def test_the_first_key_is_made_in_the_database_and_makes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", f"sqlite:///{tmp_path}/jobs.db")
    admin = tmp_path / "admin.key"
    code, out, err = run(["keys", "bootstrap", "--out", str(admin)], monkeypatch, capsys)
    assert (code, out) == (0, "")
    assert re.fullmatch(r"key key-[0-9a-f]{12} admin: admin\n", err)
    assert admin.stat().st_mode & 0o777 == 0o600
    code, _, err = run(["keys", "bootstrap", "--out", str(admin)], monkeypatch, capsys)
    assert (code, "exists" in err) == (2, True)
    settings = Settings.from_env({"SYNTHFORGE_DATABASE_URL": f"sqlite:///{tmp_path}/jobs.db"})
    with serving(replace(settings, port=0)) as url:
        monkeypatch.setenv("SYNTHFORGE_SERVICE", url)
        code, _, err = run(["keys", "list"], monkeypatch, capsys)
        assert (code, "no key was sent: set SYNTHFORGE_KEY_FILE" in err) == (1, True)
        monkeypatch.setenv("SYNTHFORGE_KEY_FILE", str(admin))
        code, key, err = run(["keys", "create", "ci", "--max-jobs", "3"], monkeypatch, capsys)
        assert (code, key.startswith("sf_")) == (0, True)
        key_id = err.split()[1]
        code, out, _ = run(["keys", "list"], monkeypatch, capsys)
        assert f"{key_id} ci [read,submit] 0 of 3 jobs, 0 samples, 0 bytes" in out
        code, out, _ = run(["keys", "revoke", key_id], monkeypatch, capsys)
        assert (code, "(revoked " in out) == (0, True)
        code, out, _ = run(["keys", "list", "--json"], monkeypatch, capsys)
        assert [key["name"] for key in json.loads(out)["keys"]] == ["admin", "ci"]


def test_a_key_of_ones_own_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", f"sqlite:///{tmp_path}/jobs.db")
    own = tmp_path / "own.key"
    own.write_text("0123456789abcdef" * 4 + "\n")
    command = ["keys", "bootstrap", "pool", "--scopes", "worker", "--from-file", str(own)]
    first, again = (run(command, monkeypatch, capsys) for _ in range(2))
    assert first == again
    own.write_text("short")
    code, _, err = run(command, monkeypatch, capsys)
    assert (code, "32 to 256" in err) == (1, True)
    code, _, err = run(["keys", "bootstrap", "--scopes", "root"], monkeypatch, capsys)
    assert (code, "submit, read, worker, admin would do" in err) == (2, True)


def test_a_jobs_log_is_shown_for_people_and_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "_LOG_LOOK_EVERY_S", 0.0)
    url = f"sqlite:///{tmp_path}/jobs.db"
    output = str(tmp_path / "faces")
    settings = Settings(database_url=url, output_prefixes=(output,), auth="off", port=0)
    with serving(settings) as served, client.Client(served) as http:
        job = http.submit({"count": 1}).id
        line = {"job_id": job, "shard": "train-000000", "token": "abcdefgh"}
        told = [  # the later a line was logged, the sooner it is told
            LogLine.model_validate(line | {"at": at, "level": level, "message": f"an {level} line"})
            for at, level in zip((0.25, 0.125, 0.0), LEVELS, strict=True)
        ]
        http.tell_logs(LogBatch(pool="pool-a", lines=tuple(told)))
        code, out, err = run(["logs", job, "--service", served], monkeypatch, capsys)
        assert (code, err, out.count("\n")) == (0, "", 3)
        assert "1970-01-01T00:00:00.125Z WARNING train-000000 pool-a: an warning line\n" in out
        assert [line.split()[1] for line in out.splitlines()] == ["ERROR", "WARNING", "INFO"]
        http.cancel(job)
        command = ["logs", job, "--service", served, "--level", "error", "--follow", "--json"]
        code, out, _ = run(command, monkeypatch, capsys)
        assert (code, json.loads(out)["message"]) == (0, "an error line")
        code, _, err = run(["logs", "job-none", "--service", served], monkeypatch, capsys)
        assert (code, "`synthforge jobs` (GET /v1/jobs) lists" in err) == (1, True)


def test_jobs_are_listed_and_shown_and_their_datasets_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prefixes = (str(tmp_path / "a-folder-of-a-long-name" / "faces"),)
    url = f"sqlite:///{tmp_path}/jobs.db"
    settings = Settings(database_url=url, output_prefixes=prefixes, auth="off", port=0)
    with serving(settings) as served, client.Client(served) as http:
        at = ["--service", served]
        code, out, err = run(["jobs", *at], monkeypatch, capsys)
        assert (code, out, err) == (0, "", "no jobs\n")
        made = [http.submit({"count": 2, "name": f"[red]{n}"}) for n in range(3)]
        http.cancel(made[1].id)
        code, out, _ = run(["jobs", *at, "--limit", "2"], monkeypatch, capsys)
        head, *rows = out.splitlines()
        assert (code, head.split()[:3]) == (0, ["job", "state", "samples"])
        assert [row.split()[:3] for row in rows] == [
            [made[2].id, "queued", "0/2"],
            [made[1].id, "cancelled", "0/2"],
        ]
        assert "[red]2" in rows[0]
        assert rows[0].rstrip().endswith(made[2].output_url)
        code, out, _ = run(["jobs", *at, "--json", "--state", "cancelled"], monkeypatch, capsys)
        assert (code, json.loads(out)["id"]) == (0, made[1].id)
        code, out, _ = run(["status", made[1].id, *at], monkeypatch, capsys)
        assert (code, "state        cancelled\n" in out) == (0, True)
        assert "samples      0 of 2, 0 refused\n" in out
        code, out, _ = run(["status", made[0].id, *at, "--json"], monkeypatch, capsys)
        assert (code, json.loads(out)["state"]) == (0, "queued")
        code, out, err = run(["watch", made[1].id, *at], monkeypatch, capsys)
        assert (code, err.splitlines()[-1]) == (1, f"synthforge: job {made[1].id} cancelled")
        elsewhere = tmp_path / "elsewhere.json"
        elsewhere.write_text('{"count": 1, "output": {"url": "s3://not/allowed"}}')
        code, out, err = run(["submit", str(elsewhere), *at], monkeypatch, capsys)
        assert (code, out, "a URL under one of" in err) == (2, "", True)
        code, out, err = run(["delete", made[1].id, *at], monkeypatch, capsys)
        assert (code, out) == (0, f"{made[1].output_url}\n")
        code, out, err = run(["delete", made[0].id, *at], monkeypatch, capsys)
        assert (code, out, "is queued" in err) == (1, "", True)
