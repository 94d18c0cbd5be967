"""Every value that meshup sets is one that the charts of edge-26.8.3 read: a misspelt key would pass in silence."""

from typing import Any

import pytest

from components.helm import HelmRelease, merged, nested
from components.mesh_namespace import MeshNamespaceArgs, metadata
from components.meshes.linkerd import component as linkerd
from components.meshes.linkerd import viz
from components.meshes.linkerd.membership import LinkerdProxy
from components.meshes.linkerd.settings import LinkerdArgs, Resources
from components.meshes.linkerd.versions import LINKERD
from components.nodes import takes_pods
from tests.facts.linkerd import crds, facts_of_crd, facts_of_schema, leaves, versions
from tests.facts.linkerd import values as defaults

# Keys that the charts read and their values.yaml does not list: of values-ha.yaml, and heartbeatSchedule
# (templates/heartbeat.yaml).
_UNLISTED = {"heartbeatSchedule"}

FULL: dict[str, Any] = {
    "version": "2026.8.3",
    "namespace": "linkerd",
    "cluster_domain": "cluster.local",
    "trust_domain": "mesh.example",
    "high_availability": True,
    "webhook_failure_policy": "Fail",
    "mtls": "strict",
    "proxy_resources": {"requests": {"cpu": "10m", "ephemeral-storage": "1Gi"}, "limits": {"memory": "1Gi"}},
    "proxy_log_level": "warn",
    "log_format": "json",
    "log_level": "debug",
    "native_sidecar": False,
    "opaque_ports": "25,3306",
    "skip_inbound_ports": "4567",
    "skip_outbound_ports": "4568",
    "cluster_networks": "10.0.0.0/8",
    "tracing": {"endpoint": "collector.tracing:4317", "service_account": "collector", "namespace": "tracing"},
    "registry": "registry.example/linkerd",
    "image_pull_secrets": ["pull"],
    "cni": True,
    "external_ca": True,
}


def strange(values: dict[str, Any], *known: dict[str, Any]) -> set[str]:
    return {path for path, _ in leaves(values)}.difference(_UNLISTED, *known)


def releases(args: dict[str, Any]) -> list[HelmRelease]:
    return linkerd.releases(LinkerdArgs.of(args))


def values_of(args: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["chart"]: item["values"] for item in releases(args)}


def by_default(args: dict[str, Any]) -> dict[str, Any]:
    return values_of(args)["linkerd-control-plane"]


@pytest.mark.parametrize("args", [FULL, {**FULL, "high_availability": False}, {"version": "2026.8.3"}])
def test_every_value_of_the_control_plane_is_one_that_the_chart_has(args: dict[str, Any]) -> None:
    known = defaults("linkerd-control-plane"), defaults("linkerd-control-plane-ha")
    assert strange(by_default(args), *known) == set()


def test_the_facts_about_the_charts_are_of_the_pinned_version() -> None:
    assert versions() == {LINKERD}, "python -m tests.facts.linkerd writes them"


def test_the_facts_about_the_crds_are_no_more_than_what_an_object_is_judged_by() -> None:
    assert [facts_of_crd(crd) for crd in crds()] == crds()
    with pytest.raises(ValueError, match="x-new"):
        facts_of_schema({"properties": {"a": {"x-new": 1}}})


def test_a_misspelt_value_would_be_seen() -> None:
    known = defaults("linkerd-control-plane")
    assert strange({"proxy": {"nativeSidecars": True}}, known) == {"proxy.nativeSidecars"}


def test_every_value_of_the_other_charts_is_one_that_the_chart_has() -> None:
    found = values_of(FULL)
    assert strange(found["linkerd-crds"], defaults("linkerd-crds")) == set()
    assert strange(found["linkerd2-cni"], defaults("linkerd2-cni")) == set()
    args = {"enabled": True, "linkerd": FULL, "prometheus_url": "http://p:9090", "dashboard_hosts": "^x$"}
    release = viz.ADDON.release(viz.VizArgs.of(args))
    assert strange(release["values"], defaults("linkerd-viz")) == set()


@pytest.mark.parametrize(
    ("chart", "paths"),
    [
        (
            "linkerd-control-plane",
            [
                "identityTrustAnchorsPEM",
                "identity.issuer.tls.crtPEM",
                "identity.issuer.tls.keyPEM",
                "podAnnotations",
                *(
                    f"{key}.{field}"
                    for key in linkerd.CONTROL_PLANE_WEBHOOKS
                    for field in ("crtPEM", "keyPEM", "caBundle")
                ),
            ],
        ),
        (
            "linkerd-viz",
            [
                "podLabels",
                *(f"{key}.{field}" for key in viz.VIZ_WEBHOOKS for field in ("crtPEM", "keyPEM", "caBundle")),
            ],
        ),
    ],
)
def test_the_values_of_the_certificates_are_ones_that_the_chart_has(chart: str, paths: list[str]) -> None:
    assert defaults(chart).keys() >= set(paths)


def test_high_availability_is_what_the_charts_own_file_sets() -> None:
    ours = dict(leaves(by_default({"version": "2026.8.3", "high_availability": True})))
    for path, value in defaults("linkerd-control-plane-ha").items():
        if value != "":
            assert ours[path] == value, path


def test_linkerd_never_installs_the_gateway_api_by_itself() -> None:
    assert values_of(FULL)["linkerd-crds"] == {"installGatewayAPI": False}


def test_the_order_is_crds_cni_control_plane_with_fixed_names() -> None:
    assert [item["name"] for item in releases(FULL)] == ["linkerd-crds", "linkerd-cni", "linkerd-control-plane"]
    assert [item["name"] for item in releases({"version": "2026.8.3"})] == [
        "linkerd-crds",
        "linkerd-control-plane",
    ]


def test_the_same_arguments_give_the_same_values_and_a_fixed_heartbeat() -> None:
    assert releases(FULL) == releases(FULL)
    assert by_default(FULL)["heartbeatSchedule"] == linkerd.HEARTBEAT
    off = by_default({"version": "2026.8.3", "heartbeat": False})
    assert off["disableHeartBeat"] is True
    assert "heartbeatSchedule" not in off


@pytest.mark.parametrize(("mtls", "policy"), [("strict", "all-authenticated"), ("permissive", "all-unauthenticated")])
def test_the_mode_of_mutual_tls_is_the_default_inbound_policy(mtls: str, policy: str) -> None:
    assert by_default({"version": "2026.8.3", "mtls": mtls})["proxy"]["defaultInboundPolicy"] == policy


def test_raw_values_are_merged_last() -> None:
    args: dict[str, Any] = {
        "version": "2026.8.3",
        "high_availability": True,
        "values": {"control-plane": {"controllerReplicas": 5, "proxy": {"cores": 2}}},
    }
    values = by_default(args)
    assert values["controllerReplicas"] == 5
    assert values["proxy"]["cores"] == 2
    assert values["proxy"]["defaultInboundPolicy"] == "all-authenticated"


def test_raw_values_win_over_certificates_and_keep_the_others() -> None:
    laid = merged({"identity": {"issuer": {"tls": "t"}}, "a": 2}, {"identity": {"issuer": {"scheme": "x"}}, "a": 1})
    assert laid == {"identity": {"issuer": {"scheme": "x", "tls": "t"}}, "a": 1}


def test_the_namespace_has_what_helm_does_not_set() -> None:
    control, cni = linkerd.namespaces(LinkerdArgs.of(FULL))
    assert control["labels"] == {
        "linkerd.io/is-control-plane": "true",
        "config.linkerd.io/admission-webhooks": "disabled",
        "linkerd.io/control-plane-ns": "linkerd",
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    assert control["annotations"] == {"linkerd.io/inject": "disabled"}
    assert cni["name"] == "linkerd-cni"
    without = linkerd.namespaces(LinkerdArgs())[0]
    assert without["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_injection_is_an_annotation_and_never_a_label() -> None:
    args = {"name": "shop", "mesh": "linkerd", "inject": "ingress", "proxy": {"opaque_ports": "25"}}
    made = metadata(MeshNamespaceArgs.of(args))
    assert made["annotations"] == {"linkerd.io/inject": "ingress", "config.linkerd.io/opaque-ports": "25"}
    assert not any(key.startswith("linkerd.io") for key in made["labels"])


def test_proxy_settings_are_written_as_linkerd_reads_them() -> None:
    written = LinkerdProxy(native_sidecar=True, wait_for_proxy=False, cpu_request="10m").annotations()
    assert written == {
        "config.linkerd.io/proxy-enable-native-sidecar": "true",
        "config.linkerd.io/proxy-await": "disabled",
        "config.linkerd.io/proxy-cpu-request": "10m",
    }


def test_resources_are_turned_round() -> None:
    resources = Resources.of({"requests": {"cpu": "1", "memory": "2"}, "limits": {"memory": "3"}})
    values = {"cpu.request": "1", "memory.request": "2", "memory.limit": "3"}
    assert linkerd.chart_resources(resources) == values


def node(*taints: dict[str, str], ready: str = "True", os: str = "linux", cordoned: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"taints": list(taints)} if taints else {}
    return {
        "metadata": {"labels": {"kubernetes.io/os": os}},
        "spec": spec | ({"unschedulable": True} if cordoned else {}),
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]},
    }


TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}
CONTROL = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
NODES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "ready": (node(), {}, True),
    "not ready": (node(ready="False"), {}, False),
    "no news": (node(ready="Unknown"), {}, False),
    "no status": ({"metadata": {}}, {}, False),
    "cordoned": (node(cordoned=True), {}, False),
    "Windows": (node(os="windows"), {}, False),
    "control plane": (node(CONTROL), {}, False),
    "a taint that only advises": (node({**TAINT, "effect": "PreferNoSchedule"}), {}, True),
    "NoExecute": (node({**TAINT, "effect": "NoExecute"}), {}, False),
    "tolerated": (node(TAINT), {"tolerations": [{"key": "dedicated", "value": "infra"}]}, True),
    "tolerated by key": (node(TAINT), {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, True),
    "all is tolerated": (node(TAINT, CONTROL), {"tolerations": [{"operator": "Exists"}]}, True),
    "another value": (node(TAINT), {"tolerations": [{"key": "dedicated", "value": "db"}]}, False),
    "another effect": (
        node(TAINT),
        {"tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}]},
        False,
    ),
    "one of two is tolerated": (node(TAINT, CONTROL), {"tolerations": [TAINT]}, False),
    "not selected": (node(), {"nodeSelector": {"pool": "mesh"}}, False),
}


@pytest.mark.parametrize("name", NODES)
def test_only_nodes_that_take_the_pods_count(name: str) -> None:
    found, values, taken = NODES[name]
    selector = {"kubernetes.io/os": "linux", **values.get("nodeSelector", {})}
    assert takes_pods(found, selector, values.get("tolerations", [])) is taken
    args: dict[str, Any] = {"version": "2026.8.3", "high_availability": True, "values": {"control-plane": values}}
    codes = [fault.code for fault in linkerd.check_nodes(LinkerdArgs.of(args), [node(), node(), found])]
    # A selector takes the other two nodes away as well.
    assert codes == ([] if taken else ["MSH316"])


def test_without_high_availability_one_node_is_enough() -> None:
    assert linkerd.check_nodes(LinkerdArgs(), [node()]) == []
    found = linkerd.check_nodes(LinkerdArgs(high_availability=True), [node(), node(CONTROL)])
    assert "1 node that can take pods, of 2" in found[0].message


def test_charts_come_from_linkerds_repository_or_from_where_one_says() -> None:
    assert releases({"version": "2026.8.3"})[0].get("repository") == linkerd.REPOSITORY
    local = releases({"version": "2026.8.3", "charts": {"directory": "/c"}})
    assert [item["chart"] for item in local] == ["/c/linkerd-crds", "/c/linkerd-control-plane"]


def test_an_existing_prometheus_takes_the_place_of_the_built_in_one() -> None:
    args = viz.VizArgs(enabled=True, linkerd=LinkerdArgs(), prometheus_url="http://p:9090")
    values = viz.ADDON.release(args)["values"]
    assert values["prometheus"] == {"enabled": False}
    assert values["prometheusUrl"] == "http://p:9090"
    assert viz.ADDON.namespace(args).get("annotations") == {"viz.linkerd.io/external-prometheus": "http://p:9090"}


def test_the_names_of_linkerds_crds_are_those_of_the_chart() -> None:
    assert sorted(item["metadata"]["name"] for item in crds()) == sorted(linkerd.CRDS)


def test_dotted_paths_are_nested_once() -> None:
    assert nested({"a.b": 1, "a.c": 2}) == {"a": {"b": 1, "c": 2}}


def test_an_add_on_has_a_version_and_a_repository_of_its_own() -> None:
    mesh = LinkerdArgs(version="2026.8.3")
    release = viz.ADDON.release(viz.VizArgs(enabled=True, linkerd=mesh))
    assert (release["version"], release.get("repository")) == ("2026.8.3", linkerd.REPOSITORY)
    own = viz.VizArgs(enabled=True, linkerd=mesh, version="2026.9.1", repository="oci://registry.example/viz")
    release = viz.ADDON.release(own)
    assert (release["version"], release["chart"]) == ("2026.9.1", "oci://registry.example/viz/linkerd-viz")
