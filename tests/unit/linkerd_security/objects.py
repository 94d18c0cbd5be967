"""Objects of Linkerd as people write them, for tests of what they decide."""

from __future__ import annotations

from typing import Any

from components.manifests import Manifest

GATEWAY_API = "gateway.networking.k8s.io/v1"
POLICY = "policy.linkerd.io/v1alpha1"
OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def item(kind: str, name: str, spec: dict[str, Any], version: str = POLICY, created: str = "") -> Manifest:
    """An object as the API server returns it."""
    metadata: Manifest = {"name": name, "namespace": "bookinfo"}
    if created:
        metadata["creationTimestamp"] = created
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def server(access: str = "deny", name: str = "details", created: str = "", **spec: Any) -> Manifest:
    """A Server for port 9080 of details."""
    whole = {"podSelector": {"matchLabels": {"app": "details"}}, "port": 9080, "accessPolicy": access, **spec}
    return item("Server", name, whole, "policy.linkerd.io/v1beta3", created)


def route(name: str, *matches: Manifest, created: str = "", group: str = GATEWAY_API, **spec: Any) -> Manifest:
    """An HTTPRoute on the Server of details."""
    parents = [{"group": "policy.linkerd.io", "kind": "Server", "name": "details"}]
    return item(
        "HTTPRoute", name, {"parentRefs": parents, "rules": [{"matches": list(matches)}], **spec}, group, created
    )


def match(path: str, kind: str = "PathPrefix", method: str = "", **headers: str) -> Manifest:
    """A match of an HTTPRoute."""
    made: Manifest = {"path": {"type": kind, "value": path}}
    if method:
        made["method"] = method
    if headers:
        made["headers"] = [{"name": name, "value": value} for name, value in headers.items()]
    return made


def allow(name: str, target: str, *references: Manifest) -> Manifest:
    """An AuthorizationPolicy on `Kind/name`."""
    kind, _, named = target.partition("/")
    groups = {"HTTPRoute": "gateway.networking.k8s.io", "Namespace": ""}
    spec = {
        "targetRef": {"group": groups.get(kind, "policy.linkerd.io"), "kind": kind, "name": named},
        "requiredAuthenticationRefs": list(references),
    }
    return item("AuthorizationPolicy", name, spec)


def account(name: str) -> Manifest:
    """A reference to a service account."""
    return {"kind": "ServiceAccount", "name": name}


def authentication(kind: str, name: str = "callers") -> Manifest:
    """A reference to an authentication."""
    return {"group": "policy.linkerd.io", "kind": kind, "name": name}


def meshtls(*identities: str) -> Manifest:
    """A MeshTLSAuthentication."""
    return item("MeshTLSAuthentication", "callers", {"identities": list(identities)})


def namespace(policy: str) -> Manifest:
    """A namespace whose pods were made after its annotation."""
    annotations = {"config.linkerd.io/default-inbound-policy": policy}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bookinfo", "annotations": annotations}}
