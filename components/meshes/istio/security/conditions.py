"""The conditions of an AuthorizationPolicy, decided on what a sidecar sees of a request. Pure.

Sources: Istio 1.30, pilot/pkg/security/authz (generator.go, matcher, trustdomain) says which matcher of Envoy a field
becomes; Envoy, source/extensions/filters/common/rbac (matchers.cc) and source/extensions/path/uri_template_lib say what
that matches.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from .naming import entries, section, texts

OWN_DOMAIN = "cluster.local"
_LITERAL = r"[a-zA-Z0-9\-._~%!$&'()+,;:@=*]"
"""A character of a path that the operators of a template take, but for the slash."""
_PARTS = 5
"""Of an identity: trust domain, `ns`, namespace, `sa`, service account."""
_HTTP_KEYS = ("request.headers", "request.auth.")
Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sidecar of the receiver sees of a request, or of a connection.

    Attributes:
        port: The port of the pod.
        http: Whether Envoy reads requests there. Without it, there is no method, path, host, header and claim.
        identity: The SPIFFE URI of the caller's certificate, "" without one.
        address: The address of the peer, "" for one in no network.
        remote: The address of the first caller, by X-Forwarded-For.
        method: The method.
        path: The normalised path, without query and fragment.
        authority: The host with its port, unless that is the one of HTTP.
        headers: Name in lower case -> values. Any of them meets a condition (Envoy 1.37.1 and later, observed).
        claims: The claims of the token that was accepted, None without one.
    """

    port: int
    http: bool = True
    identity: str = ""
    address: str = ""
    remote: str = ""
    method: str = "GET"
    path: str = "/"
    authority: str = ""
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    claims: Mapping[str, Any] | None = None


def rule_matches(
    rule: Mapping[str, Any], seen: Seen, *, allow: bool, namespace: str, domains: Sequence[str] = (OWN_DOMAIN,)
) -> bool:
    """Return True if a rule takes a request.

    Args:
        rule: An entry of `rules`.
        seen: The request.
        allow: Whether the policy allows. On a connection, a rule that allows takes nothing if it reads HTTP anywhere;
            of any other rule only that condition is ignored, so that it takes more.
        namespace: The namespace of the policy, in which `serviceAccounts` without one are.
        domains: The trust domain of the mesh, and its aliases.
    """
    when = entries(rule, "when")
    sources = [section(entry, "source") for entry in entries(rule, "from")]
    operations = [section(entry, "operation") for entry in entries(rule, "to")]
    if not seen.http and allow and _reads_http(sources, operations, when):
        return False
    tests = _Tests(seen, namespace, domains)
    return (
        all(tests.condition(one) for one in when)
        and (not sources or any(tests.source(one) for one in sources))
        and (not operations or any(tests.operation(one) for one in operations))
    )


def _reads_http(
    sources: Iterable[Mapping[str, Any]], operations: Iterable[Mapping[str, Any]], when: Iterable[Mapping[str, Any]]
) -> bool:
    names = {"requestPrincipals", "methods", "paths", "hosts"}
    return any(_set(part, name) for part in (*sources, *operations) for name in names) or any(
        str(one.get("key")).startswith(_HTTP_KEYS) for one in when
    )


def _set(part: Mapping[str, Any], name: str) -> bool:
    return bool(part.get(name) or part.get(_negated(name)))


def _negated(name: str) -> str:
    return f"not{name[0].upper()}{name[1:]}"


class _Tests:
    """The fields of a rule, each a test of the request."""

    def __init__(self, seen: Seen, namespace: str, domains: Sequence[str]) -> None:
        self._seen = seen
        self._namespace = namespace
        self._domains = domains

    def source(self, part: Mapping[str, Any]) -> bool:
        fields: dict[str, Test] = {
            "principals": self._is_principal,
            "serviceAccounts": self._is_account,
            "namespaces": self._is_namespace,
            "trustDomains": self._is_of_domain,
            "ipBlocks": lambda value: _in_network(self._seen.address, value),
            "remoteIpBlocks": lambda value: _in_network(self._seen.remote, value),
        }
        http = {"requestPrincipals": self._is_request_principal}
        return self._meets(part, fields, http)

    def operation(self, part: Mapping[str, Any]) -> bool:
        seen = self._seen
        http: dict[str, Test] = {
            "methods": lambda value: text_matches(value, seen.method),
            "paths": lambda value: path_matches(value, seen.path),
            "hosts": lambda value: text_matches(value.lower(), seen.authority.lower()),
        }
        return self._meets(part, {"ports": self._is_port}, http)

    def condition(self, part: Mapping[str, Any]) -> bool:
        key = str(part.get("key"))
        if key.startswith(_HTTP_KEYS) and not self._seen.http:
            return True
        test = self._condition_test(key)
        values, excluded = texts(part, "values"), texts(part, "notValues")
        return (not values or any(map(test, values))) and not any(map(test, excluded))

    def _meets(self, part: Mapping[str, Any], fields: Mapping[str, Test], http: Mapping[str, Test]) -> bool:
        """Return True if each field has one of its values, and none of those that it must not have."""
        tests = {**fields, **http} if self._seen.http else fields
        for name, test in tests.items():
            values, excluded = texts(part, name), texts(part, _negated(name))
            if (values and not any(map(test, values))) or any(map(test, excluded)):
                return False
        return True

    def _condition_test(self, key: str) -> Test:
        seen = self._seen
        names = re.findall(r"\[([^\[\]]*)\]", key)
        if key.startswith("request.headers["):
            sent = self._header(key[len("request.headers[") : -1].lower())
            return lambda pattern: any(pattern == "*" or text_matches(pattern, value) for value in sent)
        if key.startswith("request.auth.claims["):
            return lambda pattern: self._claim_matches(names, pattern)
        tests: dict[str, Test] = {
            "source.ip": lambda value: _in_network(seen.address, value),
            "remote.ip": lambda value: _in_network(seen.remote, value),
            "source.namespace": self._is_namespace,
            "source.serviceAccount": self._is_account,
            "source.principal": self._is_principal,
            "source.trustDomain": self._is_of_domain,
            "request.auth.principal": self._is_request_principal,
            "request.auth.audiences": lambda value: self._claim_matches(["aud"], value),
            "request.auth.presenter": lambda value: self._claim_matches(["azp"], value),
            "destination.port": self._is_port,
        }
        # destination.ip, connection.sni and metadata of filters are not known before deployment: they match nothing.
        return tests.get(key, lambda _: False)

    def _header(self, name: str) -> Sequence[str]:
        seen = self._seen
        pseudo = {":method": (seen.method,), ":authority": (seen.authority,), "host": (seen.authority,)}
        return pseudo.get(name, seen.headers.get(name, ()))

    def _is_port(self, value: str) -> bool:
        return self._seen.port == int(value)

    def _is_principal(self, value: str) -> bool:
        return any(_identity_matches(one, self._seen.identity) for one in with_aliases(value, self._domains))

    def _is_account(self, value: str) -> bool:
        namespace, _, account = value.rpartition("/")
        namespace, account = map(re.escape, (namespace or self._namespace, account))
        return self._is_like(rf"spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?")

    def _is_namespace(self, value: str) -> bool:
        return self._is_like(f".*/ns/{'.*'.join(map(re.escape, value.split('*')))}/.*")

    def _is_of_domain(self, value: str) -> bool:
        wanted = self._domains if value in self._domains else (value,)
        return any(self._is_like(f"spiffe://{'[^/]*'.join(map(re.escape, one.split('*', 1)))}/.*") for one in wanted)

    def _is_like(self, pattern: str) -> bool:
        return bool(self._seen.identity) and re.fullmatch(pattern, self._seen.identity) is not None

    def _is_request_principal(self, value: str) -> bool:
        """Compare `iss/sub`, split at the last slash, as generator.go does; both claims have to be there."""
        claims = self._seen.claims or {}
        issuer, subject = claims.get("iss"), claims.get("sub")
        if not isinstance(issuer, str) or not isinstance(subject, str):
            return False
        left, slash, right = value.rpartition("/")
        if value == "*" or not slash:
            left, right = ("*", value) if value.startswith("*") else (value, "*" if value.endswith("*") else "")
        elif value.startswith("*"):
            return text_matches(left, issuer) and right == subject
        elif value.endswith("*"):
            return left == issuer and text_matches(right, subject)
        else:
            return (left, right) == (issuer, subject)
        return text_matches(left, issuer) and text_matches(right, subject)

    def _claim_matches(self, path: Sequence[str], pattern: str) -> bool:
        """Compare a claim: a text, or any text of a list. Numbers and truth values match nothing."""
        value: object = self._seen.claims
        for name in path:
            value = cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        return any(isinstance(one, str) and text_matches(pattern, one) for one in values)


def with_aliases(principal: str, domains: Sequence[str]) -> list[str]:
    """Return the principals that one stands for: of the mesh's own trust domain, those of its aliases too.

    `cluster.local` is always the own one. A principal that has not five parts, or begins with `*/`, stays as it is.
    """
    domain, *rest = principal.split("/")
    if len(rest) != _PARTS - 1 or domain == "*":
        return [principal]
    if domain != OWN_DOMAIN and not any(text_matches(domain, own) for own in domains):
        return [principal]
    kept = [own if not (domain.startswith("*") and own.endswith(domain[1:])) else domain for own in domains]
    return ["/".join((own, *rest)) for own in dict.fromkeys(kept)]


def _identity_matches(principal: str, identity: str) -> bool:
    if not identity:
        return False
    if principal == "*":
        return True
    if principal.startswith("*"):
        return identity.startswith("spiffe://") and identity.endswith(principal[1:])
    return text_matches(f"spiffe://{principal}", identity)


def text_matches(pattern: str, text: str) -> bool:
    """Compare a text with a value: a star in front or at the end stands for anything, alone for any text but ""."""
    if pattern == "*":
        return text != ""
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def is_template(value: str) -> bool:
    """Return True if a value of `paths` is a template."""
    return "{*}" in value or "{**}" in value


def path_matches(value: str, path: str) -> bool:
    """Compare a path with a value of `paths`.

    The operators of a template take the characters of RFC 3986 without `[` and `]`; `{**}` takes slashes, and
    nothing at all.
    """
    if not is_template(value):
        return text_matches(value, path)
    parts = {"{*}": f"{_LITERAL}+", "{**}": f"(?:{_LITERAL}|/)*"}
    pattern = "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\{\*\*?\})", value))
    return re.fullmatch(pattern, path) is not None


def _in_network(address: str, value: str) -> bool:
    if not address:
        return False
    network = ipaddress.ip_network(value, strict=False)
    return ipaddress.ip_address(address) in network
