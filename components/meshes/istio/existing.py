"""An Istio that somebody else has installed: by Helm, istioctl, an operator, or a cloud provider.

Sources: the charts istiod and base of Istio 1.31 (templates deployment.yaml, configmap.yaml, mutatingwebhook.yaml,
revision-tags-mwc.yaml, istiod-injector-configmap.yaml); istioctl writes the same names and labels.
"""

from ...diagnostics import Diagnostic
from ...manifests import Manifest, part
from ..existing import (
    document,
    inside,
    is_managed,
    label_of,
    labelled,
    not_found,
    service_namespaces,
    several,
    version_of,
    webhooks,
)
from ..interface import ClusterView, ExistingMesh, ExistingMtls
from .settings import IstioSettings

INJECTOR = "sidecar-injector.istio.io"
DEFAULT = "default"
_PATH = "meshup:istio"
_REVISION, _TAG = "istio.io/rev", "istio.io/tag"
_PEER_AUTHENTICATION = ("security.istio.io/v1", "PeerAuthentication")
_MODES: dict[str, ExistingMtls] = {"STRICT": "strict", "DISABLE": "disable"}


def find(settings: IstioSettings, view: ClusterView) -> tuple[ExistingMesh | None, list[Diagnostic]]:
    """Find the control plane of a stack that installs none.

    Its namespace is the configured one, else that of the Services that answer the injectors. Its revision is the
    configured one, by name or by tag, else the only one that there is.
    """
    injectors = webhooks(view, INJECTOR)
    led = service_namespaces(injectors)
    chosen = "namespace" in settings.model_fields_set or not led
    namespaces = [settings.namespace] if chosen else led
    planes = labelled(view, namespaces, "app", "istiod")
    if len(found := sorted({item["metadata"]["namespace"] for item in planes})) > 1:
        return None, [several("Istio", _PATH, "namespace", found)]
    namespace = found[0] if found else namespaces[0]
    # A cloud provider answers its injector at a URL, and there is no Deployment.
    revisions = {_revision(item): item for item in (*filter(is_managed, injectors), *planes)}
    tags = {label_of(config, _TAG): _revision(config) for config in injectors if label_of(config, _TAG)}
    if not revisions:
        return None, [not_found("Istio", _PATH, namespaces, led)]
    asked = settings.revision
    if asked is None and len(revisions) > 1:
        return None, [several("Istio", _PATH, "revision", sorted(revisions))]
    revision = next(iter(revisions)) if asked is None else tags.get(asked, asked)
    if revision not in revisions:
        allowed = f"one of {', '.join(sorted({*revisions, *tags}))}"
        return None, [Diagnostic("MSH058", f"{_PATH}.revision", asked, "Istio has no such revision here.", allowed)]
    is_default = revision in (DEFAULT, tags.get(DEFAULT))
    suffix = "" if revision == DEFAULT else f"-{revision}"
    config = document(view, namespace, f"istio{suffix}", "mesh")
    injector = document(view, namespace, f"istio-sidecar-injector{suffix}", "values")
    mesh = ExistingMesh(
        version=version_of(revisions[revision], "discovery"),
        namespace=namespace,
        revision=asked or ("" if is_default else revision),
        trust_domain=inside(config, "trustDomain") or "cluster.local",
        cluster_domain=inside(injector, "global.proxy.clusterDomain") or "cluster.local",
        mtls=_mtls(view, inside(config, "rootNamespace") or namespace),
        injection=any(_revision(config) == revision for config in injectors),
        # The default configuration has no names: of a provider in the cloud, there may be no ConfigMap.
        providers=tuple(inside(one, "name") for one in config.get("extensionProviders") or ()) if config else None,
    )
    return mesh, []


def _revision(item: Manifest) -> str:
    return label_of(item, _REVISION) or DEFAULT


def _mtls(view: ClusterView, root: str) -> ExistingMtls:
    """Return the mode of the mesh: of the oldest policy without a selector in the root namespace (istio.io, reference
    of PeerAuthentication). Without one, workloads accept both.
    """
    policies = [item for item in view.objects(*_PEER_AUTHENTICATION, root) if not part(item, "spec", "selector")]
    policies.sort(key=lambda item: (inside(item, "metadata.creationTimestamp"), item["metadata"]["name"]))
    mode = inside(policies[0], "spec.mtls.mode") if policies else ""
    return _MODES.get(mode, "permissive")
