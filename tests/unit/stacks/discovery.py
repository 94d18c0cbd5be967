"""What an API server says of its kinds, and empty lists of them: the part of Kubernetes that `stacks.target` asks."""

from typing import Any

KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {
        "Namespace": ("namespaces", False),
        "Node": ("nodes", False),
        "Secret": ("secrets", True),
        "Service": ("services", True),
        "ServiceAccount": ("serviceaccounts", True),
        "ConfigMap": ("configmaps", True),
        "Pod": ("pods", True),
    },
    "apps/v1": {"Deployment": ("deployments", True)},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("customresourcedefinitions", False)},
    "admissionregistration.k8s.io/v1": {
        "MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
        "ValidatingAdmissionPolicy": ("validatingadmissionpolicies", False),
        "ValidatingAdmissionPolicyBinding": ("validatingadmissionpolicybindings", False),
        "ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
    },
}
"""Kinds by group and version: plural name and whether it is namespaced. Not those of the mesh: it comes later."""


def answer(path: str) -> dict[str, Any] | None:
    """Return the answer to GET, None for what is not there."""
    path = path.partition("?")[0]
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [version for version in KINDS if "/" in version]
        return {"groups": [{"name": v.split("/")[0], "versions": [{"groupVersion": v}]} for v in versions]}
    version = path.removeprefix("/apis/" if path.startswith("/apis/") else "/api/")
    if version in KINDS:
        entries = [{"name": p, "kind": k, "namespaced": n} for k, (p, n) in KINDS[version].items()]
        return {"resources": [*entries, {"name": f"{entries[0]['name']}/status", "kind": "X", "namespaced": True}]}
    plurals = {plural for kinds in KINDS.values() for plural, _ in kinds.values()}
    return {"items": []} if path.rpartition("/")[2] in plurals else None
