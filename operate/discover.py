"""`meshup discover`: routes that say what the cluster has, so that traffic stays as it is.

`discover` decides, on plain data; `look_up` and `write` are the shell around it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

import yaml

from components.diagnostics import ConfigurationError, Diagnostic, errors, nearest, one_of
from components.manifests import MANAGED_BY, Manifest, object_ref
from components.meshes import MESHES, TARGETS
from components.meshes.interface import MeshPlan, labels_of
from components.traffic import Compilation, compile_routes, parse
from components.traffic.grammar import FULL_WEIGHT, MOST_BACKENDS
from operate.traffic import Compiled
from stacks import files, traffic_file
from stacks.cluster import ClusterView
from stacks.plan import own_parts
from stacks.services import Live, OwnParts, check, is_ready, place_of, ports_of, protocol_of, targets_of

Route = dict[str, Any]

VERSION_LABELS = ("version", "app.kubernetes.io/version")
"""Labels by which pods tell their version: that of Istio, and that which Kubernetes recommends."""
_LONGEST_NAME = 63
_PATH = "meshup:traffic"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some YAML reads as a number, such as `12e45` and `1_0`: Pulumi's differs from PyYAML's."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if re.match(r"[-+.\d]", text) else None
    # types-PyYAML leaves the value untyped.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _represent_text)


def as_yaml(routes: Mapping[str, Any]) -> str:
    """Return routes as they stand under `meshup:traffic`."""
    return yaml.dump(dict(routes), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def look_up(
    asked: Compiled, names: Sequence[str], namespace: str, label: str, *, only_new: bool
) -> tuple[dict[str, Route], list[Diagnostic]]:
    """Describe Services of the stack's cluster.

    Args:
        asked: The traffic of the stack.
        names: The Services; all of the namespace without any.
        namespace: Their namespace; "" if the names are enough.
        label: The label that tells the version of a pod, "" for the usual ones.
        only_new: Whether a Service that has a route already is refused, or left out where none is named.

    Raises:
        ConfigurationError: The cluster can't be read, there is no such Service, or none that can be described; or the
            configuration has errors in other keys than routes, such as the mesh, by which Services are described.
    """
    if asked.settings_faults:
        raise ConfigurationError(asked.settings_faults)
    view, diagnostics = asked.view, list[Diagnostic]()
    if view is None:
        raise ConfigurationError(asked.unreachable)
    listed = view.objects("v1", "Service", namespace)
    own = own_parts(asked.chosen)
    named, faults = _named(names, namespace, listed) if names else (listed, [])
    if not (names or listed):
        known = sorted(item["name"] for item in view.metadata("v1", "Namespace"))
        near = nearest(namespace, known)
        message = (
            f"The namespace '{namespace}' has no Service." if namespace in known else "There is no such namespace."
        )
        remedy = f"Did you mean '{near}'?" if near and near != namespace else ""
        faults.append(Diagnostic("MSH172", "--namespace", namespace, message, one_of(known), remedy))
    chosen = [service for service in named if names or not of_the_stack(service, own)]
    routed = _routed(asked.chosen.traffic)
    if only_new:
        diagnostics += [
            _has_route(service, routed, refused=bool(names)) for service in chosen if place_of(service) in routed
        ]
        chosen = [service for service in chosen if place_of(service) not in routed]
    routes, notes = discover(chosen, view, asked.mesh, own, label=label, taken=asked.chosen.traffic)
    notes += _decided(chosen, asked, view)
    if names and not routes:
        faults += [replace(note, severity="error") for note in notes if note.code == "MSH181"]
    if errors([*diagnostics, *faults, *view.diagnostics]):
        raise ConfigurationError([*diagnostics, *faults, *view.diagnostics])
    # What differs can't: the routes are what the cluster has.
    return routes, [*diagnostics, *notes]


def write(asked: Compiled, folder: Path, routes: Mapping[str, Route]) -> Path:
    """Add routes to the file of a stack, which is made if it is not there.

    Raises:
        ConfigurationError: The stack has no such file, or it can't be written.
    """
    name = asked.chosen.traffic_file
    if name is None:
        message = "The stack names no file for its routes."
        remedy = "Name one, which may be missing yet:\npulumi config set meshup:trafficFile routes.yaml"
        raise ConfigurationError([Diagnostic("MSH183", traffic_file.KEY, None, message, remedy=remedy)])
    try:
        path = files.expand_path(name, folder)
        text = "" if files.is_missing(path) else files.text(path)
        if routes:
            files.replace_text(path, traffic_file.with_routes(text, routes, as_yaml(routes)))
    except files.UnreadableError as error:
        message = f"The file can't be written: {error}."
        raise ConfigurationError([Diagnostic("MSH183", traffic_file.KEY, name, message)]) from None
    return path


def _routed(traffic: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the routes by the namespace and the Service that they name."""
    named = {key: cast("dict[str, Any]", route) for key, route in traffic.items() if isinstance(route, dict)}
    return {(str(route.get("namespace")), str(route.get("service", key))): key for key, route in named.items()}


def _has_route(service: Manifest, routed: Mapping[tuple[str, str], str], *, refused: bool) -> Diagnostic:
    key = routed[place_of(service)]
    message = f"The route '{key}' is for this Service."
    path = "/".join(place_of(service))
    return Diagnostic("MSH182", path, None, message, severity="error" if refused else "info")


def _decided(chosen: Sequence[Manifest], asked: Compiled, view: ClusterView) -> Iterator[Diagnostic]:
    """Find Services whose requests go by an object that is there, so that the pods do not tell today's shares."""
    kind, existing = MESHES[asked.mesh.name], asked.mesh.existing
    domain = existing.cluster_domain if existing else kind.cluster_domain(asked.chosen)
    hosts = {f"{name}.{namespace}.svc.{domain}": f"{namespace}/{name}" for namespace, name in map(place_of, chosen)}
    for (api_version, what), read in kind.claim_readers.items():
        for listed in view.objects(api_version, what) if hosts else ():
            # Items of a list lack apiVersion and kind.
            item: Manifest = {**listed, "apiVersion": api_version, "kind": what}
            for claim in read(item, domain):
                if claim.what == "rules" and claim.host in hosts:
                    message = f"{object_ref(item)} decides where its requests go today; the route is by its pods."
                    yield Diagnostic("MSH182", hosts[claim.host], None, message, severity="warning")


def _named(names: Sequence[str], namespace: str, listed: Sequence[Manifest]) -> tuple[list[Manifest], list[Diagnostic]]:
    """Return the Services with these names, and the faults of names that are none, or several."""
    chosen: list[Manifest] = []
    faults: list[Diagnostic] = []
    for name in dict.fromkeys(names):
        found = [service for service in listed if service["metadata"]["name"] == name]
        places = sorted(service["metadata"]["namespace"] for service in found)
        if len(found) == 1:
            chosen += found
        elif found:
            message = f"Several namespaces have a Service '{name}'."
            faults.append(Diagnostic("MSH003", "--namespace", None, message, one_of(places), "Add --namespace."))
        else:
            known = sorted({service["metadata"]["name"] for service in listed})
            message = f"There is no Service '{name}'" + (f" in the namespace '{namespace}'." if namespace else ".")
            remedy = f"Did you mean '{near}'?" if (near := nearest(name, known)) else ""
            faults.append(Diagnostic("MSH171", "SERVICE", name, message, one_of(known), remedy))
    return chosen, faults


def discover(
    chosen: Sequence[Manifest], view: ClusterView, mesh: MeshPlan, own: OwnParts, *, label: str, taken: Collection[str]
) -> tuple[dict[str, Route], list[Diagnostic]]:
    """Describe Services by routes that change nothing.

    The rules of a route send requests to what answers them today: to each version by its share of the ready pods, or to
    the whole Service.

    Args:
        chosen: The Services.
        view: The cluster.
        mesh: The plan of the mesh.
        own: What the stack makes itself.
        label: The label that tells the version of a pod; "" for one of VERSION_LABELS.
        taken: Keys of routes that are there already.

    Returns:
        The routes, and what is to be said of each Service: why there is no route, or what `up` would say.
    """
    routes: dict[str, Route] = {}
    diagnostics: list[Diagnostic] = []
    places: dict[str, Live] = {}
    for service in chosen:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        keys = chain((name, f"{name}-{namespace}"), (f"{name}-{namespace}-{number}" for number in count(2)))
        key = next(key for key in keys if key not in taken and key not in routes)
        live = places.setdefault(namespace, Live(view, namespace))
        candidates, reason = _candidates(key, service, live, mesh, label)
        for route in candidates:
            # What the cluster would be said to have in another way, such as a port of the pods that differs between
            # them, is left to the next candidate.
            compilation, faults = _compiled({key: route}, mesh)
            notes = [] if faults else check(compilation, mesh, own, view)
            if not (faults := [*faults, *errors(notes)]):
                routes[key] = route
                diagnostics += notes
                break
            reason = f"{faults[0].message} {faults[0].remedy}"
        if key not in routes:
            diagnostics.append(Diagnostic("MSH181", f"{namespace}/{name}", None, reason, severity="warning"))
        elif reason:
            diagnostics.append(Diagnostic("MSH181", f"{_PATH}.{key}", None, reason, severity="info"))
    return routes, diagnostics


def of_the_stack(service: Manifest, own: OwnParts) -> bool:
    """Return True for a Service that meshup makes: one of an application, or of a version."""
    metadata = service["metadata"]
    made = MANAGED_BY.items() <= labels_of(service["metadata"]).items()
    return made or (metadata["namespace"], metadata["name"]) in own.services


def _candidates(key: str, service: Manifest, live: Live, mesh: MeshPlan, label: str) -> tuple[list[Route], str]:
    """Return routes that describe a Service, the most telling first; and what is left out, or why there is none."""
    spec = cast("dict[str, Any]", service.get("spec") or {})
    if spec.get("type") == "ExternalName":
        return [], "It is an ExternalName: a name in DNS, without pods and without ports."
    selector = cast("dict[str, str]", spec.get("selector") or {})
    if not selector:
        return [], "It has no selector: somebody else says what answers for it."
    behind = live.selected(selector)
    route, reason = _service(key, service, behind, mesh)
    if reason:
        return [], reason
    versions, reason = _versions(service["metadata"]["name"], behind, label)
    whole: Route = {"rules": [{"name": "all"}]}
    return [route | rules for rules in ([_split(versions)] if versions else []) + [whole]], reason


def _compiled(routes: Mapping[str, Route], mesh: MeshPlan) -> tuple[Compilation, list[Diagnostic]]:
    found, diagnostics = parse(routes, _PATH, [])
    compilation = compile_routes(found, mesh.name, TARGETS)
    return compilation, errors([*diagnostics, *compilation.diagnostics])


def _service(key: str, service: Manifest, behind: Sequence[Manifest], mesh: MeshPlan) -> tuple[Route, str]:
    """Return what a route says of its Service, or why there is none."""
    kind, metadata = MESHES[mesh.name], service["metadata"]
    annotations = cast("dict[str, str]", metadata.get("annotations") or {})
    ports = ports_of(service["spec"])
    read = {number: kind.read_port(mesh, port, annotations).kind for number, port in ports.items()}
    http = [number for number in ports if read[number] != "connections"]
    if not http:
        return {}, f"{kind.data_plane.title} reads none of its ports as HTTP, so no rule could hold."
    written: list[dict[str, Any]] = []
    for number, port in ports.items():
        entry: dict[str, Any] = {"number": number}
        protocol = protocol_of(port)
        # Services of versions get the protocol as appProtocol, of which a mesh knows other words than of names.
        as_declared = kind.read_port(mesh, {"port": number, "appProtocol": protocol}, {}).kind
        if protocol and (as_declared != "connections" or read[number] == "connections"):
            entry["protocol"] = protocol
        targets = targets_of(port, behind)
        if len(targets) == 1 and targets != {number}:
            entry["targetPort"] = min(targets)
        written.append(entry)
    route: Route = {} if key == metadata["name"] else {"service": metadata["name"]}
    route["namespace"] = metadata["namespace"]
    if len(ports) > 1 or written == [{"number": http[0]}]:
        route["port"] = http[0]
    if written != [{"number": http[0]}]:
        route["ports"] = written
    route["selector"] = dict(service["spec"]["selector"])
    if service["spec"].get("clusterIP") == "None":
        route["headless"] = True
    return route, ""


def _versions(name: str, pods: Sequence[Manifest], label: str) -> tuple[dict[str, tuple[dict[str, str], int]], str]:
    """Return versions with their labels and shares, or why there are none, "" where no pod tells one."""
    keys = (label,) if label else VERSION_LABELS
    key = next((key for key in keys if pods and all(key in labels_of(pod["metadata"]) for pod in pods)), None)
    if key is None:
        some = next((key for key in keys if any(key in labels_of(pod["metadata"]) for pod in pods)), "")
        return {}, f"Some pods have the label '{some}' and others do not, so the Service is not split." if some else ""
    counts: dict[str, int] = {}
    any_ready = any(map(is_ready, pods))
    for pod in sorted(pods, key=lambda pod: labels_of(pod["metadata"])[key]):
        value = labels_of(pod["metadata"])[key]
        counts[value] = counts.get(value, 0) + (1 if is_ready(pod) or not any_ready else 0)
    if len(counts) > MOST_BACKENDS:
        return {}, f"Its pods have {len(counts)} values of '{key}', and a rule takes {MOST_BACKENDS} backends."
    versions: dict[str, tuple[dict[str, str], int]] = {}
    for value, share in zip(counts, shares(list(counts.values())), strict=True):
        short = _version_name(value, _LONGEST_NAME - 1 - len(name))
        names = (short, *(f"{short[: _LONGEST_NAME - 4 - len(name)]}-{number}" for number in range(2, len(counts) + 2)))
        versions[next(name for name in names if name not in versions)] = ({key: value}, share)
    return versions, ""


def _version_name(value: str, longest: int) -> str:
    """Return the value of a label as a DNS label."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower())[: max(longest, 1)].strip("-") or "none"


def _split(versions: Mapping[str, tuple[dict[str, str], int]]) -> Route:
    return {
        "versions": {name: labels for name, (labels, _) in versions.items()},
        "split": {name: share for name, (_, share) in versions.items()},
    }


def shares(counts: Sequence[int]) -> list[int]:
    """Return whole percents in the proportion of counts: they sum to 100, and no count but 0 gets 0."""
    total = sum(counts)
    exact = [FULL_WEIGHT * count / total for count in counts]
    percents = [max(int(share), 1) if share else 0 for share in exact]
    while (rest := FULL_WEIGHT - sum(percents)) != 0:
        step = 1 if rest > 0 else -1
        places = [place for place, percent in enumerate(percents) if percent > (0 if step > 0 else 1)]
        place = max(places, key=lambda place: step * (exact[place] - percents[place]))
        percents[place] += step
    return percents
