"""A policy with what is known around it, as its checks look at it: found by index, since stacks have many Services."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ..traffic.model import Port, Service
from ..traffic.proxies import PortReading
from ..traffic.targets import Planned
from .model import Account, Operation, Policy, Rule, Source
from .plane import SecurityPlane
from .world import Workload, World

SECTION = "meshup:security"
_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class View:
    """What a check looks at.

    Attributes:
        policy: The policy.
        world: What is known of Services, workloads and calls.
        routes: The compiled routes.
        plane: The mesh.
    """

    policy: Policy
    world: World
    routes: tuple[Planned, ...]
    plane: SecurityPlane

    @cached_property
    def services(self) -> list[Service]:
        """All Services that are known, each once."""
        known = (*self.policy.services, *self.world.services, *(rule.service for rule in self.policy.rules))
        return list({service.host: service for service in known}.values())

    @cached_property
    def services_with_rules(self) -> list[Service]:
        """The Services that rules are about, each once."""
        return list({rule.service.host: rule.service for rule in self.policy.rules}.values())

    @cached_property
    def guarded_services(self) -> list[Service]:
        """The Services whose ports are closed but for what rules allow, each once."""
        return [service for service in self.services if self.is_guarded(service)]

    @cached_property
    def users(self) -> dict[Account, list[Workload]]:
        """The workloads by the account that they run under."""
        return _grouped(self.world.workloads, lambda one: one.identity)

    @cached_property
    def workloads(self) -> dict[str, list[Workload]]:
        """The workloads by namespace."""
        return _grouped(self.world.workloads, lambda one: one.namespace)

    @cached_property
    def _joined(self) -> dict[str, list[Service]]:
        return {}

    @cached_property
    def _routes(self) -> dict[str, list[Planned]]:
        return _grouped(self.routes, lambda plan: plan.route.service.host)

    @cached_property
    def _selecting(self) -> dict[Workload, list[Service]]:
        index: dict[Workload, list[Service]] = {}
        for service in self.services:
            for one in self.behind(service):
                index.setdefault(one, []).append(service)
        return index

    def rules_of(self, service: Service) -> list[Rule]:
        """Return the rules about a Service."""
        return self.policy.rules_of(service)

    def routes_of(self, service: Service) -> list[Planned]:
        """Return the routes of a Service."""
        return self._routes.get(service.host, [])

    def behind(self, service: Service) -> list[Workload]:
        """Return the workloads that a Service selects."""
        return self.world.behind(service)

    def selecting(self, workload: Workload) -> list[Service]:
        """Return the Services that select a workload."""
        return self._selecting.get(workload, [])

    def is_guarded(self, service: Service) -> bool:
        """Return True if the ports of a Service are closed but for what rules allow, see `Policy.is_guarded`."""
        return self.policy.is_guarded(service)

    def joined(self, service: Service) -> list[Service]:
        """Return a Service, and those that lead to the same ports of all its pods: their rules hold there too."""
        found = self._joined.get(service.host)
        if found is None:
            ports = {port.container for port in service.ports}
            others = self.policy.same_pods(service)
            found = [one for one in others if ports & {port.container for port in one.ports}]
            self._joined[service.host] = found
        return found

    def opening_rules(self, service: Service) -> list[Rule]:
        """Return the rules that open the ports of a Service."""
        rules = [rule for one in self.joined(service) for rule in self.rules_of(one)]
        return [rule for rule in rules if rule.effect == "allow" and not rule.audit]

    def closes(self, service: Service) -> bool:
        """Return True if the ports of a Service refuse what no rule allows, and do not only count it."""
        return any(map(self.is_guarded, self.joined(service))) and self.policy.default_of(service.namespace) != "audit"

    def reading(self, service: Service, port: Port) -> PortReading | None:
        """Return how the mesh reads a port; None if that is not known."""
        return self.world.readings.get((service.namespace, service.name, port.number))

    def is_outside(self, account: Account) -> bool:
        """Return True if pods run under an account, none of which has a sidecar."""
        users = self.users.get(account, [])
        return bool(users) and not any(one.meshed for one in users)

    def is_ours(self, trust_domain: str) -> bool:
        """Return True if a trust domain, "" for the mesh's own, is the mesh's own."""
        return trust_domain in ("", self.world.trust_domain)


def ports_of(service: Service, operation: Operation) -> Sequence[Port]:
    """Return the ports of a Service that an operation is about."""
    return (operation.port,) if operation.port else service.ports


def rule_where(rule: Rule) -> str:
    """Return the path of a rule in the configuration."""
    return rule.where or SECTION


def source_where(rule: Rule, source: Source) -> str:
    """Return the path of a source in the configuration."""
    return source.where or rule_where(rule)


def _grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    index: dict[_Key, list[_Item]] = {}
    for item in items:
        index.setdefault(key(item), []).append(item)
    return index
