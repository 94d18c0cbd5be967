"""Whether the nodes can run what the plan brings. Pure.

What the API server does not say (modules of the kernel, whether a registry is reachable) is not guessed here, but for
what the version of a kernel and the name of a system tell for certain.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref, part
from components.meshes.interface import dotted, is_running, minor
from components.nodes import LINUX, is_ready, takes_pods
from components.scalars import amount
from stacks.checking import Check

from .model import Subject, pods_of, templates

ARCHITECTURES = ("amd64", "arm64")
"""Architectures of the images of both meshes (Istio's and Linkerd's releases)."""
SHOW = "kubectl get nodes --output wide"
RESOURCES = ("cpu", "memory")


def _run(subject: Subject) -> list[Diagnostic]:
    nodes = subject.view.if_allowed("v1", "Node")
    if not nodes:
        return []
    ready = [*_not_ready(nodes)]
    usable = [node for node in nodes if takes_pods(node, dict([LINUX]))]
    if not usable:
        message = f"None of {len(nodes)} nodes takes pods: they are not ready, cordoned, tainted, or not Linux."
        return [*ready, Diagnostic("MSH721", "Node", None, message, "a node for the pods", command=SHOW)]
    return [
        *ready,
        *_kubelets(subject, usable),
        *_architectures(usable),
        *_kernels(subject, usable),
        *_replicas(subject, usable),
    ]


def _name(node: Manifest) -> str:
    return str(node["metadata"]["name"])


def _info(node: Manifest) -> Mapping[str, str]:
    return part(node, "status", "nodeInfo")


def _not_ready(nodes: Sequence[Manifest]) -> Iterator[Diagnostic]:
    for node in nodes:
        if not is_ready(node):
            message = "The node is not ready, so its pods don't run, and no DaemonSet becomes ready."
            command = f"kubectl describe node {_name(node)}"
            yield Diagnostic("MSH720", f"Node/{_name(node)}", None, message, severity="warning", command=command)


def _kubelets(subject: Subject, nodes: Sequence[Manifest]) -> Iterator[Diagnostic]:
    versions = {_name(node): minor(_info(node).get("kubeletVersion", "")) for node in nodes}
    known = {name: version for name, version in versions.items() if version is not None}
    oldest, _ = subject.mesh.versions.kubernetes_for(subject.plan.mesh.version)
    for name, version in known.items():
        if version < oldest:
            message = f"Its kubelet is of Kubernetes {dotted(version)}, which the mesh does not support."
            yield Diagnostic(
                "MSH722", f"Node/{name}", dotted(version), message, f"{dotted(oldest)} or later", command=SHOW
            )
    native, mesh = subject.mesh.native_from, subject.mesh.signature.title
    old = sorted(name for name, version in known.items() if native and version < native)
    if native and old and len(old) < len(known):
        message = f"{', '.join(old)} of {len(known)} nodes can't run native sidecars, so {mesh} makes none on any node."
        yield Diagnostic(
            "MSH723", "Node", None, message, f"{dotted(native)} or later everywhere", severity="warning", command=SHOW
        )


def _architectures(nodes: Sequence[Manifest]) -> Iterator[Diagnostic]:
    foreign = {_name(node): _info(node).get("architecture", "") for node in nodes}
    foreign = {name: found for name, found in foreign.items() if found and found not in ARCHITECTURES}
    for name, found in foreign.items():
        message = f"The node takes pods, and no image of the mesh is made for {found}."
        severity = "error" if len(foreign) == len(nodes) else "warning"
        allowed = " or ".join(ARCHITECTURES)
        yield Diagnostic("MSH724", f"Node/{name}", found, message, allowed, severity=severity, command=SHOW)


def _kernels(subject: Subject, nodes: Sequence[Manifest]) -> Iterator[Diagnostic]:
    if not any(
        "NET_ADMIN" in str(container.get("securityContext"))
        for container in subject.mesh.injected(subject.plan.mesh).get("initContainers", ())
    ):
        return  # A CNI plugin redirects the traffic, from its own image.
    for node in nodes:
        kernel, system = minor(_info(node).get("kernelVersion", "")), _info(node).get("osImage", "")
        found = subject.mesh.cannot_redirect(kernel, system)
        if found is not None:
            yield Diagnostic(
                "MSH725",
                f"Node/{_name(node)}",
                found.value,
                found.message,
                found.allowed,
                severity="warning",
                command=SHOW,
            )


def _replicas(subject: Subject, nodes: Sequence[Manifest]) -> Iterator[Diagnostic]:
    """Warn of a control plane with several replicas that are all on one node: its end is that of all of them."""
    namespace = subject.plan.mesh.output["namespace"]
    for item in subject.objects:
        if item["kind"] != "Deployment" or object_ref(item).namespace != namespace:
            continue
        for _, count in templates(item):
            wanted = max(count, _least(subject.objects, item))
            if wanted > 1 and len(nodes) < 2:  # noqa: PLR2004 -- one node is none to spare
                name = f"Deployment/{namespace}/{item['metadata']['name']}"
                message = f"It has {wanted} replicas, and one node takes pods: they all end with it."
                yield Diagnostic(
                    "MSH726", name, None, message, "two nodes, better three", severity="warning", command=SHOW
                )


def _least(objects: Sequence[Manifest], workload: Manifest) -> int:
    """Return the smallest number of replicas that an autoscaler of these objects gives to a workload; 1 without one."""
    for item in objects:
        if item["kind"] != "HorizontalPodAutoscaler":
            continue
        target = item["spec"]["scaleTargetRef"]
        same = item["metadata"].get("namespace") == workload["metadata"].get("namespace")
        if same and (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"]):
            return int(item["spec"].get("minReplicas") or 1)
    return 1


def requests(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a pod asks for, as the scheduler counts it (Kubernetes 1.33, resource helpers).

    That is the sum of its containers and of native sidecars, or the largest ordinary init container if that is more.

    Args:
        spec: The spec of the pod.
    """
    inits = cast("list[Mapping[str, Any]]", spec.get("initContainers") or [])
    lasting = [*cast("list[Mapping[str, Any]]", spec.get("containers") or [])]
    lasting += [item for item in inits if item.get("restartPolicy") == "Always"]
    asked = {name: sum((_request(item, name) for item in lasting), Decimal(0)) for name in RESOURCES}
    for item in inits:
        for name in RESOURCES:
            asked[name] = max(asked[name], _request(item, name))
    return asked


def _request(container: Mapping[str, Any], name: str) -> Decimal:
    limit = part(container, "resources", "limits").get(name)
    # Kubernetes takes the limit for the request where only that is set.
    return _amount(part(container, "resources", "requests").get(name, limit))


def _amount(quantity: object) -> Decimal:
    try:
        return amount(str(quantity)) if quantity is not None else Decimal(0)
    except ValueError:
        return Decimal(0)


def free(nodes: Sequence[Manifest], pods: Sequence[Manifest]) -> dict[str, dict[str, Decimal]]:
    """Return what each node has left, by name: allocatable, less what its pods ask for; a node that says nothing is
    left out.
    """
    left: dict[str, dict[str, Decimal]] = {}
    for node in nodes:
        allocatable = part(node, "status", "allocatable")
        if all(name in allocatable for name in RESOURCES):
            left[_name(node)] = {name: _amount(allocatable[name]) for name in RESOURCES}
    for pod in pods:
        spec = part(pod, "spec")
        place = left.get(str(spec.get("nodeName")))
        if place is not None and is_running(pod):
            for name, asked in requests(spec).items():
                place[name] -= asked
    return left


def unplaced(
    wanted: Sequence[tuple[str, Mapping[str, Decimal]]], left: Mapping[str, Mapping[str, Decimal]]
) -> list[str]:
    """Return the pods that find no room when the largest are placed first, each on the node with the most left.

    Args:
        wanted: Pods, by the name of their workload, with what they ask for.
        left: What each node has left.
    """
    room = {name: dict(amounts) for name, amounts in left.items()}
    homeless: list[str] = []
    for name, asked in sorted(wanted, key=lambda item: (-item[1]["cpu"], -item[1]["memory"], item[0])):
        fitting = [place for place in room.values() if all(place[key] >= asked[key] for key in RESOURCES)]
        if not fitting:
            homeless.append(name)
            continue
        chosen = max(fitting, key=lambda place: place["cpu"])
        for key in RESOURCES:
            chosen[key] -= asked[key]
    return homeless


def _room(subject: Subject) -> list[Diagnostic]:
    nodes = [node for node in subject.view.if_allowed("v1", "Node") if takes_pods(node, dict([LINUX]))]
    left = free(nodes, subject.view.if_allowed("v1", "Pod"))
    if not left:
        return []
    sidecar = subject.mesh.injected(subject.plan.mesh)
    wanted: list[tuple[str, Mapping[str, Decimal]]] = []
    for item in subject.missing("Deployment", "StatefulSet"):
        for template, count in templates(item):
            ref = object_ref(item)
            asked = requests(pods_of(template))
            if ref.namespace in subject.meshed:
                asked = {name: asked[name] + requests(sidecar)[name] for name in RESOURCES}
            wanted += [(str(ref), asked)] * max(count, _least(subject.objects, item))
    homeless = unplaced(wanted, left)
    if not homeless:
        return []
    needs = dict(wanted)
    largest = max(homeless, key=lambda name: (needs[name]["cpu"], needs[name]["memory"]))
    most = max(left.values(), key=lambda place: place["cpu"])
    message = (
        f"{len(homeless)} of {len(wanted)} pods of the plan find no room: {', '.join(sorted(set(homeless)))}. "
        f"{largest} asks for {_shown(needs[largest])}, and the node with the most processors left has {_shown(most)}."
    )
    command = "kubectl describe nodes | grep --after-context 8 'Allocated resources'"
    return [Diagnostic("MSH727", "Node", None, message, command=command)]


def _shown(amounts: Mapping[str, Decimal]) -> str:
    return f"cpu {amounts['cpu'] * 1000:.0f}m, memory {amounts['memory'] / 2**20:.0f}Mi"


NODES = Check(
    "nodes",
    "The nodes are ready, and of versions, architectures and systems that the mesh runs on",
    ("MSH720", "MSH721", "MSH722", "MSH723", "MSH724", "MSH725", "MSH726"),
    _run,
)
ROOM = Check("room", "The nodes have room for the pods of the plan", ("MSH727",), _room)
