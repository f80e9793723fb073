"""Starts the pool on a Ray cluster, and adopts the one that runs, through Ray's Jobs REST API.

The submission's id is made from what is asked for: a service that starts again, or a second
replica, finds the pool that runs, and changed arguments make another one, whose predecessor is
stopped. No key is in a job: the driver finds its own on its node (SYNTHFORGE_KEY_FILE). Known of
Ray 2.60: an id that is taken is answered with 400, and an ended job keeps its id until deleted.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
from typing import Any, Final

import httpx

_LOG: Final = logging.getLogger(__name__)
_ANSWER_S: Final = 10.0
_LIVE: Final = {"PENDING", "RUNNING"}
_ID_PREFIX: Final = "synthforge-pool-"
_OF_SERVICE: Final = "synthforge_service"  # of a job's metadata: whose pool it is
_ID_DIGITS: Final = 12


class LauncherError(Exception):
    """Ray's Jobs API does not do what it is asked; it is asked again, later."""


class _RefusedError(LauncherError):
    """Ray answered, with another status than success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Launcher:
    """Keeps one pool running on one cluster."""

    def __init__(
        self,
        jobs_url: str,
        service_url: str,
        arguments: str,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            jobs_url: of the cluster's dashboard, as `http://head:8265`.
            service_url: by which the pool reaches the service.
            arguments: of `synthforge work`.
            token: of the cluster, if it asks for one.
            transport: another way to send requests; for tests.
        """
        self._service_url = service_url
        self.entrypoint = shlex.join(
            ["synthforge", "work", "--service", service_url, *shlex.split(arguments)]
        )
        digest = hashlib.sha256(self.entrypoint.encode()).hexdigest()
        self.submission_id = _ID_PREFIX + digest[:_ID_DIGITS]
        self._http = httpx.Client(
            base_url=jobs_url,
            timeout=_ANSWER_S,
            transport=transport,
            headers={"Authorization": f"Bearer {token}"} if token else None,
        )

    def step(self) -> bool:
        """See that the pool runs; return whether it had to be submitted.

        Raises:
            LauncherError: the cluster does not answer, or refuses.
        """
        self._stop_predecessors()
        found = self._found()
        if found is not None:
            status = str(found.get("status"))
            if status in _LIVE:
                return False
            _LOG.warning(
                "the pool ended", extra={"status": status, "reason": str(found.get("message"))}
            )
            self._call("DELETE", f"/api/jobs/{self.submission_id}", known=(404,))
        return self._submit()

    def close(self) -> None:
        """Close the connections; the pool goes on."""
        self._http.close()

    def _submit(self) -> bool:
        job = {
            "submission_id": self.submission_id,
            "entrypoint": self.entrypoint,
            "metadata": {_OF_SERVICE: self._service_url},
        }
        try:
            self._call("POST", "/api/jobs/", json=job)
        except _RefusedError as refused:
            # 400 is also an id that is taken: then another replica was first, and the job is there.
            if refused.status != 400 or self._found() is None:
                raise
            return False
        _LOG.info("a pool was submitted", extra={"submission_id": self.submission_id})
        return True

    def _found(self) -> Any:
        return self._call("GET", f"/api/jobs/{self.submission_id}", known=(404,))

    def _stop_predecessors(self) -> None:
        """Stop the service's pools of other arguments: they give their leases back and leave."""
        listed: Any = self._call("GET", "/api/jobs/") or []
        for job in listed:
            other = job.get("submission_id") or ""
            ours = (job.get("metadata") or {}).get(_OF_SERVICE) == self._service_url
            if ours and other != self.submission_id and job.get("status") in _LIVE:
                self._call("POST", f"/api/jobs/{other}/stop", known=(404,))
                _LOG.info("a pool of before was stopped", extra={"submission_id": other})

    def _call(self, method: str, path: str, known: tuple[int, ...] = (), **options: Any) -> Any:
        """Return what Ray answers; None for a status that is known to mean no."""
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise LauncherError(f"{self._http.base_url} cannot be reached: {error}") from error
        if answer.status_code in known:
            return None
        if not answer.is_success:
            text = " ".join(answer.text.split())[:300]
            what = f"{method} {path} is answered {answer.status_code}: {text}"
            raise _RefusedError(what, answer.status_code)
        return answer.json()
