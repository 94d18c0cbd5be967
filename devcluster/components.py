"""What the embedded cluster runs and how each component is started: pure, from paths and ports to argument lists.

Who plays which pod: kwok gives every pod an address of `netns.POD_RANGE`, makes it ready and deletes it at once, except
the real ones, where a kubelet runs. A real pod has a container `istio-proxy` (or an init container of that name) or
`discovery` (istiod), or the annotation `devcluster.meshup/run: "true"`. kwok leaves those alone entirely: their address
(of `netns.KUBELET_RANGE`), their status, and their deletion are the kubelet's (`devcluster.kubelet`).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from devcluster import netns
from devcluster.readiness import NODE_ANNOTATION

SERVICE_RANGE = "10.96.0.0/16"
"""Cluster addresses of Services."""
SERVICE_ADDRESS = "10.96.0.1"
"""The address of Service `kubernetes`: the first of the range."""
LOOPBACK = "127.0.0.1"

REAL_CONTAINERS = ("istio-proxy", "discovery")
RUN_ANNOTATION = "devcluster.meshup/run"

PORTS = {
    "etcd": 2379,
    "etcd-peer": 2380,
    "kube-apiserver": 6443,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "kwok": 10247,
}
"""Where each listens in a namespace of its own: the ports that Kubernetes documents, and kwok's."""


@dataclass(frozen=True)
class Layout:
    """Where one cluster's components find their files, and where they listen."""

    directory: Path
    ports: Mapping[str, int]
    real_pods: bool
    """Whether a kubelet runs the pods that kwok leaves alone."""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{LOOPBACK}:{self.ports['kube-apiserver']}"

    def pki(self, name: str) -> Path:
        """Return the path of a certificate or key."""
        return self.directory / "pki" / name

    def kubeconfig(self, user: str) -> Path:
        """Return the path of a component's kubeconfig."""
        return self.directory / "pki" / f"{user}.kubeconfig"

    @property
    def stages(self) -> Path:
        """The configuration of kwok."""
        return self.directory / "kwok.yaml"

    @property
    def health(self) -> dict[str, str]:
        """The URLs at which components answer for themselves."""
        ports = self.ports
        return {
            "kube-controller-manager": f"https://{LOOPBACK}:{ports['kube-controller-manager']}/healthz",
            "kube-scheduler": f"https://{LOOPBACK}:{ports['kube-scheduler']}/healthz",
            "kwok": f"http://{LOOPBACK}:{ports['kwok']}/healthz",
        }


def etcd(layout: Layout) -> list[str]:
    """Return etcd's arguments. Clients show a certificate: on a shared loopback anyone could connect."""
    client = f"https://{LOOPBACK}:{layout.ports['etcd']}"
    peer = f"https://{LOOPBACK}:{layout.ports['etcd-peer']}"
    tls = [
        f"--{prefix}{option}={layout.pki(file)}"
        for prefix in ("", "peer-")
        for option, file in (("cert-file", "etcd.crt"), ("key-file", "etcd.key"), ("trusted-ca-file", "etcd-ca.crt"))
    ]
    return [
        "--name=embedded",
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=embedded={peer}",
        *tls,
        "--client-cert-auth",
        "--peer-client-cert-auth",
        "--unsafe-no-fsync",  # a cluster for experiments: a power cut may cost it its data
        "--log-level=warn",
    ]


def kube_apiserver(layout: Layout) -> list[str]:
    """Return the API server's arguments."""
    return [
        f"--etcd-servers=https://{LOOPBACK}:{layout.ports['etcd']}",
        f"--etcd-cafile={layout.pki('etcd-ca.crt')}",
        f"--etcd-certfile={layout.pki('etcd.crt')}",
        f"--etcd-keyfile={layout.pki('etcd.key')}",
        # Real pods reach it at the gateway. On a shared loopback nobody else should.
        f"--bind-address={'0.0.0.0' if layout.real_pods else LOOPBACK}",  # noqa: S104
        f"--secure-port={layout.ports['kube-apiserver']}",
        f"--advertise-address={netns.GATEWAY}",
        f"--tls-cert-file={layout.pki('apiserver.crt')}",
        f"--tls-private-key-file={layout.pki('apiserver.key')}",
        f"--cert-dir={layout.directory / 'pki'}",
        f"--client-ca-file={layout.pki('ca.crt')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.pki('service-account.pub')}",
        f"--service-account-signing-key-file={layout.pki('service-account.key')}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        # Webhooks are called at endpoint addresses: nothing routes cluster addresses for the API server.
        "--enable-aggregator-routing=true",
    ]


def kube_controller_manager(layout: Layout) -> list[str]:
    """Return the controller manager's arguments. All its controllers run."""
    return [
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.ports['kube-controller-manager']}",
        f"--service-account-private-key-file={layout.pki('service-account.key')}",
        f"--root-ca-file={layout.pki('ca.crt')}",
        f"--cluster-signing-cert-file={layout.pki('ca.crt')}",
        f"--cluster-signing-key-file={layout.pki('ca.key')}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # Deleting a namespace lists every kind in it; the default of 20 a second makes that take many seconds.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def kube_scheduler(layout: Layout) -> list[str]:
    """Return the scheduler's arguments."""
    return [
        f"--kubeconfig={layout.kubeconfig('scheduler')}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={layout.ports['kube-scheduler']}",
        "--leader-elect=false",
    ]


def kwok(layout: Layout) -> list[str]:
    """Return kwok's arguments. Without leases a node would turn NotReady after 40 s, and its pods with it."""
    return [
        f"--kubeconfig={layout.kubeconfig('admin')}",
        f"--config={layout.stages}",
        f"--cidr={netns.POD_RANGE}",
        f"--node-ip={netns.GATEWAY}",
        "--node-lease-duration-seconds=40",
        f"--manage-nodes-with-annotation-selector={NODE_ANNOTATION}=fake",
        f"--server-address={LOOPBACK}:{layout.ports['kwok']}",
    ]


def kubeconfig(name: str, server: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig whose only context is `meshup-<name>`.

    Args:
        name: The cluster's name.
        server: The API server's URL.
        authority: Its authority's certificate in PEM.
        certificate: The user's certificate in PEM.
        key: The user's key in PEM.
    """
    context = f"meshup-{name}"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": context, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
            ],
            "users": [
                {
                    "name": context,
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
                }
            ],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        },
        sort_keys=False,
    )


def stages(real_pods: bool) -> list[dict[str, Any]]:
    """Return kwok's Stage objects (kwok.x-k8s.io/v1alpha1): how nodes and pods come to life and go.

    One more is the load balancer: it gives a Service of type LoadBalancer its address.

    Args:
        real_pods: Leave real pods to the kubelet.
    """
    theirs = not_real() if real_pods else []
    alive = _when(".metadata.deletionTimestamp", "DoesNotExist")
    pending = _when(".status.phase", "In", ["Pending"])
    running = _when(".status.phase", "In", ["Running"])
    of_job = _when(".metadata.ownerReferences.[].kind", "In", ["Job"])
    not_ready = _when('.status.conditions.[] | select( .type == "Ready" ) | .status', "NotIn", ["True"])
    return [
        _stage("node-ready", "Node", [not_ready], {"statusTemplate": _NODE_STATUS}),
        _stage("pod-ready", "Pod", [alive, pending, *theirs], {"statusTemplate": _POD_RUNNING}),
        _stage("pod-complete", "Pod", [alive, running, of_job, *theirs], {"statusTemplate": _POD_SUCCEEDED}),
        _stage("pod-delete", "Pod", [_when(".metadata.deletionTimestamp", "Exists"), *theirs], {"delete": True}),
        _stage("load-balancer", "Service", _UNBALANCED, {"statusTemplate": _LOAD_BALANCER}),
    ]


def not_real() -> list[dict[str, Any]]:
    """Return the match expressions that leave out the pods of the kubelet (see the module's docstring)."""
    return [
        _when(".spec.containers[].name", "NotIn", REAL_CONTAINERS),
        _when(".spec.initContainers[]?.name", "NotIn", REAL_CONTAINERS),
        _when(f'.metadata.annotations["{RUN_ANNOTATION}"]', "NotIn", ["true"]),
    ]


def stages_yaml(real_pods: bool) -> str:
    """Return kwok's configuration file."""
    return yaml.safe_dump_all(stages(real_pods), sort_keys=False)


def node_names(count: int) -> list[str]:
    """Return the names of the cluster's nodes."""
    return [f"node-{number}" for number in range(1, count + 1)]


def _when(key: str, operator: str, values: Sequence[str] = ()) -> dict[str, Any]:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _stage(name: str, kind: str, conditions: list[dict[str, Any]], then: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            "next": then,
        },
    }


_UNBALANCED = [
    _when(".spec.type", "In", ["LoadBalancer"]),
    # A class names another controller (Kubernetes API v1, ServiceSpec).
    _when(".spec.loadBalancerClass", "DoesNotExist"),
    _when(".status.loadBalancer.ingress", "DoesNotExist"),
]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Go templates over the object, with kwok's functions (kwok v0.8.0, pkg/kwok/controllers: Now, Quote, NodeConditions,
# NodeIP, PodIPWith). Capacity is more than any test asks for: nothing is really used.
_NODE_STATUS = """\
{{ $now := Now | Quote }}
conditions:
{{ range NodeConditions }}
- {type: {{ .type | Quote }}, status: {{ .status | Quote }}, reason: {{ .reason | Quote }},
   message: {{ .message | Quote }}, lastHeartbeatTime: {{ $now }}, lastTransitionTime: {{ $now }}}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ .metadata.name | Quote }}}
capacity: &resources {cpu: "1000", memory: 4Ti, ephemeral-storage: 4Ti, pods: "10000"}
allocatable: *resources
nodeInfo:
  architecture: amd64
  operatingSystem: linux
  bootID: ""
  machineID: ""
  systemUUID: ""
  osImage: ""
  kernelVersion: ""
  containerRuntimeVersion: ""
  kubeletVersion: {{ printf "kwok-%s" Version | Quote }}
  kubeProxyVersion: ""
"""

_POD_RUNNING = """\
{{ $now := Now | Quote }}
{{ $host := or .spec.hostNetwork false }}
{{ $ip := PodIPWith .spec.nodeName $host .metadata.uid .metadata.name .metadata.namespace | Quote }}
phase: Running
startTime: {{ $now }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ $ip }}
podIPs:
- ip: {{ $ip }}
conditions:
{{ range $type := list "Initialized" "PodReadyToStartContainers" "ContainersReady" "Ready" }}
- {type: {{ $type }}, status: "True", lastTransitionTime: {{ $now }}}
{{ end }}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now }}}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  {{ if eq ( or .restartPolicy "" ) "Always" }}
  started: true
  state: {running: {startedAt: {{ $now }}}}
  {{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now }}, finishedAt: {{ $now }}}}
  {{ end }}
{{ end }}
"""

_POD_SUCCEEDED = """\
{{ $now := Now | Quote }}
phase: Succeeded
conditions:
- {type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now }}}
- {type: ContainersReady, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now }}, finishedAt: {{ $now }}}}
{{ end }}
"""

# Cluster address 10.96.A.B gets 10.97.A.B (SERVICE_RANGE, netns.LOAD_BALANCER_RANGE): no other Service can have it, and
# nothing has to be remembered. `spec.loadBalancerIP` asks for another one of the range.
_LOAD_BALANCER = """\
{{ $own := printf "10.97.%s" ( trimPrefix "10.96." .spec.clusterIP ) }}
loadBalancer:
  ingress:
  - ip: {{ or .spec.loadBalancerIP $own | Quote }}
"""
