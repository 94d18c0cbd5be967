"""Namespaces of the configuration: what each becomes, what stands in the way, and which workloads restart."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.diagnostics import Diagnostic
from components.manifests import Manifest, ObjectRef
from components.meshes import MESHES
from components.meshes.istio.versions import ISTIO
from components.namespace import Joined
from stacks import namespaces, patches, program, settings
from stacks.outputs import outputs
from stacks.ownership import ANNOTATION
from stacks.plan import Plan
from stacks.settings import RawConfig
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, compare, item, view_of

OURS = patches.field_manager(OWNER)
VALUE = f"istio/{ISTIO}/default"
ISTIO_LABEL = {"istio-injection": "enabled"}
LINKERD_ANNOTATION = {"linkerd.io/inject": "enabled"}
SECURITY = "pod-security.kubernetes.io/enforce"


def config(mesh: str = "istio", **chosen: Any) -> RawConfig:
    return raw(mesh=mesh, apps=[], traffic={}, namespaces=chosen or {"shop": {}})


def fields(manager: str, kind: str, *keys: str) -> dict[str, Any]:
    return {"manager": manager, "fieldsV1": {"f:metadata": {f"f:{kind}": {f"f:{key}": {} for key in keys}}}}


def shop(*managed: dict[str, Any], **metadata: dict[str, str]) -> Manifest:
    return item("Namespace", {"name": "shop", "managedFields": list(managed), **metadata})


def found(config: RawConfig, *objects: Manifest) -> tuple[Plan, list[Diagnostic]]:
    """The plan and the diagnostics, without that of webhooks (test_injection.py): these clusters have none."""
    plan, _, diagnostics = compare(config, view_of(*objects))
    return plan, [fault for fault in diagnostics if fault.code != "MSH049"]


def codes(config: RawConfig, *objects: Manifest) -> list[tuple[str, str]]:
    return [(fault.code, fault.path) for fault in found(config, *objects)[1]]


def of_settings(config: RawConfig) -> list[tuple[str, str]]:
    return [(fault.code, fault.path) for fault in settings.load(config, "dev")[1]]


def joined(config: RawConfig, *objects: Manifest) -> Joined:
    (made,) = found(config, *objects)[0].joined
    return made


# What the configuration alone shows.


@pytest.mark.parametrize(
    ("chosen", "refused"),
    [
        ({"shop": {}, "default": {}, "pay": {"create": True}, "legacy": {"inject": False}}, []),
        ({"kube-system": {}}, [("MSH009", "meshup:namespaces.kube-system")]),
        ({"istio-system": {}}, [("MSH009", "meshup:namespaces.istio-system")]),
        ({"default": {"create": True}}, [("MSH009", "meshup:namespaces.default")]),
        ({"Shop": {}}, [("MSH006", "meshup:namespaces.Shop")]),
        ({"shop": {"podSecurity": "baseline"}}, [("MSH041", "meshup:namespaces.shop.podSecurity")]),
        ({"shop": {"create": True, "podSecurity": "baseline", "inject": False}}, []),
        ({"shop": {"create": True, "takeOver": True}}, [("MSH041", "meshup:namespaces.shop.takeOver")]),
        ({"shop": {"inject": False, "restart": True}}, [("MSH041", "meshup:namespaces.shop.restart")]),
        ({"shop": {"proxy": {"cpuLimit": "1"}}}, [("MSH041", "meshup:namespaces.shop.proxy")]),
        ({"shop": {"egressHosts": ["./*", "istio-system/*", "~/*", "*/a.b.c"], "revision": "canary"}}, []),
        ({"shop": {"egressHosts": ["reviews"]}}, [("MSH004", "meshup:namespaces.shop.egressHosts[0]")]),
    ],
)
def test_what_istio_does_not_have_and_what_goes_without_effect_is_refused(
    chosen: dict[str, Any], refused: list[tuple[str, str]]
) -> None:
    assert of_settings(config(**chosen)) == refused


def test_linkerd_has_settings_of_proxies_and_neither_revisions_nor_scopes() -> None:
    chosen = {"revision": "canary", "egressHosts": ["./*"], "proxy": {"cpuLimit": "1"}}
    assert of_settings(config("linkerd", shop=chosen)) == [
        ("MSH041", "meshup:namespaces.shop.revision"),
        ("MSH041", "meshup:namespaces.shop.egressHosts"),
    ]


def test_an_application_in_default_needs_the_entry_which_the_report_names() -> None:
    keys: dict[str, Any] = {"bookinfo": {"namespace": "default"}, "traffic": {}}
    (fault,) = settings.load(raw(**keys), "dev")[1]
    assert (fault.code, fault.path) == ("MSH009", "meshup:bookinfo.namespace")
    assert "meshup:namespaces {default: {}}" in fault.remedy
    keys["namespaces"] = {"default": {}}
    plan, diagnostics = found(raw(**keys), item("Namespace", {"name": "default"}))
    assert diagnostics == []
    assert plan.namespaces == ()
    assert ObjectRef("v1", "Namespace", "default") not in plan.objects()
    after = {step.name: step.after for step in program.steps(plan)}
    assert "namespace-default" in after["bookinfo"]
    assert "namespace-default" in after["traffic"]


def test_two_applications_still_have_a_namespace_each() -> None:
    keys: dict[str, Any] = {"bookinfo": {"namespace": "shop"}, "emojivoto": {"namespace": "shop"}}
    refused = of_settings(raw(apps=["bookinfo", "emojivoto"], traffic={}, namespaces={"shop": {}}, **keys))
    assert refused == [("MSH009", "meshup:emojivoto.namespace")]


# What an existing namespace gets.


def test_an_existing_namespace_gets_the_label_under_the_manager_of_the_stack_and_nothing_else() -> None:
    made = joined(config(), shop(labels={"team": "a", SECURITY: "privileged"}))
    assert made == Joined(
        "shop",
        created=False,
        inject=True,
        revision="default",
        patch={
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "shop",
                "labels": ISTIO_LABEL,
                "annotations": {"pulumi.com/patchFieldManager": OURS},
            },
        },
        restarts=[],
    )


def metadata_of(config: RawConfig) -> Mapping[str, Any]:
    patch = joined(config, shop()).patch
    assert patch is not None
    return patch["metadata"]


def test_each_mesh_and_revision_has_its_own_label_or_annotation() -> None:
    assert metadata_of(config(shop={"revision": "canary"}))["labels"] == {"istio.io/rev": "canary"}
    of_mesh = raw(apps=[], traffic={}, istio={"revision": "blue"}, namespaces={"shop": {}})
    assert metadata_of(of_mesh)["labels"] == {"istio.io/rev": "blue"}
    linkerd = metadata_of(config("linkerd", shop={"proxy": {"cpuLimit": "1"}}))
    assert "labels" not in linkerd
    assert linkerd["annotations"] == {
        **LINKERD_ANNOTATION,
        "config.linkerd.io/proxy-cpu-limit": "1",
        "pulumi.com/patchFieldManager": OURS,
    }


def test_a_scope_of_hosts_is_a_sidecar_object_of_the_stack() -> None:
    plan, _ = found(config(shop={"egressHosts": ["./*"]}), shop())
    (scope,) = plan.joined[0].objects
    assert scope["spec"] == {"egress": [{"hosts": ["./*"]}]}
    assert ObjectRef("networking.istio.io/v1", "Sidecar", "default", "shop") in plan.objects()


def test_a_namespace_that_meshup_makes_is_made_as_those_of_applications() -> None:
    chosen: dict[str, Any] = {"create": True, "podSecurity": "privileged"}
    plan, diagnostics = found(config(pay=chosen, out={"create": True, "inject": False}))
    assert diagnostics == []
    assert plan.namespaces == (
        {"name": "pay", "labels": {**ISTIO_LABEL, SECURITY: "privileged"}},
        {"name": "out", "labels": {SECURITY: "baseline"}},
    )
    assert all(made.is_empty for made in plan.joined)
    assert outputs(plan)["namespaces"] == {
        "pay": {"created": True, "inject": True, "revision": "default"},
        "out": {"created": True, "inject": False, "revision": ""},
    }


def test_a_stack_without_namespaces_of_its_own_has_no_such_output() -> None:
    assert "namespaces" not in outputs(found(raw())[0])


# What the cluster shows.

HERE = "meshup:namespaces.shop"


@pytest.mark.parametrize(
    ("chosen", "live", "refused"),
    [
        ({}, shop(), []),
        ({}, shop(labels=ISTIO_LABEL), []),
        ({}, shop(fields("kubectl-label", "labels", "istio-injection"), labels=ISTIO_LABEL), []),
        # A former value is lost on destroy, whoever has set it.
        ({}, shop(labels={"istio-injection": "disabled"}), ["MSH042"]),
        ({}, shop(fields("helm", "labels", "istio-injection"), labels={"istio-injection": "disabled"}), ["MSH042"]),
        ({"takeOver": True}, shop(labels={"istio-injection": "disabled"}), []),
        # What a killed run has left behind is the stack's own.
        ({}, shop(fields(OURS, "labels", "istio-injection"), labels={"istio-injection": "other"}), []),
        ({"revision": "b"}, shop(fields(OURS, "labels", "istio.io/rev"), labels={"istio.io/rev": "a"}), []),
        ({"revision": "b"}, shop(labels={"istio.io/rev": "a"}), ["MSH042"]),
        # Istio reads istio-injection first: the revision would do nothing.
        ({"revision": "b"}, shop(labels={"istio-injection": "disabled"}), ["MSH043"]),
        ({"revision": "b", "takeOver": True}, shop(labels={"istio-injection": "disabled"}), ["MSH043"]),
        ({"revision": "b"}, shop(fields(OURS, "labels", "istio-injection"), labels=ISTIO_LABEL), []),
        ({}, shop(labels={"istio.io/rev": "a"}), ["MSH043"]),
        ({}, shop(annotations=LINKERD_ANNOTATION), ["MSH043"]),
        ({}, shop(annotations={"linkerd.io/inject": "disabled"}), []),
        # Linkerd does not read a label.
        ({}, shop(labels=LINKERD_ANNOTATION), []),
        # The mesh of the stack has changed: the patch takes the former annotation away.
        ({}, shop(fields(OURS, "annotations", "linkerd.io/inject"), annotations=LINKERD_ANNOTATION), []),
        ({}, shop(labels={SECURITY: "baseline"}), ["MSH045"]),
        ({}, shop(labels={SECURITY: "privileged"}), []),
        ({"inject": False}, shop(labels={SECURITY: "restricted"}), []),
        ({"inject": False}, shop(labels=ISTIO_LABEL), ["MSH048"]),
        ({"inject": False}, shop(labels={"istio.io/rev": "a"}), ["MSH048"]),
        ({"inject": False}, shop(fields(OURS, "labels", "istio-injection"), labels=ISTIO_LABEL), []),
        ({}, shop(annotations={ANNOTATION: OWNER}), ["MSH044"]),
        ({}, shop(annotations={ANNOTATION: "organization/meshup/platform"}), []),
    ],
)
def test_what_stands_in_the_way_of_a_namespace_that_exists(
    chosen: dict[str, Any], live: Manifest, refused: list[str]
) -> None:
    reported = found(config(shop=chosen), live)[1]
    assert [fault.code for fault in reported] == refused
    assert all(fault.path.startswith(HERE) for fault in reported)


def test_a_namespace_that_is_not_there_is_refused_since_a_patch_would_make_it() -> None:
    (fault,) = found(config())[1]
    assert (fault.code, fault.path) == ("MSH040", HERE)
    assert "create: true" in fault.remedy
    going = item("Namespace", {"name": "shop", "deletionTimestamp": "2026-11-28T00:00:00Z"})
    assert codes(config(), going) == [("MSH040", HERE)]


def test_a_namespace_to_be_made_may_not_exist_unless_it_is_the_stacks_own() -> None:
    create = config(shop={"create": True})
    assert codes(create, shop()) == [("MSH026", "Namespace/shop")]
    assert codes(create, shop(annotations={ANNOTATION: OWNER})) == []
    assert codes(config(shop={"create": True, "podSecurity": "restricted"})) == [("MSH045", f"{HERE}.podSecurity")]


def test_a_mesh_with_a_cni_plugin_goes_with_every_pod_security_standard() -> None:
    strict = shop(labels={SECURITY: "restricted"})
    linkerd: dict[str, Any] = {"mesh": "linkerd", "linkerd": {"cni": True}}
    istio: dict[str, Any] = {"istio": {"values": {"istiod": {"pilot": {"cni": {"enabled": True}}}}}}
    for keys in (linkerd, istio):
        assert codes(raw(apps=[], traffic={}, namespaces={"shop": {}}, **keys), strict) == []


def test_another_stack_that_has_joined_the_namespace_is_named() -> None:
    other = patches.field_manager("organization/meshup/prod")
    manager = {patches.MANAGER_ANNOTATION: other}
    live = shop(
        fields(other, "labels", "istio-injection"),
        fields(other, "annotations", patches.MANAGER_ANNOTATION),
        labels=ISTIO_LABEL,
        annotations=manager,
    )
    (fault,) = found(config(), live)[1]
    assert fault.code == "MSH042"
    assert f"Another stack of meshup has joined this namespace, under the field manager {other}" in fault.message


def test_a_label_that_somebody_took_away_is_reported_since_a_plain_up_does_not_see_it() -> None:
    ours = fields(OURS, "annotations", patches.MANAGER_ANNOTATION)
    live = shop(ours, annotations={patches.MANAGER_ANNOTATION: OURS})
    (fault,) = found(config(), live)[1]
    assert (fault.code, fault.severity) == ("MSH047", "warning")


def test_namespaces_that_can_not_be_read_are_one_fault_and_no_false_one() -> None:
    view = view_of(refused=["Pod"])
    _, _, diagnostics = compare(config(), view)
    assert [fault.code for fault in diagnostics] == ["MSH024"]


def test_the_webhooks_of_another_mesh_are_weighed_against_joined_namespaces() -> None:
    hook = {"name": "osm-inject.k8s.io", "namespaceSelector": {"matchLabels": {"team": "a"}}}
    osm = item("MutatingWebhookConfiguration", {"name": "osm"}, webhooks=[hook])
    assert codes(config(), osm, shop(labels={"team": "a"})) == [("MSH322", "Namespace/shop")]
    assert codes(config(), osm, shop()) == [("MSH323", "meshup:mesh")]


WRITTEN = st.dictionaries(
    st.sampled_from(
        [
            ("labels", "istio-injection"),
            ("labels", "istio.io/rev"),
            ("labels", "linkerd.io/inject"),
            ("annotations", "linkerd.io/inject"),
            ("annotations", "team"),
        ]
    ),
    st.tuples(st.sampled_from(["enabled", "disabled", "canary"]), st.sampled_from(["", "kubectl", OURS])),
)
"""What a namespace carries: kind and key -> value and field manager."""
Written = dict[tuple[str, str], tuple[str, str]]


def carrying(written: Written) -> Manifest:
    metadata: dict[str, dict[str, str]] = {}
    for (kind, key), (value, _) in written.items():
        metadata.setdefault(kind, {})[key] = value
    managed = [fields(manager, kind, key) for (kind, key), (_, manager) in written.items() if manager]
    return shop(*managed, **metadata)


@given(
    written=WRITTEN,
    chosen=st.fixed_dictionaries({}, optional={"revision": st.just("canary"), "takeOver": st.just(True)}),
    mesh=st.sampled_from([*MESHES]),
)
def test_what_is_not_refused_is_a_member_of_its_mesh_alone_and_is_not_refused_once_it_has_joined(
    written: Written, chosen: dict[str, Any], mesh: str
) -> None:
    if mesh == "linkerd":
        chosen.pop("revision", None)
    plan, reported = found(config(mesh, shop=chosen), carrying(written))
    patch = plan.joined[0].patch
    assert patch is not None
    if [fault.code for fault in reported] != []:
        assert all(fault.severity == "error" for fault in reported)
        return
    # Server-side apply under the field manager of the stack: what it owned and does not name any more goes.
    after = {place: entry for place, entry in written.items() if entry[1] != OURS}
    for kind in ("labels", "annotations"):
        for key, value in patch["metadata"].get(kind, {}).items():
            same = after.get((kind, key), ("", ""))[0] == value
            after[kind, key] = after[kind, key] if same else (value, OURS)
    joined = carrying(after)
    members = {name for name, known in MESHES.items() if namespaces.joins(known, joined["metadata"])}
    assert members == {mesh}
    assert MESHES[mesh].is_member(joined["metadata"], chosen.get("revision", ""))
    assert found(config(mesh, shop=chosen), joined)[1] == []
    # Nothing of somebody else has changed that nobody allowed to.
    if not chosen.get("takeOver"):
        assert {place: entry for place, entry in after.items() if entry[1] != OURS} == {
            place: entry for place, entry in written.items() if entry[1] != OURS
        }


# Pods that run already.


def pod(name: str, controller: tuple[str, str] | None, *, sidecar: str = "", **more: Any) -> Manifest:
    owners = [{"kind": controller[0], "name": controller[1], "controller": True}] if controller else []
    containers = [{"name": "app", "image": "example.org/app:1"}]
    annotations: dict[str, str] = {}
    if sidecar:
        tag, _, revision = sidecar.partition("/")
        containers.append({"name": "istio-proxy", "image": f"example.org:5000/proxyv2:{tag}"})
        annotations["sidecar.istio.io/status"] = json.dumps({"revision": revision or "default"})
    metadata = {"name": name, "namespace": "shop", "ownerReferences": owners, "annotations": annotations}
    spec = {"containers": containers, **more.pop("spec", {})}
    return item("Pod", {**metadata, **more.pop("metadata", {})}, spec=spec, **({"status": {}} | more))


def workload(kind: str, name: str, value: str = "", manager: str = OURS, **spec: Any) -> Manifest:
    template = {"annotations": {namespaces.RESTART_ANNOTATION: value}} if value else {}
    owned: dict[str, Any] = {"f:annotations": {f"f:{namespaces.RESTART_ANNOTATION}": {}}}
    entry: dict[str, Any] = {"manager": manager, "fieldsV1": {"f:spec": {"f:template": {"f:metadata": owned}}}}
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "managedFields": [entry] if value else []}
    return item(kind, metadata, spec={"template": {"metadata": template}, **spec})


def deployment(name: str, *sidecars: str, value: str = "", **spec: Any) -> list[Manifest]:
    """A Deployment with a pod for each sidecar."""
    owner = [{"kind": "Deployment", "name": name, "controller": True}]
    replica_set = item("ReplicaSet", {"name": f"{name}-1", "namespace": "shop", "ownerReferences": owner})
    pods = [pod(f"{name}-{i}", ("ReplicaSet", f"{name}-1"), sidecar=sidecar) for i, sidecar in enumerate(sidecars)]
    return [workload("Deployment", name, value, **spec), replica_set, *pods]


def restarts(chosen: dict[str, Any], *objects: Manifest) -> list[tuple[str, str]]:
    return [
        (
            f"{made['kind']}/{made['metadata']['name']}",
            made["spec"]["template"]["metadata"]["annotations"][namespaces.RESTART_ANNOTATION],
        )
        for made in joined(config(shop=chosen), shop(), *objects).restarts
    ]


def warning(chosen: dict[str, Any], *objects: Manifest) -> Diagnostic | None:
    reported = found(config(shop=chosen), shop(), *objects)[1]
    assert {(fault.code, fault.severity) for fault in reported} <= {("MSH046", "warning")}
    return reported[0] if reported else None


def test_pods_without_the_sidecar_of_the_mesh_are_listed_with_the_command() -> None:
    fault = warning(
        {},
        *deployment("web", "", "", ISTIO),
        *deployment("right", ISTIO, f"{ISTIO}-distroless", "latest"),
        *deployment("old", "1.29.0", f"{ISTIO}/canary"),
        workload("StatefulSet", "db"),
        pod("db-0", ("StatefulSet", "db")),
    )
    assert fault is not None
    assert fault.message == (
        f"5 pods do not have the sidecar of Istio {ISTIO}: deployment/old (1 with that of 1.29.0, 1 with that of "
        f"{ISTIO} and the revision canary), deployment/web (2 without a sidecar), statefulset/db (1 without a sidecar)."
    )
    assert "kubectl --namespace shop rollout restart deployment/old deployment/web statefulset/db" in fault.remedy


def test_pods_that_nobody_restarts_are_named_as_such() -> None:
    fault = warning(
        {"restart": True},
        pod("bare", None),
        pod("import-1", ("Job", "import")),
        *deployment("halted", "", paused=True),
        workload("DaemonSet", "agent", updateStrategy={"type": "OnDelete"}),
        pod("agent-1", ("DaemonSet", "agent")),
    )
    assert fault is not None
    assert "Nobody restarts job/import, pod/bare: delete and make them again." in fault.remedy
    assert "deployment/halted is paused: delete its pods." in fault.remedy
    assert "daemonset/agent has the update strategy OnDelete: delete its pods." in fault.remedy
    assert "rollout restart" not in fault.remedy


@pytest.mark.parametrize(
    "left_out",
    [
        {"status": {"phase": "Succeeded"}},
        {"metadata": {"deletionTimestamp": "2026-11-28T00:00:00Z"}},
        {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}},
        {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}},
        {"spec": {"hostNetwork": True}},
    ],
)
def test_pods_that_end_or_stay_out_by_themselves_are_left_out(left_out: dict[str, Any]) -> None:
    assert warning({}, pod("web-1", None, **left_out)) is None


def test_a_native_sidecar_is_one_and_an_image_of_the_pods_choice_tells_no_version() -> None:
    native = {"containers": [], "initContainers": [{"name": "istio-proxy", "image": f"a/proxyv2:{ISTIO}"}]}
    status = {"sidecar.istio.io/status": "{"}
    own = {**status, "sidecar.istio.io/proxyImage": "a/b:9.9.9"}
    other = {"containers": [{"name": "istio-proxy", "image": "a/b:9.9.9"}]}
    digest = {"containers": [{"name": "istio-proxy", "image": "a/b@sha256:00"}]}
    assert warning({}, pod("a", None, spec=native, metadata={"annotations": status})) is None
    assert warning({}, pod("a", None, spec=other, metadata={"annotations": own})) is None
    assert warning({}, pod("a", None, spec=digest, metadata={"annotations": status})) is None
    assert warning({}, pod("a", None, spec=other, metadata={"annotations": status})) is not None


def test_a_sidecar_of_linkerd_tells_its_version_by_an_annotation() -> None:
    mesh = MESHES["linkerd"]
    injected = {"containers": [{"name": "linkerd-proxy", "image": "cr.l5d.io/linkerd/proxy:edge-26.8.3"}]}
    plan, _ = found(config("linkerd"), shop())
    wanted = mesh.wanted_sidecar(plan.mesh)
    for version, serves in (("edge-26.8.3", True), ("edge-26.7.1", False)):
        live = pod("a", None, spec=injected, metadata={"annotations": {"linkerd.io/proxy-version": version}})
        sidecar = mesh.sidecar(live)
        assert sidecar is not None
        assert sidecar.serves(wanted) is serves
    assert mesh.choice(pod("a", None, metadata={"annotations": {"linkerd.io/inject": "disabled"}})) is False
    assert mesh.choice(pod("a", None, metadata={"annotations": LINKERD_ANNOTATION})) is True
    assert mesh.choice(pod("a", None)) is None


def test_of_a_revision_that_others_serve_only_a_missing_sidecar_is_known() -> None:
    assert warning({"revision": "canary"}, pod("a", None, sidecar="1.29.0/1-29-0")) is None
    assert warning({"revision": "canary"}, pod("a", None)) is not None


def test_pods_that_keep_a_sidecar_after_their_namespace_has_left_are_listed() -> None:
    fault = warning({"inject": False}, *deployment("web", ISTIO), *deployment("out", ""))
    assert fault is not None
    assert fault.message == "1 pod still has a sidecar of Istio: deployment/web (1 with a sidecar)."
    asks = pod("gate", None, sidecar=ISTIO, metadata={"labels": {"sidecar.istio.io/inject": "true"}})
    assert warning({"inject": False}, asks) is None
    # The end of its patch restarts it in this run.
    assert warning({"inject": False}, *deployment("web", ISTIO, value=VALUE)) is None
    assert restarts({"inject": False}, *deployment("web", ISTIO, value=VALUE)) == []


def test_exactly_the_workloads_that_lack_the_sidecar_are_restarted_one_after_the_other() -> None:
    objects = [
        *deployment("web", ""),
        *deployment("api", "", ISTIO),
        *deployment("right", ISTIO),
        *deployment("idle"),
        workload("StatefulSet", "db"),
        pod("db-0", ("StatefulSet", "db")),
        workload("DaemonSet", "agent"),
        pod("agent-1", ("DaemonSet", "agent")),
    ]
    named = ["Deployment/api", "Deployment/web", "StatefulSet/db", "DaemonSet/agent"]
    assert restarts({"restart": True}, *objects) == [(name, VALUE) for name in named]
    assert warning({"restart": True}, *objects) is None
    assert restarts({}, *objects) == []


@pytest.mark.parametrize("restart", [True, False])
def test_a_restart_that_is_done_stays_in_the_plan_with_its_value(*, restart: bool) -> None:
    """Without it, Pulumi would take the annotation away, which restarts the workload again."""
    chosen = {"restart": restart}
    assert restarts(chosen, *deployment("web", ISTIO, value=VALUE)) == [("Deployment/web", VALUE)]
    # Somebody else has restarted it for this version: nothing is left to do.
    assert restarts(chosen, *deployment("web", ISTIO, value="istio/1.29.0/default")) == [
        ("Deployment/web", "istio/1.29.0/default")
    ]


def test_a_new_version_restarts_once_more_and_a_restart_without_effect_does_not() -> None:
    old = "istio/1.29.0/default"
    assert restarts({"restart": True}, *deployment("web", "1.29.0", value=old)) == [("Deployment/web", VALUE)]
    assert restarts({}, *deployment("web", "1.29.0", value=old)) == [("Deployment/web", old)]
    still = deployment("web", "", value=VALUE)
    assert restarts({"restart": True}, *still) == [("Deployment/web", VALUE)]
    fault = warning({"restart": True}, *still)
    assert fault is not None
    assert "meshup has restarted deployment/web for this already" in fault.remedy


def test_an_annotation_of_another_manager_is_left_to_it() -> None:
    theirs = [workload("Deployment", "web", "x", manager="meshup-other"), *deployment("web", "")[1:]]
    assert restarts({"restart": True}, *theirs) == []
    fault = warning({"restart": True}, *theirs)
    assert fault is not None
    assert "rollout restart deployment/web" in fault.remedy


SIDECARS = st.sampled_from(["", ISTIO, "1.29.0", "latest"])
WORKLOADS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.tuples(st.lists(SIDECARS, max_size=3), st.sampled_from(["", VALUE, "istio/1.29.0/default"])),
)


@given(state=WORKLOADS, restart=st.booleans())
def test_once_all_that_is_planned_is_done_the_plan_stays_the_same(state: dict[str, Any], *, restart: bool) -> None:
    chosen = {"restart": restart}
    before = [made for name, (pods, value) in state.items() for made in deployment(name, *pods, value=value)]
    planned = restarts(chosen, *before)
    values = {name.partition("/")[2]: value for name, value in planned}
    after = [
        made
        for name, (pods, value) in state.items()
        # A change of the template gives every pod a new sidecar; without one, all stays as it is.
        for made in deployment(
            name,
            *([ISTIO] * len(pods) if values.get(name, value) != value else pods),
            value=values.get(name, ""),
        )
    ]
    assert restarts(chosen, *after) == planned
    # Nothing that carries a patch loses it, and nothing changes without one that is asked for.
    assert {name for name, (_, value) in state.items() if value} <= set(values)
    assert restart or all(state[name][1] == value for name, value in values.items())
