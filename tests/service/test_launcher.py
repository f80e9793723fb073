"""One pool runs on the cluster, whoever asks for it and however often."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from service.launcher import Launcher, LauncherError

ARGUMENTS = "--workers 16 --gpus 0.5"


class JobsApi:
    """Ray's Jobs REST API as far as the launcher speaks to it; behaves as Ray 2.60 does."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.tokens: set[str | None] = set()
        self.is_away = False
        self.refusal = ""

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("refused")
        self.tokens.add(request.headers.get("Authorization"))
        _, _, rest = request.url.path.partition("/api/jobs/")
        name, _, action = rest.partition("/")
        if not name:
            return self.on_all(request)
        if name not in self.jobs:
            return httpx.Response(404, text=f"Job {name} does not exist")
        if action == "stop":
            self.jobs[name]["status"] = "STOPPED"
        elif request.method == "DELETE":
            if self.jobs[name]["status"] in {"PENDING", "RUNNING"}:
                return httpx.Response(500, text="is in a non-terminal state")
            del self.jobs[name]
            return httpx.Response(200, json={"deleted": True})
        return httpx.Response(200, json=self.jobs[name])

    def on_all(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=list(self.jobs.values()))
        if self.refusal:
            return httpx.Response(400, text=self.refusal)
        job = json.loads(request.content)
        if job["submission_id"] in self.jobs:
            return httpx.Response(400, text="already exists")
        self.jobs[job["submission_id"]] = job | {"status": "PENDING", "type": "SUBMISSION"}
        return httpx.Response(200, json={"submission_id": job["submission_id"]})


@pytest.fixture
def api() -> JobsApi:
    return JobsApi()


def launcher(api: JobsApi, arguments: str = ARGUMENTS, token: str | None = None) -> Launcher:
    transport = httpx.MockTransport(api.handle)
    return Launcher(
        "http://head:8265", "http://service:8000", arguments, token=token, transport=transport
    )


def test_the_pool_is_submitted_once_and_adopted_by_whoever_comes_later(api: JobsApi) -> None:
    first, second = launcher(api), launcher(api)
    assert first.step()
    assert not first.step()
    assert not second.step()
    (job,) = api.jobs.values()
    assert job["entrypoint"] == (
        "synthforge work --service http://service:8000 --workers 16 --gpus 0.5"
    )
    assert "runtime_env" not in job


def test_two_replicas_that_submit_at_once_make_one_pool(
    api: JobsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launcher(api).step()
    late = launcher(api)
    monkeypatch.setattr(late, "_stop_predecessors", lambda: None)
    assert not late._submit()
    assert len(api.jobs) == 1


@pytest.mark.parametrize("status", ["FAILED", "STOPPED", "SUCCEEDED"])
def test_a_pool_that_ended_is_submitted_anew(api: JobsApi, status: str) -> None:
    held = launcher(api)
    held.step()
    api.jobs[held.submission_id]["status"] = status
    assert held.step()
    assert api.jobs[held.submission_id]["status"] == "PENDING"


def test_changed_arguments_make_another_pool_and_stop_the_one_before(api: JobsApi) -> None:
    before, after = launcher(api), launcher(api, "--workers 4")
    api.jobs["somebody-else"] = {"submission_id": "somebody-else", "status": "RUNNING"}
    before.step()
    assert after.step()
    assert api.jobs[before.submission_id]["status"] == "STOPPED"
    assert api.jobs[after.submission_id]["status"] == "PENDING"
    assert api.jobs["somebody-else"]["status"] == "RUNNING"


def test_a_cluster_that_is_away_or_refuses_is_an_error_in_one_line(api: JobsApi) -> None:
    held = launcher(api)
    held.step()
    api.is_away = True
    with pytest.raises(LauncherError, match="http://head:8265 cannot be reached: refused"):
        held.step()


def test_a_submission_that_ray_refuses_for_good_is_told_in_rays_words(api: JobsApi) -> None:
    api.refusal = "entrypoint_num_gpus: 9\n is more than any node has"
    with pytest.raises(LauncherError, match=r"answered 400: entrypoint_num_gpus: 9 is more than"):
        launcher(api).step()


def test_the_cluster_is_shown_its_token_and_no_key_is_in_the_job(api: JobsApi) -> None:
    launcher(api, token="t0ken").step()
    assert api.tokens == {"Bearer t0ken"}
    assert "t0ken" not in json.dumps(api.jobs)
