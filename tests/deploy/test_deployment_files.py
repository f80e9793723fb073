"""What the deployment's files name exists: commands, options, settings, files, pinned images."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from service.settings import Settings, describe_settings
from synthforge.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "deploy").glob("Dockerfile.*"))
SCRIPTS = "/opt/synthforge/"
# Read by commands rather than by the service; `docs/settings.md` and the trainer name them.
OTHER_VARIABLES = {
    "SYNTHFORGE_KEY",
    "SYNTHFORGE_KEY_FILE",
    "SYNTHFORGE_SERVICE",
    "SYNTHFORGE_CACHE",
}
# Settings of the service that compose decides: its image, its database, its own pools.
NOT_CHOSEN = {
    "SYNTHFORGE_AUTH",
    "SYNTHFORGE_HOST",
    "SYNTHFORGE_LAUNCH_INTERVAL_S",
    "SYNTHFORGE_POOL_ARGUMENTS",
    "SYNTHFORGE_PORT",
    "SYNTHFORGE_PUBLIC_URL",
    "SYNTHFORGE_RAY_JOBS_URL",
    "SYNTHFORGE_SHUTDOWN_GRACE_S",
    "SYNTHFORGE_SQLITE_SYNCHRONOUS",
    "SYNTHFORGE_WEBHOOK_PRIVATE",
}
# Their images bring an entry point; the words are its arguments.
FOREIGN = {"s3", "postgres", "prometheus", "grafana"}
LIST_RAY = """
import json
from ray.scripts.scripts import cli

def options(command, path):
    yield " ".join(path), [option for parameter in command.params for option in parameter.opts]
    for name, child in getattr(command, "commands", {}).items():
        yield from options(child, (*path, name))

print(json.dumps(dict(options(cli, ()))))
"""
# They run to their end, and the service waits for it.
ONCE = {"bucket", "keys"}


def words(command: str | list[str]) -> list[str]:
    """Return a command's words, with each `${NAME:-default}` at its default."""
    text = command if isinstance(command, list) else shlex.split(command)
    return [re.sub(r"\$\{\w+:-(\w*)\}", r"\1", word) for word in text]


def options_of_synthforge(*path: str) -> set[str]:
    """Return the options of a command of ours; KeyError if there is none of that name."""
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    return {option for parameter in command.params for option in parameter.opts}


@cache
def ray_commands() -> dict[str, list[str]]:
    """Return the options of every command of Ray's, in a process: Ray is slow to load."""
    shown = subprocess.run(
        [sys.executable, "-c", LIST_RAY], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(shown.stdout.splitlines()[-1])
    return found


def options_of_ray(*path: str) -> set[str]:
    """Return the options of a command of Ray's; KeyError if there is none of that name."""
    return set(ray_commands()[" ".join(path)])


def given_options(arguments: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in arguments if word.startswith("--")}


def _pod_of(cron_job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def commands(compose: dict[str, Any], manifests: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Return every command of an image of ours, in compose, Kubernetes and Dockerfiles."""
    for name, service in compose["services"].items():
        if name not in FOREIGN:
            yield words(service["command"])
    for manifest in manifests:
        if manifest["kind"] in {"Deployment", "Job"}:
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                yield container["args"]
        if manifest["kind"] == "CronJob":
            for container in _pod_of(manifest)["containers"]:
                yield container["args"]
    for path in DOCKERFILES:
        yield from map(json.loads, re.findall(r"^CMD (\[.*\])$", path.read_text(), re.MULTILINE))


def check_synthforge(command: list[str]) -> None:
    group = get_command(app)
    path = [command[1]]
    if "commands" in vars(group.commands[command[1]]):  # type: ignore[attr-defined]
        path.append(command[2])
    known = options_of_synthforge(*path) | {"--help"}
    assert given_options(command) <= known, command


def test_every_command_and_its_options_exist(
    compose: dict[str, Any], manifests: list[dict[str, Any]]
) -> None:
    ray_start = options_of_ray("start")
    found = list(commands(compose, manifests))
    assert len(found) >= 10
    for command in found:
        if command[0] == "synthforge":
            check_synthforge(command)
        elif command[:2] == ["ray", "start"]:
            assert given_options(command) <= ray_start, command
        else:
            script = command[1] if command[0] == "python" else command[0]
            assert script.startswith(SCRIPTS), command
            assert (ROOT / "deploy/container" / script.removeprefix(SCRIPTS)).is_file(), command
            if script.endswith("pool.sh"):
                check_synthforge(["synthforge", "work", *command[1:]])


def test_the_scripts_use_options_that_ray_has() -> None:
    text = (ROOT / "deploy/container/pool.sh").read_text().partition("exec ")[0]
    assert given_options(shlex.split(text, comments=True)) <= options_of_ray("start")
    text = (ROOT / "deploy/container/submit_pool.sh").read_text()
    assert "--no-wait" in options_of_ray("job", "stop")
    assert "--submission-id" in options_of_ray("job", "submit")
    assert set(re.findall(r"ray job (\w+)", text)) == {"stop", "delete", "submit"}


def deployed_files() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "deploy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / "docker-compose.yml", *(ROOT / name for name in tracked.stdout.split())]


def test_every_setting_that_is_named_exists() -> None:
    known = {variable for variable, _, _ in describe_settings()} | OTHER_VARIABLES
    for path in [*deployed_files(), ROOT / "docs/deploy.md"]:
        for variable in re.findall(r"SYNTHFORGE_[A-Z_]+", path.read_text()):
            assert variable in known, f"{path.name}: {variable}"


def test_every_file_that_is_named_exists(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file(), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0] if isinstance(volume, str) else "."
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
    for path in DOCKERFILES:
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.MULTILINE):
            for source in sources.split():
                assert (ROOT / source).exists(), f"{path.name}: {source}"
                seen = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()}
                assert source in seen, f"{path.name}: .dockerignore hides {source}"
    kustomization = yaml.safe_load((ROOT / "deploy/kuberay/kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        assert (ROOT / "deploy/kuberay" / name).is_file(), name


def images() -> Iterator[str]:
    for path in deployed_files():
        text = path.read_text()
        if path.suffix in {".yml", ".yaml"}:
            yield from re.findall(r"^\s*image: (\S+)$", text, re.MULTILINE)
            yield from re.findall(r'BASE_IMAGE: "(\S+)"', text)
        if path in DOCKERFILES:
            yield from re.findall(r"^FROM (?!\$)(\S+)", text, re.MULTILINE)
            yield from re.findall(r"BASE_IMAGE=(\S+)", text)


def test_every_image_is_pinned_by_a_tag_that_names_a_version() -> None:
    found = set(images())
    assert len(found) >= 8
    for image in found:
        tag = image.rpartition(":")[2]
        assert tag != image, f"{image} has no tag"
        assert re.search(r"\d", tag), f"{image}: the tag names no version"


def test_images_of_ours_have_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for image in set(images()):
        if image.startswith("synthforge-"):
            assert image.partition(":")[2].split("-")[0] == version[1], image


def test_the_cluster_has_the_ray_of_the_lock() -> None:
    lock = dict(
        line.split("==") for line in (ROOT / "requirements.lock").read_text().split() if line
    )
    extra = [
        line.split("==")
        for line in (ROOT / "deploy/ray.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert ["ray[default]", lock["ray"]] in extra
    for name, version in extra:
        assert lock.get(name, version) == version, f"{name} is pinned twice"
    cluster = (ROOT / "deploy/kuberay/raycluster.yaml").read_text()
    assert f"rayVersion: {lock['ray']}\n" in cluster


def test_the_installer_in_the_images_is_the_installer_of_setup() -> None:
    pinned = re.search(r"uv==(\S+)", (ROOT / "Makefile").read_text())
    assert pinned
    for path in DOCKERFILES:
        assert f"ghcr.io/astral-sh/uv:{pinned[1]} AS uv" in path.read_text(), path.name


GPU_ALONE = re.compile(
    r'^RUN test "\$\{TORCH_BACKEND\}" = cpu \|\| \((?:.*\\\n)*.*\)$', re.MULTILINE
)
"""What only an image for GPUs holds."""


def test_a_worker_for_gpus_has_what_triton_builds_with() -> None:
    text = (ROOT / "deploy/Dockerfile.worker").read_text()
    alone = GPU_ALONE.search(text)
    assert alone
    assert "gcc libc6-dev" in alone[0]
    assert "-name include" not in text  # Python's own headers
    assert "TRITON_CACHE_DIR=" in text


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_an_image_ends_without_root_and_build_tools_and_tells_its_health(path: Path) -> None:
    final = re.split(r"^FROM ", path.read_text(), flags=re.MULTILINE)[-1]
    final = GPU_ALONE.sub("", final)
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    for tool in ("apt-get", "pip install", "uv ", "--from=uv", "gcc", "curl"):
        assert tool not in final, tool


def test_every_service_restarts_is_healthy_and_listens_on_loopback_alone(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"
        assert "healthcheck" in service or "dockerfile" in service.get("build", {}), name


def test_ray_asks_for_a_token_everywhere(
    compose: dict[str, Any], manifests: list[dict[str, Any]]
) -> None:
    ours = [name for name in compose["services"] if name.startswith(("ray-", "pool-"))]
    assert len(ours) == 6
    for name in ours:
        environment = compose["services"][name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token", name
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?"), name
    (cluster,) = [item for item in manifests if item["kind"] == "RayCluster"]
    assert cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "synthforge-ray"}


def test_no_file_holds_a_secret(compose: dict[str, Any], manifests: list[dict[str, Any]]) -> None:
    assert "Secret" not in {item["kind"] for item in manifests}
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"TOKEN|SECRET|PASSWORD|KEY(?!_FILE)", variable):
                assert re.fullmatch(rf"\$\{{{'.*'}:\?.+\}}", value), f"{name}: {variable}"
    for line in (ROOT / "deploy/compose.env.example").read_text().splitlines():
        assert line.startswith("#") or not line or line.endswith("="), line
    for path in deployed_files():
        assert not re.search(r"\b[0-9a-f]{32,}\b|AKIA[0-9A-Z]{16}", path.read_text()), path.name


def test_every_setting_reaches_the_service_of_compose(compose: dict[str, Any]) -> None:
    environment = compose["services"]["service"]["environment"]
    known = {variable for variable, _, _ in describe_settings()}
    assert known - set(environment) == NOT_CHOSEN
    chosen = {variable for variable, value in environment.items() if value is None}
    assert "SYNTHFORGE_WEBHOOK_HOSTS" in chosen
    assert not chosen & {"SYNTHFORGE_DATABASE_URL", "SYNTHFORGE_OUTPUT_PREFIXES"}
    for name in ("pool-cpu", "pool-gpu", "ray-node-cpu", "ray-node-gpu"):
        held = compose["services"][name]["environment"]
        assert {"SYNTHFORGE_ASSETS", "SYNTHFORGE_TRACES_URL"} <= set(held), name


def test_settings_that_the_files_leave_empty_may_be(manifests: list[dict[str, Any]]) -> None:
    (shared,) = [item["data"] for item in manifests if item["kind"] == "ConfigMap"]
    example = (ROOT / "deploy/compose.env.example").read_text()
    empty = set(re.findall(r"^(SYNTHFORGE_\w+)=$", example, re.MULTILINE))
    assert empty == {name for name, value in shared.items() if value == ""}
    assert len(empty) == 3
    assert Settings.from_env(dict.fromkeys(empty, "")) == Settings()


def test_the_service_of_kubernetes_reads_every_setting_there_is_in_the_map(
    manifests: list[dict[str, Any]],
) -> None:
    (service,) = [
        item
        for item in manifests
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", "synthforge")
    ]
    (container,) = service["spec"]["template"]["spec"]["containers"]
    assert {"configMapRef": {"name": "synthforge"}} in container["envFrom"]
    (cluster,) = [item for item in manifests if item["kind"] == "RayCluster"]
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {"configMapRef": {"name": "synthforge"}} in head["envFrom"]


def test_what_lets_old_things_go_runs_every_day_with_the_services_settings(
    compose: dict[str, Any], manifests: list[dict[str, Any]]
) -> None:
    assert (
        compose["services"]["gc"]["environment"] == (compose["services"]["service"]["environment"])
    )
    (cron_job,) = [item for item in manifests if item["kind"] == "CronJob"]
    (service,) = [
        item
        for item in manifests
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", "synthforge")
    ]
    (ours,) = _pod_of(cron_job)["containers"]
    (theirs,) = service["spec"]["template"]["spec"]["containers"]
    assert (ours["envFrom"], ours["env"]) == (theirs["envFrom"], theirs["env"])
    assert ours["args"] == ["synthforge", "gc"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", cron_job["spec"]["schedule"])


def test_every_secret_of_compose_is_in_the_example(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / "deploy/compose.env.example").read_text()
    wanted = re.findall(r"\$\{(\w+):", text) + re.findall(r"\{environment: (\w+)\}", text)
    assert len(wanted) > 8
    for variable in wanted:
        assert re.search(rf"^{variable}=$", example, re.MULTILINE), variable
    assert (ROOT / ".gitignore").read_text().splitlines().count(".env") == 1
