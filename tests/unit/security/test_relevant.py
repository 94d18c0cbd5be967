"""What is left out for a Service has no say in it."""

from __future__ import annotations

from hypothesis import given

from components.manifests import Manifest
from components.meshes.istio.security import ISTIO_SECURITY
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.model import Policy
from components.security.plane import AccessRequest
from components.security.relevant import relevant
from tests.unit.istio_security import test_properties as istio
from tests.unit.linkerd_security.test_property import POLICIES, REQUESTS, WORLD, A, B, written


@given(POLICIES, REQUESTS)
def test_linkerd_decides_alike_by_the_objects_that_are_left(policy: Policy, request: AccessRequest) -> None:
    assert policy.mode != "disable"
    objects = written(policy)
    kept = relevant(objects, request.service)
    assert LINKERD_SECURITY.verdict(kept, WORLD, request, policy.mode) == LINKERD_SECURITY.verdict(
        objects, WORLD, request, policy.mode
    )


@given(istio.policies(), istio.requests())
def test_istio_decides_alike_by_the_objects_that_are_left(policy: Policy, request: AccessRequest) -> None:
    objects = [item.manifest for item in ISTIO_SECURITY.write(policy, istio.WORLD).objects]
    kept = relevant(objects, request.service)
    assert ISTIO_SECURITY.verdict(kept, istio.WORLD, request, policy.mode) == ISTIO_SECURITY.verdict(
        objects, istio.WORLD, request, policy.mode
    )


def server(name: str, app: str) -> Manifest:
    spec = {"podSelector": {"matchLabels": {"app": app}}}
    return {"kind": "Server", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def test_what_refers_to_objects_of_other_pods_only_is_left_out_with_them() -> None:
    route: Manifest = {"kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "shop"}}
    route["spec"] = {"parentRefs": [{"kind": "Server", "name": "b"}]}
    policy: Manifest = {"kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "shop"}}
    refs = [{"kind": "MeshTLSAuthentication", "name": "m"}]
    policy["spec"] = {"targetRef": {"kind": "HTTPRoute", "name": "r"}, "requiredAuthenticationRefs": refs}
    authentication = {"kind": "MeshTLSAuthentication", "metadata": {"name": "m", "namespace": "shop"}, "spec": {}}
    objects = [server("a", "a"), server("b", "b"), route, policy, authentication]
    assert [item["metadata"]["name"] for item in relevant(objects, A)] == ["a"]
    assert [item["metadata"]["name"] for item in relevant(objects, B)] == ["b", "r", "p", "m"]


def test_what_does_not_say_for_which_pods_it_is_stays() -> None:
    names = {"name": "x", "namespace": "shop"}
    kinds = ("Namespace", "AuthorizationPolicy", "PeerAuthentication", "EgressNetwork")
    objects = [
        *({"kind": kind, "metadata": names} for kind in kinds),
        {"kind": "PeerAuthentication", "metadata": names, "spec": {"selector": {"matchLabels": {"tier": "web"}}}},
        {"kind": "HTTPRoute", "metadata": names, "spec": {"parentRefs": [{"kind": "Server", "name": "unknown"}]}},
        {"kind": "Odd", "metadata": names, "spec": {"selector": None, "targetRef": None, "parentRefs": [None]}},
    ]
    assert list(relevant(objects, A)) == objects
