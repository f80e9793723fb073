"""The deployment is what compose, Docker, Kubernetes and KubeRay take: no field unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "deploy").glob("Dockerfile.*"))
SCHEMA = json.loads((ROOT / "tests/deploy/raycluster.schema.json").read_text())


def judged(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def accepted(tool: str, *arguments: object) -> None:
    done = judged(tool, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_takes_the_compose_file() -> None:
    accepted("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_hadolint_has_nothing_to_say_of_an_image(path: Path) -> None:
    accepted("hadolint", path)


def pods(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return each pod template of a RayCluster as an object of its own."""
    spec = cluster["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": {"name": group.get("groupName", "head")},
            "template": group["template"],
        }


def test_kubernetes_takes_every_object_and_every_pod_of_the_cluster(
    manifests: list[dict[str, Any]], tmp_path: Path
) -> None:
    objects = [item for item in manifests if item["kind"] != "RayCluster"]
    (cluster,) = [item for item in manifests if item["kind"] == "RayCluster"]
    objects += list(pods(cluster))
    assert len(objects) >= 8
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    accepted("kubernetes-validate", "--strict", path)
    objects[0]["colour"] = "blue"
    path.write_text(yaml.safe_dump_all(objects))
    assert judged("kubernetes-validate", "--strict", path).returncode != 0


def test_kuberay_takes_the_cluster_and_no_field_that_it_does_not_know(
    manifests: list[dict[str, Any]],
) -> None:
    (cluster,) = [item for item in manifests if item["kind"] == "RayCluster"]
    jsonschema.validate(cluster, SCHEMA)
    cluster = json.loads(json.dumps(cluster))
    cluster["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(cluster, SCHEMA)
