"""`meshup access --output svg`: the matrix of who may call whom as a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from components.security.model import Account
from components.security.world import World
from components.traffic.model import Service
from operate.callers import OTHER, PLAIN, Caller
from operate.drawing import Edge, Kind, Node, Shape, draw
from operate.matrix import Cell, Matrix

_SHAPES: dict[str, Shape] = {"gateway": "hexagon", "account": "round", "other": "ellipse", "plain": "ellipse"}


def svg(matrix: Matrix, world: World) -> str:
    """Return the picture of a matrix: Services, with the accounts that only their pods have, and all other callers.

    An arrow of everybody, or of any identity, stands for all whose calls are decided in the same way. Known calls have
    their own arrow all the same.
    """
    homes = _homes(world, matrix)
    by_caller = {(cell.caller, cell.service.host, cell.port.number): cell for cell in matrix.cells}
    edges = [
        edge
        for cell in matrix.cells
        for edge in _edges(cell, homes, implied=_is_implied(cell, matrix.callers, by_caller))
    ]
    used = {edge.source for edge in edges}
    callers = [
        Node(key, caller.name, ("any identity",) if caller == OTHER else (), _SHAPES[caller.kind])
        for caller in matrix.callers
        if (key := _key(caller, homes)) == caller.name and key in used
    ]
    services = list(dict.fromkeys(service for service, _ in matrix.columns))
    drawn = [Node(_place(service), service.name, _lines(service, homes)) for service in services]
    return draw(f"Who may call whom, on {matrix.mesh}", [*callers, *drawn], edges)


def _place(service: Service) -> str:
    return f"{service.name}.{service.namespace}"


def _lines(service: Service, homes: dict[Account, str]) -> tuple[str, ...]:
    own = [account.name for account, place in homes.items() if place == _place(service)]
    return (service.namespace, *(f"as {name}" for name in own))


def _homes(world: World, matrix: Matrix) -> dict[Account, str]:
    """Return the accounts whose workloads are all behind one Service, and behind no other one."""
    shown = list(dict.fromkeys(service for service, _ in matrix.columns))
    behind = {_place(service): world.behind(service) for service in shown}
    gateways = {account for account in world.gateways.values() if account}
    homes: dict[Account, str] = {}
    for account in dict.fromkeys(workload.identity for workload in world.workloads):
        own = [workload for workload in world.workloads if workload.identity == account]
        places = {place for place, found in behind.items() if any(workload in found for workload in own)}
        if len(places) == 1 and account not in gateways and all(one in behind[min(places)] for one in own):
            homes[account] = min(places)
    return homes


def _key(caller: Caller, homes: dict[Account, str]) -> str:
    if caller.kind != "account" or caller.account is None or caller.trust_domain:
        return caller.name
    return homes.get(caller.account, caller.name)


def _edges(cell: Cell, homes: dict[Account, str], *, implied: bool) -> Iterable[Edge]:
    source, target = _key(cell.caller, homes), _place(cell.service)
    port = f":{cell.port.number} " if len(cell.service.ports) > 1 else ""
    if cell.extent != "none" and (cell.calls or not implied):
        yield Edge(source, target, f"{port}{_label(cell)}", "unused" if cell.unused else _kind(cell))
    if cell.missing:
        yield Edge(source, target, f"{port}{', '.join(known.text for known in cell.missing)}", "denied")


def _kind(cell: Cell) -> Kind:
    return "some" if cell.extent == "some" else "all"


def _label(cell: Cell) -> str:
    if cell.extent == "all":
        return "all"
    return ", ".join([*cell.operations, *(f"not {operation}" for operation in cell.refused)])


def _is_implied(cell: Cell, callers: Sequence[Caller], cells: Mapping[tuple[Caller, str, int], Cell]) -> bool:
    """Return True if the arrow of a wider caller says the same."""
    same = (cell.extent, cell.operations, cell.refused)
    if cell.extent == "none":
        return False
    found = (cells[caller, cell.service.host, cell.port.number] for caller in _wider(cell.caller, callers))
    return any((one.extent, one.operations, one.refused) == same for one in found)


def _wider(caller: Caller, callers: Sequence[Caller]) -> list[Caller]:
    """Return the callers whose rights everybody of the kind of a caller has."""
    if caller.kind == "plain":
        return [PLAIN] if caller != PLAIN else []
    if caller == OTHER:
        return [PLAIN]
    space = caller.account.namespace if caller.account and caller.kind != "other" else ""
    return [
        one
        for one in callers
        if one.kind == "other"
        and one.account
        and one.account.namespace in (space, "-")
        and one != caller
        and one.trust_domain in ("", caller.trust_domain)
    ] + [PLAIN]
