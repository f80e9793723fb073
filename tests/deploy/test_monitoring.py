"""Dashboard, alerts and runbook speak of metrics that the service has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from service.database import Database
from service.metrics import Metrics
from service.store import Store

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/grafana/dashboards/synthforge.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"


@pytest.fixture(scope="module")
def labels_of_series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series name that the service can expose, with its labels."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('metrics') / 'jobs.db'}")
    database.migrate()
    metrics = Metrics(Store(database))
    series: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        names = set(getattr(family.samples[0], "labels", {})) if family.samples else set()
        kinds = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        for suffix in kinds.get(family.type, [""]):
            series[family.name + suffix] = names | ({"le"} if suffix == "_bucket" else set())
    for value in vars(metrics).values():
        for name in getattr(value, "_labelnames", ()):
            for suffix in ("_total", "_bucket", "_count", "_sum"):
                if (full := f"{value._name}{suffix}") in series:
                    series[full].add(name)
    database.close()
    return series


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return found + [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_series_of_dashboard_and_alerts_exists(
    labels_of_series: dict[str, set[str]],
) -> None:
    for expression in expressions():
        for name in re.findall(r"synthforge_\w+", expression):
            assert name in labels_of_series, expression


def test_they_group_by_labels_that_the_series_have(
    labels_of_series: dict[str, set[str]],
) -> None:
    for expression in expressions():
        names = re.findall(r"synthforge_\w+", expression)
        known = {label for name in names for label in labels_of_series[name]}
        for grouped in re.findall(r"by \(([\w, ]+)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= known, expression


def test_every_metric_is_on_the_dashboard_and_in_the_runbook(
    labels_of_series: dict[str, set[str]],
) -> None:
    shown = DASHBOARD.read_text()
    runbook = (ROOT / "docs/deploy.md").read_text()
    for name in labels_of_series:
        if name.endswith("_sum"):
            continue
        base = re.sub(r"_(bucket|count)$", "", name)
        assert base in shown, name
        assert f"`{base}`" in runbook, name


def test_panels_have_their_own_ids_and_the_provisioned_source() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    sources = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(sources.read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_every_alert_is_in_the_runbook() -> None:
    runbook = (ROOT / "docs/deploy.md").read_text()
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in runbook, rule["alert"]
