"""What a sidecar makes of the token of a request: RequestAuthentication as Envoy's jwt_authn reads it. Pure.

Sources: Istio 1.30, pilot/pkg/security/authn/policy_applier.go; Envoy, source/extensions/filters/http/jwt_authn
(authenticator.cc, verifier.cc) and jwt_verify_lib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ....manifests import Manifest
from ....security.model import SPLIT_CLAIMS
from ....security.plane import AccessRequest
from .naming import entries, section, texts

CLOCK_SKEW = 60
"""Seconds by which clocks may differ: Envoy's default."""
UNKNOWN_ISSUER = "Jwt issuer is not configured"
_WRONG_AUDIENCE = "Audiences in Jwt are not allowed"


@dataclass(frozen=True, slots=True)
class Reading:
    """What becomes of the token.

    Attributes:
        claims: The claims of a token that is accepted, None without one.
        fault: The body of the answer that refuses it, "" if it is not refused.
        policy: The RequestAuthentication whose rule accepts or refuses it.
        rule: The position of that rule.
    """

    claims: Mapping[str, Any] | None = None
    fault: str = ""
    policy: Manifest = field(default_factory=Manifest)
    rule: int = 0

    @property
    def status(self) -> int:
        """The HTTP status of the answer that refuses it."""
        return 403 if self.fault == _WRONG_AUDIENCE else 401


def read_token(policies: Sequence[Manifest], request: AccessRequest) -> Reading:
    """Check the token of a request against all rules that hold for the pods.

    A request passes without a token, or with one that some rule accepts. The token of an `AccessRequest` stands in the
    header `Authorization`; a rule that looks elsewhere does not see it.
    """
    if request.bearer == "none" or is_preflight(request):
        return Reading()
    found = [(policy, number, rule) for policy in policies for number, rule in enumerate(_rules(policy))]
    refused: list[Reading] = []
    for policy, number, rule in sorted(found, key=lambda entry: str(entry[2].get("issuer") or "")):
        if not _reads_bearer(rule):
            continue
        fault = _fault(rule, request)
        if not fault:
            return Reading(_normalised(request.claims, rule), policy=policy, rule=number)
        refused.append(Reading(fault=fault, policy=policy, rule=number))
    return _answer(refused)


def _answer(refused: Sequence[Reading]) -> Reading:
    """Return the fault that Envoy answers with: the last that says more than that the issuer is not this one.

    Of several rules, Istio asks for one that accepts, or for all of them to accept or miss a token; that last
    requirement ends with its first fault.
    """
    if not refused:
        return Reading()
    answer = refused[0]
    for one in (*refused, refused[0]):
        if one.fault != UNKNOWN_ISSUER:
            answer = one
    return answer


def is_preflight(request: AccessRequest) -> bool:
    """Return True if a request is one of CORS that asks for permission: it needs no token."""
    names = {name for name, _ in request.headers}
    return request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= names


def _rules(policy: Manifest) -> list[dict[str, Any]]:
    return entries(section(policy, "spec"), "jwtRules")


def _reads_bearer(rule: Mapping[str, Any]) -> bool:
    headers = entries(rule, "fromHeaders")
    if not (headers or rule.get("fromParams") or rule.get("fromCookies")):
        return True
    return any(
        str(header.get("name")).lower() == "authorization" and str(header.get("prefix") or "").strip() == "Bearer"
        for header in headers
    )


def _fault(rule: Mapping[str, Any], request: AccessRequest) -> str:
    """Return why a rule does not accept a token, in the words of Envoy; "" if it does. Checked in this order."""
    claims = request.claims
    times = {name: claims.get(name, 0) for name in ("exp", "nbf", "iat")}
    for name, value in times.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or value < 0:
            return f"Jwt payload [{name}] field is not {'a positive 64 bit' if number else 'an'} integer"
    if rule.get("issuer") and claims.get("iss") != rule["issuer"]:
        return UNKNOWN_ISSUER
    if request.now + CLOCK_SKEW < times["nbf"]:
        return "Jwt not yet valid"
    if times["exp"] and request.now > times["exp"] + CLOCK_SKEW:
        return "Jwt is expired"
    allowed = {_audience(one) for one in texts(rule, "audiences")}
    if allowed and not allowed & {_audience(one) for one in _texts(claims.get("aud"))}:
        return _WRONG_AUDIENCE
    return "Jwt verification fails" if request.bearer == "bad-signature" else ""


def _audience(text: str) -> str:
    """Return an audience as it is compared: without scheme, and slash at the end (check_audience.cc)."""
    for scheme in ("https://", "http://"):
        text = text.removeprefix(scheme)
    return text.removesuffix("/")


def _texts(value: object) -> list[str]:
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]


def _normalised(claims: Mapping[str, Any], rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims with those split that are lists of words."""
    split = {*SPLIT_CLAIMS, *texts(rule, "spaceDelimitedClaims")}
    return {
        name: value.split() if name in split and isinstance(value, str) else value for name, value in claims.items()
    }
