"""Compare the Services that routes name with those on the cluster. Pure.

The objects of a route are compiled from what the configuration declares: ports, selector, versions. What the cluster
has in another way makes them wrong (an error); what it does not have yet makes them do nothing (a warning).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from components.diagnostics import Diagnostic, nearest, one_of
from components.diagnostics.validation import MOST_HINTS
from components.manifests import Manifest
from components.meshes import MESHES
from components.meshes.interface import MeshPlan, is_running, labels_of
from components.traffic import Compilation, Port, Service
from components.traffic.model import Version
from components.traffic.targets import Planned
from stacks.cluster import ClusterView
from stacks.namespaces import joins

_PROTOCOLS = {
    **{word: word for word in ("http", "http2", "grpc", "https", "tls", "tcp")},
    **{"grpc-web": "grpc", "mongo": "tcp", "redis": "tcp", "mysql": "tcp"},
    **{"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"},
}
"""What appProtocol, or the first part of a port's name, says in the words of `ports[].protocol`."""
_PORT_KEYS = ("number", "protocol", "targetPort")
_DISCOVER = "`meshup discover {name} --namespace {namespace}` prints what the cluster has."


@dataclass(frozen=True)
class OwnParts:
    """What the stack makes, so that the cluster need not have it yet.

    Attributes:
        services: Namespace and name of its Services.
        namespaces: The namespaces that it makes.
        joined: The namespaces that it puts into the mesh.
    """

    services: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()


@dataclass
class _Use:
    """What the routes say of a Service of somebody else.

    Attributes:
        service: The Service, as it is declared.
        where: Path in the configuration.
        versions: The versions that rules name, each with its largest weight and the path of that.
        targets: Whether an object names the ports of its pods, and the path of what makes it.
        routed: The ports with rules on requests, each with the path of the route.
        headless: Why the target takes no headless Service, "" if it does.
        on_all_ports: Path of the route whose object names no port, "" if there is none.
    """

    service: Service
    where: str
    versions: dict[str, tuple[Version, int, str]] = field(default_factory=dict[str, tuple[Version, int, str]])
    targets: str = ""
    routed: dict[Port, str] = field(default_factory=dict[Port, str])
    headless: str = ""
    on_all_ports: str = ""


class Live:
    """The Services and the running pods of a namespace, found by their labels."""

    def __init__(self, view: ClusterView, namespace: str) -> None:
        self._view = view
        self._namespace = namespace

    @cached_property
    def services(self) -> dict[str, Manifest]:
        """The Services by name."""
        return {item["metadata"]["name"]: item for item in self._view.objects("v1", "Service", self._namespace)}

    @cached_property
    def pods(self) -> list[Manifest]:
        """The pods that have not ended."""
        return [pod for pod in self._view.objects("v1", "Pod", self._namespace) if is_running(pod)]

    @cached_property
    def _by_label(self) -> dict[tuple[str, str], list[Manifest]]:
        index: dict[tuple[str, str], list[Manifest]] = {}
        for pod in self.pods:
            for label in labels_of(pod["metadata"]).items():
                index.setdefault(label, []).append(pod)
        return index

    def selected(self, selector: Mapping[str, str]) -> list[Manifest]:
        """Return the pods that a selector of a Service selects; an empty one selects none."""
        none: list[Manifest] = []
        lists = [self._by_label.get(label, none) for label in selector.items()]
        return [pod for pod in min(lists, key=len, default=none) if matches(selector, pod)]


def check(traffic: Compilation, mesh: MeshPlan, own: OwnParts, view: ClusterView) -> list[Diagnostic]:
    """Find what routes declare and the cluster has in another way, or not at all.

    Args:
        traffic: The compiled routes.
        mesh: The plan of the mesh.
        own: What the stack makes itself; it is not looked up.
        view: The cluster.
    """
    diagnostics: list[Diagnostic] = []
    uses = _uses(traffic.planned, own.services)
    metadata = {item["name"]: item for item in view.metadata("v1", "Namespace")} if uses else {}
    places: dict[str, Live] = {}
    for use in uses.values():
        namespace = use.service.namespace
        if namespace not in places:
            places[namespace] = Live(view, namespace)
            diagnostics += _check_namespace(use, metadata, mesh, own)
        if namespace in metadata:
            # To look for the nearest name takes longer than anything else here.
            diagnostics += _check_service(use, mesh, places[namespace], hint=len(diagnostics) < MOST_HINTS)
    return diagnostics


def _uses(planned: Iterable[Planned], own: frozenset[tuple[str, str]]) -> dict[tuple[str, str], _Use]:
    uses: dict[tuple[str, str], _Use] = {}

    def use_of(service: Service, where: str) -> _Use:
        return uses.setdefault((service.namespace, service.name), _Use(service, where))

    for plan in planned:
        route = plan.route
        use = use_of(route.service, route.where)
        if route.rules:
            use.routed.setdefault(route.port, route.where)
            use.headless = use.headless or plan.target.refusals.get("headless", "")
            if plan.target.api == "istio" and len(route.service.ports) == 1:
                use.on_all_ports = route.where
        if route.rate_limit:
            use.targets = use.targets or route.rate_limit.where
        for rule in route.rules:
            parts = [(backend.destination, backend.weight, backend.where) for backend in rule.backends]
            parts += [(mirror.destination, round(mirror.percent) or 1, mirror.where) for mirror in rule.mirrors]
            for destination, weight, where in parts:
                use = use_of(destination.service, where)
                version = destination.version
                if version is None:
                    continue
                if plan.target.version_services:
                    use.targets = use.targets or where
                if weight > use.versions.get(version.name, (version, -1, ""))[1]:
                    use.versions[version.name] = (version, weight, where)
    return {place: use for place, use in uses.items() if place not in own}


def _check_namespace(
    use: _Use, live: Mapping[str, Mapping[str, Any]], mesh: MeshPlan, own: OwnParts
) -> Iterator[Diagnostic]:
    namespace = use.service.namespace
    path = f"{use.where}.namespace"
    if namespace not in live and namespace not in own.namespaces:
        message = f"There is no namespace '{namespace}', and this stack does not make it."
        near = nearest(namespace, live)
        remedy = f"Did you mean '{near}'?" if near else ""
        yield Diagnostic("MSH172", path, namespace, message, one_of(sorted(live)), remedy)
        return
    if namespace in own.joined:
        return
    if not joins(MESHES[mesh.name], live.get(namespace, {})):
        message = (
            f"The namespace '{namespace}' is not in the mesh: its pods get no sidecar. Their own requests follow no "
            "route, and what holds at the pods of a Service, such as a rate limit, does nothing there."
        )
        remedy = f"Put it into the mesh, such as by `meshup:namespaces` {{{namespace}: {{}}}}, and restart its pods."
        yield Diagnostic("MSH173", path, namespace, message, remedy=remedy, severity="warning")


def _check_service(use: _Use, mesh: MeshPlan, live: Live, *, hint: bool) -> Iterator[Diagnostic]:
    service = use.service
    found = live.services.get(service.name)
    if found is None:
        near = nearest(service.name, live.services) if hint else None
        message = (
            f"There is no Service '{service.name}' in the namespace '{service.namespace}'. Until there is one, what "
            "the routes say of it does nothing."
        )
        remedy = f"Did you mean '{near}'?" if near else ""
        allowed = one_of(live.services)
        yield Diagnostic("MSH171", use.where, service.name, message, allowed, remedy, severity="warning")
        return
    spec = _part(found, "spec")
    if spec.get("type") == "ExternalName":
        message = f"The Service '{service.name}' is an ExternalName: a name in DNS, without pods and without ports."
        yield Diagnostic("MSH178", use.where, service.name, message)
        return
    yield from _check_kind(use, spec)
    selector = cast("dict[str, str]", spec.get("selector") or {})
    # Pods are many: they are listed only where something is asked of them.
    behind = live.selected(selector) if use.versions or _has_named_target(spec) else []
    yield from _check_ports(use, spec, behind)
    yield from _check_reading(use, found, mesh)
    yield from _check_other_ports(use, spec, mesh)
    declared = dict(service.selector)
    if declared and declared != selector:
        message = f"The Service '{service.name}' selects {labels_text(selector)}, not {labels_text(declared)}."
        yield Diagnostic("MSH177", f"{use.where}.selector", declared, message, labels_text(selector), _remedy(service))
        return
    if use.versions:
        yield from _check_versions(use, selector, behind, live)


def _check_kind(use: _Use, spec: Mapping[str, Any]) -> Iterator[Diagnostic]:
    service, headless = use.service, spec.get("clusterIP") == "None"
    if headless and not service.headless and use.headless:
        message = f"The Service '{service.name}' is headless. {use.headless}"
        yield Diagnostic("MSH178", use.where, service.name, message)
    if service.headless and not headless:
        message = f"The Service '{service.name}' has a cluster IP."
        yield Diagnostic("MSH178", f"{use.where}.headless", True, message, "false", "Remove 'headless'.")


def _check_ports(use: _Use, spec: Mapping[str, Any], behind: Sequence[Manifest]) -> Iterator[Diagnostic]:
    service = use.service
    live = ports_of(spec)
    allowed = one_of(port_text(port) for port in live.values())
    for place, port in enumerate(service.ports):
        short = len(service.ports) == 1 and not (port.app_protocol or port.target)
        paths = {key: f"{use.where}.{'port' if short else f'ports[{place}].{key}'}" for key in _PORT_KEYS}
        found = live.get(port.number)
        if found is None:
            others = [item["port"] for item in spec.get("ports") or () if item["port"] == port.number]
            what = "has it for UDP or SCTP only" if others else "does not have it"
            message = f"The Service '{service.name}' {what}: port {port.number}."
            yield Diagnostic("MSH174", paths["number"], port.number, message, allowed, _remedy(service))
            continue
        said = protocol_of(found)
        if port.app_protocol and said and said != port.app_protocol:
            by = "appProtocol" if found.get("appProtocol") else "name"
            message = (
                f"By its {by}, port {port_text(found)} of the Service '{service.name}' is {said}, not "
                f"{port.app_protocol}."
            )
            yield Diagnostic("MSH174", paths["protocol"], port.app_protocol, message, said, _remedy(service))
        numbers = targets_of(found, behind)
        if use.targets and numbers and numbers != {port.container}:
            message = (
                f"Port {port.number} of the Service '{service.name}' leads to port "
                f"{' or '.join(map(str, sorted(numbers)))} of its pods, not to {port.container}, and {use.targets} "
                "needs the port of the pods."
            )
            remedy = f"Write targetPort: {min(numbers)} in 'ports'. {_remedy(service)}"
            yield Diagnostic("MSH174", paths["targetPort"], port.container, message, remedy=remedy)


def _check_reading(use: _Use, found: Manifest, mesh: MeshPlan) -> Iterator[Diagnostic]:
    """Find ports on which the mesh does not look at requests."""
    kind, live = MESHES[mesh.name], ports_of(found["spec"])
    title = kind.data_plane.title
    for port, where in use.routed.items():
        if port.number not in live:
            continue
        annotations = cast("dict[str, str]", found["metadata"].get("annotations") or {})
        reading = kind.read_port(mesh, live[port.number], annotations)
        what = f"port {port.number} of the Service '{use.service.name}'"
        if reading.kind == "connections":
            message = f"{title} forwards connections to {what} as they are, so no rule holds: {reading.reason}."
            yield Diagnostic("MSH175", where, port_text(live[port.number]), message)
        elif reading.kind == "detected":
            message = f"{title} detects by the first bytes whether {what} speaks HTTP: {reading.reason}."
            yield Diagnostic("MSH176", where, port_text(live[port.number]), message, severity="warning")


def _check_other_ports(use: _Use, spec: Mapping[str, Any], mesh: MeshPlan) -> Iterator[Diagnostic]:
    """Find ports that the rules of a route hold for without being declared."""
    declared = {port.number for port in use.service.ports}
    read = {number: MESHES[mesh.name].read_port(mesh, port, {}).kind for number, port in ports_of(spec).items()}
    others = [number for number, kind in read.items() if number not in declared and kind != "connections"]
    if use.on_all_ports and others and declared <= read.keys():
        listed = ", ".join(map(str, others))
        message = (
            f"The Service '{use.service.name}' has further ports: {listed}. Where one port is declared, the rules hold "
            "for all of them."
        )
        remedy = f"Declare all in 'ports', and the one of the rules in 'port'. {_remedy(use.service)}"
        yield Diagnostic("MSH174", use.on_all_ports, listed, message, remedy=remedy, severity="warning")


def _check_versions(
    use: _Use, selector: Mapping[str, str], behind: Sequence[Manifest], live: Live
) -> Iterator[Diagnostic]:
    service = use.service
    for version, weight, where in use.versions.values():
        labels = dict(version.labels)
        label = f"'{version.name}' of the Service '{service.name}' ({labels_text(labels)})"
        clash = {key: selector[key] for key in labels if selector.get(key, labels[key]) != labels[key]}
        if clash:
            message = (
                f"The Service '{service.name}' selects {labels_text(clash)}, so never the pods of version {label}."
            )
            yield Diagnostic("MSH177", where, labels, message, remedy=_remedy(service))
            continue
        if weight == 0 or any(is_ready(pod) for pod in behind if matches(labels, pod)):
            continue
        if any(matches(labels, pod) for pod in behind):
            message = f"No pod of version {label} is ready."
        elif live.selected(labels):
            message = f"Pods have the labels of version {label}, but the Service does not select them."
        else:
            message = f"No pod has the labels of version {label}."
        message += " Requests for it fail."
        yield Diagnostic("MSH179", where, version.name, message, severity="warning")
    yield from _unknown_versions(use, behind)


def _unknown_versions(use: _Use, behind: Sequence[Manifest]) -> Iterator[Diagnostic]:
    """Find pods of the Service that no declared version has."""
    versions = [dict(version.labels) for version in use.service.versions]
    keys = {key for labels in versions for key in labels} - set(dict(use.service.selector))
    others: dict[str, int] = {}
    for pod in behind:
        if not any(matches(labels, pod) for labels in versions):
            carried = labels_text({key: value for key, value in labels_of(pod["metadata"]).items() if key in keys})
            others[carried] = others.get(carried, 0) + 1
    for carried, count in sorted(others.items()):
        pods = "1 pod" if count == 1 else f"{count} pods"
        message = (
            f"{pods} of the Service '{use.service.name}' with {carried} {'is' if count == 1 else 'are'} of no version."
        )
        yield Diagnostic("MSH180", f"{use.where}.versions", carried, message, severity="info")


def _remedy(service: Service) -> str:
    return _DISCOVER.format(name=service.name, namespace=service.namespace)


def _has_named_target(spec: Mapping[str, Any]) -> bool:
    return any(isinstance(port.get("targetPort"), str) for port in spec.get("ports") or ())


# Live objects


def ports_of(spec: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Return the TCP ports of a Service by number."""
    listed = cast("list[Mapping[str, Any]]", spec.get("ports") or [])
    return {int(port["port"]): port for port in listed if port.get("protocol", "TCP") == "TCP"}


def port_text(port: Mapping[str, Any]) -> str:
    """Return a port for people: number, name and appProtocol."""
    parts = [str(port["port"]), str(port.get("name") or "")]
    parts += [f"appProtocol {port['appProtocol']}"] if port.get("appProtocol") else []
    return " ".join(part for part in parts if part)


def protocol_of(port: Mapping[str, Any]) -> str:
    """Return what appProtocol, else the name, says of a port, in the words of `ports[].protocol`; "" for nothing."""
    word = str(port.get("appProtocol") or port.get("name") or "").lower()
    if word in _PROTOCOLS:
        return _PROTOCOLS[word]
    return _PROTOCOLS.get("grpc-web" if word.startswith("grpc-web") else word.partition("-")[0], "")


def targets_of(port: Mapping[str, Any], behind: Iterable[Manifest]) -> set[int]:
    """Return the ports of the pods that a port of a Service leads to; a name is looked up in the pods behind it."""
    target: Any = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return {target}
    return {
        int(item["containerPort"])
        for pod in behind
        for container in cast("list[dict[str, Any]]", _part(pod, "spec").get("containers") or [])
        for item in cast("list[dict[str, Any]]", container.get("ports") or [])
        if item.get("name") == target
    }


def _part(item: Manifest, key: str) -> dict[str, Any]:
    return cast("dict[str, Any]", item.get(key) or {})


def place_of(item: Manifest) -> tuple[str, str]:
    """Return namespace and name of an object."""
    return item["metadata"]["namespace"], item["metadata"]["name"]


def matches(labels: Mapping[str, str], pod: Manifest) -> bool:
    """Return True if a pod has these labels."""
    return labels.items() <= labels_of(pod["metadata"]).items()


def is_ready(pod: Manifest) -> bool:
    """Return True if a pod is ready, so that its Services send requests to it."""
    conditions = cast("list[dict[str, str]]", _part(pod, "status").get("conditions") or [])
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels for people."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"
