"""The thin shell against an API server that answers like Kubernetes, as far as it is asked."""

from collections.abc import Generator, Sequence
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
from stacks import delivery, hooks, program, settings
from stacks.charts import Charts
from stacks.ownership import ANNOTATION
from stacks.plan import plan
from tests.components.recorder import recorded
from tests.unit.stacks import fake_api
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_api import Api, listed

OWNER = "organization/meshup/dev"


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


def no_state(stack: str) -> dict[ObjectRef, str]:
    del stack
    return {}


def refused(**keys: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        program.prepare(raw(**keys), "dev", OWNER, no_state)
    return [(fault.code, fault.path) for fault in caught.value.diagnostics]


def test_a_cluster_that_has_nothing_of_the_plan_is_taken(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = (200, {"items": None})
    chosen, planned, _ = program.prepare(raw(), "dev", OWNER, no_state)
    assert (chosen.mesh, planned.mesh.kind) == ("istio", "istio")


def test_what_an_interrupted_run_of_this_stack_made_is_taken_over(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = listed({"name": "bookinfo", "annotations": {ANNOTATION: OWNER}})
    _, planned, _ = program.prepare(raw(), "dev", OWNER, no_state)
    assert [namespace["name"] for namespace in planned.namespaces] == ["bookinfo"]


def test_what_belongs_to_somebody_else_is_refused(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = listed(
        {"name": "bookinfo"}, {"name": "istio-system", "annotations": {ANNOTATION: "a/meshup/prod"}}, {"name": "x"}
    )
    assert refused() == [("MSH026", "Namespace/bookinfo"), ("MSH026", "Namespace/istio-system")]


def test_another_mesh_and_a_control_plane_that_would_go_first_are_refused_before_the_first_resource(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = listed({"name": "istio-system", "annotations": {ANNOTATION: OWNER}})
    webhooks = [{"name": "object.sidecar-injector.istio.io", "clientConfig": {"url": "https://mesh.example/inject"}}]
    found = 200, {"items": [{"metadata": {"name": "istio-sidecar-injector-managed"}, "webhooks": webhooks}]}
    api.answers["/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"] = found
    istiod = {
        "name": "istiod",
        "labels": {"app": "istiod", "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"},
    }
    api.answers["/apis/apps/v1/namespaces/istio-system/deployments"] = listed(istiod)
    assert refused(istio={"revision": "canary"}) == [("MSH326", "meshup:istio"), ("MSH321", "meshup:mesh")]


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


def shell(api: Api, patches: Sequence[Any] = (), **keys: Any) -> list[Any]:
    """Everything that `run` registers, with the transformation of the stack."""
    chosen, _ = settings.load(raw(**keys), "dev")
    planned, _ = delivery.decide(replace(plan(chosen, Charts())[0], patches=tuple(patches)), chosen.delivery, OWNER)
    api.answers["/api/v1/namespaces"] = listed()
    cluster = program.prepare(raw(), "dev", OWNER, no_state)[2]

    def build() -> None:
        pulumi.runtime.register_stack_transformation(hooks.transformation(chosen, planned, OWNER, cluster))
        program.deploy(planned, program.provider(chosen.cluster))

    return recorded(build)


def test_every_object_carries_the_stack_that_made_it(api: Api) -> None:
    objects = [record for record in shell(api) if "metadata" in record.inputs]
    assert objects
    assert all(record.inputs["metadata"]["annotations"][ANNOTATION] == OWNER for record in objects)


def test_what_an_import_has_put_into_the_state_is_known_there_by_its_urn(api: Api) -> None:
    """Else Pulumi would make it anew, and then delete what was imported."""
    imported = ObjectRef("v1", "Namespace", "bookinfo")
    urn = "urn:pulumi:dev::meshup::kubernetes:core/v1:Namespace::as-it-was-imported"
    api.answers["/api/v1/namespaces"] = listed({"name": "bookinfo"})
    _, planned, cluster = program.prepare(raw(), "dev", OWNER, lambda _: {imported: urn})
    chosen, _ = settings.load(raw(), "dev")

    def build() -> None:
        pulumi.runtime.register_stack_transformation(hooks.transformation(chosen, planned, OWNER, cluster))
        program.deploy(planned, program.provider(chosen.cluster))

    aliases = {record.name: record.aliases for record in recorded(build) if record.aliases}
    assert aliases == {"namespace-bookinfo-namespace": [urn]}


def test_a_service_of_somebody_else_does_not_get_the_mark_of_the_stack(api: Api) -> None:
    metadata = {"name": "web", "namespace": "shop", "annotations": {"a": "b"}}
    patch = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    ways: list[dict[str, Any]] = [{"delivery": "objects"}, {"delivery": "release"}, {"traffic": {}}]
    for keys in ways:
        (record,) = (item for item in shell(api, [patch], **keys) if item.type == hooks.SERVICE_PATCH_TYPE)
        assert record.inputs["metadata"] == metadata


def test_releases_and_destination_rules_have_their_hooks_and_nothing_else_has_any(api: Api) -> None:
    expected = {
        "kubernetes:helm.sh/v3:Release": ["clear-release-record", "clear-pending-release-record"],
        "kubernetes:networking.istio.io/v1:DestinationRule": ["routes-before-destinations"],
    }
    records = shell(api)
    assert set(expected) <= {record.type for record in records}
    for record in records:
        assert record.hooks == expected.get(record.type, [])


def test_releases_of_the_traffic_have_the_hooks_of_releases_and_of_destinations(api: Api) -> None:
    records = shell(api, delivery="release")
    traffic = [record for record in records if record.name.startswith("traffic-")]
    assert len(traffic) == 2
    for record in traffic:
        hooks = ["clear-release-record", "clear-pending-release-record", "routes-before-destinations"]
        assert record.hooks == hooks


def test_values_that_came_from_a_secret_stay_one(api: Api) -> None:
    def secrets(**keys: Any) -> list[bool]:
        records = [record for record in shell(api, **keys) if "Release" in record.type]
        return ["4dabf18193072939515e22adb298388d" in record.inputs["values"] for record in records]

    assert secrets(secret=("meshup:istio",)) == [True, True]
    assert secrets() == [False, False]


def test_the_hook_deletes_only_the_record_of_its_release(api: Api) -> None:
    api.answers["/api/v1/namespaces"] = listed()
    cluster = program.prepare(raw(), "dev", OWNER, no_state)[2]
    api.answers["/api/v1/namespaces/istio-system/secrets"] = listed(
        {"name": "sh.helm.release.v1.istiod.v1", "labels": {"status": "pending-install"}},
        {"name": "sh.helm.release.v1.istio-base.v1", "labels": {"status": "deployed"}},
        {"name": "istio-ca-secret"},
    )
    said: list[str] = []
    hooks.clear(cluster, "istiod", "istio-system", "create", said.append)
    assert api.deleted == ["/api/v1/namespaces/istio-system/secrets/sh.helm.release.v1.istiod.v1"]
    assert len(said) == 1


def test_every_right_that_is_missing_is_in_one_report(api: Api) -> None:
    api.refused = ("/namespaces", "/nodes", "/customresourcedefinitions", "/validatingadmissionpolicies", "/secrets")
    with pytest.raises(ConfigurationError) as caught:
        program.prepare(raw(mesh="linkerd"), "dev", OWNER, no_state)
    assert [fault.code for fault in caught.value.diagnostics] == ["MSH024"] * len(api.refused)
    text = str(caught.value)
    for resource in ("namespaces", "nodes", "customresourcedefinitions.apiextensions.k8s.io"):
        assert f"may not list {resource} cluster-wide" in " ".join(text.split())
    assert "may not list secrets in the namespace linkerd" in " ".join(text.split())


def test_the_guard_looks_at_the_cluster_that_the_provider_is_told_to_take(api: Api, tmp_path: Path) -> None:
    with fake_api.serving(tls=False) as other:
        other.answers["/api/v1/namespaces"] = listed({"name": "bookinfo"})
        config = api.kubeconfig({}, "kind-dev")
        config["clusters"] += [{**other.kubeconfig()["clusters"][0], "name": "other"}]
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        assert refused(kubernetes={"context": "kind-dev", "cluster": "other"}) == [("MSH026", "Namespace/bookinfo")]


def test_a_hook_that_the_cluster_refuses_ends_the_run_with_the_fault(api: Api) -> None:
    cluster = program.prepare(raw(), "dev", OWNER, no_state)[2]
    api.refused = ("/secrets",)
    inputs = SimpleNamespace(new_inputs={"name": "istiod", "namespace": "istio-system"})
    with pytest.raises(pulumi.RunError) as caught:
        hooks.cleaner(cluster, "create")(cast("pulumi.ResourceHookArgs", inputs))
    assert "MSH024" in str(caught.value)
    assert "may not list secrets in the namespace istio-system" in str(caught.value)
