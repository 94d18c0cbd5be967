"""The policy of a stack in its plan, and compared with a cluster."""

from collections.abc import Mapping
from typing import Any

import pytest

from components.manifests import Manifest, ObjectRef
from components.meshes import MESHES
from components.meshes.interface import ExistingMesh, annotations_of
from components.security.model import Account
from stacks import plan, settings
from stacks.outputs import outputs
from stacks.ownership import with_owner
from stacks.plan import Plan
from stacks.settings import RawConfig
from tests.unit.stacks.configs import NOW, raw
from tests.unit.stacks.fake_view import OWNER, build, compare, item, view_of

BOOKINFO: dict[str, Any] = {"namespaces": {"bookinfo": {"default": "deny"}}, "preset": "bookinfo"}
DEFAULT_INBOUND = "config.linkerd.io/default-inbound-policy"
ISTIOD = item(
    "Deployment",
    {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod", "istio.io/rev": "default"}},
    spec={"template": {"spec": {"containers": [{"name": "discovery", "image": "pilot:1.30.3"}]}}},
)


def closed(mesh: str = "istio", **keys: Any) -> RawConfig:
    made: dict[str, Any] = {"mesh": mesh, "security": BOOKINFO, **keys}
    return raw(**made)


def plan_of(config: RawConfig) -> Plan:
    """The plan of a stack whose diagnostics are no errors."""
    made, diagnostics = build(config)
    assert made is not None, diagnostics
    return made


def listed(made: Plan, kind: str) -> set[str]:
    return {ref.name for ref in made.objects() if ref.kind == kind}


def codes(config: RawConfig, *objects: Manifest) -> dict[str, str]:
    """The codes about policies of a comparison with a cluster, each with its message and remedy."""
    view = view_of(*objects)
    found = compare(config, view)[2]
    return {one.code: f"{one.message} {one.remedy}" for one in found if one.code.startswith("MSH57")}


def live(made: Plan, *namespaces: Mapping[str, Any]) -> list[Manifest]:
    """The objects of a plan that decide, as they stand on the cluster with the annotation of the stack."""
    owned = [{**one, "metadata": with_owner(one["metadata"], OWNER)} for one in made.deciding]
    return [*owned, *(item("Namespace", one) for one in namespaces)]


@pytest.mark.parametrize("mesh", MESHES)
def test_the_objects_of_the_policy_are_among_those_of_the_plan(mesh: str) -> None:
    made = plan_of(closed(mesh))
    policies = {one["metadata"]["name"] for one in made.security.manifests if one["kind"] == "AuthorizationPolicy"}
    assert policies
    assert policies <= listed(made, "AuthorizationPolicy")
    assert repr(plan_of(closed(mesh))) == repr(made)


def test_on_linkerd_the_servers_are_among_the_objects_of_routes_and_the_namespace_is_annotated() -> None:
    made = plan_of(closed("linkerd", traffic={}))
    servers = {one["metadata"]["name"] for one in made.delivery.objects if one["kind"] == "Server"}
    assert {"productpage-9080", "details-9080", "reviews-9080", "ratings-9080"} <= servers
    (namespace,) = (one for one in made.namespaces if one["name"] == "bookinfo")
    assert namespace["annotations"][DEFAULT_INBOUND] == "deny"


def test_a_rate_limit_and_the_policy_share_one_server() -> None:
    limited = {"reviews": {"namespace": "bookinfo", "rateLimit": {"requests": 10}}}
    servers = [ref for ref in plan_of(closed("linkerd", traffic=limited)).objects() if ref.kind == "Server"]
    assert servers.count(ObjectRef("policy.linkerd.io/v1beta3", "Server", "reviews-9080", "bookinfo")) == 1


def test_without_a_policy_a_plan_has_none_of_it() -> None:
    made = plan_of(raw())
    assert made.security.manifests == ()
    assert "security" not in outputs(made)


@pytest.mark.parametrize("mesh", MESHES)
def test_the_mode_of_the_policy_is_that_of_the_mesh(mesh: str) -> None:
    made = plan_of(closed(mesh, security={**BOOKINFO, "mtls": {"mode": "permissive"}}))
    assert (made.security.policy.mode, made.mesh.output["mtls"]) == ("permissive", "permissive")
    made = plan_of(closed(mesh, mtls="permissive"))
    assert made.security.policy.mode == "permissive"


def test_faults_of_the_policy_are_reported_together_with_those_of_routes_and_settings() -> None:
    security = {"allow": {"revews": [{"from": [{"serviceAccount": "bookinfo-productpage"}]}]}}
    traffic = {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 20}}}
    made, found = build(raw(security=security, traffic=traffic, istio={"traceSampling": 200}))
    assert made is None
    paths = {one.path for one in found if one.severity == "error"}
    assert {"meshup:security.allow.revews", "meshup:traffic.reviews.split", "meshup:istio.traceSampling"} <= paths


def test_what_needs_no_cluster_is_refused_together_with_the_other_faults() -> None:
    claims = {"from": [{"everybody": True}], "claims": {"scope": ["read"]}}
    made, found = build(raw(security={"allow": {"reviews": [claims]}}, istio={"traceSampling": 200}))
    assert made is None
    assert {"MSH541", "MSH005"} <= {one.code for one in found if one.severity == "error"}


def test_services_of_routes_and_of_the_policy_itself_can_be_named_in_rules() -> None:
    rule = [{"from": [{"serviceAccount": "web"}]}]
    routes = {
        "cart": {
            "namespace": "shop",
            "ports": [{"number": 8080}],
            "selector": {"app": "cart"},
            "rateLimit": {"requests": 9},
        }
    }
    declared = {"pay": {"namespace": "shop", "ports": [8080], "selector": {"app": "pay"}}}
    security = {"services": declared, "allow": {"cart": rule, "pay": rule}}
    made = plan_of(raw(apps=[], traffic=routes, security=security))
    assert {one["metadata"]["name"] for one in made.security.manifests} == {"cart", "pay"}


def test_with_a_mesh_of_somebody_else_the_policy_has_its_mode_trust_domain_and_root_namespace() -> None:
    found = ExistingMesh(version="1.30.3", namespace="mesh", trust_domain="corp", mtls="disable")
    chosen = settings.load(raw(istio={"install": False}, security=BOOKINFO), "dev")[0]
    made, _ = plan.secured(chosen, NOW, found=found)
    assert (made.policy.mode, made.world.trust_domain, made.world.control_plane) == ("disable", "corp", "mesh")


def test_the_output_says_what_holds() -> None:
    shown = outputs(plan_of(closed()))["security"]
    assert shown["mtls"]["mode"] == "strict"
    assert shown["namespaces"]["bookinfo"]["default"] == "deny"
    assert shown["services"]["bookinfo/reviews"]["callers"] == ["bookinfo/bookinfo-productpage"]


@pytest.mark.parametrize(
    ("chosen", "annotated"), [({}, "patch"), ({"create": True}, "created"), ({"inject": False}, "neither")]
)
def test_a_namespace_of_the_configuration_gets_the_annotation_where_its_metadata_are(
    chosen: dict[str, Any], annotated: str
) -> None:
    security = {
        "services": {"cart": {"namespace": "shop", "ports": [8080], "selector": {"app": "cart"}}},
        "namespaces": {"shop": {"default": "deny"}},
    }
    shop = item("Namespace", {"name": "shop"})
    config = raw(mesh="linkerd", apps=[], traffic={}, security=security, namespaces={"shop": chosen})
    made, _ = build(config, view=view_of(shop))
    assert made is not None
    (joined,) = made.joined
    patched = annotations_of(joined.patch["metadata"] if joined.patch else {})
    created = [annotations_of(one) for one in made.namespaces if one["name"] == "shop"]
    assert (patched.get(DEFAULT_INBOUND), *(one.get(DEFAULT_INBOUND) for one in created)) == {
        "patch": ("deny",),
        "created": (None, "deny"),
        "neither": (None,),
    }[annotated]


def world_of(config: RawConfig) -> Any:
    return plan.secured(settings.load(config, "dev")[0], NOW)[0].world


def test_the_world_has_what_the_configuration_says() -> None:
    gateways = {"public": {"listeners": [{"port": 80, "protocol": "http"}]}}
    world = world_of(closed(gateways=gateways, istio={"namespace": "mesh"}))
    assert (world.trust_domain, world.control_plane) == ("cluster.local", "mesh")
    assert world.gateways == {"public": Account("istio-ingress", "public")}
    assert {str(one.identity) for one in world.workloads} >= {"bookinfo/bookinfo-productpage"}
    assert all(one.meshed for one in world.workloads)
    assert {call.service for call in world.calls} == {"productpage", "details", "reviews", "ratings"}


def test_trust_domains_are_those_of_the_mesh() -> None:
    istio = {"values": {"istiod": {"meshConfig": {"trustDomain": "corp"}}}}
    assert world_of(closed(istio=istio)).trust_domain == "corp"
    assert world_of(closed("linkerd", linkerd={"trustDomain": "corp.example"})).trust_domain == "corp.example"


def test_an_application_in_a_namespace_without_injection_is_outside_of_the_mesh() -> None:
    world = world_of(closed(namespaces={"bookinfo": {"create": True, "inject": False}}))
    assert not any(one.meshed for one in world.workloads)


def test_a_namespace_that_needs_an_annotation_and_is_not_of_the_stack_is_refused() -> None:
    security = {
        "services": {"cart": {"namespace": "shop", "ports": [8080], "selector": {"app": "cart"}}},
        "namespaces": {"shop": {"default": "deny"}},
    }
    config = raw(mesh="linkerd", apps=[], traffic={}, security=security)
    assert "MSH577" in codes(config, item("Namespace", {"name": "shop"}))


def test_a_setting_of_sidecars_that_contradicts_the_policy_is_refused() -> None:
    chosen = {"create": True, "proxy": {"defaultInboundPolicy": "all-authenticated"}}
    assert "MSH578" in codes(closed("linkerd", namespaces={"bookinfo": chosen}))
    chosen["proxy"] = {"defaultInboundPolicy": "deny"}
    assert "MSH578" not in codes(closed("linkerd", namespaces={"bookinfo": chosen}))


def test_a_policy_of_somebody_else_for_the_same_pods_is_reported_and_one_of_the_stack_is_not() -> None:
    metadata = {"name": "everybody", "namespace": "bookinfo"}
    theirs = item("AuthorizationPolicy", metadata, spec={"rules": [{}]})
    assert "MSH572" in codes(closed(), theirs)
    ours = item("AuthorizationPolicy", with_owner(metadata, OWNER), spec={"rules": [{}]})
    assert "MSH572" not in codes(closed(), ours)


SERVICES = [item("Service", {"name": name, "namespace": "bookinfo"}) for name in ("reviews", "ratings")]


def test_the_first_up_with_a_policy_says_what_it_closes_at_the_services_that_are_there() -> None:
    said = codes(closed(), ISTIOD, *live(plan_of(raw())), *SERVICES)
    assert "MSH571" not in said
    assert "denied:" in said["MSH570"]
    assert "reviews.bookinfo:9080" in said["MSH570"]
    assert "details.bookinfo" not in said["MSH570"]
    (reviews,) = (one for one in said["MSH570"].splitlines() if "reviews.bookinfo:9080" in one)
    assert "bookinfo-productpage" not in reviews


def test_the_next_one_says_nothing() -> None:
    assert "MSH570" not in codes(closed(), ISTIOD, *live(plan_of(closed())), *SERVICES)


def test_a_policy_that_is_taken_away_says_what_opens() -> None:
    said = codes(raw(), ISTIOD, *live(plan_of(closed())), *SERVICES)
    assert "opened:" in said["MSH570"]
    assert "denied:" not in said["MSH570"]


def test_a_known_call_that_a_policy_closes_is_a_warning() -> None:
    security = {"namespaces": {"bookinfo": {"default": "deny"}}}
    said = codes(closed(security=security), ISTIOD, *live(plan_of(raw())), *SERVICES)
    assert "reviews.bookinfo:9080" in said["MSH571"]


def test_before_there_is_a_mesh_nobody_is_denied_anything() -> None:
    assert "MSH570" not in codes(closed(), *SERVICES)


def test_without_a_policy_the_account_need_not_read_those_of_others() -> None:
    view = view_of(refused=("RequestAuthentication", "AuthorizationPolicy"))
    assert [one.code for one in compare(raw(), view)[2]] == []
    view = view_of(refused=("RequestAuthentication",))
    assert "MSH024" in [one.code for one in compare(closed(), view)[2]]


def test_on_istio_what_else_writes_the_sidecar_of_a_namespace_or_opens_its_host_is_refused() -> None:
    host = {"host": "api.example.com", "port": 443, "protocol": "HTTPS"}
    security = {"namespaces": {"shop": {"egress": {"default": "deny", "hosts": [host]}}}}

    def found(**keys: Any) -> set[str]:
        return {one.code for one in build(raw(mesh="istio", security=security, **keys))[1] if one.severity == "error"}

    assert found() == set()
    assert found(namespaces={"shop": {"egressHosts": ["./*"]}}) == {"MSH554"}
    route = {"namespace": "shop", "ports": [{"number": 80}], "egress": [host]}
    assert found(traffic={"cart": route}) == {"MSH555"}


def test_a_mesh_that_turns_strict_before_its_exceptions_are_there_is_refused() -> None:
    exception = {"namespace": "bookinfo", "service": "reviews", "mode": "permissive", "reason": "its callers move"}
    permissive = raw(mtls="permissive")
    together = raw(security={"mtls": {"mode": "strict", "exceptions": [exception]}})
    said = codes(together, ISTIOD, *live(plan_of(permissive)), *SERVICES)
    assert "reviews.bookinfo:9080" in said["MSH579"]
    assert "ratings.bookinfo:9080" not in said["MSH579"]
    first = raw(mtls="permissive", security={"mtls": {"exceptions": [exception]}})
    assert "MSH579" not in codes(first, ISTIOD, *live(plan_of(permissive)), *SERVICES)
    assert "MSH579" not in codes(together, ISTIOD, *live(plan_of(first)), *SERVICES)
    assert "MSH579" not in codes(together, *SERVICES)
