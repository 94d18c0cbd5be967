"""`meshup:gateways`: what may be written, and the neutral model of it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from ..arguments import Arguments, Autoscaling, Replicas, Resources, over_limit, repeated
from ..diagnostics import Diagnostic
from ..scalars import AnnotationKey, FilePath, Name, SecretName, Text
from .gateway_api import MOST_ANNOTATIONS as MOST_IN_ALL
from .gateway_api import is_ip_address
from .model import EVERY_HOST, HOST, Gateway, GatewayApi, Issuer, Listener, Protocol, PublicHost, Tls

MOST_ANNOTATIONS = MOST_IN_ALL - 2
Port = Annotated[int, Field(ge=1, le=65535)]
Hosts = Annotated[tuple[PublicHost, ...], Strict(False), Field(max_length=64)]
FIXED_OR_AUTOSCALED = ("replicas", "autoscaling", "An autoscaler sets the number of replicas.")
ServiceType = Literal["LoadBalancer", "ClusterIP", "NodePort", "None"]


class IssuerSettings(Arguments):
    """An issuer of cert-manager, which has to be on the cluster."""

    name: Name
    """Its name."""
    kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    """Its kind. An `Issuer` is one in the namespace of the gateways."""


class TlsSettings(Arguments):
    """How a listener ends TLS: by a Secret, by files, or by an issuer of cert-manager."""

    exclusive = tuple(
        (one, other, "The certificate comes from one place.")
        for one, other in (
            ("secret", "certificate"),
            ("secret", "key"),
            ("secret", "issuer"),
            ("certificate", "issuer"),
            ("key", "issuer"),
        )
    )

    secret: SecretName | None = None
    """Name of a Secret of the type `kubernetes.io/tls` in the namespace of the gateways."""
    certificate: FilePath | None = None
    """A file with the certificate and its chain, PEM. meshup makes the Secret; its data are Pulumi secrets."""
    key: FilePath | None = None
    """A file with the private key, PEM."""
    issuer: IssuerSettings | None = None
    """The issuer that cert-manager asks for a certificate for the hosts of the listener."""
    client_ca: SecretName | None = None
    """Mutual TLS: name of a Secret with the certificate authority of clients in `ca.crt`, in the namespace of the
    gateways."""
    min_version: Literal["1.2", "1.3"] | None = None
    """The oldest version of TLS, with `api: istio`. Not set, the proxy's own, 1.2."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse TLS without a certificate, and half of a pair of files."""
        if not (self.secret or self.certificate or self.key or self.issuer):
            yield Diagnostic("MSH405", path, None, "There is no certificate.", "secret, certificate and key, or issuer")
        for one, other in (("certificate", "key"), ("key", "certificate")):
            if getattr(self, one) and not getattr(self, other):
                yield Diagnostic("MSH405", f"{path}.{other}", None, f"The file of the {other} is missing.")


class ListenerSettings(Arguments):
    """A port of a gateway."""

    port: Port
    """The port that callers use."""
    protocol: Protocol
    """`http`; `https`, which ends TLS here; or `tls`, which is passed on by its SNI, unread."""
    hosts: Hosts = ()
    """The hosts that it takes, such as `shop.example.com` or `*.example.com`; every host if not set."""
    tls: TlsSettings | None = None
    """The certificate, with `https`."""
    redirect: Literal["https"] | None = None
    """`https` sends every request on to HTTPS, port 443, with the status 301."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse TLS where it does not belong, and HTTPS without it."""
        if self.protocol == "https" and self.tls is None:
            yield Diagnostic("MSH405", f"{path}.tls", None, "A listener for https needs a certificate.")
        if self.protocol != "https" and self.tls is not None:
            message = f"A listener for {self.protocol} ends no TLS."
            yield Diagnostic("MSH405", f"{path}.tls", None, message, "protocol: https", "Remove 'tls', or write https.")
        if self.redirect and self.protocol != "http":
            yield Diagnostic("MSH406", f"{path}.redirect", self.redirect, "Only a listener for http can redirect.")
        if self.tls and self.tls.issuer and (not self.hosts or EVERY_HOST in self.hosts):
            message = "A certificate is issued for hosts, and this listener names none."
            yield Diagnostic("MSH405", f"{path}.hosts", None, message, remedy="Add 'hosts' with their names.")


class GatewaySettings(Arguments):
    """A gateway: its listeners, its pods and their Service."""

    exclusive = (FIXED_OR_AUTOSCALED,)

    listeners: Annotated[tuple[ListenerSettings, ...], Strict(False), Field(max_length=64)] = ()
    """Its ports. Without any, there are only pods, for listeners that somebody else declares."""
    api: GatewayApi | None = None
    """`istio`: pods by Istio's chart and objects of Istio's own API. `gateway-api`: objects of the Gateway API, whose
    controller makes the pods. Not set, the first that the mesh has."""
    gateway_class: Annotated[Name | None, Field(alias="class")] = None
    """GatewayClass, with `api: gateway-api`: `istio` on Istio if not set. Linkerd has none of its own, so there it is
    one of another controller on the cluster."""
    service_type: ServiceType = "LoadBalancer"
    """Type of the Service. Where nothing gives out addresses, a `LoadBalancer` never becomes ready."""
    addresses: Annotated[tuple[Text, ...], Strict(False), Field(max_length=16)] = ()
    """Static addresses that the load balancer is asked for. With `api: istio`, one."""
    annotations: dict[AnnotationKey, str] = Field(default_factory=dict[str, str])
    """Annotations of the Service, which cloud providers read."""
    proxy_protocol: bool = False
    """Whether the load balancer sends the PROXY protocol. On Istio."""
    forwarded_hops: Annotated[int | None, Field(ge=0, le=100)] = None
    """Trusted proxies in front of the gateway: which entry of X-Forwarded-For is the client. On Istio."""
    replicas: Replicas | None = None
    """A fixed number of replicas. Excludes `autoscaling`. On Istio."""
    autoscaling: Autoscaling | None = None
    """A horizontal pod autoscaler. Excludes `replicas`. On Istio."""
    resources: Resources | None = None
    """Kubernetes resource requests and limits. On Istio."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the addresses, and the resources."""
        yield from repeated(f"{path}.addresses[{{}}]", self.addresses)
        for position, address in enumerate(self.addresses):
            if not (is_ip_address(address) or (HOST.fullmatch(address) and "*" not in address)):
                message = "This is neither an IP address nor a DNS name."
                yield Diagnostic("MSH006", f"{path}.addresses[{position}]", address, message)
        yield from over_limit(f"{path}.resources", self.resources)

    def check_api(self, gateway: Gateway, *, own: bool) -> Iterator[Diagnostic]:
        """Refuse what the API of the gateway has no field for.

        Args:
            gateway: The neutral model of these settings.
            own: Whether the mesh makes the pods.
        """
        path = gateway.where
        by_chart = gateway.api == "istio"
        if by_chart and len(self.addresses) > 1:
            yield Diagnostic("MSH419", f"{path}.addresses", list(self.addresses), "The chart takes one address.")
        if self.addresses and self.service_type != "LoadBalancer":
            message = f"A Service of the type {self.service_type} asks for no address."
            yield Diagnostic("MSH419", f"{path}.addresses", list(self.addresses), message)
        if by_chart and self.gateway_class:
            message = "Gateways of Istio's own API have no GatewayClass."
            yield Diagnostic("MSH419", f"{path}.class", self.gateway_class, message, remedy="Add api: gateway-api.")
        if not by_chart and len(self.annotations) > MOST_ANNOTATIONS:
            message = "The Gateway API takes no more, with those that meshup adds."
            yield Diagnostic("MSH005", f"{path}.annotations", None, message, f"at most {MOST_ANNOTATIONS}")
        if not by_chart and self.service_type == "None":
            yield Diagnostic("MSH419", f"{path}.serviceType", "None", "The controller always makes a Service.")
        if not by_chart and not self.listeners:
            message = "A Gateway of the Gateway API has a listener."
            yield Diagnostic("MSH003", f"{path}.listeners", None, message, "at least one", "Add a listener.")
        if own:
            return
        defaults = GatewaySettings()
        for name in ("service_type", "proxy_protocol", "forwarded_hops", "replicas", "autoscaling", "resources"):
            if getattr(self, name) != getattr(defaults, name):
                key = type(self).model_fields[name].alias or name
                message = f"The controller of the GatewayClass {gateway.class_name} has settings of its own for this."
                yield Diagnostic("MSH419", f"{path}.{key}", None, message)

    def gateway(self, name: str, namespace: str, apis: tuple[GatewayApi, ...], class_name: str, path: str) -> Gateway:
        """Return the neutral model.

        Args:
            name: The name of the gateway.
            namespace: The namespace of the gateways.
            apis: What the mesh has, the default first.
            class_name: The mesh's own GatewayClass, "" for none.
            path: Path of these settings.
        """
        api = self.api or apis[0]
        chosen = (self.gateway_class or class_name) if api == "gateway-api" else ""
        own = chosen == class_name and bool(chosen)
        service = "" if self.service_type == "None" else name if api == "istio" else f"{name}-{chosen}" if own else ""
        return Gateway(name, namespace, api, chosen, self._listeners(name, path), service, path)

    def _listeners(self, gateway: str, path: str) -> tuple[Listener, ...]:
        listeners: list[Listener] = []
        counts: dict[str, int] = {}
        for position, item in enumerate(self.listeners):
            base = f"{item.protocol}-{item.port}"
            counts[base] = counts.get(base, 0) + 1
            listener = base if counts[base] == 1 else f"{base}-{counts[base]}"
            where = f"{path}.listeners[{position}]"
            tls = item.tls and _tls(item.tls, f"{gateway}-{listener}", f"{where}.tls")
            hosts = item.hosts or (EVERY_HOST,)
            listeners.append(Listener(listener, item.port, item.protocol, hosts, tls, item.redirect == "https", where))
        return tuple(listeners)


Gateways = Mapping[Name, GatewaySettings]


def _tls(settings: TlsSettings, base: str, where: str) -> Tls:
    files = (settings.certificate, settings.key) if settings.certificate and settings.key else None
    issuer = Issuer(settings.issuer.name, settings.issuer.kind) if settings.issuer else None
    secret = settings.secret or f"{base}-tls"
    return Tls(secret, files, issuer, settings.client_ca or "", settings.min_version or "", where)
