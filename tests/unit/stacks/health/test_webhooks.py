"""Webhooks of the mesh: without an answer, without trust, without the namespaces of the stack; kinds not served."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from components.manifests import Manifest
from components.meshes.linkerd.identity.certificates import Issued, anchor_profile, issue, webhook_profile
from stacks.health.webhooks import KINDS_SERVED, WEBHOOKS
from tests.unit.stacks.configs import NOW
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.health.subjects import found, namespace, secret, subject

VERSION = subject().plan.mesh.version
YEAR = timedelta(days=365)
INJECTOR = "MutatingWebhookConfiguration/istio-sidecar-injector"
ROOT = issue(anchor_profile("cluster.local", YEAR, YEAR / 4), NOW)
SERVICE = item("Service", {"name": "istiod", "namespace": "istio-system"})


def endpoints(*, ready: bool = True) -> Manifest:
    metadata = {"name": "e", "namespace": "istio-system", "labels": {"kubernetes.io/service-name": "istiod"}}
    return item("EndpointSlice", metadata, endpoints=[{"conditions": {"ready": ready}}])


def bundle(of: Issued) -> str:
    return base64.b64encode(of.certificate_pem.encode()).decode()


def injector(bundled: str = bundle(ROOT), **changes: Any) -> Manifest:
    hook = {
        "name": "namespace.sidecar-injector.istio.io",
        "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod"}, "caBundle": bundled},
        "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
        **changes,
    }
    return item("MutatingWebhookConfiguration", {"name": "istio-sidecar-injector"}, webhooks=[hook])


ROOTS = secret("ConfigMap", "istio-ca-root-cert", "istio-system", **{"root-cert_pem": ROOT.certificate_pem})
GOOD = (namespace("istio-system"), namespace("bookinfo"), SERVICE, endpoints(), ROOTS)


def test_a_webhook_that_answers_and_is_trusted_is_fine() -> None:
    assert found(WEBHOOKS, subject(*GOOD, injector())) == []


@pytest.mark.parametrize(
    ("live", "words"),
    [((), "there is no Service istio-system/istiod"), ((SERVICE, endpoints(ready=False)), "no ready endpoint")],
)
def test_a_webhook_without_an_answer_is_found_with_what_that_does(live: tuple[Manifest, ...], words: str) -> None:
    """Without it: `failed calling webhook` at the next pod, or with Ignore no word at all and no sidecar."""
    for policy, effect, more in (("Fail", "refuses", []), ("Ignore", "goes on without it", [("MSH787", INJECTOR)])):
        asked = subject(namespace("bookinfo"), ROOTS, *live, injector(failurePolicy=policy))
        assert found(WEBHOOKS, asked) == [("MSH774", INJECTOR), *more]
        message = WEBHOOKS.run(asked)[0].message
        assert words in message and effect in message


@pytest.mark.parametrize("bundled", ["", "!", base64.b64encode(b"x").decode()])
def test_a_webhook_needs_a_bundle_of_certificates(bundled: str) -> None:
    assert found(WEBHOOKS, subject(*GOOD, injector(bundled))) == [("MSH775", INJECTOR)]


def test_the_bundle_of_another_authority_is_found() -> None:
    """Without it: `x509: certificate signed by unknown authority`, in the events of ReplicaSets."""
    other = issue(anchor_profile("cluster.local", YEAR, YEAR / 4), NOW)
    assert found(WEBHOOKS, subject(*GOOD, injector(bundle(other)))) == [("MSH775", INJECTOR)]


def test_a_webhook_of_linkerd_is_held_against_the_certificate_of_its_own_server() -> None:
    def server() -> Issued:
        return issue(webhook_profile("linkerd-proxy-injector", "linkerd", YEAR, YEAR / 4), NOW)

    mine, other = server(), server()
    service = {"namespace": "linkerd", "name": "linkerd-proxy-injector"}
    labels = {"kubernetes.io/service-name": service["name"]}
    live = [
        item("Namespace", {"name": "bookinfo", "annotations": {"linkerd.io/inject": "enabled"}}),
        item("Service", service),
        item("EndpointSlice", {**service, "labels": labels}, endpoints=[{}]),
        secret("Secret", "linkerd-proxy-injector-k8s-tls", "linkerd", tls_crt=mine.certificate_pem),
        secret("Secret", "linkerd-sp-validator-k8s-tls", "linkerd", tls_crt=other.certificate_pem),
    ]

    def hook(of: Issued) -> Manifest:
        config = {"service": service, "caBundle": bundle(of)}
        listed = [{"name": "linkerd-proxy-injector.linkerd.io", "clientConfig": config, "failurePolicy": "Ignore"}]
        return item("MutatingWebhookConfiguration", {"name": "injector"}, webhooks=listed)

    assert found(WEBHOOKS, subject(*live, hook(mine), mesh="linkerd")) == []
    path = "MutatingWebhookConfiguration/injector"
    assert found(WEBHOOKS, subject(*live, hook(other), mesh="linkerd")) == [("MSH775", path)]
    bare = live[0] | {"metadata": {"name": "bookinfo"}}
    asked = subject(bare, *live[1:], hook(mine), mesh="linkerd")
    assert found(WEBHOOKS, asked) == [("MSH776", "Namespace/bookinfo")]


@pytest.mark.parametrize(
    "live",
    [
        (*GOOD[:1], namespace("bookinfo", joined=False), *GOOD[2:], injector()),
        (*GOOD, injector(namespaceSelector={"matchLabels": {"other": "yes"}})),
        (*GOOD, injector(objectSelector={"matchLabels": {"sidecar.istio.io/inject": "true"}})),
        GOOD,
    ],
)
def test_a_namespace_that_no_injector_selects_is_found(live: tuple[Manifest, ...]) -> None:
    """Without it: pods of the next roll-out start outside of the mesh, one by one."""
    assert found(WEBHOOKS, subject(*live)) == [("MSH776", "Namespace/bookinfo")]


@pytest.mark.parametrize(
    ("mesh", "policy", "codes"),
    [
        ({}, "Fail", []),
        ({}, "Ignore", ["MSH787"]),
        ({"istio": {"install": False}}, "Ignore", []),
    ],
)
def test_an_injector_fails_as_the_stack_has_it(mesh: dict[str, Any], policy: str, codes: list[str]) -> None:
    """Without it: somebody has set Ignore in an incident, and the next outage starts pods outside of the mesh."""
    istiod = item(
        "Deployment",
        {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}},
        spec={"template": {"spec": {"containers": [{"name": "discovery", "image": f"pilot:{VERSION}"}]}}},
    )
    asked = subject(*GOOD, istiod, injector(failurePolicy=policy), **mesh)
    assert [fault.code for fault in WEBHOOKS.run(asked)] == codes


def test_a_mesh_that_is_set_up_without_an_injector_lacks_none() -> None:
    assert found(WEBHOOKS, subject(*GOOD, istio={"webhooks": False})) == []


def crd(name: str, established: str = "True") -> Manifest:
    conditions = [{"type": "Established", "status": established, "message": "names conflict."}]
    return item("CustomResourceDefinition", {"name": name}, status={"conditions": conditions})


def test_each_kind_of_the_mesh_is_served() -> None:
    names = subject().plan.mesh.crds
    assert found(KINDS_SERVED, subject(*map(crd, names))) == []
    live = [crd(names[0], "False"), *map(crd, names[2:])]
    expected = [("MSH777", f"CustomResourceDefinition/{name}") for name in names[:2]]
    assert found(KINDS_SERVED, subject(*live)) == expected
