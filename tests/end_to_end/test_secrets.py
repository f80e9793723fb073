"""What Ray keeps of a pool, on disk and of its jobs, holds no secret of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.end_to_end.engine import Made
from tools.s3_server import S3Server


def test_neither_logs_nor_job_records_of_ray_hold_a_secret(
    undisturbed: Made, key: str, s3_server: S3Server
) -> None:
    import ray  # noqa: PLC0415 - it reads the environment, which the fixtures prepare

    assert undisturbed.manifest.shards  # a pool with the key has worked
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    logs = [path for path in (session / "logs").rglob("*") if path.is_file()]
    assert len(logs) > 3
    records = json.dumps(ray._private.state.jobs(), default=str)
    assert "JobID" in records
    for secret in (key, s3_server.secret_key, os.environ["RAY_AUTH_TOKEN"]):
        assert secret not in records
        assert [path.name for path in logs if secret.encode() in path.read_bytes()] == []
