"""All add-ons on a real engine and a real API server, with charts that stand in for the real ones."""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from devcluster import stackfile
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests import promtool
from tests.cluster.command_lines import Arguments
from tests.conftest import as_account, grant, prepared_program

pytestmark = pytest.mark.cluster

STAND_INS = Path(__file__).parents[1] / "charts"
ADDONS = ("prometheus", "grafana", "kiali", "zipkin", "jaeger", "collector")
CHARTS = ("prometheus", "grafana", "kiali-server", "zipkin", "jaeger", "opentelemetry-collector")
SECRETS = {"grafana": ("grafana-admin", "admin-password"), "kiali": ("kiali-signing-key", "key")}
"""The generated passwords: name and key of the Secret by namespace."""
ROUTE: dict[str, Any] = {
    "namespace": "default",
    "port": 80,
    "versions": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
    "split": {"v1": 90, "v2": 10},
    "slo": {"success": 99.9},
}


@dataclass(frozen=True)
class Deployed:
    """The stack, what its first `up` said, and the command lines of all processes meanwhile.

    Pulumi runs with the rights of docs/rbac; what is looked at is looked at by an administrator.
    """

    stack: Stack
    cluster: Stack
    said: str
    command_lines: str


def run(stack: Stack, *argv: str) -> str:
    """Run a command beside the cluster of a stack."""
    done = subprocess.run(
        stack.wrap(argv), cwd=stack.project, env=stack.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(stack: Stack, namespace: str, kind: str, name: str) -> Any:
    """Return an object of the cluster."""
    return json.loads(run(stack, "kubectl", "--namespace", namespace, "get", kind, name, "--output", "json"))


def files(stack: Stack) -> dict[str, Any]:
    """Return the files of Prometheus as they are on the cluster."""
    data = read(stack, "prometheus", "configmap", "prometheus")["data"]
    return {name: yaml.safe_load(text) for name, text in data.items()}


def passwords(stack: Stack) -> dict[str, str]:
    """Return the generated passwords by namespace."""
    found: dict[str, str] = {}
    for namespace, (name, key) in SECRETS.items():
        data = read(stack, namespace, "secret", name)["data"]
        found[namespace] = base64.b64decode(data[key]).decode()
    return found


def admitted(stack: Stack, namespace: str, name: str) -> set[str]:
    """Return the namespaces that a NetworkPolicy lets in."""
    entries = read(stack, namespace, "networkpolicy", name)["spec"]["ingress"]
    peers = [peer["namespaceSelector"]["matchLabels"] for entry in entries for peer in entry["from"]]
    return {labels["kubernetes.io/metadata.name"] for labels in peers}


@pytest.fixture(scope="module")
def deployed(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A mesh without webhooks, one route and all add-ons; the charts are Istio's and the stand-ins."""
    folder = tmp_path_factory.mktemp("addons")
    embedded.toolbox.ensure(["kubectl", "helm", "istio-charts"])
    charts = folder / "charts"
    charts.mkdir()
    for chart in (*embedded.toolbox.path("istio-charts").iterdir(), *(STAND_INS / name for name in CHARTS)):
        (charts / chart.name).symlink_to(chart)
    settings: dict[str, Any] = {
        "meshup:apps": "[]",
        "meshup:charts": {"directory": str(charts)},
        "meshup:istio": {"webhooks": False},
        "meshup:traffic": {"s": ROUTE},
        **{f"meshup:{name}": {"enabled": True} for name in ADDONS},
        "meshup:prometheus": {"enabled": True, "kubeStateMetrics": False},
        "meshup:zipkin": {"enabled": True, "spans": 5000},
    }
    subject = prepared_program(embedded, folder, settings)
    subject.file.write_text(subject.file.read_text().replace('meshup:apps: "[]"', "meshup:apps: []"))
    limited = as_account(embedded, subject, folder, "addons-deployer")
    grant(embedded, "addons-deployer", "istio")
    with Arguments() as lines:
        said = run(limited, "pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--show-full-output=true")
    yield Deployed(limited, subject, said, "\n".join(lines.seen))
    limited.recover()
    limited.run(["destroy", "--yes", "--skip-preview"], quiet=True)


@pytest.fixture(scope="module")
def stack(deployed: Deployed) -> Stack:
    return deployed.stack


@pytest.fixture(scope="module")
def cluster(deployed: Deployed) -> Stack:
    return deployed.cluster


def test_the_rules_of_the_routes_reach_prometheus_and_nothing_drifts(
    stack: Stack, cluster: Stack, tmp_path: Path
) -> None:
    found = files(cluster)
    groups = [*found["recording_rules.yml"]["groups"], *found["alerting_rules.yml"]["groups"]]
    promtool.check(tmp_path, groups)
    names = {rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]}
    assert {"meshup:split:declared_share", "MeshupErrorBudgetBurn"} <= names
    jobs = [job["job_name"] for job in found["prometheus.yml"]["scrape_configs"]]
    assert jobs == ["meshup-istio-agents", "meshup-istio-proxies", "meshup-istiod", "prometheus"]
    before = passwords(cluster)
    stack.run(["up", "--yes", "--skip-preview", "--expect-no-changes"], quiet=True)
    assert passwords(cluster) == before


def test_an_add_on_is_open_to_those_that_read_it(cluster: Stack) -> None:
    assert admitted(cluster, "prometheus", "prometheus") == {"prometheus", "grafana", "kiali"}
    assert {"grafana", "kiali", "collector"} <= admitted(cluster, "jaeger", "jaeger")
    assert {"grafana", "collector"} <= admitted(cluster, "zipkin", "zipkin")
    assert admitted(cluster, "grafana", "grafana") == {"grafana"}
    assert admitted(cluster, "kiali", "kiali") == {"kiali"}


def test_a_password_is_in_its_secret_and_nowhere_else(deployed: Deployed) -> None:
    stack, cluster = deployed.stack, deployed.cluster
    found = passwords(cluster)
    assert {len(value) for value in found.values()} == {32}
    assert len(set(found.values())) == len(found)
    state = stack.run(["stack", "export"], quiet=True)
    shown = json.dumps(stack.outputs())
    releases = [run(cluster, "helm", "get", "all", name, "--namespace", where) for name, where in _releases(cluster)]
    assert "meshup:Password" in state
    assert "grafana-admin" in shown
    assert "port-forward" in shown
    assert "pulumi" in deployed.command_lines
    for value in found.values():
        for form in (value, base64.b64encode(value.encode()).decode()):
            for place in (state, shown, deployed.said, deployed.command_lines, *releases):
                assert form not in place


def _releases(cluster: Stack) -> list[tuple[str, str]]:
    listed = json.loads(run(cluster, "helm", "list", "--all-namespaces", "--output", "json"))
    found = [(one["name"], one["namespace"]) for one in listed if one["name"] in CHARTS]
    assert len(found) == len(CHARTS)
    return found


def test_two_renders_of_a_chart_are_the_same(cluster: Stack, tmp_path: Path) -> None:
    """The stand-ins of Grafana and Kiali draw passwords as the real charts do, unless the values name a Secret."""
    for name, namespace in _releases(cluster):
        values = tmp_path / f"{name}.yaml"
        values.write_text(run(cluster, "helm", "get", "values", name, "--namespace", namespace, "--output", "yaml"))
        command = ["helm", "template", name, str(STAND_INS / name), "--namespace", namespace, "--values", str(values)]
        assert run(cluster, *command) == run(cluster, *command), name


def test_the_output_leads_to_the_password(stack: Stack, cluster: Stack) -> None:
    dashboards = cast("dict[str, dict[str, str]]", stack.outputs()["dashboards"])
    assert set(dashboards) == {"prometheus", "grafana", "kiali-server", "zipkin", "jaeger"}
    assert run(cluster, "sh", "-c", dashboards["grafana"]["passwordCommand"]) == passwords(cluster)["grafana"]
    assert run(cluster, "sh", "-c", dashboards["kiali-server"]["tokenCommand"]).count(".") == 2


def test_grafana_has_the_dashboards_that_its_pod_mounts(cluster: Stack) -> None:
    boards = read(cluster, "grafana", "configmap", "grafana-dashboards")["data"]
    assert "meshup-istio-split.json" in boards
    pod = read(cluster, "grafana", "deployment", "grafana")["spec"]["template"]["spec"]
    assert {"name": "dashboards-meshup", "configMap": {"name": "grafana-dashboards", "defaultMode": 420}} in pod[
        "volumes"
    ]


def test_stores_of_traces_are_bounded_and_the_collector_sends_to_both(cluster: Stack) -> None:
    (zipkin,) = read(cluster, "zipkin", "deployment", "zipkin")["spec"]["template"]["spec"]["containers"]
    options = {one["name"]: one["value"] for one in zipkin["env"]}
    assert "-Dzipkin.storage.mem.max-spans=5000" in options["JAVA_OPTS"].split()
    (jaeger,) = read(cluster, "jaeger", "deployment", "jaeger")["spec"]["template"]["spec"]["containers"]
    assert jaeger["args"] == ["--set=extensions.jaeger_storage.backends.some_storage.memory.max_traces=50000"]
    config = yaml.safe_load(read(cluster, "collector", "configmap", "collector")["data"]["relay"])
    assert set(config["receivers"]) == {"otlp", "zipkin"}
    assert config["service"]["pipelines"]["traces"]["exporters"] == ["otlp_grpc/jaeger", "zipkin"]
    ports = read(cluster, "collector", "service", "collector")["spec"]["ports"]
    assert {(port["port"], port.get("appProtocol")) for port in ports} == {
        (4317, "grpc"),
        (4318, "http"),
        (9411, "http"),
    }


@pytest.mark.parametrize("namespace", [name for name in ADDONS if name != "prometheus"])
def test_the_api_server_takes_pods_of_an_add_on_under_the_restricted_standard(cluster: Stack, namespace: str) -> None:
    labels = read(cluster, "", "namespace", namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    listed = run(cluster, "kubectl", "--namespace", namespace, "get", "pods", "--output", "name")
    assert listed.count("pod/") == 1


def test_another_weight_is_another_declared_share_and_another_rotation_another_password(
    stack: Stack, cluster: Stack
) -> None:
    before = passwords(cluster)
    text = stack.file.read_text()
    changed: dict[str, Any] = {
        "meshup:traffic": {"s": {**ROUTE, "split": {"v1": 50, "v2": 50}}},
        "meshup:grafana": {"enabled": True, "rotation": 2},
    }
    stack.file.write_text(stackfile.with_settings(text, changed))
    stack.up()
    rules = [rule for group in files(cluster)["recording_rules.yml"]["groups"] for rule in group["rules"]]
    shares = [rule["expr"] for rule in rules if rule["record"] == "meshup:split:declared_share"]
    assert shares == ["vector(0.5)", "vector(0.5)"]
    after = passwords(cluster)
    assert after["grafana"] != before["grafana"]
    assert after["kiali"] == before["kiali"]
    (container,) = read(cluster, "grafana", "deployment", "grafana")["spec"]["template"]["spec"]["containers"]
    assert {"name": "MESHUP_ROTATION", "value": "2"} in container["env"]
