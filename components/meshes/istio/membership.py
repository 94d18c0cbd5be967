"""How a namespace joins an Istio mesh, and what its pods tell of their sidecars."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Strict

from ...arguments import Arguments
from ...diagnostics.validation import refused
from ...manifests import Manifest
from ...scalars import DNS_LABEL, Revision
from ..interface import Membership, Sidecar, annotations_of, image_tag, is_on_host_network, labels_of

INJECTION, REVISION = "istio-injection", "istio.io/rev"
INJECT = "sidecar.istio.io/inject"
"""Label (or, long ago, annotation) by which a pod decides for itself."""
STATUS = "sidecar.istio.io/status"
"""Annotation of an injected pod (pkg/kube/inject/webhook.go)."""
_HOST = re.compile(rf"(\*|\.|~|{DNS_LABEL.pattern})/(\*|(\*\.)?{DNS_LABEL.pattern}(\.{DNS_LABEL.pattern})*)")


class IstioMembership(Arguments):
    """Arguments of a namespace that are Istio's."""

    revision: Revision | None = None
    """Istio: the revision or revision tag whose control plane injects. Without it, the default revision does."""


def _sidecar_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        allowed = "NAMESPACE/HOST, such as ./* for this namespace or istio-system/*"
        raise refused("MSH004", "This is no host of a Sidecar.", allowed)
    return value


class IstioNamespace(IstioMembership):
    """Settings of a namespace that are Istio's."""

    egress_hosts: Annotated[tuple[Annotated[str, AfterValidator(_sidecar_host)], ...], Strict(False)] = ()
    """Istio: the Services that the sidecars of this namespace know, as `NAMESPACE/HOST`, such as `./*` and
    `istio-system/*`: a Sidecar object. Without it, every sidecar knows the whole mesh."""


def join(args: IstioMembership) -> Membership:
    """Return the label by which a namespace joins.

    Istio reads `istio-injection` before `istio.io/rev`, so a namespace with both ignores its revision (istioctl analyze
    IST0123): it gets exactly one of them.
    """
    return Membership({REVISION: args.revision} if args.revision else {INJECTION: "enabled"})


def is_member(metadata: Mapping[str, Any], revision: str) -> bool:
    """Return whether the control plane of a revision, or of a tag, injects into the pods of a live namespace.

    `istio-injection`, whatever its value, hides `istio.io/rev`; its `enabled` asks for the revision or tag `default`
    (chart istio-discovery, templates/mutatingwebhook.yaml and revision-tags-mwc.yaml).
    """
    labels = labels_of(metadata)
    if INJECTION in labels:
        return labels[INJECTION] == "enabled" and revision in ("", "default")
    return labels.get(REVISION) == (revision or "default")


def sidecar(pod: Manifest) -> Sidecar | None:
    """Return the sidecar of a live pod, None if it has none."""
    annotations = annotations_of(pod["metadata"])
    tag = image_tag(pod, "istio-proxy")
    if STATUS not in annotations or tag is None:
        return None
    try:
        status: Any = json.loads(annotations[STATUS])
        revision = str(status.get("revision") or "")
    except (ValueError, AttributeError):
        revision = ""
    # An image of the pod's own choice, or a tag such as `latest`, tells no version.
    is_version = tag[:1].isdigit() and "sidecar.istio.io/proxyImage" not in annotations
    return Sidecar(tag if is_version else "", revision)


def choice(pod: Manifest) -> bool | None:
    """Return whether a pod asks for a sidecar by itself; None if its namespace decides.

    Istio 1.30: pkg/kube/inject/inject.go, injectRequired.
    """
    if is_on_host_network(pod):
        return False
    metadata = pod["metadata"]
    written = labels_of(metadata).get(INJECT, annotations_of(metadata).get(INJECT))
    return {"true": True, "false": False}.get(written or "")


def namespace_objects(namespace: str, args: IstioNamespace) -> tuple[Manifest, ...]:
    """Return the objects that settings of a namespace need: the Sidecar of the namespace."""
    if not args.egress_hosts:
        return ()
    return (
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "default", "namespace": namespace},
            "spec": {"egress": [{"hosts": list(args.egress_hosts)}]},
        },
    )
