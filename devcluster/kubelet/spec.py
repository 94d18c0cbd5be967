"""What a pod's containers mean on this node: pure functions from a Pod, as the API gives it, to processes to start.

Sources: Kubernetes API v1 (Pod), "Define Dependent Environment Variables", and Istio's own injection templates
(istio.io/istio, manifests/charts/istio-control/istio-discovery/files, at the commit that tools/ pins).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, cast

import yaml
from kubernetes.utils import quantity

Object = Mapping[str, Any]
"""A Kubernetes object as its JSON."""

RUN_ANNOTATION = "devcluster.meshup/run"
"""Set to "true" on a pod without a sidecar, it makes the pod real: a client outside the mesh, say."""

HOST_ANNOTATION = "devcluster.meshup/host"
"""A name by which all pods find this one, beside Services: it plays a host outside of the cluster, say."""

PROXY_CONTAINER = "istio-proxy"
ISTIOD_CONTAINER = "discovery"
_IPTABLES_COMMAND = "istio-iptables"
_NOBODY = 65534

# Where the pod's file system has what the host lends. Not below /usr, which is the host's and read-only.
TOOLS = "/opt/meshup"
PILOT_AGENT = f"{TOOLS}/pilot-agent"
PILOT_DISCOVERY = f"{TOOLS}/pilot-discovery"
ENVOY = f"{TOOLS}/envoy"
BOOTSTRAP = f"{TOOLS}/envoy_bootstrap.json"
WORKLOAD = f"{TOOLS}/workload.py"

# A plain Envoy has none of the filters that Istio builds into its own, so istiod must not ask for them
# (pilot/pkg/features of the pinned module).
_ISTIOD_OVERRIDES = {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"}


RUNTIME_VALUES = {
    f"envoy.reloadable_features.{guard}": "false"
    for guard in (
        "match_headers_individually",
        "re2_use_latin1_mode",
        "strip_dotdot_segments_with_parameters",
    )
}
"""What Envoy from 1.38.4 and 1.39 on reads otherwise than the Envoy of the Istio that meshup pins, switched back
(Envoy's release notes; docs/embedded-envoy.md)."""

_parse_quantity = cast("Callable[[Any], Decimal]", quantity.parse_quantity)  # pyright: ignore[reportUnknownMemberType] - partly typed


@dataclass(frozen=True)
class Node:
    """The node as its pods see it.

    Attributes:
        address: The node's address, the pods' gateway.
        api_host: Where pods reach the API server.
        api_port: Its port.
        cpus: What `limits.cpu` falls back to.
        memory: What `limits.memory` falls back to, in bytes.
        python: The interpreter that runs the sample workloads.
        path: PATH of the processes in a pod.
        environment: What the node's tools need besides, such as where iptables finds its extensions.
    """

    address: str
    api_host: str
    api_port: int
    cpus: int
    memory: int
    python: str
    path: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def listed(item: Object, name: str) -> Sequence[Object]:
    """Return a list of objects, empty where the field is absent or null."""
    return item.get(name) or ()


def mapped(item: Object, name: str) -> Object:
    """Return an object, empty where the field is absent or null."""
    return item.get(name) or {}


Role = Literal["istiod", "proxy", "iptables", "workload"]


@dataclass(frozen=True)
class Probe:
    """A probe of a container, with the API's defaults filled in. Times in seconds.

    Attributes:
        scheme: "http" or "tcp".
    """

    scheme: Literal["http", "tcp"]
    port: int
    path: str = "/"
    delay: float = 0
    period: float = 10
    timeout: float = 1
    failures: int = 3


@dataclass(frozen=True)
class Container:
    """One process to run for a container.

    Attributes:
        once: It runs to its end before the next one starts (an init container).
        gate: Nothing after it starts before it is ready (a native sidecar, or one that holds the application).
        grace: Seconds between the pod's deletion and SIGTERM (`preStop` that sleeps).
    """

    name: str
    role: Role
    argv: tuple[str, ...]
    env: Mapping[str, str]
    user: int
    group: int
    once: bool = False
    gate: bool = False
    init: bool = False
    image: str = ""
    readiness: Probe | None = None
    startup: Probe | None = None
    liveness: Probe | None = None
    grace: float = 0


@dataclass(frozen=True)
class Source:
    """The ConfigMaps and Secrets that a pod needs, by name: their data as text."""

    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


@dataclass(frozen=True)
class Context:
    """A pod where it is to run.

    Attributes:
        pod: The Pod.
        node: The node.
        address: The pod's address.
        source: What it refers to.
    """

    pod: Object
    node: Node
    address: str
    source: Source = field(default_factory=Source)


class NotYet(Exception):  # noqa: N818 - it is no error: the kubelet waits and tries again
    """Something that the pod needs is not there yet; the message names it."""


def is_real(pod: Object) -> bool:
    """Say whether the pod runs as real processes: istiod, anything with Istio's proxy, or what asks for it.

    kwok must leave exactly these alone, so its stages carry the same rule, negated.
    """
    containers = [*listed(pod["spec"], "containers"), *listed(pod["spec"], "initContainers")]
    annotations = mapped(pod["metadata"], "annotations")
    return annotations.get(RUN_ANNOTATION) == "true" or any(
        c["name"] in (PROXY_CONTAINER, ISTIOD_CONTAINER) for c in containers
    )


def is_istiod(pod: Object) -> bool:
    """Say whether the pod is one of istiod's."""
    return any(c["name"] == ISTIOD_CONTAINER for c in pod["spec"]["containers"])


def revision(pod: Object) -> str:
    """Return the revision of the control plane that an istiod pod belongs to; "default" when it names none."""
    labels = mapped(pod["metadata"], "labels")
    return labels.get("istio.io/rev") or "default"


def mesh_config_map(pod: Object) -> str:
    """Return the name of the ConfigMap with the mesh configuration of an istiod pod (pilot/pkg/bootstrap/mesh.go)."""
    return "istio" if revision(pod) == "default" else f"istio-{revision(pod)}"


def mesh_config(text: str) -> str:
    """Return the mesh configuration with the metrics filter left out, which a plain Envoy does not have.

    Envoy's own statistics remain.
    """
    loaded: Any = yaml.safe_load(text) or {}
    providers: dict[str, Any] = {**mapped(loaded, "defaultProviders"), "metrics": []}
    return yaml.safe_dump({**loaded, "defaultProviders": providers}, sort_keys=True)


_REFERENCE = re.compile(r"\$\$|\$\(([-._A-Za-z0-9]+)\)")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value. An unknown name stays as it is, `$$(NAME)` is `$(NAME)` literally."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def environment(container: Object, context: Context) -> dict[str, str]:
    """Resolve a container's `env` and `envFrom` as a kubelet does, in order, later references seeing earlier values.

    Raises:
        NotYet: A ConfigMap or Secret that is not optional, or its key, is missing.
    """
    result: dict[str, str] = {}
    for entry in listed(container, "envFrom"):
        for kind, available in (("configMapRef", context.source.config_maps), ("secretRef", context.source.secrets)):
            if (reference := entry.get(kind)) is not None:
                data = available.get(reference["name"])
                if data is None and not reference.get("optional"):
                    raise NotYet(f"{kind} {reference['name']} of container {container['name']}")
                prefix = entry.get("prefix") or ""
                result |= {prefix + key: value for key, value in (data or {}).items()}
    for entry in listed(container, "env"):
        if "valueFrom" in entry:
            value = _value_from(entry["valueFrom"], container, context)
            if value is not None:
                result[entry["name"]] = value
        else:
            result[entry["name"]] = expand(entry.get("value") or "", result)
    return result


def _value_from(origin: Object, container: Object, context: Context) -> str | None:
    if "fieldRef" in origin:
        return field_value(origin["fieldRef"]["fieldPath"], context)
    if "resourceFieldRef" in origin:
        return resource_value(container, origin["resourceFieldRef"], context.node)
    for kind, available in (("configMapKeyRef", context.source.config_maps), ("secretKeyRef", context.source.secrets)):
        if (reference := origin.get(kind)) is not None:
            value = (available.get(reference["name"]) or {}).get(reference["key"])
            if value is None and not reference.get("optional"):
                raise NotYet(f"key {reference['key']} of {reference['name']} for container {container['name']}")
            return value
    return None


_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


def field_value(path: str, context: Context) -> str:
    """Return a field for the downward API. A field that is not set, or that the API does not offer, is empty."""
    pod, node, address = context.pod, context.node, context.address
    metadata: Object = pod["metadata"]
    known: dict[str, str] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": node.address,
        "status.hostIPs": node.address,
    }
    if path in known:
        return known[path]
    if (match := _SUBSCRIPT.fullmatch(path)) is not None:
        return mapped(metadata, match[1]).get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        pairs: Mapping[str, str] = mapped(metadata, path.removeprefix("metadata."))
        # The kubelet writes key="value" with Go's quoting, sorted (pkg/fieldpath, FormatMap).
        return "\n".join(f"{key}={json.dumps(pairs[key], ensure_ascii=False)}" for key in sorted(pairs))
    return ""


def resource_value(container: Object, reference: Object, node: Node) -> str:
    """Return a resource of the container in units of the divisor, rounded up; an unset limit is the node's capacity."""
    side, _, name = reference["resource"].partition(".")
    resources = mapped(mapped(container, "resources"), side)
    fallback = {"cpu": node.cpus, "memory": node.memory}.get(name, 0) if side == "limits" else 0
    amount = _parse_quantity(resources.get(name, fallback))
    divisor = _parse_quantity(reference.get("divisor") or 1) or 1
    return str(math.ceil(amount / divisor))


def containers(context: Context) -> list[Container]:
    """Return what to run for the pod, in order.

    Raises:
        NotYet: A ConfigMap or Secret that the environment needs is missing.
    """
    spec = context.pod["spec"]
    planned = [_planned(container, context, init=True) for container in listed(spec, "initContainers")]
    # A proxy that holds the application (`holdApplicationUntilProxyStarts`) is injected first and waits in postStart.
    planned += [_planned(container, context, init=False) for container in listed(spec, "containers")]
    return [container for container in planned if container is not None]


def _planned(container: Object, context: Context, *, init: bool) -> Container | None:
    pod, node = context.pod, context.node
    args = [str(a) for a in [*listed(container, "command"), *listed(container, "args")]]
    role: Role = "workload"
    if _IPTABLES_COMMAND in args:
        role = "iptables"
    elif container["name"] == PROXY_CONTAINER:
        role = "proxy"
    elif container["name"] == ISTIOD_CONTAINER:
        role = "istiod"
    elif init and container.get("restartPolicy") != "Always":
        # Its image is not here, and what it prepares is for an application that is not here either.
        return None
    own = environment(container, context)
    env = {
        "PATH": node.path,
        "HOME": "/",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": node.api_host,
        "KUBERNETES_SERVICE_PORT": str(node.api_port),
        **node.environment,
        **own,
    }
    argv = tuple(expand(a, own) for a in args)
    user, group = _identity(pod, container, role)
    hold = role == "proxy" and "postStart" in mapped(container, "lifecycle")
    common: dict[str, Any] = {
        "name": container["name"],
        "role": role,
        "user": user,
        "group": group,
        "init": init,
        "once": init and container.get("restartPolicy") != "Always",
        "gate": (init and container.get("restartPolicy") == "Always") or hold,
        "image": container.get("image", ""),
        "readiness": probe(container, "readinessProbe"),
        "startup": probe(container, "startupProbe"),
        "liveness": probe(container, "livenessProbe"),
        "grace": _prestop_seconds(mapped(mapped(container, "lifecycle"), "preStop")),
    }
    match role:
        case "istiod":
            return Container(argv=(PILOT_DISCOVERY, *argv), env=env | _ISTIOD_OVERRIDES, **common)
        case "proxy":
            return Container(
                argv=(PILOT_AGENT, *argv, "--templateFile", BOOTSTRAP),
                env=env | {"PROXY_CONFIG": proxy_config(own.get("PROXY_CONFIG", ""))},
                **common,
            )
        case "iptables":
            # With Istio's CNI plugin the container only validates rules that the node has set. The node is us.
            applied = [a for a in argv if a not in ("--run-validation", "--skip-rule-apply")]
            return Container(argv=(PILOT_AGENT, *applied), env=env, **common)
        case "workload":
            return Container(argv=workload_command(pod, container, node), env=env, **common)


_SLEEP = re.compile(r"((/bin/)?(ba)?sh -c )?(/bin/)?sleep (?P<seconds>\d+(\.\d+)?)s?")


def _prestop_seconds(prestop: Object) -> float:
    """Return how long a preStop hook sleeps, by itself or by the command; other commands are in no image here."""
    if "sleep" in prestop:
        return float(prestop["sleep"]["seconds"])
    found = _SLEEP.fullmatch(" ".join(map(str, listed(mapped(prestop, "exec"), "command"))))
    return float(found["seconds"]) if found else 0.0


def _identity(pod: Object, container: Object, role: Role) -> tuple[int, int]:
    if role == "iptables":
        return 0, 0
    own = mapped(container, "securityContext")
    shared = mapped(pod["spec"], "securityContext")
    # Istio's images run as 1337, which is how interception knows the proxy's own traffic.
    default = 1337 if role in ("proxy", "istiod") else _NOBODY
    user = int(own.get("runAsUser", shared.get("runAsUser", default)))
    group = int(own.get("runAsGroup", shared.get("runAsGroup", user or default)))
    return user, group


def proxy_config(text: str) -> str:
    """Return the proxy's configuration with our Envoy, which reads requests as Istio's does, and one worker thread.

    Args:
        text: PROXY_CONFIG as the injector wrote it, empty for none. What it sets at run time wins.
    """
    loaded: dict[str, Any] = json.loads(text) if text.strip() else {}
    ours = {"binaryPath": ENVOY, "concurrency": 1}
    values = {**RUNTIME_VALUES, **mapped(loaded, "runtimeValues")}
    return json.dumps({**loaded, **ours, "runtimeValues": values}, sort_keys=True)


def workload_command(pod: Object, container: Object, node: Node) -> tuple[str, ...]:
    """Return the command of the small HTTP process that stands in for an application container."""
    metadata: Mapping[str, Any] = pod["metadata"]
    labels = mapped(metadata, "labels")
    app = labels.get("app") or labels.get("app.kubernetes.io/name") or container["name"]
    version = labels.get("version") or labels.get("app.kubernetes.io/version") or ""
    ports = sorted(application_ports(container))
    return (
        node.python,
        *("-S", "-I", WORKLOAD),
        *("--pod", metadata["name"], "--namespace", metadata["namespace"], "--app", app, "--version", version),
        *("--image", container.get("image", "")),
        *(part for port in ports for part in ("--port", str(port))),
    )


def application_ports(container: Object) -> set[int]:
    """Return the TCP ports that an application container says it listens on, its probes' included."""
    ports = {int(p["containerPort"]) for p in listed(container, "ports") if p.get("protocol", "TCP") == "TCP"}
    for name in ("readinessProbe", "startupProbe", "livenessProbe"):
        handler = mapped(container, name)
        action = mapped(handler, "httpGet") or mapped(handler, "tcpSocket")
        # The injector points an application's probes at the agent's port.
        if isinstance(action.get("port"), int) and action["port"] not in (15020, 15021):
            ports.add(action["port"])
    return ports


def probe(container: Object, name: str) -> Probe | None:
    """Return a container's probe, or none when it has none or one that only its own image could answer (exec)."""
    declared = mapped(container, name)
    http = mapped(declared, "httpGet")
    action = http or mapped(declared, "tcpSocket") or mapped(declared, "grpc")
    if not action or http.get("scheme") == "HTTPS":
        return None
    port = _port_number(container, action["port"])
    if port is None:
        return None
    return Probe(
        scheme="http" if http else "tcp",
        port=port,
        path=http.get("path") or "/",
        delay=declared.get("initialDelaySeconds") or 0,
        period=declared.get("periodSeconds") or 10,
        timeout=declared.get("timeoutSeconds") or 1,
        failures=declared.get("failureThreshold") or 3,
    )


def _port_number(container: Object, port: int | str) -> int | None:
    if isinstance(port, int):
        return port
    return next((int(p["containerPort"]) for p in listed(container, "ports") if p.get("name") == port), None)


def sysctls(pod: Object) -> dict[str, str]:
    """Return the pod's kernel settings as paths below /proc/sys; only those of its network namespace."""
    declared = listed(mapped(pod["spec"], "securityContext"), "sysctls")
    return {s["name"].replace(".", "/"): s["value"] for s in declared if s["name"].startswith("net.")}


def directory_name(pod: Object) -> str:
    """Return the name of the pod's folder on the node."""
    metadata: Mapping[str, str] = pod["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"
