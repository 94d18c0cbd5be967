"""Other meshes on the cluster, and control planes that a change would take away: a table of clusters."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from components.meshes.istio import component as istio
from components.meshes.linkerd import component as linkerd
from stacks.cluster import ClusterView
from stacks.other_meshes import check, selects
from stacks.plan import Plan
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import item, planned, view_of

Json = dict[str, Any]
OWN = ("istio-system", "linkerd", "bookinfo")
EVERYTHING: Json = {}


def plan_of(**keys: Any) -> Plan:
    wanted: dict[str, Any] = {"traffic": {}, **keys}
    return planned(raw(**wanted))


def cluster(
    mutating: Sequence[Json] = (),
    validating: Sequence[Json] = (),
    crds: Sequence[Json] = (),
    namespaces: Sequence[Json] | None = None,
    deployments: Sequence[Json] = (),
) -> ClusterView:
    return view_of(
        *({"kind": "MutatingWebhookConfiguration", **config} for config in mutating),
        *({"kind": "ValidatingWebhookConfiguration", **config} for config in validating),
        *(item("CustomResourceDefinition", metadata) for metadata in crds),
        *(item("Namespace", metadata) for metadata in (NAMESPACES if namespaces is None else namespaces)),
        *(item("Deployment", {"namespace": "bookinfo", **metadata}) for metadata in deployments),
    )


def named(name: str, release: tuple[str, str] | None = None, labels: dict[str, str] | None = None) -> Json:
    metadata: Json = {"name": name, "labels": labels or {}}
    if release:
        metadata["labels"] = {**metadata["labels"], "app.kubernetes.io/managed-by": "Helm"}
        metadata["annotations"] = {
            "meta.helm.sh/release-name": release[0],
            "meta.helm.sh/release-namespace": release[1],
        }
    return metadata


def webhook(name: str, place: str, selector: Json | None = None, objects: Json | None = None) -> Json:
    service, _, namespace = place.partition(".")
    client: Json = {"url": place} if "://" in place else {"service": {"name": service, "namespace": namespace}}
    return {"name": name, "clientConfig": client, "namespaceSelector": selector, "objectSelector": objects}


def config(metadata: Json, *webhooks: Json) -> Json:
    return {"metadata": metadata, "webhooks": list(webhooks)}


def istio_injector(
    revision: str = "", namespace: str = "istio-system", *, place: str = "", helm: bool = True, everywhere: bool = False
) -> Json:
    """As the chart writes it (istio-discovery, templates/mutatingwebhook.yaml), or istioctl, which is not Helm."""
    suffix = f"-{revision}" if revision else ""
    place = place or f"istiod{suffix}.{namespace}"
    metadata = named(
        f"istio-sidecar-injector{suffix}",
        (f"istiod{suffix}", namespace) if helm else None,
        {"istio.io/rev": revision or "default", "app": "sidecar-injector"},
    )
    injected = {"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]}
    unlabelled = {"matchExpressions": [{"key": "istio-injection", "operator": "DoesNotExist"}]}
    asked = {"matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "In", "values": ["true"]}]}
    hooks = [
        webhook("namespace.sidecar-injector.istio.io", place, injected),
        webhook("object.sidecar-injector.istio.io", place, unlabelled, asked),
    ]
    if everywhere:
        hooks.append(webhook("auto.sidecar-injector.istio.io", place, unlabelled))
    return config(metadata, *hooks)


def linkerd_injector(namespace: str = "linkerd", *, helm: bool = True) -> Json:
    metadata = named("linkerd-proxy-injector-webhook-config", ("linkerd-control-plane", namespace) if helm else None)
    selector = {
        "matchExpressions": [
            {"key": "config.linkerd.io/admission-webhooks", "operator": "NotIn", "values": ["disabled"]}
        ]
    }
    return config(
        metadata, webhook("linkerd-proxy-injector.linkerd.io", f"linkerd-proxy-injector.{namespace}", selector)
    )


def deployment(release: tuple[str, str] | None, app: str) -> Json:
    return named(release[0] if release else app, release, {"app": app})


def crds(names: tuple[str, ...], release: tuple[str, str] | None) -> list[Json]:
    return [named(name, release) for name in names]


ISTIOD = deployment(("istiod", "istio-system"), "istiod")
LINKERD = named(
    "linkerd-destination",
    ("linkerd-control-plane", "linkerd"),
    {"linkerd.io/control-plane-component": "destination"},
)
NAMESPACES = [named(name) for name in ("default", *OWN)]
KUMA = config(
    named("kuma-admission-mutating-webhook-configuration", ("kuma", "kuma-system")),
    webhook(
        "namespace-kuma-injector.kuma.io",
        "kuma-control-plane.kuma-system",
        {"matchLabels": {"kuma.io/sidecar-injection": "enabled"}},
    ),
)
CONSUL = config(
    named("consul-connect-injector", ("consul", "consul")),
    webhook("consul-connect-injector.consul.hashicorp.com", "consul-connect-injector.consul", EVERYTHING),
)

CLUSTERS: dict[str, tuple[Json, Json, list[tuple[str, str]]]] = {
    "empty": ({}, {}, []),
    "our own Istio, again": (
        {},
        {
            "mutating": [istio_injector()],
            "validating": [
                config(
                    named("istio-validator-istio-system", ("istiod", "istio-system")),
                    webhook("rev.validation.istio.io", "istiod.istio-system"),
                )
            ],
            "crds": crds(istio.CRDS, ("istio-base", "istio-system")),
            "deployments": [ISTIOD],
        },
        [],
    ),
    "our own Linkerd, again": (
        {"mesh": "linkerd"},
        {
            "mutating": [linkerd_injector()],
            "crds": crds(linkerd.CRDS, ("linkerd-crds", "linkerd")),
            "deployments": [LINKERD],
        },
        [],
    ),
    "Istio of istioctl in the namespace of another stack": (
        {},
        {"mutating": [istio_injector(namespace="mesh", helm=False)]},
        [("MSH321", "meshup:mesh")],
    ),
    "Istio of Helm in another namespace": (
        {},
        {"mutating": [istio_injector(namespace="mesh")], "crds": crds(istio.CRDS, ("istio-base", "mesh"))},
        [("MSH321", "meshup:mesh"), ("MSH324", f"CustomResourceDefinition/{min(istio.CRDS)}")],
    ),
    "another revision of istioctl in our namespace": (
        {},
        {"mutating": [istio_injector(), istio_injector("canary", helm=False)]},
        [("MSH321", "meshup:mesh")],
    ),
    "a tag that istioctl has set on our control plane": (
        {},
        {"mutating": [istio_injector(), istio_injector(helm=False)], "deployments": [ISTIOD]},
        [("MSH323", "meshup:mesh")],
    ),
    "Istio of istioctl in our namespace, where ours does not run": (
        {},
        {"mutating": [istio_injector(helm=False)]},
        [("MSH321", "meshup:mesh")],
    ),
    "an injector by URL": (
        {},
        {"mutating": [istio_injector(place="https://istiod.example.com:15017/inject", helm=False)]},
        [("MSH321", "meshup:mesh")],
    ),
    "only validation of another Istio": (
        {},
        {"validating": [config(named("istiod-default-validator"), webhook("validation.istio.io", "istiod.mesh"))]},
        [("MSH321", "meshup:mesh")],
    ),
    "webhooks that somebody else manages for our istiod": (
        {"istio": {"webhooks": False}},
        {"mutating": [istio_injector(helm=False)]},
        [("MSH323", "meshup:mesh")],
    ),
    "webhooks that somebody else manages, by URL": (
        {"istio": {"webhooks": False}},
        {"mutating": [istio_injector(place="https://istiod.example.com/inject", helm=False)]},
        [("MSH323", "meshup:mesh")],
    ),
    "webhooks of another istiod, where ours has none": (
        {"istio": {"webhooks": False}},
        {"mutating": [istio_injector(namespace="mesh", helm=False)]},
        [("MSH321", "meshup:mesh")],
    ),
    "Linkerd of its own command line": (
        {"mesh": "linkerd"},
        {"mutating": [linkerd_injector(helm=False)], "crds": crds(linkerd.CRDS, None)},
        [("MSH321", "meshup:mesh"), ("MSH324", f"CustomResourceDefinition/{min(linkerd.CRDS)}")],
    ),
    "Linkerd of another stack beside our Istio": (
        {},
        {"mutating": [linkerd_injector("l5d")], "crds": crds(linkerd.CRDS, ("linkerd-crds", "l5d"))},
        [("MSH323", "meshup:mesh")],
    ),
    "Linkerd of somebody else, asked for in a namespace of ours": (
        {},
        {
            "mutating": [linkerd_injector("l5d")],
            "namespaces": [{"name": "bookinfo", "annotations": {"linkerd.io/inject": "enabled"}}],
        },
        [("MSH322", "Namespace/bookinfo")],
    ),
    "Istio of somebody else beside our Linkerd": (
        {"mesh": "linkerd"},
        {"mutating": [istio_injector(helm=False)], "crds": crds(istio.CRDS, None)},
        [("MSH323", "meshup:mesh")],
    ),
    "Istio of somebody else, asked for in a namespace of ours": (
        {"mesh": "linkerd"},
        {
            "mutating": [istio_injector(namespace="mesh")],
            "namespaces": [{"name": "bookinfo", "labels": {"istio-injection": "enabled"}}],
        },
        [("MSH322", "Namespace/bookinfo")],
    ),
    "Istio of somebody else that takes all namespaces": (
        {"mesh": "linkerd"},
        {"mutating": [istio_injector(namespace="mesh", everywhere=True)]},
        [("MSH322", "Namespace/bookinfo")],
    ),
    "Kuma elsewhere": ({}, {"mutating": [KUMA]}, [("MSH323", "meshup:mesh")]),
    "Kuma in a namespace of ours": (
        {},
        {"mutating": [KUMA], "namespaces": [{"name": "bookinfo", "labels": {"kuma.io/sidecar-injection": "enabled"}}]},
        [("MSH322", "Namespace/bookinfo")],
    ),
    "Consul, which is called for everything and adds nothing unasked": (
        {},
        {"mutating": [CONSUL]},
        [("MSH323", "meshup:mesh")],
    ),
    "webhooks that are no mesh's": (
        {},
        {"mutating": [config(named("pod-policy"), webhook("mutate.kyverno.svc", "kyverno.kyverno", EVERYTHING))]},
        [],
    ),
    "definitions of our release that an earlier stack has left": (
        {},
        {"crds": crds(istio.CRDS, ("istio-base", "istio-system"))},
        [],
    ),
    "definitions of Istio that kubectl has applied": (
        {},
        {"crds": crds(istio.CRDS[:2], None)},
        [("MSH324", f"CustomResourceDefinition/{min(istio.CRDS[:2])}")],
    ),
    "definitions of Istio that the release leaves out": (
        {"istio": {"values": {"base": {"base": {"excludedCRDs": list(istio.CRDS)}}}}},
        {"crds": crds(istio.CRDS, None)},
        [],
    ),
    "webhooks whose namespace is gone, of the release that is planned": (
        {},
        {"mutating": [istio_injector()], "namespaces": [named("default")]},
        [],
    ),
    "the other mesh of this stack, on the way out": (
        {"mesh": "linkerd"},
        {
            "mutating": [istio_injector()],
            "deployments": [ISTIOD],
            "crds": crds(istio.CRDS, ("istio-base", "istio-system")),
        },
        [("MSH325", "meshup:mesh")],
    ),
    "and the other way round": (
        {},
        {"mutating": [linkerd_injector()], "deployments": [LINKERD]},
        [("MSH325", "meshup:mesh")],
    ),
    "another revision": (
        {"istio": {"revision": "canary"}},
        {"mutating": [istio_injector()], "deployments": [ISTIOD]},
        [("MSH326", "meshup:istio")],
    ),
    "no revision any more": (
        {},
        {"deployments": [deployment(("istiod-canary", "istio-system"), "istiod")]},
        [("MSH326", "meshup:istio")],
    ),
    "the same revision": (
        {"istio": {"revision": "canary"}},
        {"deployments": [deployment(("istiod-canary", "istio-system"), "istiod")]},
        [],
    ),
    "another namespace of Istio": (
        {"istio": {"namespace": "mesh"}},
        {"mutating": [istio_injector()], "deployments": [ISTIOD]},
        [("MSH326", "meshup:istio")],
    ),
    "another namespace of Linkerd": (
        {"mesh": "linkerd", "linkerd": {"namespace": "l5d"}},
        {"mutating": [linkerd_injector()], "deployments": [LINKERD]},
        [("MSH326", "meshup:linkerd")],
    ),
    "an application that is called istiod and no release": (
        {"istio": {"revision": "canary"}},
        {"deployments": [deployment(None, "istiod"), deployment(("web", "bookinfo"), "web")]},
        [],
    ),
}
"""By name: configuration, what the cluster lists, and what is said of it."""


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_said_of_a_cluster(name: str) -> None:
    keys, listed, expected = CLUSTERS[name]
    view = cluster(**listed)
    own = [metadata["name"] for metadata in view.metadata("v1", "Namespace") if metadata["name"] in OWN]
    found = check(plan_of(**keys), view, own)
    assert [(fault.code, fault.path) for fault in found] == expected
    # What is admitted is said with its reason, and what would break is refused.
    admitted = {"MSH323": "info", "MSH325": "warning"}
    assert [fault.severity for fault in found] == [admitted.get(fault.code, "error") for fault in found]


def test_without_a_mark_in_its_namespace_a_release_of_our_names_is_somebody_elses() -> None:
    view = cluster(mutating=[istio_injector()])
    assert [fault.code for fault in check(plan_of(), view, [])] == ["MSH321"]


def test_the_report_on_definitions_hands_each_over_and_deletes_none() -> None:
    (fault,) = check(plan_of(), cluster(crds=crds(istio.CRDS, None)), OWN)
    assert all(name in fault.remedy for name in istio.CRDS)
    # kubectl wants the objects before what is written on them.
    assert re.search(
        r"kubectl label --overwrite customresourcedefinition [a-z. ]+ app.kubernetes.io/\S+=Helm", fault.remedy
    )
    assert "meta.helm.sh/release-name=istio-base meta.helm.sh/release-namespace=istio-system" in fault.remedy
    assert "delete" not in fault.remedy


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchLabels": {"c": "1"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "c", "operator": "In", "values": [""]}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "c", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_selector_matches_as_in_kubernetes(selector: Json | None, matches: bool) -> None:
    assert selects(selector, {"a": "1", "b": ""}) is matches
