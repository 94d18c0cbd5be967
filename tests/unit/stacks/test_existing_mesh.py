"""Stacks on a mesh that somebody else has installed: what is found of it, and what is refused."""

import json
from typing import Any

import pytest
import yaml

from components.arguments import Arguments
from components.diagnostics import ConfigurationError, Diagnostic
from components.manifests import Manifest
from components.meshes.istio.settings import IstioArgs
from components.meshes.linkerd.settings import LinkerdArgs
from stacks.cluster import ClusterView
from stacks.outputs import outputs
from stacks.ownership import ANNOTATION
from stacks.plan import Plan
from stacks.program import steps
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import FakeCluster, build, compare, item, view_of

Json = dict[str, Any]
EXISTING: Json = {"istio": {"install": False}}
LINKERD: Json = {"mesh": "linkerd", "linkerd": {"install": False}}


def istiod(
    revision: str = "", namespace: str = "istio-system", image: str = "istio/pilot:1.30.3", **labels: str
) -> Json:
    suffix = f"-{revision}" if revision else ""
    containers = [{"name": "discovery", "image": image}]
    labels = {"app": "istiod", "istio.io/rev": revision or "default", **labels}
    metadata: Json = {"name": f"istiod{suffix}", "namespace": namespace, "labels": labels}
    return item("Deployment", metadata, spec={"template": {"spec": {"containers": containers}}})


def injector(revision: str = "", tag: str = "", namespace: str = "istio-system", url: str = "") -> Json:
    labels = {"istio.io/rev": revision or "default", **({"istio.io/tag": tag} if tag else {})}
    client: Json = {"url": url} if url else {"service": {"name": "istiod", "namespace": namespace}}
    hooks = [{"name": "rev.namespace.sidecar-injector.istio.io", "clientConfig": client}]
    return item("MutatingWebhookConfiguration", {"name": f"injector-{revision}{tag}", "labels": labels}, webhooks=hooks)


def config_map(name: str, namespace: str, **data: str) -> Json:
    return item("ConfigMap", {"name": name, "namespace": namespace}, data=data)


def mesh_config(namespace: str = "istio-system", revision: str = "", **config: str) -> Json:
    return config_map(f"istio-{revision}" if revision else "istio", namespace, mesh=yaml.safe_dump(config))


def peer_authentication(name: str, mode: str | None, created: str = "", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": "istio-system", "creationTimestamp": created}
    return item("PeerAuthentication", metadata, spec={"mtls": {"mode": mode}, **spec})


def linkerd(namespace: str = "linkerd", **values: Any) -> list[Json]:
    chart = {"linkerdVersion": "edge-26.8.3", "clusterDomain": "cluster.local", **values}
    labels = {"linkerd.io/control-plane-component": "destination"}
    client = {"service": {"name": "linkerd-proxy-injector", "namespace": namespace}}
    return [
        item("Deployment", {"name": "linkerd-destination", "namespace": namespace, "labels": labels}),
        config_map("linkerd-config", namespace, values=yaml.safe_dump(chart)),
        item(
            "MutatingWebhookConfiguration",
            {"name": "linkerd-proxy-injector-webhook-config"},
            webhooks=[{"name": "linkerd-proxy-injector.linkerd.io", "clientConfig": client}],
        ),
    ]


def of(config: Json, *live: Manifest) -> tuple[Plan | None, list[Diagnostic]]:
    return build(raw(**config), view=view_of(*live))


def found(config: Json, *live: Manifest) -> Json:
    """The output `mesh` of a stack without any diagnostics."""
    plan, diagnostics = of(config, *live)
    assert diagnostics == []
    assert plan is not None
    return outputs(plan)["mesh"]


def codes(config: Json, *live: Manifest) -> list[str]:
    return [fault.code for fault in of(config, *live)[1]]


def test_nothing_of_the_mesh_is_registered_and_the_rest_is() -> None:
    plan, diagnostics = of(EXISTING, istiod(), injector())
    assert diagnostics == []
    assert plan is not None
    assert plan.releases == []
    assert {ref.kind for ref in plan.objects()} >= {"VirtualService", "DestinationRule", "Deployment", "Namespace"}
    assert {ref.name for ref in plan.objects() if ref.kind == "Namespace"} == {"bookinfo"}
    assert plan.namespaces[0]["labels"]["istio-injection"] == "enabled"
    assert [step.name for step in steps(plan)] == ["gateway-api", "mesh", "namespace-bookinfo", "bookinfo", "traffic"]


def test_gateways_of_the_gateway_api_get_their_namespace() -> None:
    gateway = {"public": {"listeners": [{"port": 80, "protocol": "http"}]}}
    plan, diagnostics = of({**EXISTING, "gateways": gateway}, istiod(), injector())
    assert diagnostics == []
    assert plan is not None
    assert plan.releases == []
    assert "istio-ingress" in {ref.name for ref in plan.objects() if ref.kind == "Namespace"}
    assert [step.name for step in steps(plan)][:3] == ["gateway-api", "mesh", "namespace-bookinfo"]


def test_what_is_found_of_istio_is_an_output() -> None:
    live = [
        istiod(image="hub.example/pilot:1.30.3-distroless@sha256:00"),
        injector(),
        mesh_config(trustDomain="mesh.example", rootNamespace="istio-system"),
        config_map(
            "istio-sidecar-injector",
            "istio-system",
            values=json.dumps({"global": {"proxy": {"clusterDomain": "corp.local"}}}),
        ),
        peer_authentication("default", "STRICT"),
    ]
    assert found(EXISTING, *live) == {
        "kind": "istio",
        "installed": False,
        "version": "1.30.3",
        "namespace": "istio-system",
        "revision": "default",
        "mtls": "strict",
        "injection": True,
        "gateways": [],
        "trustDomain": "mesh.example",
        "clusterDomain": "corp.local",
        "keptOnDestroy": {"objects": [], "commands": []},
    }
    plan, _ = of(EXISTING, *live)
    assert plan is not None
    assert plan.traffic.summaries["reviews"]["host"] == "reviews.bookinfo.svc.corp.local"


def test_what_is_found_of_linkerd_is_an_output() -> None:
    values = {"identityTrustDomain": "mesh.example", "proxy": {"defaultInboundPolicy": "all-authenticated"}}
    mesh = found(LINKERD, *linkerd("service-mesh", **values))
    assert mesh["version"] == "2026.8.3"
    assert mesh["namespace"] == "service-mesh"
    assert mesh["trustDomain"] == "mesh.example"
    assert mesh["mtls"] == "strict"


@pytest.mark.parametrize(
    ("policies", "mode"),
    [
        ([], "permissive"),
        ([peer_authentication("default", "UNSET")], "permissive"),
        ([peer_authentication("default", None)], "permissive"),
        ([peer_authentication("default", "DISABLE")], "disable"),
        ([peer_authentication("some", "STRICT", selector={"matchLabels": {"app": "a"}})], "permissive"),
        # istiod takes the oldest.
        (
            [peer_authentication("a", "STRICT", "2026-02-01"), peer_authentication("b", "DISABLE", "2026-01-01")],
            "disable",
        ),
    ],
)
def test_the_mode_of_mutual_tls_is_that_of_the_root_namespace(policies: list[Json], mode: str) -> None:
    assert found(EXISTING, istiod(), *policies)["mtls"] == mode


@pytest.mark.parametrize(
    ("live", "version"),
    [
        (istiod(image="registry:5000/pilot:1.31.0-dev"), "1.31.0-dev"),
        (istiod(image="pilot@sha256:00", **{"app.kubernetes.io/version": "1.30.2"}), "1.30.2"),
        (istiod(image="pilot:mine", **{"helm.sh/chart": "istiod-1.30.1"}), "1.30.1"),
    ],
)
def test_the_version_is_that_of_the_image_or_of_the_chart(live: Json, version: str) -> None:
    assert found(EXISTING, live)["version"] == version


@pytest.mark.parametrize(
    ("revision", "live", "label"),
    [
        (None, [istiod()], {"istio-injection": "enabled"}),
        (None, [istiod("1-30"), injector("1-30")], {"istio.io/rev": "1-30"}),
        (None, [istiod("1-30"), injector("1-30", tag="default")], {"istio-injection": "enabled"}),
        ("1-30", [istiod("1-30"), istiod("1-31")], {"istio.io/rev": "1-30"}),
        ("prod", [istiod("1-30"), istiod("1-31"), injector("1-31", tag="prod")], {"istio.io/rev": "prod"}),
    ],
)
def test_a_namespace_joins_the_revision_that_is_there(revision: str | None, live: list[Json], label: Json) -> None:
    plan, diagnostics = of({"istio": {"install": False} | ({"revision": revision} if revision else {})}, *live)
    assert diagnostics == []
    assert plan is not None
    assert dict(plan.namespaces[0]["labels"]).items() >= label.items()


def test_a_managed_control_plane_is_known_by_its_webhook() -> None:
    plan, diagnostics = of(EXISTING, injector("asm-managed", url="https://example.com/inject"))
    assert [(fault.code, fault.severity) for fault in diagnostics] == [("MSH053", "warning")]
    assert plan is not None
    assert plan.namespaces[0]["labels"]["istio.io/rev"] == "asm-managed"


@pytest.mark.parametrize(
    ("config", "live", "expected"),
    [
        (EXISTING, [], ["MSH050"]),
        (LINKERD, [], ["MSH050"]),
        ({"istio": {"install": False, "namespace": "mesh"}}, [istiod(), injector()], ["MSH050"]),
        (EXISTING, [istiod("a"), istiod("b")], ["MSH051"]),
        (EXISTING, [istiod(), istiod(namespace="b"), injector(), injector("b", namespace="b")], ["MSH051"]),
        (LINKERD, [*linkerd("a"), *linkerd("b")], ["MSH051"]),
        ({"istio": {"install": False, "revision": "c"}}, [istiod("a"), injector("a", tag="b")], ["MSH058"]),
        (EXISTING, [istiod(image="pilot:1.20.0")], ["MSH053"]),
        (LINKERD, linkerd(linkerdVersion="stable-2.14.10"), ["MSH053"]),
        ({**EXISTING, "mtls": "strict"}, [istiod()], ["MSH054"]),
        ({**EXISTING, "mtls": "permissive"}, [istiod(), peer_authentication("default", "DISABLE")], ["MSH054"]),
        ({"mesh": "linkerd", "linkerd": {"install": False, "clusterDomain": "a.b"}}, linkerd(), ["MSH054"]),
        ({"istio": {"install": False, "replicas": 2, "version": "1.30.3"}}, [istiod()], ["MSH052", "MSH052"]),
        ({"mesh": "linkerd", "linkerd": {"install": False, "cni": True}}, linkerd(), ["MSH052"]),
        ({**LINKERD, "identity": {"externalCA": True}}, linkerd(), ["MSH052"]),
    ],
)
def test_what_does_not_fit_is_refused(config: Json, live: list[Json], expected: list[str]) -> None:
    assert codes(config, *live) == expected


def test_what_the_configuration_and_the_mesh_both_say_is_right() -> None:
    assert codes({**EXISTING, "mtls": "strict"}, istiod(), peer_authentication("default", "STRICT")) == []
    assert codes({"mesh": "linkerd", "linkerd": {"install": False, "clusterDomain": "cluster.local"}}, *linkerd()) == []


@pytest.mark.parametrize("args", [IstioArgs, LinkerdArgs])
def test_a_component_installs(args: type[Arguments]) -> None:
    with pytest.raises(ConfigurationError, match="MSH052"):
        args.of({"install": False})


def test_a_newer_version_is_a_warning() -> None:
    plan, diagnostics = of(EXISTING, istiod(image="pilot:1.99.0"))
    assert [(fault.code, fault.severity) for fault in diagnostics] == [("MSH053", "warning")]
    assert plan is not None


def test_the_gateway_api_is_installed_only_where_the_stack_says_so() -> None:
    route = {"namespace": "bookinfo", "api": "gateway-api", "split": {"v1": 100}}
    routed: Json = {**EXISTING, "traffic": {"reviews": route}}
    refused = build(raw(**routed), view=ClusterView(FakeCluster([istiod()]), "v1.36.3"))[1]
    assert [fault.code for fault in refused] == ["MSH313"]
    assert codes(routed, istiod()) == []


@pytest.mark.parametrize("refused", ["Deployment", "MutatingWebhookConfiguration", "PeerAuthentication"])
def test_a_list_that_cannot_be_read_is_all_that_is_reported(refused: str) -> None:
    plan, diagnostics = build(raw(**EXISTING), view=view_of(istiod(), injector(), refused=[refused]))
    assert plan is None
    assert {fault.code for fault in diagnostics} == {"MSH024"}


def test_another_installation_and_its_definitions_are_not_in_the_way() -> None:
    crd = item("CustomResourceDefinition", {"name": "virtualservices.networking.istio.io"})
    assert compare(raw(**EXISTING), view_of(istiod(), injector(), crd))[2] == []


def test_a_stack_that_has_installed_the_mesh_does_not_delete_it() -> None:
    release = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
    own = istiod(**{"app.kubernetes.io/managed-by": "Helm"})
    own["metadata"]["annotations"] = release
    namespace = item("Namespace", {"name": "istio-system", "annotations": {ANNOTATION: "organization/meshup/dev"}})
    assert [fault.code for fault in compare(raw(**EXISTING), view_of(own, namespace))[2]] == ["MSH057"]
    namespace["metadata"]["annotations"] = {ANNOTATION: "organization/meshup/platform"}
    assert compare(raw(**EXISTING), view_of(own, namespace))[2] == []


def pod(name: str, container: str, image: str, **annotations: str) -> Json:
    metadata: Json = {"name": name, "namespace": "shop", "annotations": annotations}
    return item("Pod", metadata, spec={"containers": [{"name": container, "image": image}]}, status={})


def test_namespaces_of_ones_own_join_a_mesh_that_is_there_and_pods_of_another_version_are_listed() -> None:
    """Its revision may be a tag, so only the version is compared; whether it has a CNI plugin is not known."""
    shop = item("Namespace", {"name": "shop", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}})
    own: Json = {"apps": [], "traffic": {}, "namespaces": {"shop": {}}}
    status = {"sidecar.istio.io/status": '{"revision": "b"}'}
    meshes: list[tuple[Json, list[Json], list[Json], Json]] = [
        (
            {"istio": {"install": False, "revision": "prod"}},
            [istiod("b"), injector("b"), injector("b", tag="prod")],
            [
                pod("old", "istio-proxy", "a/proxyv2:1.29.0", **status),
                pod("new", "istio-proxy", "a/b:1.30.3", **status),
            ],
            {"labels": {"istio.io/rev": "prod"}},
        ),
        (
            LINKERD,
            linkerd(),
            [pod("old", "linkerd-proxy", "a/b:edge-26.7.1"), pod("new", "linkerd-proxy", "a/b:edge-26.8.3")],
            {"annotations": {"linkerd.io/inject": "enabled"}},
        ),
    ]
    for config, live, pods, member in meshes:
        plan, _, diagnostics = compare(raw(**own, **config), view_of(shop, *live, *pods))
        (joined,) = plan.joined
        assert joined.patch is not None
        for kind, wanted in member.items():
            assert joined.patch["metadata"][kind].items() >= wanted.items()
        warnings = {fault.code: fault.message for fault in diagnostics if fault.severity == "warning"}
        assert set(warnings) == {"MSH045", "MSH046"}
        assert "1 pod does not have the sidecar" in warnings["MSH046"]
        assert "pod/old" in warnings["MSH046"]
        assert [fault.code for fault in diagnostics if fault.severity == "error"] == []


def test_a_namespace_without_the_mesh_is_refused_with_those_that_webhooks_lead_to() -> None:
    elsewhere = {**EXISTING, "istio": {"install": False, "namespace": "x"}}
    _, (fault,) = of({**elsewhere, "apps": [], "traffic": {}}, istiod(), injector())
    assert fault.code == "MSH050"
    assert fault.message.endswith("in x, and the webhooks lead to istio-system.")
