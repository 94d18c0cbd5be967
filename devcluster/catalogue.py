"""The catalogue of tools: what each is built from, and when one on PATH will do. Plain data and pure functions.

Versions are read from the go.mod files in tools/, which are the only place that has them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.golang import ModuleFiles, Program, module_version, version_tuple

CLUSTER_TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
PULUMI_TOOLS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-kubernetes", "helm")
MESH_TOOLS = ("pilot-discovery", "pilot-agent", "envoy-bootstrap", "iptables")
FILES = ("istio-charts", "gateway-api-crds")
EVERYTHING = (*CLUSTER_TOOLS, *PULUMI_TOOLS, *MESH_TOOLS, *FILES)
"""What `up` needs."""
PROMETHEUS_TOOLS = ("prometheus", "promtool")
ZIPKIN_TOOLS = ("zipkin",)
ON_DEMAND = ("istioctl", *PROMETHEUS_TOOLS, *ZIPKIN_TOOLS)
"""What is had only when someone asks for it: nothing that `up` makes depends on it."""

_ISTIO_CHARTS = {
    # Where `meshup:charts: {directory: PATH}` expects each chart, from where the module keeps it.
    "base": "manifests/charts/base",
    "istiod": "manifests/charts/istio-control/istio-discovery",
    "gateway": "manifests/charts/gateway",
    "cni": "manifests/charts/istio-cni",
    "ztunnel": "manifests/charts/ztunnel",
}
_LANGUAGE_HOST = ("pulumi-language-python", "pulumi-language-python-exec")
_PULUMI_SCRIPTS = {
    "pulumi-language-python-exec": "python/cmd/pulumi-language-python-exec",
    "pulumi-resource-pulumi-python": "python/dist/pulumi-resource-pulumi-python",
    "pulumi-analyzer-policy-python": "python/dist/pulumi-analyzer-policy-python",
}

Version = tuple[int, ...]
Judge = Callable[[Version, Version], bool]
Piece = Program | ModuleFiles


def same_minor(found: Version, pinned: Version) -> bool:
    """Say whether a tool on PATH has the pinned minor version, in this patch or a later one."""
    return found[:2] == pinned[:2] and found >= pinned


def same_major(found: Version, pinned: Version) -> bool:
    """Say whether a tool on PATH has the pinned major version, in this release or a later one."""
    return found[:1] == pinned[:1] and found >= pinned


def within_one_minor(found: Version, pinned: Version) -> bool:
    """Say whether a kubectl may talk to the pinned API server: one minor version older or newer is supported.

    Source: Kubernetes documentation, "Version Skew Policy", kubectl.
    """
    return found[:1] == pinned[:1] and len(found) > 1 and abs(found[1] - pinned[1]) <= 1


@dataclass(frozen=True)
class Probe:
    """How a tool on PATH is judged.

    Attributes:
        arguments: What makes the tool print its version.
        accepts: Compares the version found with the pinned one.
        beside: Tools that must lie beside it and are then taken with it.
    """

    arguments: Sequence[str]
    accepts: Judge
    beside: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue.

    Attributes:
        piece: What is built or taken out of a module.
        module: The module whose version is the tools' version.
        provides: Tool by its path inside the piece's folder; `.` is the folder itself.
        probes: How to judge each of the tools on PATH. Without, they are always made.
    """

    piece: Piece
    module: str
    provides: Mapping[str, str]
    probes: Mapping[str, Probe]


def catalogue(tools: Path) -> list[Entry]:
    """Return all that can be made, from the go.mod files in tools/; they are the only place with versions."""

    def version(family: str, module: str) -> str:
        return module_version((tools / family / "go.mod").read_text(), module)

    def programs(
        name: str,
        family: str,
        module: str,
        packages: Mapping[str, str],
        *,
        stamp: Mapping[str, str] | None = None,
        cost: int,
        disk: float,
        probes: Mapping[str, Probe] | None = None,
    ) -> Entry:
        ldflags = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in (stamp or {}).items())])
        piece = Program(name, tools / family, packages, ldflags, cost, disk)
        return Entry(piece, module, {binary: binary for binary in packages}, probes or {})

    kubernetes = version("kubernetes", "k8s.io/kubernetes")
    major, minor = version_tuple(kubernetes)[:2]
    kubernetes_stamp = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": str(major),
        "k8s.io/component-base/version.gitMinor": str(minor),
    }
    pulumi = version("pulumi", "github.com/pulumi/pulumi/pkg/v3")
    pulumi_stamp = {"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": pulumi}
    istio = version("istio", "istio.io/istio")
    # The pseudo-version of istio.io/istio does not tell the release line, its API module does; istiod compares it with
    # what proxies report.
    line = ".".join(map(str, version_tuple(version("istio", "istio.io/api"))[:2]))
    istio_stamp = {
        "istio.io/istio/pkg/version.buildVersion": f"{line}-dev",
        "istio.io/istio/pkg/version.buildGitRevision": istio.rsplit("-", 1)[-1],
        "istio.io/istio/pkg/version.buildStatus": "Clean",
    }
    helm = version("helm", "helm.sh/helm/v3")
    server = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    return [
        programs(
            "kubernetes",
            "kubernetes",
            "k8s.io/kubernetes",
            {name: f"k8s.io/kubernetes/cmd/{name}" for name in server},
            stamp=kubernetes_stamp,
            cost=360,
            disk=3.5,
            probes=dict.fromkeys(server, Probe(("--version",), same_minor)),
        ),
        programs(
            "istio",
            "istio",
            "istio.io/istio",
            {name: f"istio.io/istio/pilot/cmd/{name}" for name in ("pilot-discovery", "pilot-agent")},
            stamp=istio_stamp,
            cost=190,
            disk=3.0,
        ),
        programs(
            "istioctl",
            "istio",
            "istio.io/istio",
            {"istioctl": "istio.io/istio/istioctl/cmd/istioctl"},
            stamp=istio_stamp,
            cost=240,
            disk=2.0,
        ),
        programs(
            "pulumi",
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3",
            {"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
            stamp=pulumi_stamp,
            cost=75,
            disk=1.5,
            # A CLI without its own language host would meet the older one that is built here.
            probes={"pulumi": Probe(("version",), same_major, beside=_LANGUAGE_HOST)},
        ),
        programs(
            "kwok",
            "kwok",
            "sigs.k8s.io/kwok",
            {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
            cost=70,
            disk=1.2,
            probes={"kwok": Probe(("--version",), same_minor)},
        ),
        programs(
            "helm",
            "helm",
            "helm.sh/helm/v3",
            {"helm": "helm.sh/helm/v3/cmd/helm"},
            stamp={"helm.sh/helm/v3/internal/version.version": helm},
            cost=55,
            disk=1.0,
            probes={"helm": Probe(("version", "--short"), same_major)},
        ),
        programs(
            "kubectl",
            "kubernetes",
            "k8s.io/kubernetes",
            {"kubectl": "k8s.io/kubernetes/cmd/kubectl"},
            stamp=kubernetes_stamp,
            cost=30,
            disk=0.3,
            probes={"kubectl": Probe(("version", "--client"), within_one_minor)},
        ),
        programs(
            "etcd",
            "etcd",
            "go.etcd.io/etcd/server/v3",
            {"etcd": "go.etcd.io/etcd/server/v3"},
            cost=25,
            disk=0.6,
            probes={"etcd": Probe(("--version",), same_minor)},
        ),
        programs(
            "pulumi-language-python",
            "pulumi-python",
            "github.com/pulumi/pulumi/sdk/v3",
            {"pulumi-language-python": "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"},
            stamp=pulumi_stamp,
            cost=15,
            disk=0.4,
        ),
        Entry(
            ModuleFiles(
                "pulumi-python-scripts",
                tools / "pulumi",
                "github.com/pulumi/pulumi/sdk/v3",
                _PULUMI_SCRIPTS,
                executable=True,
            ),
            "github.com/pulumi/pulumi/sdk/v3",
            {name: name for name in _PULUMI_SCRIPTS},
            {},
        ),
        Entry(
            # In the module they are of version 1.0.0: Istio's release builder writes the real one.
            ModuleFiles("istio-charts", tools / "istio", "istio.io/istio", _ISTIO_CHARTS, charts=f"{line}.0-dev"),
            "istio.io/istio",
            {"istio-charts": "."},
            {},
        ),
        Entry(
            ModuleFiles(
                "envoy-bootstrap",
                tools / "istio",
                "istio.io/istio",
                {"envoy_bootstrap.json": "tools/packaging/common/envoy_bootstrap.json"},
            ),
            "istio.io/istio",
            {"envoy-bootstrap": "envoy_bootstrap.json"},
            {},
        ),
        Entry(
            ModuleFiles(
                "gateway-api-crds",
                tools / "gateway-api",
                "sigs.k8s.io/gateway-api",
                {"standard": "config/crd/standard", "experimental": "config/crd/experimental"},
            ),
            "sigs.k8s.io/gateway-api",
            {"gateway-api-crds": "."},
            {},
        ),
    ]
