"""The thin shell against an API server that answers like Kubernetes, as far as it is asked."""

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest
import yaml

from components.diagnostics import ConfigurationError
from components.manifests import ObjectRef
from components.meshes.istio import component as istio
from components.meshes.linkerd import component as linkerd
from stacks import hooks, program, settings
from stacks.cluster import Cluster, ClusterView
from stacks.ownership import ANNOTATION, Claims
from stacks.plan import Plan
from stacks.settings import RawConfig
from stacks.state import Stack
from tests.components.recorder import Record, recorded
from tests.unit.stacks import fake_api
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_api import Api, listed
from tests.unit.stacks.fake_view import OWNER, compare, item, stack_of, view_of

UNUSED = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
}
"""A kubeconfig of a cluster that nothing asks."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Api]:
    with fake_api.serving(tls=False) as server:
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(server.kubeconfig({"token": "t"}, "kind-dev")), encoding="utf-8")
        monkeypatch.setenv("KUBECONFIG", str(file))
        # The repositories of the meshes' projects are not asked by tests.
        for mesh in (istio, linkerd):
            monkeypatch.setattr(mesh, "REPOSITORY", f"{server.address}/charts")
        server.answers["/charts/index.yaml"] = (200, {})
        yield server


def refused(**keys: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        program.prepare(raw(**keys), stack_of(environ=os.environ))
    return [(fault.code, fault.path) for fault in caught.value.diagnostics]


def test_a_cluster_that_has_nothing_of_the_plan_is_taken(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = (200, {"items": None})
    prepared = program.prepare(raw(), stack_of(environ=os.environ))
    assert (prepared.settings.mesh, prepared.plan.mesh.name) == ("istio", "istio")
    assert not prepared.claims.taken_over


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_cluster_refuses_are_one_fault(api: Api, status: int) -> None:
    api.answers["/version"] = (status, {})
    assert refused() == [("MSH024", "kubernetes:context")]


def test_istios_charts_are_looked_up_before_the_first_resource(api: Api) -> None:
    del api.answers["/charts/index.yaml"]
    assert refused() == [("MSH318", "meshup:charts")]


def test_an_old_cluster_is_one_fault(api: Api) -> None:
    api.answers["/version"] = (200, {"gitVersion": "v1.29.1"})
    assert refused() == [("MSH025", "kubernetes:context")]


def test_faults_of_configuration_charts_traffic_and_cluster_come_in_one_report(api: Api, tmp_path: Path) -> None:
    del api
    traffic = {"reviews": {"namespace": "bookinfo", "split": {"v1": 99}}}
    charts = {"directory": str(tmp_path / "none")}
    found = refused(mesh="isto", charts=charts, traffic=traffic, kubernetes={"context": "prod"})
    assert found == [
        ("MSH022", "kubernetes:context"),
        ("MSH301", "meshup:charts.directory"),
        ("MSH004", "meshup:mesh"),
        ("MSH110", "meshup:traffic.reviews.split"),
    ]


def shell(view: ClusterView | None = None, stack: Stack | None = None, **keys: Any) -> list[Record]:
    """Everything that `run` registers, with the transformation of the stack."""
    config = raw(**keys)
    plan, claims, _ = compare(config, view or view_of(), stack)
    return registered(config, plan, claims)


def registered(config: RawConfig, plan: Plan, claims: Claims) -> list[Record]:
    chosen, _ = settings.load(config, "dev")
    cluster = Cluster(UNUSED)

    def build() -> None:
        pulumi.runtime.register_stack_transformation(hooks.transformation(chosen, plan, claims, cluster, OWNER))
        program.register(plan, program.provider(chosen.cluster))

    return recorded(build)


def test_every_object_carries_the_stack_that_made_it() -> None:
    objects = [record for record in shell() if "metadata" in record.inputs]
    assert objects
    assert all(record.inputs["metadata"]["annotations"][ANNOTATION] == OWNER for record in objects)


def test_what_an_import_has_put_into_the_state_is_known_there_by_its_urn() -> None:
    """Else Pulumi would make it anew, and then delete what was imported."""
    imported = ObjectRef("v1", "Namespace", "bookinfo")
    urn = "urn:pulumi:dev::meshup::kubernetes:core/v1:Namespace::as-it-was-imported"
    records = shell(view_of(item("Namespace", {"name": "bookinfo"})), stack_of(states=lambda _: {imported: urn}))
    aliases = {record.name: record.aliases for record in records if record.aliases}
    assert aliases == {"namespace-bookinfo-namespace": [urn]}


def test_a_service_of_somebody_else_does_not_get_the_mark_of_the_stack() -> None:
    metadata = {"name": "web", "namespace": "shop", "annotations": {"a": "b"}}
    patch = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    deliveries: list[dict[str, Any]] = [{"delivery": "objects"}, {"delivery": "release"}, {"traffic": {}}]
    for keys in deliveries:
        plan, claims, _ = compare(raw(**keys), view_of())
        records = registered(raw(**keys), replace(plan, patches=(patch,)), claims)
        (record,) = (record for record in records if record.type.endswith(":ServicePatch"))
        assert record.inputs["metadata"] == metadata


def test_a_joined_namespace_is_patched_first_and_last_around_the_restarts_and_before_the_routes() -> None:
    """Pulumi deletes in the opposite order: the label goes before the workloads restart without their sidecar."""
    pods = [
        item(
            "Pod",
            {"name": name, "namespace": "shop", "ownerReferences": [{"kind": kind, "name": name, "controller": True}]},
        )
        for kind, name in (("StatefulSet", "db"), ("DaemonSet", "agent"))
    ]
    workloads = [
        item(kind, {"name": name, "namespace": "shop"})
        for kind, name in (("StatefulSet", "db"), ("DaemonSet", "agent"))
    ]
    view = view_of(item("Namespace", {"name": "shop"}), *pods, *workloads)
    chosen = {"restart": True, "egressHosts": ["./*"]}
    records = shell(view, namespaces={"shop": chosen})
    (component,) = (record for record in records if record.type == "meshup:index:JoinedNamespace")
    inside = [record for record in records if record.parent == component.urn]
    named = {record.name.removeprefix("namespace-shop-"): record for record in inside}
    assert {name: record.type.rpartition(":")[2] for name, record in named.items()} == {
        "join": "NamespacePatch",
        "sidecar": "Sidecar",
        "statefulset-db-restart": "StatefulSetPatch",
        "daemonset-agent-restart": "DaemonSetPatch",
        "leave": "NamespacePatch",
    }
    # The Sidecar and the first restart wait for the same, so either may be registered first.
    scope, first, second = (named[name] for name in ("sidecar", "statefulset-db-restart", "daemonset-agent-restart"))
    join, leave = inside[0], inside[-1]
    assert (join, leave) == (named["join"], named["leave"])
    assert join.inputs == leave.inputs
    for record, before in ((scope, [join]), (first, [join]), (second, [join, first]), (leave, [join, first, second])):
        assert {other.urn for other in before} <= set(record.dependencies)
    # Only the object of the stack has its mark, as no patch waits for the mark of another owner.
    marked = [record for record in inside if ANNOTATION in record.inputs["metadata"].get("annotations", {})]
    assert marked == [scope]
    (route,) = (record for record in records if record.type.endswith(":VirtualService"))
    (traffic,) = (record for record in records if record.urn == route.parent)
    assert {record.urn for record in inside} <= set(traffic.dependencies) | set(route.dependencies)


def test_releases_and_destination_rules_have_their_hooks_and_nothing_else_has_any() -> None:
    expected = {
        "kubernetes:helm.sh/v3:Release": ["clear-release-record", "clear-pending-release-record"],
        "kubernetes:networking.istio.io/v1:DestinationRule": ["routes-before-destinations"],
    }
    records = shell()
    assert set(expected) <= {record.type for record in records}
    for record in records:
        assert record.hooks == expected.get(record.type, [])


def test_releases_of_the_traffic_have_the_hooks_of_releases_and_of_destinations() -> None:
    records = shell(delivery="release")
    traffic = [record for record in records if record.name.startswith("traffic-")]
    assert len(traffic) == 2
    for record in traffic:
        hooks = ["clear-release-record", "clear-pending-release-record", "routes-before-destinations"]
        assert record.hooks == hooks


def test_values_that_came_from_a_secret_stay_one() -> None:
    def secrets(**keys: Any) -> list[bool]:
        records = [record for record in shell(**keys) if "Release" in record.type]
        return ["4dabf18193072939515e22adb298388d" in record.inputs["values"] for record in records]

    assert secrets(secret=("meshup:istio",)) == [True, True]
    assert secrets() == [False, False]


def test_the_hook_deletes_only_the_record_of_its_release(api: Api) -> None:
    cluster = Cluster(api.kubeconfig({}))
    api.answers["/api/v1/namespaces/istio-system/secrets"] = listed(
        {"name": "sh.helm.release.v1.istiod.v1", "labels": {"status": "pending-install"}},
        {"name": "sh.helm.release.v1.istio-base.v1", "labels": {"status": "deployed"}},
        {"name": "istio-ca-secret"},
    )
    said: list[str] = []
    hooks.delete_stale_records(cluster, "istiod", "istio-system", "create", said.append)
    assert api.deleted == ["/api/v1/namespaces/istio-system/secrets/sh.helm.release.v1.istiod.v1"]
    assert len(said) == 1


def test_the_guard_looks_at_the_cluster_that_the_provider_is_told_to_take(api: Api, tmp_path: Path) -> None:
    with fake_api.serving(tls=False) as other:
        other.answers["/api/v1/namespaces"] = listed({"name": "bookinfo"})
        config = api.kubeconfig({}, "kind-dev")
        config["clusters"] += [{**other.kubeconfig()["clusters"][0], "name": "other"}]
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        assert refused(kubernetes={"context": "kind-dev", "cluster": "other"}) == [("MSH026", "Namespace/bookinfo")]


def test_a_hook_that_the_cluster_refuses_ends_the_run_with_the_fault(api: Api) -> None:
    cluster = Cluster(api.kubeconfig({}))
    api.refused = ("/secrets",)
    inputs = SimpleNamespace(new_inputs={"name": "istiod", "namespace": "istio-system"})
    with pytest.raises(pulumi.RunError) as caught:
        hooks.release_hook(cluster, "create")(cast("pulumi.ResourceHookArgs", inputs))
    assert "MSH024" in str(caught.value)
    assert "may not list secrets in the namespace istio-system" in str(caught.value)
