"""A mesh that somebody else has installed: what is found of it, and what both meshes check of that."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ..diagnostics import Diagnostic
from ..manifests import Manifest, part
from .interface import ClusterView, ExistingMesh, Mesh, MeshRequest, minor

WEBHOOKS = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
DEPLOYMENTS = ("apps/v1", "Deployment")
CONFIG_MAPS = ("v1", "ConfigMap")
_VERSION = re.compile(r"(?:^|[-v])(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)*)$")


def check(
    mesh: Mesh[Any], found: ExistingMesh, request: MeshRequest, domain: str | None = None
) -> Iterator[Diagnostic]:
    """Compare what is found with what routes need and with what the configuration says.

    Args:
        mesh: The kind of mesh.
        found: The mesh.
        request: What the stack asks for.
        domain: `clusterDomain`, if the configuration has it.
    """
    title, versions, path = mesh.signature.title, mesh.versions, f"meshup:{mesh.name}"
    where = f"{path}.install"
    mtls = request.mtls if request.mtls_is_set else None
    allowed = versions.unsupported(found.version)
    if allowed:
        number = minor(found.version)
        old = number is not None and number < versions.supported[0]
        message = (
            f"meshup does not know this version of {title}, which is in {found.namespace}."
            if found.version
            else f"Nothing on the cluster says which version {title} in {found.namespace} has."
        )
        message += "" if old else " It is taken for one that meshup knows."
        yield Diagnostic("MSH053", where, found.version, message, allowed, severity="error" if old else "warning")
    for at, written, actual in (
        ("meshup:mtls", mtls, found.mtls),
        (f"{path}.clusterDomain", domain, found.cluster_domain),
    ):
        if written not in (None, actual):
            message = f"{title} in {found.namespace} has {actual}."
            yield Diagnostic("MSH054", at, written, message, f"{actual}, or without this key")


def not_found(title: str, path: str, namespaces: Sequence[str], led: Sequence[str]) -> Diagnostic:
    """Return the diagnostic for a cluster without the mesh in some namespaces; webhooks may lead to others."""
    others = f"the webhooks lead to {', '.join(led)}" if led else "no webhook leads to another one"
    message = f"There is no control plane of {title} in {', '.join(namespaces)}, and {others}."
    return Diagnostic("MSH050", f"{path}.install", False, message, f"a cluster with {title}, or install: true")


def several(title: str, path: str, key: str, names: Sequence[str]) -> Diagnostic:
    """Return the diagnostic for several control planes of which the configuration chooses none."""
    message = f"{title} has {len(names)} control planes here: {', '.join(names)}."
    return Diagnostic("MSH051", f"{path}.{key}", None, message, f"one of {', '.join(names)}")


def webhooks(view: ClusterView, end: str) -> list[Manifest]:
    """Return the configurations that have a webhook whose name ends so."""
    return [config for config in view.objects(*WEBHOOKS) if any(str(h["name"]).endswith(end) for h in _hooks(config))]


def _hooks(config: Manifest) -> list[Manifest]:
    return config.get("webhooks") or []


def is_managed(config: Manifest) -> bool:
    """Return whether webhooks are answered at a URL, outside of the cluster."""
    return any("url" in hook["clientConfig"] for hook in _hooks(config))


def service_namespaces(configs: Sequence[Manifest]) -> list[str]:
    """Return the namespaces of the Services that answer webhooks."""
    hooks = [hook for config in configs for hook in _hooks(config)]
    return sorted({text for hook in hooks if (text := inside(hook, "clientConfig.service.namespace"))})


def labelled(view: ClusterView, namespaces: Sequence[str], label: str, value: str) -> list[Manifest]:
    """Return the Deployments with a label."""
    found = (item for namespace in namespaces for item in view.objects(*DEPLOYMENTS, namespace))
    return [item for item in found if label_of(item, label) == value]


def label_of(item: Manifest, label: str) -> str:
    """Return a label of an object, "" for none."""
    return str(part(item, "metadata", "labels").get(label, ""))


def document(view: ClusterView, namespace: str, name: str, key: str) -> Mapping[str, Any]:
    """Return the mapping that a key of a ConfigMap holds as YAML; empty if there is none."""
    for item in view.objects(*CONFIG_MAPS, namespace):
        if item["metadata"]["name"] == name:
            try:
                loaded: Any = yaml.safe_load(str(part(item, "data").get(key, "")))
            except yaml.YAMLError:
                return {}
            return part({key: loaded}, key)
    return {}


def inside(values: Mapping[str, Any], path: str) -> str:
    """Return the text at a dotted path, "" if there is none."""
    *keys, last = path.split(".")
    text: Any = part(values, *keys).get(last)
    return text if isinstance(text, str) else ""


def version_of(deployment: Manifest, container: str) -> str:
    """Return the version of a control plane: of its image, else of the labels that charts set."""
    containers: list[Manifest] = part(deployment, "spec", "template", "spec").get("containers") or []
    images = [str(item.get("image", "")) for item in containers if item.get("name") == container]
    tags = [image.partition("@")[0].rpartition(":")[2] for image in images]
    for text in (*tags, *(label_of(deployment, label) for label in ("app.kubernetes.io/version", "helm.sh/chart"))):
        if found := _VERSION.search(text.removesuffix("-distroless").removesuffix("-debug")):
            return found[1]
    return ""
