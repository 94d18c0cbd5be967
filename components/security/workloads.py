"""Read workloads from manifests: those of an application before deployment, or objects of a cluster. Pure.

What a workload is to policies: its account, its ports, its probes, and what annotations keep away from its sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from ..manifests import Manifest
from .world import Probe, ProbeKind, Webhook, Workload

TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})
"""Kinds with a pod template at `spec.template`."""
MESH_CONTAINERS = frozenset(
    {
        "istio-proxy",
        "istio-init",
        "istio-validation",
        "enable-core-dump",
        "linkerd-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-debug",
    }
)
"""Containers that the injectors add (Istio 1.30, injection-template.yaml; edge-26.8.3, charts/partials)."""
SKIP_INBOUND = "config.linkerd.io/skip-inbound-ports"
EXCLUDE_INBOUND = "traffic.sidecar.istio.io/excludeInboundPorts"
INCLUDE_INBOUND = "traffic.sidecar.istio.io/includeInboundPorts"
REWRITE_PROBES = "sidecar.istio.io/rewriteAppHTTPProbers"
MERGE_METRICS = "prometheus.istio.io/merge-metrics"
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_SCRAPING = ("scrape", "port", "path")
_PROBERS, _SCRAPED = "ISTIO_KUBE_APP_PROBERS", "ISTIO_PROMETHEUS_ANNOTATIONS"
"""Environment of an injected sidecar of Istio: probes and scraping as they were before (pilot-agent/status)."""
_LAST_PORT = 65535
_MINUTE_DIGITS = 8
_MESH_PORTS = frozenset({15020, 15021, 15090})
"""Ports of Istio's agent: the injector writes that of the agent into excludeInboundPorts of each pod."""


def read_workloads(
    manifests: Iterable[Manifest],
    meshed: Callable[[Manifest], bool],
    annotations: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Workload, ...]:
    """Read the workloads among manifests, each once, in their order.

    What is made from another one of the manifests is left out: a pod of a Deployment beside the Deployment. Pods that
    have ended are left out.

    Args:
        manifests: Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and pods; others are left out.
        meshed: Whether a pod has a sidecar, or will have one. It gets the pod, or the template in the form of one, with
            name and namespace.
        annotations: The annotations of namespaces, by name: injectors read some of them for all pods.
    """
    listed = list(manifests)
    known = {(item["kind"], *_place(item)) for item in listed}
    found: dict[Workload, None] = {}
    for item in listed:
        makers = _makers(item)
        if any((kind, _place(item)[0], name) in known for kind, name in makers):
            continue
        template = _template(item)
        if template is None:
            continue
        kind, name = makers[-1] if makers else (item["kind"], item["metadata"]["name"])
        metadata: dict[str, Any] = {**_part(template, "metadata"), "name": name, "namespace": _place(item)[0]}
        pod: Manifest = {"kind": "Pod", "metadata": metadata, "spec": _part(template, "spec")}
        found[_workload(kind, pod, meshed(pod), (annotations or {}).get(metadata["namespace"], {}))] = None
    return tuple(found)


def read_webhooks(manifests: Iterable[Manifest]) -> tuple[Webhook, ...]:
    """Read the Services that the API server calls from webhook configurations, each once."""
    found: dict[Webhook, None] = {}
    for item in manifests:
        if item["kind"] not in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
            continue
        for hook in _list(item, "webhooks"):
            service = _part(_part(hook, "clientConfig"), "service")
            if service:
                # 443 is the default (admissionregistration.k8s.io/v1, ServiceReference).
                name = f"{item['kind']} {item['metadata']['name']}"
                port = int(service.get("port") or 443)
                found[Webhook(name, str(service["name"]), str(service["namespace"]), port)] = None
    return tuple(found)


def _workload(kind: str, pod: Manifest, meshed: bool, inherited: Mapping[str, str]) -> Workload:
    metadata, spec = pod["metadata"], pod["spec"]
    own = cast("Mapping[str, str]", metadata.get("annotations") or {})
    containers = [item for item in _list(spec, "containers") if item["name"] not in MESH_CONTAINERS]
    initial = [item for item in _list(spec, "initContainers") if item["name"] not in MESH_CONTAINERS]
    # Only a container that stays has probes: a native sidecar does.
    running = [*containers, *(item for item in initial if item.get("restartPolicy") == "Always")]
    ports = [port for item in (*containers, *initial) for port in _list(item, "ports") if _is_tcp(port)]
    before = _environment(spec)
    return Workload(
        name=str(metadata["name"]),
        namespace=str(metadata["namespace"]),
        kind=kind,
        account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        labels=tuple(sorted(cast("Mapping[str, str]", metadata.get("labels") or {}).items())),
        ports=tuple(dict.fromkeys((str(p["name"]), int(p["containerPort"])) for p in ports if p.get("name"))),
        declared=tuple(sorted({int(port["containerPort"]) for port in ports})),
        probes=tuple(dict.fromkeys(_probes(running, _json(before.get(_PROBERS))))),
        scraped=_scraped(own, ports, _json(before.get(_SCRAPED))),
        meshed=meshed,
        bypassed=_bypassed(own, inherited),
        direct_probes=str(own.get(REWRITE_PROBES, "")).lower() == "false",
        direct_metrics=str(own.get(MERGE_METRICS, "")).lower() == "false",
    )


def _template(item: Manifest) -> Mapping[str, Any] | None:
    """Return the pod of a manifest, or its template; None if it makes no pods."""
    kind, spec = item["kind"], _part(item, "spec")
    if kind == "Pod":
        return None if _part(item, "status").get("phase") in ("Succeeded", "Failed") else item
    if kind == "CronJob":
        return _part(_part(_part(spec, "jobTemplate"), "spec"), "template")
    return _part(spec, "template") if kind in TEMPLATED else None


def _makers(item: Manifest) -> list[tuple[str, str]]:
    """Return kind and name of what a live object is made by, and of what that is made by."""
    metadata = item["metadata"]
    owner = next((one for one in _list(metadata, "ownerReferences") if one.get("controller")), None)
    if owner is None:
        return []
    kind, name = str(owner["kind"]), str(owner["name"])
    makers = [(kind, name)]
    # The names that the controllers give: a ReplicaSet has that of its Deployment and the hash of the template, a Job
    # that of its CronJob and the minute since 1970.
    hashed = _part(metadata, "labels").get("pod-template-hash")
    if kind == "ReplicaSet" and hashed and name.endswith(f"-{hashed}"):
        makers.append(("Deployment", name.removesuffix(f"-{hashed}")))
    stem, _, minute = name.rpartition("-")
    if kind == "Job" and stem and minute.isdecimal() and len(minute) >= _MINUTE_DIGITS:
        makers.append(("CronJob", stem))
    return makers


def _probes(containers: Iterable[Mapping[str, Any]], before: Mapping[str, Any]) -> Iterator[Probe]:
    for container in containers:
        names = {port["name"]: int(port["containerPort"]) for port in _list(container, "ports") if port.get("name")}
        for key in _PROBES:
            if probe := _probe(_part(container, key), names, before):
                yield probe


def _probe(raw: Mapping[str, Any], names: Mapping[str, int], before: Mapping[str, Any]) -> Probe | None:
    """Read a probe; None for none, and for one that asks no port of the pod."""
    asked = _part(raw, "httpGet")
    if str(asked.get("path", "")) in before:
        return _probe(_part(before, str(asked["path"])), names, {})
    keys: tuple[tuple[str, ProbeKind], ...] = (("httpGet", "http"), ("tcpSocket", "tcp"), ("grpc", "grpc"))
    for key, kind in keys:
        action = _part(raw, key)
        if not action or action.get("host"):
            continue
        written = action.get("port", 0)
        port = names.get(written, 0) if isinstance(written, str) and not written.isdecimal() else int(written)
        if not port:
            return None
        # The kubelet (pkg/probe/http) asks for `/` without a path, and puts a slash before one that has none.
        path = str(action.get("path") or "/").partition("?")[0] if kind == "http" else ""
        return Probe(kind, port, path if not path or path.startswith("/") else f"/{path}")
    return Probe("exec") if "exec" in raw else None


def _scraped(
    own: Mapping[str, str], ports: Iterable[Mapping[str, Any]], before: Mapping[str, Any]
) -> tuple[int, str] | None:
    """Return what Prometheus is told to scrape: without a port the first one that is declared."""
    said = {key: str((before.get(key) if before else own.get(f"prometheus.io/{key}")) or "") for key in _SCRAPING}
    if said["scrape"].lower() != "true":
        return None
    port = said["port"] or next((str(port["containerPort"]) for port in ports), "")
    return (int(port), said["path"] or "/metrics") if port.isdecimal() else None


def _bypassed(own: Mapping[str, str], inherited: Mapping[str, str]) -> tuple[tuple[int, int], ...]:
    """Return the ports that annotations keep away from the sidecar; Istio reads those of the pod only."""
    ranges = [*_ranges(own.get(SKIP_INBOUND, inherited.get(SKIP_INBOUND, ""))), *_ranges(own.get(EXCLUDE_INBOUND, ""))]
    included = own.get(INCLUDE_INBOUND, "*").strip()
    if included != "*":
        start = 1
        for first, last in sorted(_ranges(included)):
            if start < first:
                ranges.append((start, first - 1))
            start = max(start, last + 1)
        if start <= _LAST_PORT:
            ranges.append((start, _LAST_PORT))
    return tuple(sorted({one for one in ranges if not (one[0] == one[1] and one[0] in _MESH_PORTS)}))


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    """Read ports with commas; Linkerd takes ranges too. What is none is left out, as the injectors refuse it."""
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            yield int(first), int(last or first)


def _environment(spec: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the environment of Istio's sidecar, empty if the pod has none."""
    everything = (*_list(spec, "containers"), *_list(spec, "initContainers"))
    variables = [one for item in everything if item["name"] == "istio-proxy" for one in _list(item, "env")]
    return {str(item["name"]): str(item.get("value", "")) for item in variables}


def _json(text: str | None) -> Mapping[str, Any]:
    try:
        read: object = json.loads(text or "{}")
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", read) if isinstance(read, dict) else {}


def _is_tcp(port: Mapping[str, Any]) -> bool:
    return port.get("protocol", "TCP") == "TCP"


def _place(item: Manifest) -> tuple[str, str]:
    metadata = item["metadata"]
    return str(metadata.get("namespace") or "default"), str(metadata.get("name", ""))


def _part(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a mapping below a key, which an object may lack or have as null."""
    return cast("Mapping[str, Any]", item.get(key) or {})


def _list(item: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", item.get(key) or [])
