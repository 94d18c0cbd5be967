"""A policy -> Kubernetes objects, for any mesh.

Interface::

    compile_policy(policy, mesh, planes, world) -> SecurityCompilation

The same policy gives the same bytes. If any diagnostic is an error, there is nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..diagnostics import Diagnostic, errors, ordered
from ..manifests import object_ref
from ..traffic.model import Service
from . import network_policy
from .capability import refusals
from .model import Egress, NamespacePolicy, Operation, Policy, Rule
from .plane import Guarded, SecurityObject, SecurityPlane
from .world import World


@dataclass(frozen=True, slots=True)
class SecurityCompilation(Guarded):
    """Result of compiling a policy.

    Attributes:
        summaries: The stack output `security`: what holds, and which objects do it; plain camelCase data.
    """

    summaries: dict[str, Any] = field(default_factory=dict[str, Any])


def compile_policy(policy: Policy, mesh: str, planes: Sequence[SecurityPlane], world: World) -> SecurityCompilation:
    """Compile a policy for a mesh. Raise nothing; faults are in the result's diagnostics.

    Args:
        policy: What `parse` gave.
        mesh: The mesh of the stack.
        planes: All meshes as policies see them; a refusal names those that can.
        world: What is known of the workloads.
    """
    plane = next(one for one in planes if one.name == mesh)
    diagnostics = [*refusals(policy, plane, planes), *plane.check(policy, world)]
    if errors(diagnostics):
        return SecurityCompilation(diagnostics=ordered(diagnostics))
    guarded = plane.write(policy, world)
    written = [*guarded.objects, *network_policy.write(policy, world, plane)]
    diagnostics += [*guarded.diagnostics, *network_policy.check(policy, world, plane), *_twice(policy, written)]
    if errors(diagnostics):
        return SecurityCompilation(diagnostics=ordered(diagnostics))
    objects = tuple(sorted(written, key=lambda item: item.phase))
    annotations = {name: dict(sorted(found.items())) for name, found in sorted(guarded.annotations.items())}
    return SecurityCompilation(
        objects, guarded.guards, annotations, ordered(diagnostics), _summaries(policy, plane.name, objects)
    )


def _twice(policy: Policy, objects: Sequence[SecurityObject]) -> Iterator[Diagnostic]:
    """Report objects of one kind, namespace and name."""
    where = {rule.key: rule.where for rule in policy.rules}
    where |= {one.key: one.where for one in (*policy.namespaces, *policy.authentications)}
    for ref, count in Counter(object_ref(item.manifest) for item in objects).items():
        if count > 1:
            keys = [key for item in objects if object_ref(item.manifest) == ref for key in item.keys]
            places = [where[key] for key in keys if key in where]
            message = f"Several parts of the policy would be this object: {', '.join(dict.fromkeys(keys))}."
            yield Diagnostic("MSH502", places[-1] if places else "meshup:security", str(ref), message)


def _summaries(policy: Policy, mesh: str, objects: Sequence[SecurityObject]) -> dict[str, Any]:
    """Return the stack output `security`; {} if nothing is asked for."""
    if policy.empty:
        return {}
    named: dict[str, Service] = {}
    for service in (*(rule.service for rule in policy.rules), *(one.service for one in policy.authentications)):
        named.setdefault(f"{service.namespace}/{service.name}", service)
    return {
        "mtls": {
            "mode": policy.mode,
            "exceptions": [
                {
                    "namespace": one.namespace,
                    **({"service": one.service.name} if one.service else {}),
                    **({"port": one.port.number} if one.port else {}),
                    "mode": one.mode,
                    **({"until": one.until.isoformat()} if one.until else {}),
                    "reason": one.reason,
                }
                for one in policy.exceptions
            ],
        },
        "namespaces": {one.name: _namespace(one, objects) for one in policy.namespaces},
        "services": {name: _service(policy, mesh, named[name], objects) for name in sorted(named)},
    }


def _namespace(one: NamespacePolicy, objects: Sequence[SecurityObject]) -> dict[str, Any]:
    egress = {"egress": _egress(one.egress)} if one.egress else {}
    return {
        "default": one.default,
        **egress,
        "networkPolicy": one.network_policy,
        "objects": _names(objects, {one.key}),
    }


def _egress(egress: Egress) -> dict[str, Any]:
    return {
        "default": "deny" if egress.deny else "open",
        "hosts": [{"host": one.host, "port": one.port, "protocol": one.protocol} for one in egress.hosts],
        "cidrs": [one.cidr for one in egress.networks],
    }


def _service(policy: Policy, mesh: str, service: Service, objects: Sequence[SecurityObject]) -> dict[str, Any]:
    rules = policy.rules_of(service)
    tokens = policy.authentication_of(service)
    allows = [rule for rule in rules if rule.effect == "allow" and not rule.audit]
    return {
        "host": service.host,
        "mesh": mesh,
        "guarded": policy.is_guarded(service),
        "callers": list(dict.fromkeys(source.title for rule in allows for source in rule.sources)),
        "rules": [_rule(rule) for rule in rules],
        **({"issuers": [jwt.issuer for jwt in tokens.jwt]} if tokens else {}),
        "objects": _names(objects, {*(rule.key for rule in rules), *([tokens.key] if tokens else [])}),
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "key": rule.key,
        "effect": rule.effect,
        "from": [source.title for source in rule.sources],
        "to": [_operation(operation) for operation in rule.operations],
        **({"claims": {".".join(path): list(values) for path, values in rule.claims}} if rule.claims else {}),
        **({"audit": True} if rule.audit else {}),
        **({"reason": rule.reason} if rule.reason else {}),
    }


def _operation(operation: Operation) -> dict[str, Any]:
    """Return what a rule is for; what is not said is not there."""
    headers = {name: {match.kind: match.value or True} for name, match in operation.headers}
    return {
        **({"port": operation.port.number} if operation.port else {}),
        **({"methods": list(operation.methods)} if operation.methods else {}),
        **({"paths": [path.text for path in operation.paths]} if operation.paths else {}),
        **({"headers": headers} if headers else {}),
        **({"hosts": list(operation.hosts)} if operation.hosts else {}),
    }


def _names(objects: Sequence[SecurityObject], keys: set[str]) -> list[str]:
    """Return the names of the objects that are for some parts of a policy."""
    return [str(object_ref(item.manifest)) for item in objects if keys & set(item.keys)]
