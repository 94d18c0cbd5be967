"""Routes of others as routes of a stack: what is read compiles to what is there."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes import MESHES, TARGETS
from components.traffic import Service, compile_routes, parse
from stacks import adoption, ownership
from tests.conftest import nightly
from tests.unit.stacks.fake_view import OWNER, item, view_of
from tests.unit.stacks.test_existing_mesh import istiod, linkerd
from tests.unit.traffic import strategies
from tests.unit.traffic.helpers import SERVICES

Json = dict[str, Any]
DOMAIN = "cluster.local"
READ = ("VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute", "ServiceProfile")


def live_service(service: Service) -> Manifest:
    ports = [
        {"port": port.number, "name": port.name or f"port-{port.number}", "targetPort": port.target or port.number}
        | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
        for port in service.ports
    ]
    spec = {"selector": dict(service.selector), "ports": ports}
    return {"metadata": {"name": service.name, "namespace": service.namespace}, "spec": spec}


def compiled(raw: Json, mesh: str, services: tuple[Service, ...] = SERVICES) -> tuple[list[Manifest], list[Service]]:
    routes, diagnostics = parse(raw, "meshup:traffic", services)
    compilation = compile_routes(routes, mesh, TARGETS, services)
    if errors([*diagnostics, *compilation.diagnostics]):
        reject()
    described = {plan.route.service.host: plan.route.service for plan in compilation.planned}
    return list(compilation.manifests), [*described.values(), *(s for s in services if s.host not in described)]


def translated(objects: list[Manifest], services: list[Service], mesh: str) -> adoption.Routes:
    readers = MESHES[mesh].claim_readers
    written = [item for item in objects if (item["apiVersion"], item["kind"]) in readers]
    live = [*map(live_service, services), *(item for item in objects if item["kind"] == "Service")]
    return adoption.routes(mesh, written, live, DOMAIN)


def round_trip(raw: Json, mesh: str) -> None:
    objects, services = compiled(raw, mesh)
    found = translated(objects, services, mesh)
    # An exact path and the same prefix tie on Linkerd, so that no one order of their rules is right for every path.
    assert [reason for reason in found.left.values() if "would prefer" not in reason] == []
    if found.left:
        return
    again, _ = compiled(dict(found.forms), mesh, ())
    made = {object_ref(item): item for item in again}
    for one in objects:
        if one["kind"] in READ:
            assert made[object_ref(one)] == one


@pytest.mark.parametrize("mesh", MESHES)
@settings(
    max_examples=400 if nightly() else 30, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
@given(raw=strategies.configurations())
def test_what_is_read_compiles_to_what_is_there(mesh: str, raw: Json) -> None:
    for route in raw.values():
        # These are objects of other kinds, which are not read.
        for key in ("egress", "rateLimit", *(["circuitBreaker"] if mesh == "linkerd" else [])):
            route.pop(key, None)
    round_trip(raw, mesh)


LEFT = (
    "There is no Service 'gateway'",  # It has no route of its own.
    "it is for no Service of the mesh",  # A host outside.
    "The text is too long",  # A pattern that stands for several cookies or for a prefix.
    "would prefer",  # Their order depends on the path that is asked for.
)


@pytest.mark.parametrize("mesh", MESHES)
@settings(max_examples=200 if nightly() else 15, suppress_health_check=[HealthCheck.filter_too_much])
@given(raw=strategies.edge_configurations())
def test_what_is_adopted_is_written_again_and_what_is_left_has_a_reason(mesh: str, raw: Json) -> None:
    objects, services = compiled(raw, mesh)
    found = translated(objects, services, mesh)
    made = {object_ref(one): one for one in compiled(dict(found.forms), mesh, ())[0]}
    for one in objects:
        if object_ref(one) in found.adopted:
            assert made[object_ref(one)] == one
    assert [reason for reason in found.left.values() if not any(known in reason for known in LEFT)] == []


def release_secret(
    name: str, chart: str, values: Json, *, revision: int = 1, namespace: str = "istio-system"
) -> Manifest:
    """The record of a release, as Helm 3 writes it."""
    release = {
        "name": name,
        "namespace": namespace,
        "version": revision,
        "info": {"status": "deployed"},
        "config": values,
        "chart": {"metadata": {"name": chart, "version": "2026.8.3" if namespace == "linkerd" else "1.30.3"}},
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    metadata = {"name": f"sh.helm.release.v1.{name}.v{revision}", "namespace": namespace}
    return item("Secret", metadata, type="helm.sh/release.v1", data={"release": base64.b64encode(packed).decode()})


def adopted(mesh: str, *live: Manifest) -> tuple[adoption.Adoption | None, list[Diagnostic]]:
    return adoption.adopt(mesh, view_of(*live), OWNER, "kind-dev")


def test_values_that_a_setting_expresses_become_that_setting() -> None:
    values = {
        "traceSampling": 5,
        "global": {"hub": "example.com/istio", "logAsJson": True},
        "autoscaleEnabled": False,
        "replicaCount": 3,
        "meshConfig": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "accessLogFile": "/dev/stdout"},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    older = release_secret("istiod", "istiod", {"traceSampling": 1})
    releases = [
        older,
        release_secret("istiod", "istiod", values, revision=2),
        release_secret("istio-base", "base", {}),
    ]
    made, diagnostics = adopted("istio", istiod(), *releases, item("Namespace", {"name": "istio-system"}))
    assert made is not None
    assert made.config == {
        "kubernetes:context": "kind-dev",
        "meshup:environment": "none",
        "meshup:mesh": "istio",
        "meshup:mtls": "permissive",
        "meshup:istio": {
            "traceSampling": 5,
            "egress": "registry-only",
            "hub": "example.com/istio",
            "version": "1.30.3",
            "replicas": 3,
            "values": {
                "istiod": {
                    "global": {"logAsJson": True},
                    "meshConfig": {"accessLogFile": "/dev/stdout"},
                    "seccompProfile": {"type": "RuntimeDefault"},
                }
            },
        },
    }
    # What every installation by meshup sets.
    assert {(fault.code, fault.message) for fault in diagnostics} == {
        ("MSH062", "value istio-base.global would be {'istioNamespace': 'istio-system'}."),
        ("MSH062", "value istiod.global.istioNamespace would be 'istio-system'."),
    }
    annotate = "kubectl annotate --namespace istio-system secret sh.helm.release.v1"
    assert made.commands == (
        f"kubectl annotate namespace istio-system meshup/stack={OWNER}",
        ownership.drop_managers(ObjectRef("v1", "Namespace", "istio-system")),
        f"{annotate}.istiod.v2 meshup/stack={OWNER}",
        f"{annotate}.istio-base.v1 meshup/stack={OWNER}",
    )


def test_no_private_key_of_linkerd_gets_into_the_configuration() -> None:
    values = {
        "identityTrustAnchorsPEM": "anchors",
        "identity": {"issuer": {"tls": {"crtPEM": "certificate", "keyPEM": "secret"}}},
        "proxyInjector": {"keyPEM": "secret", "crtPEM": "c", "caBundle": "c"},
        "controllerLogLevel": "debug",
        "proxy": {"logLevel": "warn", "defaultInboundPolicy": "all-unauthenticated"},
    }
    record = release_secret("linkerd-control-plane", "linkerd-control-plane", values, namespace="linkerd")
    made, _ = adopted("linkerd", *linkerd(), record)
    assert made is not None
    assert made.config["meshup:linkerd"] == {"logLevel": "debug", "proxyLogLevel": "warn", "version": "2026.8.3"}
    assert made.config["meshup:identity"]["issuerKeyFile"] == "linkerd-issuer.key"
    assert "secret" not in str(made.config)
    assert any("umask 077" in command for command in made.commands)


@pytest.mark.parametrize(
    ("live", "codes"),
    [
        ([], ["MSH060"]),
        ([istiod("a"), istiod("b")], ["MSH060"]),
        ([istiod()], ["MSH064"]),
        ([istiod(), item("Secret", {"name": "x", "namespace": "istio-system"}, type="helm.sh/release.v1")], ["MSH064"]),
        ([istiod(), release_secret("mine", "istiod", {})], ["MSH062"]),
    ],
)
def test_what_can_not_be_adopted_is_said(live: list[Manifest], codes: list[str]) -> None:
    assert [fault.code for fault in adopted("istio", *live)[1]] == codes


def test_a_route_that_can_not_be_expressed_stays_with_the_reason() -> None:
    service = {**live_service(SERVICES[0]), "kind": "Service"}
    cors: Json = {"route": [{"destination": {"host": "reviews"}}], "corsPolicy": {}}
    virtual = item("VirtualService", {"name": "reviews", "namespace": "bookinfo"})
    virtual |= {"apiVersion": "networking.istio.io/v1", "spec": {"hosts": ["reviews"], "http": [cors]}}
    found = adoption.routes("istio", [virtual], [service], DOMAIN)
    assert list(found.left.values()) == ["VirtualService.spec.http[0].corsPolicy can't be written"]
    nothing = {**virtual, "spec": {"hosts": ["reviews"], "http": []}}
    assert list(adoption.routes("istio", [nothing], [service], DOMAIN).left) == [object_ref(virtual)]


def test_what_the_api_server_adds_to_a_route_does_not_stand_in_the_way() -> None:
    versions = {name: {"version": name} for name in ("v1", "v2")}
    services: list[Json] = [
        {"metadata": {"name": name, "namespace": "shop"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}
        for name, labels in (
            ("web", {"app": "web"}),
            *((f"web-{version}", {"app": "web", **labels}) for version, labels in versions.items()),
        )
    ]
    references = [
        {"group": "", "kind": "Service", "name": f"web-{version}", "port": 80, "weight": weight}
        for version, weight in (("v1", 9), ("v2", 1))
    ]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": references}
    parent = {"group": "", "kind": "Service", "name": "web", "port": 80}
    route = item("HTTPRoute", {"name": "web", "namespace": "shop"}, spec={"parentRefs": [parent], "rules": [rule]})
    route["apiVersion"] = "gateway.networking.k8s.io/v1"
    for mesh in MESHES:
        found = adoption.routes(mesh, [route], services, DOMAIN)
        assert found.left == {}
        assert found.forms["web"]["versions"] == versions
        assert found.forms["web"]["rules"] == [{"backends": {"v1": 90, "v2": 10}}]


def test_the_route_of_a_port_comes_after_those_of_its_rules() -> None:
    """Its last rule takes everything, so that a rule behind it would never be met."""
    service = ".".join(["a"] * 200)
    headers = {f"x-{number}": "v" for number in range(16)}
    backends = [{"service": "gateway", "namespace": "edge", "port": 80}]
    rules = [
        {"redirect": {"path": "/x"}, "match": [{"grpc": {"service": service}}]},
        {"timeout": "1ms", "backends": backends, "match": [{"headers": headers}]},
    ]
    objects, services = compiled({"gateway": {"port": 80, "api": "auto", "rules": rules}}, "linkerd")
    found = translated(objects, services, "linkerd")
    assert not found.left
    assert {object_ref(item) for item in objects} == set(found.adopted)
