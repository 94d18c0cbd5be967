"""What a policy leaves to those who observe: metrics of proxies, spans, and the add-ons that read each other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from components.manifests import Manifest, object_ref
from components.meshes import MESHES
from components.security.model import Account
from components.security.plane import AccessRequest, Verdict
from components.security.world import Workload, World
from components.traffic.model import Port, Service
from stacks.plan import Plan
from tests.unit.observability.addons import plan_of
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

PODS = Service("reviews", "bookinfo", (Port(4191), Port(15090)), selector=(("app", "reviews"), ("version", "v1")))
METRICS = {"istio": 15090, "linkerd": 4191}
OURS = Account("prometheus", "prometheus")
DENY: Mapping[str, Any] = {
    "mtls": {"mode": "strict"},
    "namespaces": {"bookinfo": {"default": "deny"}},
    "preset": "bookinfo",
}


def planned(mesh: str, **keys: Any) -> Plan:
    return plan_of({"mesh": mesh, "security": DENY, "prometheus": {"enabled": True}, **keys})


def verdict(plan: Plan, caller: Account | None, **changes: Any) -> Verdict:
    """Decide a request to the metrics of a proxy of reviews by the objects of a plan."""
    port = Port(METRICS[plan.mesh.name])
    asked = replace(AccessRequest(PODS, port, caller, path="/metrics"), **changes)
    objects = plan.security.deciding(plan.delivery.objects)
    return MESHES[plan.mesh.name].security.verdict(objects, plan.security.world, asked, "strict")


def server_of(plan: Plan) -> list[Manifest]:
    return [one for one in plan.security.manifests if one["kind"] == "Server"]


@pytest.mark.parametrize("default", ["deny", "audit", "open"])
@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_prometheus_reads_the_metrics_of_proxies_whatever_the_default(mesh: str, default: str) -> None:
    policy = {**DENY, "namespaces": {"bookinfo": {"default": default}}}
    # On Istio it has no sidecar, so no identity.
    assert verdict(planned(mesh, security=policy), OURS if mesh == "linkerd" else None).allowed


def test_on_linkerd_nobody_else_reads_them_where_a_namespace_denies() -> None:
    plan = planned("linkerd")
    for caller in (Account("bookinfo", "bookinfo-reviews"), Account("prometheus", "default"), None):
        assert verdict(plan, caller).status == 403
    assert verdict(plan, None, path="/ready").allowed
    assert verdict(plan, OURS, path="/other").allowed


def test_the_objects_that_open_them_are_there_before_the_server_that_closes() -> None:
    objects = planned("linkerd").security.guarded.objects
    phases = {str(object_ref(one.manifest)): one.phase for one in objects if "proxy.metrics" in str(one.manifest)}
    server = phases.pop("Server/bookinfo/proxy.metrics")
    assert len(phases) == 2
    assert all(phase < server for phase in phases.values())


@pytest.mark.parametrize("default", ["audit", "open"])
def test_nothing_is_written_where_nothing_is_closed(default: str) -> None:
    policy = {**DENY, "namespaces": {"bookinfo": {"default": default}}}
    assert not [one for one in planned("linkerd", security=policy).security.manifests if "proxy.metrics" in str(one)]
    assert not [one for one in planned("istio").security.manifests if "proxy.metrics" in str(one)]


def test_the_prometheus_of_linkerd_viz_is_let_in_as_well() -> None:
    plan = planned("linkerd", linkerd={"viz": {"enabled": True}}, prometheus=None)
    assert verdict(plan, Account("linkerd-viz", "prometheus")).allowed
    assert not verdict(plan, OURS).allowed


def test_a_prometheus_of_ones_own_is_let_in_by_its_account_and_missed_without() -> None:
    own = {"enabled": True, "mode": "operator", "serviceAccount": "monitoring/kps"}
    assert verdict(planned("linkerd", prometheus=own), Account("monitoring", "kps")).allowed
    for chosen in ({"enabled": True, "mode": "operator"}, {"url": "http://prometheus.monitoring.svc:9090"}):
        found = build(raw(mesh="linkerd", security=DENY, prometheus=chosen))[1]
        reports = [(one.path, one.severity) for one in found if one.code == "MSH634"]
        assert reports == [("meshup:security.namespaces.bookinfo.default", "warning")]
        assert not [one for one in build(raw(security=DENY, prometheus=chosen))[1] if one.code == "MSH634"]


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_network_policies_let_the_scraper_in_and_spans_out(mesh: str) -> None:
    namespace = {"default": "deny", "networkPolicy": True, "egress": {"default": "deny"}}
    policy = {**DENY, "namespaces": {"bookinfo": namespace}}
    plan = planned(mesh, security=policy, collector={"enabled": True}, zipkin={"enabled": True})
    made = [one for one in plan.security.manifests if one["kind"] == "NetworkPolicy"]
    inward = [one["spec"]["ingress"] for one in made if one["spec"]["policyTypes"] == ["Ingress"]]
    assert inward
    for rules in inward:
        ports = {
            port["port"]
            for rule in rules
            if "from" not in rule or "'prometheus'" in str(rule["from"])
            for port in rule["ports"]
        }
        assert METRICS[mesh] in ports
        # In the mesh, a connection to any port may arrive at that of the proxy.
        assert (4143 in ports) is (mesh == "linkerd")
    (outward,) = (one["spec"]["egress"] for one in made if one["spec"]["policyTypes"] == ["Egress"])
    assert {"to": [{"namespaceSelector": {}}]} in outward


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_proxies_of_a_namespace_that_denies_everything_reach_the_collector(mesh: str) -> None:
    policy = {**DENY, "namespaces": {"bookinfo": {"default": "deny", "egress": {"default": "deny"}}}}
    plan = planned(mesh, security=policy, collector={"enabled": True}, zipkin={"enabled": True})
    service = Service("collector", "collector", (Port(4317, "otlp"),), selector=(("app", "collector"),))
    pods = Workload("collector", "collector", "Deployment", "collector", service.selector, meshed=mesh == "linkerd")
    world: World = replace(
        plan.security.world,
        services=(*plan.security.world.services, service),
        workloads=(*plan.security.world.workloads, pods),
    )
    asked = AccessRequest(service, service.ports[0], Account("bookinfo", "bookinfo-reviews"), grpc=True, path="/a.B/C")
    objects = plan.security.deciding(plan.delivery.objects)
    assert MESHES[mesh].security.verdict(objects, world, asked, "strict").allowed
