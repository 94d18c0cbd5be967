"""Traces and access logs of a stack. Pure."""

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from components.diagnostics import Diagnostic, nearest, one_of
from components.manifests import Manifest
from components.mesh_namespace import MeshNamespaceArgs
from components.meshes import MESHES
from components.meshes.interface import MeshPlan, is_running
from components.telemetry.capability import refusals
from components.telemetry.model import TRACING, Asked, Collector, asked
from components.telemetry.plane import Home, TelemetryPlan
from stacks import ownership
from stacks.cluster import ClusterView
from stacks.settings import Settings


def planned(settings: Settings, mesh: MeshPlan, meshed: AbstractSet[str]) -> TelemetryPlan:
    """Plan the traces and access logs of a stack.

    Args:
        settings: The settings of the stack.
        mesh: The plan of the mesh.
        meshed: The namespaces of the stack whose pods are in the mesh.
    """
    kind = MESHES[mesh.name]
    wanted = asked(settings, kind.telemetry.refusals)
    found = mesh.existing
    domain = found.cluster_domain if found else kind.cluster_domain(settings)
    home = Home(mesh.output["namespace"], domain, installed=found is None, providers=found.providers if found else None)
    made = kind.telemetry.write(wanted, home, sorted(meshed))
    refused = refusals(wanted, kind.telemetry, [one.telemetry for one in MESHES.values()])
    others = {kind.gateway_namespace(settings)} if settings.gateways else set[str]()
    found_out = (*_check(wanted, meshed | others), *_out_of_sight(settings, wanted, domain), *refused)
    return replace(made, diagnostics=(*found_out, *made.diagnostics))


def _out_of_sight(settings: Settings, wanted: Asked, domain: str) -> Iterator[Diagnostic]:
    """Find namespaces whose proxies know too few Services to send anything to a collector.

    istiod adds the Services of providers by itself for gateways only (Istio 1.31, pilot/pkg/model/push_context.go,
    extraServicesForProxy).
    """
    used = {one for one in (wanted.spans_to if wanted.traces else None, wanted.logs_to) if one}
    for one in sorted(used, key=lambda to: to.path):
        host = one.host(domain)
        parents = [f"*.{host.split('.', count)[count]}" for count in range(1, host.count("."))]
        seen = {f"{where}/{name}" for where in ("*", one.namespace) for name in ("*", host, *parents)}
        for name, chosen in settings.namespaces.items():
            listed = {item.replace("./", f"{name}/", 1) for item in chosen.egress_hosts}
            if listed and not listed & seen:
                message = "The proxies of this namespace do not know the collector, and refuse to be told of it."
                path = f"meshup:namespaces.{name}.egressHosts"
                yield Diagnostic("MSH651", path, None, message, f"{one.namespace}/{host} among them")


def _check(wanted: Asked, known: AbstractSet[str]) -> Iterator[Diagnostic]:
    chosen = wanted.tracing
    says = chosen.sampling is not None or chosen.tags or chosen.namespaces
    if (chosen.enabled or (says and chosen.enabled is not False)) and not (wanted.spans_to or chosen.provider):
        message = "There is no collector that spans could be sent to."
        yield Diagnostic("MSH640", "meshup:tracing", None, message, "collector, or an add-on of the stack")
    for one in wanted.unheard if chosen.enabled is None else ():
        message = f"The proxies of this mesh do not send spans as {one.service} takes them, so none arrive there."
        yield Diagnostic("MSH640", one.path, None, message, "meshup:collector beside it", severity="warning")
    if wanted.access_logs.to == "collector" and wanted.logs_to is None:
        message = "There is no collector that takes logs by OTLP over gRPC."
        allowed = "meshup:collector, or meshup:tracing.collector with protocol otlp-grpc"
        yield Diagnostic("MSH646", "meshup:accessLogs.to", "collector", message, allowed)
    for name, path in wanted.namespaces.items():
        if name not in known:
            near = nearest(name, known)
            message = "The stack has no such namespace in the mesh." + (f" Did you mean {near}?" if near else "")
            yield Diagnostic("MSH645", path, None, message, one_of(sorted(known)))


def check(
    settings: Settings, mesh: MeshPlan, planned: TelemetryPlan, view: ClusterView, owners: Collection[str]
) -> Iterator[Diagnostic]:
    """Compare traces and access logs with the cluster.

    Args:
        settings: The settings of the stack.
        mesh: The plan of the mesh.
        planned: What `planned` returned.
        view: The cluster.
        owners: This stack, and other names that it has had.
    """
    kind = MESHES[mesh.name]
    wanted = asked(settings, kind.telemetry.refusals)
    used = [wanted.spans_to if wanted.traces else None, wanted.logs_to]
    for one in dict.fromkeys(one for one in used if one and one.path.startswith(TRACING)):
        yield from _collector(one, view)
    for item in planned.objects:
        yield from _rivals(item, view, owners)
    for namespace, annotations in sorted(planned.annotations.items()):
        pods = [one for one in view.objects("v1", "Pod", namespace) if is_running(one) and kind.sidecar(one)]
        # What a namespace says of its own proxies is more exact.
        chosen = settings.namespaces.get(namespace)
        args = chosen and MeshNamespaceArgs(name=namespace, mesh=mesh.name, proxy=chosen.proxy)
        effective = {**annotations, **(kind.join(args).annotations if args else {})}
        old = [one for one in pods if not kind.telemetry.is_current(one, effective)]
        if old:
            message = f"{len(old)} of {len(pods)} pods with a proxy have started before, and do not log so."
            command = f"kubectl --namespace {namespace} rollout restart deployment"
            path = wanted.namespaces.get(namespace, "meshup:accessLogs")
            yield Diagnostic("MSH650", path, None, message, "", f"Restart them:\n{command}", severity="warning")


def _collector(to: Collector, view: ClusterView) -> Iterator[Diagnostic]:
    services = {item["metadata"]["name"]: item for item in view.objects("v1", "Service", to.namespace)}
    found = services.get(to.service)
    ports = [int(port["port"]) for port in found["spec"].get("ports") or ()] if found else []
    if found is None:
        near = nearest(to.service, services)
        message = f"There is no such Service in {to.namespace}." + (f" Did you mean {near}?" if near else "")
        yield Diagnostic("MSH648", f"{to.path}.service", to.service, message, one_of(sorted(services)))
    elif to.port not in ports:
        message = f"The Service {to.namespace}/{to.service} has no such port."
        yield Diagnostic("MSH648", f"{to.path}.port", to.port, message, one_of([str(port) for port in ports]))


def _rivals(ours: Manifest, view: ClusterView, owners: Collection[str]) -> Iterator[Diagnostic]:
    """Find objects of others that say the same kind of thing of a namespace: a mesh follows one without a selector."""
    kind, namespace = ours["kind"], ours["metadata"]["namespace"]
    for item in view.objects(ours["apiVersion"], kind, namespace):
        metadata: Mapping[str, Any] = item["metadata"]
        spec: Mapping[str, Any] = item.get("spec") or {}
        selector: Mapping[str, Any] = spec.get("selector") or {}
        selects = selector.get("matchLabels") or spec.get("targetRef") or spec.get("targetRefs")
        if not selects and ownership.owner_of(metadata) not in owners:
            message = f"It holds for all of {namespace}, as that of this stack. The mesh follows the older one only."
            yield Diagnostic("MSH649", f"{kind}/{namespace}/{metadata['name']}", None, message, "one of both")
