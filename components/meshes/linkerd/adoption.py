"""Linkerd of somebody else as settings and routes of a stack.

ServiceProfile -> a route is the other way of service_profile.py; releases -> settings that of component.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...manifests import Manifest, part
from ...traffic.adoption import Form, Home, Reading, duration, entries, unquoted
from ...traffic.manifests import filled, quote
from ..adoption import Adopted, HelmRecord, notes, settings_of, without
from .component import releases as made_releases
from .identity.component import CONTROL_PLANE_WEBHOOKS
from .settings import LinkerdArgs, LinkerdSettings

_CERTIFICATES = (
    "identityTrustAnchorsPEM",
    "identity.issuer.tls",
    *(f"{webhook}.{key}" for webhook in CONTROL_PLANE_WEBHOOKS for key in ("crtPEM", "keyPEM", "caBundle")),
)
"""Values that the stack gives itself: a private key must not get into its configuration."""
_FILES = {"trustAnchorsFile": "anchors.pem", "issuerCertificateFile": "issuer.pem", "issuerKeyFile": "issuer.key"}
_BELOW = "(/.*)?"


def read(objects: Sequence[Manifest], home: Home) -> Reading:
    """Read the ServiceProfile of a Service."""
    reading = Reading()
    for item in objects:
        spec = part(item, "spec")
        reading.rules[home.ports[0]] = [_rule(route) for route in entries(spec, "routes")]
        budget = part(spec, "retryBudget")
        if budget:
            reading.policies["retryBudget"] = filled(
                {
                    "percent": round(float(budget.get("retryRatio", 0)) * 100, 6),
                    "minRetries": budget.get("minRetriesPerSecond"),
                    "ttl": duration(budget["ttl"]) if "ttl" in budget else None,
                }
            )
    return reading


def _rule(route: Mapping[str, Any]) -> Form:
    condition = part(route, "condition")
    match = filled({"path": _path(str(condition.get("pathRegex", ""))), "method": condition.get("method")})
    return filled(
        {
            "name": route.get("name"),
            "match": [match] if match else None,
            "timeout": duration(route["timeout"]) if "timeout" in route else None,
            "retries": {"conditions": ["5xx"]} if route.get("isRetryable") else None,
        }
    )


def _path(pattern: str) -> Form | None:
    if pattern in ("", ".*"):
        return None
    for kind, text in (("prefix", pattern.removesuffix(_BELOW)), ("exact", pattern)):
        plain = unquoted(text)
        if quote(plain) == text and (kind == "exact" or pattern.endswith(_BELOW)):
            return {kind: plain}
    return {"regex": pattern.removeprefix("(?:").removesuffix(")")}


def adopt(releases: Mapping[str, HelmRecord], mtls: str) -> Adopted:
    """Return the settings with which a stack has the releases of Linkerd as they run.

    Args:
        releases: The releases by the name of their chart.
        mtls: The mode of the mesh.
    """
    control_plane, crds = releases["linkerd-control-plane"], releases.get("linkerd-crds")
    given = control_plane.values
    external = part(given, "identity").get("externalCA") is True
    section, rest = settings_of(LinkerdSettings, given)
    domain = given.get("identityTrustDomain")
    if domain and domain != section.get("clusterDomain", "cluster.local"):
        section["trustDomain"] = domain
    if control_plane.namespace != LinkerdSettings().namespace:
        section["namespace"] = control_plane.namespace
    section["version"] = control_plane.version
    identity = ("identity.externalCA", "identity.issuer.scheme") if external else ()
    rest = without(rest, "identityTrustDomain", "proxy.defaultInboundPolicy", *_CERTIFICATES, *identity)
    rests = {"control-plane": rest, "crds": without(crds.values, "installGatewayAPI") if crds else {}}
    if values := {name: left for name, left in rests.items() if left}:
        section["values"] = values
    made = {
        release["name"]: without(release["values"], *_CERTIFICATES)
        for release in made_releases(LinkerdArgs.of({**section, "mtls": mtls, "externalCa": external}))
    }
    found = [replace(record, values=without(record.values, *_CERTIFICATES)) for record in releases.values()]
    told = [*notes(found, made), "the certificates of the webhooks are made anew, so that their pods restart once"]
    if external:
        return Adopted({"linkerd": section, "identity": {"externalCA": True}}, tuple(told))
    files = {key: f"linkerd-{name}" for key, name in _FILES.items()}
    where = f"kubectl --namespace {control_plane.namespace} get"
    commands = (
        f"{where} configmap linkerd-identity-trust-roots --output jsonpath='{{.data.ca-bundle\\.crt}}' "
        f"> {files['trustAnchorsFile']}",
        f"{where} secret linkerd-identity-issuer --output jsonpath='{{.data.crt\\.pem}}' | base64 --decode "
        f"> {files['issuerCertificateFile']}",
        f"(umask 077; {where} secret linkerd-identity-issuer --output jsonpath='{{.data.key\\.pem}}' | base64 --decode "
        f"> {files['issuerKeyFile']})",
    )
    return Adopted({"linkerd": section, "identity": files}, tuple(told), commands)
