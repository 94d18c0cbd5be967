"""Gateways on Istio 1.30: pods by its chart with a Gateway of its own API, or the Gateway API's automated deployment.

Facts: the chart `gateway` (manifests/charts/gateway), networking/v1alpha3/gateway.proto, and the controller of the
Gateway API (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...gateways.gateway_api import certificates, gateway_objects
from ...gateways.model import Gateway, Listener
from ...gateways.settings import GatewaySettings
from ...manifests import Manifest, manifest
from .destination_rule import API_VERSION
from .settings import GatewayPods, ServicePort

RESERVED_PORTS = frozenset((15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090))
"""Ports of Envoy and the agent in each pod (Istio 1.30, ops/deployment/application-requirements)."""
_SERVICE_TYPE = "networking.istio.io/service-type"
_PROXY_CONFIG = "proxy.istio.io/config"
_VERSIONS = {"1.2": "TLSV1_2", "1.3": "TLSV1_3"}


def pods(gateway: Gateway, settings: GatewaySettings) -> GatewayPods:
    """Return what the chart makes for a gateway."""
    ports = {
        listener.port: ServicePort(number=listener.port, name=f"{listener.protocol}-{listener.port}")
        for listener in gateway.listeners
    }
    return GatewayPods(
        name=gateway.name,
        service_type=settings.service_type,
        # Both together are a fault that is reported elsewhere.
        replicas=None if settings.autoscaling else settings.replicas,
        autoscaling=settings.autoscaling,
        resources=settings.resources,
        ports=tuple(ports.values()),
        address=next(iter(settings.addresses), None),
        annotations=settings.annotations,
        proxy_config=proxy_config(settings),
    )


def proxy_config(settings: GatewaySettings) -> str | None:
    """Return the annotation by which the pods know what is in front of them; None without anything."""
    topology: dict[str, Any] = {}
    if settings.forwarded_hops is not None:
        topology["numTrustedProxies"] = settings.forwarded_hops
    if settings.proxy_protocol:
        topology["proxyProtocol"] = {}
    return json.dumps({"gatewayTopology": topology}) if topology else None


def account(gateway: Gateway, values: Mapping[str, Any]) -> str:
    """Return the name of the service account of the pods of a gateway, "" if Istio does not make them.

    The chart names it after the release (templates/_helpers.tpl, gateway.serviceAccountName), istiod after the Gateway
    and its class (Istio 1.31, pilot/pkg/config/kube/gatewaycommon, GetDefaultName and configureIstioGateway).

    Args:
        gateway: The gateway.
        values: Raw values of its chart.
    """
    if gateway.api == "gateway-api":
        return gateway.service
    chosen: Mapping[str, Any] = values.get("serviceAccount") or {}
    made = str(values.get("name") or gateway.name) if chosen.get("create", True) else "default"
    return str(chosen.get("name") or made)


def objects(gateway: Gateway, settings: GatewaySettings, namespaces: Sequence[str]) -> list[Manifest]:
    """Return the objects of a gateway.

    Args:
        gateway: The gateway.
        settings: Its settings.
        namespaces: The namespaces whose routes it takes.
    """
    made = list(certificates(gateway))
    if gateway.api == "gateway-api":
        annotations = {**settings.annotations, _SERVICE_TYPE: settings.service_type}
        if config := proxy_config(settings):
            annotations[_PROXY_CONFIG] = config
        parameters = _parameters(gateway, settings)
        found = gateway_objects(
            gateway, namespaces, addresses=settings.addresses, annotations=annotations, parameters=parameters
        )
        return [*made, *found]
    servers = [_server(listener) for listener in gateway.listeners]
    # The chart labels the pods so (templates/_helpers.tpl, gateway.selectorLabels): `x` and `istio-x` share the second.
    selector = {"app": gateway.name, "istio": gateway.name.removeprefix("istio-")}
    spec: Manifest = {"selector": selector, "servers": servers}
    return [*made, *([manifest(API_VERSION, "Gateway", gateway.name, gateway.namespace, spec)] if servers else [])]


def _server(listener: Listener) -> Manifest:
    port = {"number": listener.port, "name": listener.name, "protocol": listener.protocol.upper()}
    # Without `./`, a VirtualService of any namespace could take the hosts.
    server: Manifest = {"port": port, "hosts": [f"./{host}" for host in listener.hosts]}
    if listener.redirect:
        server["tls"] = {"httpsRedirect": True}
    elif listener.protocol == "tls":
        server["tls"] = {"mode": "PASSTHROUGH"}
    elif listener.tls:
        tls: Manifest = {"mode": "MUTUAL" if listener.tls.client_ca else "SIMPLE"}
        tls["credentialName"] = listener.tls.secret
        if listener.tls.client_ca:
            # By this suffix istiod looks for an authority, in the Secret without the suffix if there is none with it;
            # else it wants a key too (1.31, pilot/pkg/credentials/kube/secrets.go, GetCaCert; pilot/pkg/xds/sds.go).
            tls["caCertCredentialName"] = f"{listener.tls.client_ca}-cacert"
        if listener.tls.min_version:
            tls["minProtocolVersion"] = _VERSIONS[listener.tls.min_version]
        server["tls"] = tls
    return server


def _parameters(gateway: Gateway, settings: GatewaySettings) -> Manifest | None:
    """Return what the controller lays over the Deployment that it makes, and its autoscaler."""
    laid: dict[str, Any] = {}
    deployment: dict[str, Any] = {}
    if settings.replicas is not None:
        deployment["replicas"] = settings.replicas
    if settings.resources:
        container = {"name": "istio-proxy", "resources": settings.resources.plain()}
        deployment["template"] = {"spec": {"containers": [container]}}
    if deployment:
        laid["deployment"] = {"spec": deployment}
    scaling = settings.autoscaling
    if scaling:
        target = {"type": "Utilization", "averageUtilization": scaling.cpu or 80}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        laid["horizontalPodAutoscaler"] = {
            "spec": {"minReplicas": scaling.min, "maxReplicas": scaling.max, "metrics": [metric]}
        }
    if (scaling.min if scaling else settings.replicas or 1) > 1:
        laid["podDisruptionBudget"] = {"spec": {"minAvailable": 1}}
    if not laid:
        return None
    made = manifest("v1", "ConfigMap", f"{gateway.name}-parameters", gateway.namespace, {})
    del made["spec"]
    # JSON is YAML.
    return {**made, "data": {key: json.dumps(value) for key, value in laid.items()}}
