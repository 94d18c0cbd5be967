"""Who calls, and what: the callers that a stack knows, and what the options of `meshup explain --from` name."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from components.diagnostics import Diagnostic, errors, nearest, one_of
from components.security.model import Account, Policy, Source
from components.security.plane import AccessRequest
from components.security.world import World
from components.traffic.model import Pairs, Port, Service
from components.traffic.targets import Planned

FROM_ALLOWED = (
    "ACCOUNT, NAMESPACE/ACCOUNT, NAMESPACE/WORKLOAD, gateway:NAME, or spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
)
_SPIFFE = re.compile(r"spiffe://(?P<domain>[^/]+)/ns/(?P<namespace>[^/]+)/sa/(?P<account>[^/]+)")
_GATEWAY, _GATEWAY_CALLER = "gateway:", "gateway "
_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_LONGEST_TOKEN = 65_536
"""Characters of the claims of a token: more is no token that a proxy takes (Envoy's headers end at 60 KiB)."""


@dataclass(frozen=True)
class Known:
    """What a stack knows.

    Attributes:
        policy: Its policy.
        world: What is known of Services and workloads.
        complete: Whether all workloads are known, so that a caller that is not among them is none.
    """

    policy: Policy
    world: World
    complete: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: For people, unique.
        kind: `account` has an identity; `other` is any further identity of the mesh; `plain` has none.
        account: The identity; None without one.
        trust_domain: Its trust domain, "" for that of the mesh.
        address: Its address, "" for one in no network that a rule names.
        labels: The labels that all pods of the account have, for routes.
        note: What is to be said of it, "" for nothing.
    """

    name: str
    kind: Literal["gateway", "account", "other", "plain"]
    account: Account | None = None
    trust_domain: str = ""
    address: str = ""
    labels: Pairs = ()
    note: str = ""

    @property
    def gateway(self) -> str:
        """The name of the gateway that it is, "" for none."""
        return self.name.removeprefix(_GATEWAY_CALLER) if self.kind == "gateway" else ""

    def applied(self, request: AccessRequest) -> AccessRequest:
        """Return a request as this caller makes it."""
        return replace(request, caller=self.account, trust_domain=self.trust_domain, address=self.address)


PLAIN = Caller("plain", "plain", note="a caller without an identity: outside of the mesh, or around its proxy")
OTHER = Caller(
    "any other",
    "other",
    # No Kubernetes object has such a name: it can't be the caller of a rule.
    Account("-", "-"),
    note="any other identity of the mesh, which no rule names",
)


def accounts(policy: Policy, world: World) -> dict[Account, None]:
    """Return every account that is known: of workloads, of gateways, and those of this trust domain in rules."""
    found = dict.fromkeys(workload.identity for workload in world.workloads)
    found |= dict.fromkeys(account for account in world.gateways.values() if account)
    return found | dict.fromkeys(account for _, account, domain in named(policy) if domain in ("", world.trust_domain))


def named(policy: Policy) -> Iterator[tuple[Source, Account, str]]:
    """Yield the accounts that rules name, each with its source and trust domain."""
    for source in (source for rule in policy.rules for source in rule.sources):
        identity = source.identity
        if identity and identity.kind == "account":
            yield source, Account(identity.namespace, identity.account), identity.trust_domain


def caller_of(
    text: str, known: Known, near: str, *, plain: bool = False, address: str = ""
) -> tuple[Caller | None, list[Diagnostic]]:
    """Return who calls, as the options of the command line say.

    Args:
        text: The value of `--from`, "" for none.
        known: What is known.
        near: The namespace in which a name without one is looked up first.
        plain: Whether the caller has no identity.
        address: The value of `--address`.
    """
    diagnostics: list[Diagnostic] = []
    if address:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            diagnostics.append(Diagnostic("MSH017", "--address", address, "This is no IP address.", "such as 10.9.0.7"))
    caller = PLAIN
    if text:
        found, faults = _named(text, known, near)
        diagnostics += faults
        caller = found or PLAIN
    if errors(diagnostics):
        return None, diagnostics
    if plain and text:
        caller = replace(caller, name=f"{caller.name}, plain", kind="plain", account=None, trust_domain="")
    return replace(caller, address=address), diagnostics


def _named(text: str, known: Known, near: str) -> tuple[Caller | None, list[Diagnostic]]:
    world = known.world
    if text.startswith(_GATEWAY):
        return _gateway(text.removeprefix(_GATEWAY), world)
    if match := _SPIFFE.fullmatch(text):
        account = Account(match["namespace"], match["account"])
        own = match["domain"] == world.trust_domain
        return (known_account(account, world) if own else foreign(account, match["domain"])), []
    namespace, slash, name = text.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _NAME.fullmatch(namespace)):
        return None, [Diagnostic("MSH580", "--from", text, "This names no caller.", FROM_ALLOWED)]
    listed = accounts(known.policy, world)
    places = [namespace] if slash else [near, *dict.fromkeys(account.namespace for account in listed)]
    found: dict[Account, None] = {}
    for place in dict.fromkeys(places):
        found |= dict.fromkeys(_in_namespace(place, name, world, listed))
        if place == near and found:
            break
    if len(found) > 1:
        message = f"Several accounts are meant: {', '.join(map(str, found))}."
        return None, [Diagnostic("MSH580", "--from", text, message, "NAMESPACE/ACCOUNT, one of these")]
    if found:
        return known_account(next(iter(found)), world), []
    return _unknown(text, Account(namespace or near, name), known, listed, told=bool(slash))


def _in_namespace(namespace: str, name: str, world: World, known: Mapping[Account, None]) -> list[Account]:
    """Return the accounts that a name in a namespace stands for: an account, a workload, or a Service's pods."""
    if (account := Account(namespace, name)) in known:
        return [account]
    own = [one for one in world.workloads if one.namespace == namespace]
    if found := [one.identity for one in own if one.name == name]:
        return list(dict.fromkeys(found))
    service = world.service(name, namespace)
    return world.accounts_of(service) if service else []


def _unknown(
    text: str, account: Account, known: Known, listed: Mapping[Account, None], *, told: bool
) -> tuple[Caller | None, list[Diagnostic]]:
    world = known.world
    services = [f"{one.namespace}/{one.name}" for one in world.services if world.behind(one)]
    names = dict.fromkeys([*map(str, listed), *(f"{one.namespace}/{one.name}" for one in world.workloads), *services])
    guess = nearest(text if "/" in text else str(account), names)
    remedy = f"Did you mean '{guess}'?" if guess else ""
    allowed = f"{FROM_ALLOWED}; accounts that are known: {', '.join(map(str, listed)) or 'none'}"
    seen = any(one.namespace == account.namespace for one in world.workloads)
    if not told or known.complete or seen:
        message = "No account, workload or Service is known by this name."
        return None, [Diagnostic("MSH580", "--from", text, message, allowed, remedy)]
    message = "Nothing that the stack knows runs under this account: it is decided for as if something did."
    return known_account(account, world), [Diagnostic("MSH580", "--from", text, message, severity="warning")]


def _gateway(name: str, world: World) -> tuple[Caller | None, list[Diagnostic]]:
    if name not in world.gateways:
        guess = nearest(name, world.gateways)
        allowed = one_of(world.gateways) if world.gateways else "nothing: the stack has no gateway"
        remedy = f"Did you mean 'gateway:{guess}'?" if guess else ""
        message = f"The stack has no gateway '{name}'."
        return None, [Diagnostic("MSH580", "--from", f"{_GATEWAY}{name}", message, allowed, remedy)]
    return gateway(name, world), []


def gateway(name: str, world: World) -> Caller:
    """Return a gateway as a caller."""
    account = world.gateways[name]
    note = "" if account else "its account is not known: it is decided for as if it had no identity"
    return Caller(f"{_GATEWAY_CALLER}{name}", "gateway", account, note=note)


def foreign(account: Account, trust_domain: str) -> Caller:
    """Return an account of another trust domain as a caller."""
    name = f"spiffe://{trust_domain}/ns/{account.namespace}/sa/{account.name}"
    return Caller(name, "account", account, trust_domain)


def known_account(account: Account, world: World) -> Caller:
    """Return an account of the mesh as a caller."""
    labels = [set(one.labels) for one in world.workloads if one.identity == account]
    common = labels[0].intersection(*labels) if labels else set[tuple[str, str]]()
    return Caller(str(account), "account", account, labels=tuple(sorted(common)))


def service_of(text: str, known: Known, routes: Sequence[Planned]) -> tuple[Service | None, list[Diagnostic]]:
    """Return the Service that an argument names: NAME, NAME.NAMESPACE, or a route."""
    services = known.world.services
    found = [one for one in services if text in (one.name, f"{one.name}.{one.namespace}", one.host)]
    if not found:
        found = [plan.route.service for plan in routes if plan.route.key == text]
    if len(found) == 1:
        return found[0], []
    names = [f"{one.name}.{one.namespace}" for one in found or services]
    if found:
        message = f"Several Services have the name '{text}'."
        return None, [Diagnostic("MSH581", "SERVICE", text, message, one_of(names))]
    guess = nearest(text, [one.name for one in services] if "." not in text else names)
    allowed = one_of(names) if names else "nothing: the stack knows no Service"
    remedy = f"Did you mean '{guess}'?" if guess else ""
    return None, [Diagnostic("MSH581", "SERVICE", text, "The stack knows no such Service.", allowed, remedy)]


def ports_of(service: Service, text: str) -> tuple[tuple[Port, ...], list[Diagnostic]]:
    """Return the ports of a Service that an option names, by number or name; all for ""."""
    found = tuple(port for port in service.ports if text in ("", str(port.number), port.name))
    if found:
        return found, []
    allowed = one_of(f"{port.number} ({port.name})" if port.name else str(port.number) for port in service.ports)
    remedy = ""
    if behind := [port.number for port in service.ports if str(port.container) == text]:
        remedy = f"{text} is the port of the pods: write that of the Service, {behind[0]}."
    message = f"{service.name} in {service.namespace} has no such port."
    return (), [Diagnostic("MSH582", "--port", text, message, allowed, remedy)]


def claims_of(text: str) -> tuple[Mapping[str, Any] | None, list[Diagnostic]]:
    """Return the claims that `--jwt` names, a file or JSON; None for ""."""
    if not text:
        return None, []
    written, shown = text, "--jwt"
    try:
        if not text.lstrip().startswith(("{", "[")):
            shown = f"--jwt {text}"
            with Path(text).open(encoding="utf-8") as file:
                written = file.read(_LONGEST_TOKEN + 1)
        if len(written) > _LONGEST_TOKEN:
            return None, [_no_claims(shown, f"It has more than {_LONGEST_TOKEN} characters.")]
        claims: Any = json.loads(written)
    except OSError as error:
        return None, [_no_claims(shown, f"The file can't be read: {error.strerror}.")]
    except (ValueError, RecursionError) as error:
        return None, [_no_claims(shown, f"This is not JSON: {error}.")]
    if not isinstance(claims, dict):
        return None, [_no_claims(shown, "This is not a JSON object.")]
    return cast("Mapping[str, Any]", claims), []


def _no_claims(where: str, message: str) -> Diagnostic:
    # A token is a secret: its text is not repeated.
    allowed = 'the claims as a JSON object, or the name of a file with it, such as \'{"iss": "https://example.com"}\''
    return Diagnostic("MSH583", where, None, message, allowed)
