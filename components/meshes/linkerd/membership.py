"""How a namespace or a pod template joins a Linkerd mesh, and what pods tell of their sidecars."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ...arguments import Arguments
from ...manifests import Manifest
from ..interface import Membership, Sidecar, annotations_of, image_tag, is_on_host_network

INJECT = "linkerd.io/inject"
"""Linkerd reads it as an annotation; as a label it would do nothing."""


def _as(key: str) -> object:
    return Field(serialization_alias=f"config.linkerd.io/{key}")


class LinkerdProxy(Arguments):
    """Settings of Linkerd's sidecars, for a namespace or a workload: the annotations `config.linkerd.io/*`."""

    cpu_request: Annotated[str | None, _as("proxy-cpu-request")] = None
    """CPU request of the proxy."""
    cpu_limit: Annotated[str | None, _as("proxy-cpu-limit")] = None
    """CPU limit of the proxy."""
    memory_request: Annotated[str | None, _as("proxy-memory-request")] = None
    """Memory request of the proxy."""
    memory_limit: Annotated[str | None, _as("proxy-memory-limit")] = None
    """Memory limit of the proxy."""
    skip_inbound_ports: Annotated[str | None, _as("skip-inbound-ports")] = None
    """Inbound ports that bypass the proxy, comma-separated."""
    skip_outbound_ports: Annotated[str | None, _as("skip-outbound-ports")] = None
    """Outbound ports that bypass the proxy, comma-separated."""
    opaque_ports: Annotated[str | None, _as("opaque-ports")] = None
    """Ports whose protocol is not detected, comma-separated."""
    log_level: Annotated[str | None, _as("proxy-log-level")] = None
    """Log level of the proxy."""
    access_log: Annotated[str | None, _as("access-log")] = None
    """`apache` or `json`."""
    default_inbound_policy: Annotated[str | None, _as("default-inbound-policy")] = None
    """Who may call where no policy says it, such as `all-authenticated`."""
    native_sidecar: Annotated[bool | None, _as("proxy-enable-native-sidecar")] = None
    """The proxy as an init container that stays."""
    wait_for_proxy: Annotated[bool | None, _as("proxy-await")] = None
    """Whether the application starts only once the proxy is ready."""

    def annotations(self) -> dict[str, str]:
        """Return the annotations of these settings, for a namespace or a pod template."""
        words = {"native_sidecar": ("false", "true"), "wait_for_proxy": ("disabled", "enabled")}
        fields = type(self).model_fields
        return {
            str(fields[name].serialization_alias): words[name][value] if name in words else value
            for name, value in self
            if value is not None
        }


class LinkerdNamespace(Arguments):
    """Settings of a namespace that are Linkerd's."""

    proxy: LinkerdProxy = LinkerdProxy()
    """Linkerd: settings of the sidecars in this namespace."""


class LinkerdMembership(LinkerdNamespace):
    """Arguments of a namespace that are Linkerd's."""

    inject: Literal["enabled", "ingress"] = "enabled"
    """Linkerd: `enabled`, or `ingress` for the pods of an ingress controller."""


def join(args: LinkerdMembership) -> Membership:
    """Return the annotations by which a namespace joins."""
    return Membership(annotations={INJECT: args.inject, **args.proxy.annotations()})


def is_member(metadata: Mapping[str, Any]) -> bool:
    """Return whether Linkerd injects into the pods of a live namespace (pkg/inject, ShouldInject)."""
    return annotations_of(metadata).get(INJECT) in ("enabled", "ingress")


def sidecar(pod: Manifest) -> Sidecar | None:
    """Return the sidecar of a live pod, None if it has none."""
    tag = image_tag(pod, "linkerd-proxy")
    if tag is None:
        return None
    return Sidecar(annotations_of(pod["metadata"]).get("linkerd.io/proxy-version", tag))


def choice(pod: Manifest) -> bool | None:
    """Return whether a pod asks for a sidecar by itself; None if its namespace decides (pkg/inject, ShouldInject)."""
    if is_on_host_network(pod):
        return False
    return {"enabled": True, "ingress": True, "disabled": False}.get(annotations_of(pod["metadata"]).get(INJECT, ""))
