"""`meshup preflight` on a real API server: silent on a good cluster, and each prepared fault is found.

Faults are set in groups, each group is one run, and everything is silent again once they are gone. What a user would
have seen without the check stands at each fault.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import with_settings
from operate import preflight, stackfile
from operate.findings import Report
from tests import standins
from tests.conftest import as_account, prepared_program

pytestmark = pytest.mark.cluster

OWNER = "organization/meshup/test"
OWN = ("quota", "frugal", "small", "large", "restricted", "baseline", "policed", "hooked", "closed")
"""Namespaces of somebody else that the stack has join."""
HOLD = "meshup.test/hold"
_SOON = 30.0
"""Seconds within which policies and webhooks take effect; no longer than nodes without a kubelet stay ready."""


class Fault(NamedTuple):
    """A prepared fault.

    Attributes:
        without: What a user would have seen without the check.
        code: The code that names it.
        path: The beginning of the path at which it is reported.
        objects: The objects that make it.
        commands: Arguments of kubectl that complete it.
    """

    without: str
    code: str
    path: str
    objects: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[Sequence[str]] = ()


def made(kind: str, name: str, namespace: str = "", version: str = "v1", **body: Any) -> dict[str, Any]:
    """An object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **body.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


ADMISSION, CRD = "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1"
HELM = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "base", "meta.helm.sh/release-namespace": "istio-system"},
}
LINUX = {"kubernetes.io/os": "linux"}


def policy(name: str, rule: Mapping[str, Any], expression: str, namespace: str = "") -> list[dict[str, Any]]:
    """An admission policy that denies, in one namespace or everywhere."""
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}} if namespace else {}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], **rule}]
    spec = {"matchConstraints": {"resourceRules": rules, **selector}, "validations": [{"expression": expression}]}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        made("ValidatingAdmissionPolicy", name, version=ADMISSION, spec=spec),
        made("ValidatingAdmissionPolicyBinding", name, version=ADMISSION, spec=binding),
    ]


def webhook(kind: str, name: str, service: tuple[str, str], rule: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A webhook configuration; nothing answers at its Service."""
    hook: dict[str, Any] = {
        "name": more.pop("called", f"{name}.example.com"),
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"namespace": service[0], "name": service[1]}},
        "rules": [{"apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], **rule}],
    }
    return made(kind, name, version=ADMISSION, webhooks=[hook | more])


def crd(name: str, kind: str, *, finalizers: Sequence[str] = ()) -> dict[str, Any]:
    """A small CustomResourceDefinition of Istio's group, of the release that the plan has for them."""
    plural, _, group = name.partition(".")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": kind, "plural": plural, "singular": plural.rstrip("s"), "listKind": f"{kind}List"}
    spec = {
        "group": group,
        "names": names,
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    metadata = {**HELM, "finalizers": list(finalizers)}
    return made("CustomResourceDefinition", name, version=CRD, metadata=metadata, spec=spec)


def node(name: str, *, ready: str = "True", provider: str = "", **info: str) -> dict[str, Any]:
    """A node without a kubelet: for half a minute, the node controller believes what it says."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": now, "lastTransitionTime": now}
    known = dict.fromkeys(
        (
            "machineID",
            "systemUUID",
            "bootID",
            "kernelVersion",
            "osImage",
            "containerRuntimeVersion",
            "kubeProxyVersion",
        ),
        "",
    )
    about = {**known, "operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.34.1", **info}
    spec = {"providerID": provider} if provider else {}
    status = {"conditions": [condition], "nodeInfo": about}
    return made("Node", name, metadata={"labels": LINUX}, spec=spec, status=status)


def workload(kind: str, name: str, namespace: str, labels: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    """A Deployment or a DaemonSet."""
    container = {"name": "main", "image": "pause", "env": [{"name": key, "value": text} for key, text in env.items()]}
    template = {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": dict(labels)}, "template": template}
    return made(kind, name, namespace, "apps/v1", metadata={"labels": dict(labels)}, spec=spec)


ADMITTED: dict[str, Fault] = {
    "a quota without room": Fault(
        "Workloads stay at 0 of 1 pods, and Helm waits until it times out.",
        "MSH706",
        "Namespace/quota",
        [made("ResourceQuota", "none", "quota", spec={"hard": {"pods": "0"}})],
    ),
    "a quota that wants requests": Fault(
        "Pods that started before are refused with the sidecar's neighbour named.",
        "MSH706",
        "Namespace/frugal",
        [made("ResourceQuota", "cpu", "frugal", spec={"hard": {"requests.cpu": "100"}})],
    ),
    "a limit below the sidecar's": Fault(
        "ReplicaSets report FailedCreate for a container that nobody wrote.",
        "MSH706",
        "Namespace/small",
        [made("LimitRange", "most", "small", spec={"limits": [{"type": "Container", "max": {"cpu": "500m"}}]})],
    ),
    "a least above the sidecar's": Fault(
        "The same, for the small requests of a sidecar.",
        "MSH706",
        "Namespace/large",
        [made("LimitRange", "least", "large", spec={"limits": [{"type": "Container", "min": {"memory": "128Mi"}}]})],
    ),
    "Pod Security restricted": Fault(
        "No pod of the namespace starts after its next restart.",
        "MSH705",
        "Namespace/restricted",
        commands=[["label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted"]],
    ),
    "Pod Security baseline": Fault(
        "The same: istio-init needs NET_ADMIN.",
        "MSH705",
        "Namespace/baseline",
        commands=[["label", "namespace", "baseline", "pod-security.kubernetes.io/enforce=baseline"]],
    ),
    "a policy against capabilities": Fault(
        "Pods are denied by a policy that nobody connects with the mesh.",
        "MSH707",
        "Namespace/policed",
        policy("no-capabilities", {"resources": ["pods"]}, "!has(object.spec.initContainers)", "policed"),
    ),
    "a policy against namespaces": Fault(
        "`up` stops at its first resource, with a Gateway API bundle made.",
        "MSH703",
        "Namespace/istio-system",
        policy(
            "teams",
            {"resources": ["namespaces"], "resourceNames": ["istio-system"]},
            "has(object.metadata.labels.team)",
        ),
    ),
    "a webhook on pods whose Service is gone": Fault(
        "No pod of the namespace starts: `failed calling webhook`.",
        "MSH704",
        "Namespace/hooked",
        [
            webhook(
                "ValidatingWebhookConfiguration",
                "nobody",
                ("hooked", "nobody"),
                {"apiGroups": [""], "resources": ["pods"]},
                namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "hooked"}},
            )
        ],
    ),
    "the same webhook by itself": Fault(
        "The search for who owns the webhook begins in an event.",
        "MSH740",
        "ValidatingWebhookConfiguration/nobody",
    ),
    "a webhook on roles without an endpoint": Fault(
        "The release of istiod fails, half made.",
        "MSH704",
        "ClusterRole/",
        [
            made("Service", "asleep", "default", spec={"ports": [{"port": 443}], "selector": {"app": "asleep"}}),
            webhook(
                "MutatingWebhookConfiguration",
                "asleep",
                ("default", "asleep"),
                {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]},
                objectSelector={"matchLabels": {"app": "istiod"}},
            ),
        ],
    ),
    "egress that is denied": Fault(
        "Sidecars get no certificate; pods restart without ever being ready.",
        "MSH715",
        "Namespace/closed",
        [
            made(
                "NetworkPolicy",
                "deny",
                "closed",
                "networking.k8s.io/v1",
                spec={"podSelector": {}, "policyTypes": ["Egress"]},
            )
        ],
    ),
    "two labels of injection": Fault(
        "The pods have sidecars of another revision than the one that was asked for.",
        "MSH742",
        "Namespace/torn",
        [made("Namespace", "torn", metadata={"labels": {"istio-injection": "enabled", "istio.io/rev": "canary"}})],
    ),
    "a control plane of istioctl": Fault(
        "Two istiods write the same ConfigMaps; sidecars trust one or the other.",
        "MSH741",
        "Deployment/torn/istiod",
        [workload("Deployment", "istiod", "torn", {"app": "istiod"}, {})],
    ),
    "webhooks of another Istio": Fault(
        "Pods get the sidecar of the other control plane.",
        "MSH321",
        "meshup:mesh",
        [
            webhook(
                "MutatingWebhookConfiguration",
                "elsewhere",
                ("elsewhere", "istiod"),
                {"apiGroups": ["example.com"], "resources": ["nothings"]},
                called="namespace.sidecar-injector.istio.io",
            )
        ],
    ),
    "a namespace of somebody else": Fault(
        "`destroy` deletes a namespace that was there before.",
        "MSH026",
        "Namespace/bookinfo",
        [made("Namespace", "bookinfo")],
    ),
    "an API that does not answer": Fault(
        "`destroy` hangs at its namespaces.",
        "MSH750",
        "APIService/v1.nobody.example.com",
        [
            made(
                "APIService",
                "v1.nobody.example.com",
                version="apiregistration.k8s.io/v1",
                spec={
                    "group": "nobody.example.com",
                    "version": "v1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": {"namespace": "default", "name": "nobody"},
                },
            )
        ],
    ),
}
"""Faults of admission, and of others on the cluster."""

NODES: dict[str, Fault] = {
    "an old kubelet": Fault(
        "Sidecars on one node fail; the others are fine.",
        "MSH722",
        "Node/old",
        [node("old", kubeletVersion="v1.30.1")],
    ),
    "mixed kubelets": Fault("Jobs never end, though native sidecars were to be on.", "MSH723", "Node"),
    "a system without modules": Fault(
        "istio-init: `iptables-restore: unable to initialize table 'nat'`.",
        "MSH725",
        "Node/rhel",
        [node("rhel", osImage="Red Hat Enterprise Linux 9.4 (Plow)")],
    ),
    "another architecture": Fault(
        "`exec format error`, on one node.", "MSH724", "Node/mainframe", [node("mainframe", architecture="s390x")]
    ),
    "a node that is not ready": Fault(
        "A DaemonSet never becomes ready.", "MSH720", "Node/away", [node("away", ready="False")]
    ),
    "a heartbeat of long ago": Fault(
        "Certificates are not valid yet, on one node.",
        "MSH731",
        "Node/late",
        [
            made(
                "Lease",
                "late",
                "kube-node-lease",
                "coordination.k8s.io/v1",
                spec={"holderIdentity": "late", "renewTime": "2026-01-01T00:00:00.000000Z"},
            )
        ],
    ),
    "a private cluster of GKE": Fault(
        "Pods: `failed calling webhook: context deadline exceeded`.",
        "MSH713",
        "Node",
        [node("private", provider="gce://project/zone/private")],
    ),
    "Cilium in the sockets of pods": Fault(
        "A split of 90 to 10 is measured as 50 to 50, and nothing says why.",
        "MSH710",
        "ConfigMap/kube-system/cilium-config",
        [made("ConfigMap", "cilium-config", "kube-system", data={"kube-proxy-replacement": "true"})],
    ),
    "interfaces of pods on EKS": Fault(
        "Probes fail with strict mutual TLS, in some pods.",
        "MSH712",
        "DaemonSet/kube-system/aws-node",
        [workload("DaemonSet", "aws-node", "kube-system", {"app": "aws-node"}, {"ENABLE_POD_ENI": "true"})],
    ),
    "a namespace that goes": Fault(
        "`up`: `unable to create new content in namespace because it is being terminated`.",
        "MSH743",
        "Namespace/istio-system",
        [
            made("Namespace", "istio-system", metadata={"annotations": {"meshup/stack": OWNER}}),
            made("ConfigMap", "held", "istio-system", metadata={"finalizers": [HOLD]}),
        ],
        [["delete", "namespace", "istio-system", "--wait=false"]],
    ),
    "a definition that goes": Fault(
        "Routes are made, and go with the definition a moment later.",
        "MSH743",
        "CustomResourceDefinition/virtualservices.networking.istio.io",
        [crd("virtualservices.networking.istio.io", "VirtualService", finalizers=[HOLD])],
        [["delete", "customresourcedefinition", "virtualservices.networking.istio.io", "--wait=false"]],
    ),
    "a definition that is not served": Fault(
        "`no matches for kind Gateway`, in the middle of an `up`.",
        "MSH744",
        "CustomResourceDefinition/gateways.networking.istio.io",
        [
            crd("agateways.networking.istio.io", "Gateway"),
            crd("gateways.networking.istio.io", "Gateway"),
        ],
    ),
}
"""Faults of nodes, of the network, and of what is half gone."""

SETTINGS: dict[str, Any] = {
    "bookinfo": {"resources": {"requests": {"cpu": "2000"}}},
    "istio": {
        "autoscaling": {"min": 2, "max": 3},
        "gateways": [{"name": "ingress"}],
        "values": {"istiod": {"cni": {"enabled": True}}},
    },
}
CONFIGURED: dict[str, Fault] = {
    "pods that fit on no node": Fault("Pods stay Pending until the release times out.", "MSH727", "Node"),
    "two replicas and one node": Fault(
        "The end of one node is that of injection.", "MSH726", "Deployment/istio-system/istiod"
    ),
    "no metrics": Fault("The autoscaler says `unknown`, and istiod never scales.", "MSH751", "APIService"),
    "nothing gives out addresses": Fault(
        "Helm waits for the gateway's address until it times out.",
        "MSH752",
        "Service",
        [
            made(
                "Service",
                "waiting",
                "default",
                spec={
                    "type": "LoadBalancer",
                    # A class that nobody here serves.
                    "loadBalancerClass": "example.com/none",
                    "ports": [{"port": 80}],
                    "selector": {"app": "waiting"},
                },
            )
        ],
    ),
    "a CNI that removes others": Fault(
        "Pods start without redirection: plain text, no routes.",
        "MSH711",
        "ConfigMap/kube-system/cilium-config",
        [made("ConfigMap", "cilium-config", "kube-system", data={"bpf-lb-sock-hostns-only": "true"})],
    ),
}
"""Faults of settings on this cluster."""

LINKERD: dict[str, Any] = {
    "mesh": "linkerd",
    "istio": None,
    "namespaces": None,
    "linkerd": {"highAvailability": True, "clusterNetworks": "192.168.0.0/16"},
}
LINKERDS: dict[str, Fault] = {
    "Services outside of the networks": Fault(
        "Calls go through, unencrypted and unsplit.", "MSH714", "meshup:linkerd.clusterNetworks"
    ),
    "too few nodes": Fault(
        "Two of three replicas stay Pending until the release times out.", "MSH316", "meshup:linkerd.highAvailability"
    ),
    "no node for pods": Fault(
        "Everything stays Pending until the release times out.",
        "MSH721",
        "Node",
        commands=[["taint", "node", "node-1", "dedicated=db:NoSchedule"]],
    ),
    "an old bundle of the Gateway API": Fault(
        "Linkerd ignores the routes, silently.",
        "MSH313",
        "meshup:gatewayApi",
        [
            {
                **(old := crd(f"{plural}.gateway.networking.k8s.io", kind)),
                "metadata": {
                    "name": old["metadata"]["name"],
                    "annotations": {
                        "gateway.networking.k8s.io/bundle-version": "v1.0.0",
                        "gateway.networking.k8s.io/channel": "standard",
                        "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2466",
                    },
                },
            }
            for plural, kind in (("httproutes", "HTTPRoute"), ("grpcroutes", "GRPCRoute"))
        ],
    ),
}
"""Faults on Linkerd."""

TAKEN = {
    "the right to write Helm's records": Fault(
        "`up`: the release is made, and Helm can't say so.", "MSH700", "secrets/istio-system"
    ),
    "the right to change Deployments": Fault(
        "The first `up` succeeds, the second fails.", "MSH700", "deployments.apps/istio-system"
    ),
    "the right to bind roles": Fault(
        "The release of istiod fails at its sixth object.", "MSH700", "clusterrolebindings.rbac.authorization.k8s.io"
    ),
    "the right to make webhooks": Fault(
        "The release of istiod fails at its last objects.",
        "MSH700",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    ),
    "the right to delete Services": Fault("`destroy` stops half-way.", "MSH701", "services/istio-system"),
    "the right to give rights away": Fault(
        "`attempting to grant RBAC permissions not currently held`, in the middle of an `up`.", "MSH709", "ClusterRole/"
    ),
    "the right to read definitions": Fault(
        "`up` can't see whose the CustomResourceDefinitions are.", "MSH024", "kubernetes:context"
    ),
}
"""Rights that are taken from the documented role."""


def reduced(role: dict[str, Any]) -> dict[str, Any]:
    """Return the documented role without these rights."""
    taken = {
        "secrets": {"create"},
        "deployments": {"patch"},
        "clusterrolebindings": {"create"},
        "mutatingwebhookconfigurations": {"create"},
        "services": {"delete"},
        "clusterroles": {"escalate", "bind"},
        "customresourcedefinitions": {"list"},
    }
    rules: list[dict[str, Any]] = []
    for rule in role["rules"]:
        for resource in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if verb not in taken.get(resource, ())]
            rules.append({**rule, "resources": [resource], "verbs": verbs})
    return {**role, "rules": rules}


@dataclass
class Site:
    """A cluster, and a stack that is not deployed."""

    embedded: Embedded
    stack: Stack

    def kubectl(self, *arguments: str, text: str = "") -> str:
        argv = self.embedded.cluster.exec_argv(["kubectl", *arguments])
        done = subprocess.run(
            argv, env=self.embedded.environment(), input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, verb: str, items: Sequence[Mapping[str, Any]], *more: str) -> None:
        if items:
            self.kubectl(
                verb,
                "--filename",
                "-",
                *more,
                text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}),
            )

    def run(self, **changes: Any) -> Report:
        """Run the command in this process, with other settings; None takes a key out."""
        raw = stackfile.read(self.stack.project, "test")
        keys = {key: value for key, value in {**raw.meshup, **changes}.items() if value is not None}
        return preflight.run(replace(raw, meshup=keys), "test", self.stack.project)

    def until(self, expected: Mapping[str, Fault], **changes: Any) -> Report:
        """Run it until everything is found that is expected: what was just set takes effect within seconds."""
        end = time.monotonic() + _SOON
        while True:
            report = self.run(**changes)
            if all(named(report, fault) for fault in expected.values()) or time.monotonic() > end:
                return report

    def silent(self, **changes: Any) -> None:
        """Hold that nothing is found, once what was just unset has lost its effect."""
        end = time.monotonic() + _SOON
        while (report := self.run(**changes)).findings and time.monotonic() < end:
            pass
        assert [(fault.code, fault.path, fault.message) for fault in report.findings] == []
        assert report.exit_code == 0


def named(report: Report, fault: Fault) -> bool:
    """Whether a report names a fault."""
    return any(one.code == fault.code and one.path.startswith(fault.path) for one in report.findings)


def hold(report: Report, fault: Fault) -> None:
    """Hold that a report names a fault, with what to do and how to see it."""
    found = [one for one in report.findings if one.code == fault.code and one.path.startswith(fault.path)]
    assert found, [(one.code, one.path, one.message) for one in report.findings]
    assert all(one.message and one.remedy for one in found)
    assert all(one.command for one in found if one.code.startswith("MSH7"))


@pytest.fixture(scope="module")
def site(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack with Bookinfo and namespaces of somebody else, on an empty cluster; nothing is deployed."""
    embedded.toolbox.ensure(["kubectl", "helm"])
    folder = tmp_path_factory.mktemp("preflight")
    namespaces: dict[str, Any] = {name: {} for name in OWN}
    stack = prepared_program(embedded, folder, {"meshup:istio": {"webhooks": True}, "meshup:namespaces": namespaces})
    subject = Site(embedded, stack)
    # Helm keeps definitions that tests before have installed.
    kept = subject.kubectl("get", "customresourcedefinitions", "--output", "name").split()
    if left := [name for name in kept if name.endswith((".istio.io", ".gateway.networking.k8s.io"))]:
        subject.kubectl("delete", *left)
    subject.objects("apply", [made("Namespace", name) for name in OWN])
    environment = stack.env()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KUBECONFIG", "PATH"):
            patch.setenv(name, environment[name])
        yield subject
    subject.kubectl("delete", "namespace", *OWN, "--timeout=60s")


def denies(item: Mapping[str, Any]) -> bool:
    """Whether an object may refuse others: made last, deleted first."""
    return item["kind"].endswith(("Configuration", "Policy", "PolicyBinding", "APIService"))


def grouped(site: Site, group: Mapping[str, Fault], **changes: Any) -> Report:
    """Set the faults of a group, unset them, and return the report in between."""
    items = [item for fault in group.values() for item in fault.objects]
    commands = [command for fault in group.values() for command in fault.commands]
    try:
        site.objects("apply", sorted(items, key=denies), "--server-side")
        for command in commands:
            site.kubectl(*command)
        return site.until(group, **changes)
    finally:
        for command in commands:
            if command[0] in ("label", "taint"):
                site.kubectl(*command[:-1], f"{command[-1].partition('=')[0]}-")
        for item in items:
            if HOLD in item["metadata"].get("finalizers", ()):
                place = ["--namespace", item["metadata"].get("namespace", "default")]
                free = ["--type", "merge", "--patch", '{"metadata":{"finalizers":null}}']
                site.kubectl("patch", item["kind"], item["metadata"]["name"], *place, *free)
        site.objects("delete", sorted(items, key=denies, reverse=True), "--ignore-not-found", "--timeout=60s")


@pytest.fixture(scope="module")
def admitted(site: Site) -> Report:
    """The report with faults of admission."""
    return grouped(site, ADMITTED)


@pytest.fixture(scope="module")
def on_nodes(site: Site) -> Report:
    """The report with faults of nodes and of the network."""
    return grouped(site, NODES)


@pytest.fixture(scope="module")
def configured(site: Site) -> Report:
    """The report with settings that this cluster can't serve."""
    return grouped(site, CONFIGURED, **SETTINGS)


@pytest.fixture(scope="module")
def of_linkerd(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report with faults on Linkerd, by the charts that stand in for it."""
    charts = tmp_path_factory.mktemp("linkerd") / "charts"
    standins.charts(charts)
    return grouped(site, LINKERDS, **LINKERD, charts={"directory": str(charts)})


def test_a_good_cluster_has_nothing_to_be_said_of_it(site: Site) -> None:
    site.silent()
    command = [sys.executable, "-m", "operate", "preflight", "--stack", "test", "--output", "json", "--wait", "1s"]
    done = subprocess.run(
        [*command, "--directory", str(site.stack.project)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schemaVersion"], document["success"], document["stack"]) == (1, True, "test")
    assert {one["status"] for one in document["checks"]} == {"passed"}


@pytest.mark.parametrize("name", ADMITTED)
def test_what_admission_and_others_would_do_is_named(admitted: Report, name: str) -> None:
    hold(admitted, ADMITTED[name])
    assert admitted.exit_code == 1


@pytest.mark.parametrize("name", NODES)
def test_what_nodes_and_networks_would_do_is_named(on_nodes: Report, name: str) -> None:
    hold(on_nodes, NODES[name])


@pytest.mark.parametrize("name", CONFIGURED)
def test_settings_that_the_cluster_can_not_serve_are_named(configured: Report, name: str) -> None:
    hold(configured, CONFIGURED[name])


@pytest.mark.parametrize("name", LINKERDS)
def test_what_stands_in_linkerds_way_is_named(of_linkerd: Report, name: str) -> None:
    hold(of_linkerd, LINKERDS[name])


@pytest.fixture(scope="module")
def taken(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of an account with the documented role, without some of its rights; with all of them it is silent."""
    stack = as_account(site.embedded, site.stack, tmp_path_factory.mktemp("account"), "preflight")
    role: dict[str, Any] = yaml.safe_load((paths.repository() / "docs" / "rbac" / "istio.yaml").read_text())
    role["metadata"]["name"] = "preflight"
    binding = {
        **made("ClusterRoleBinding", "preflight", version="rbac.authorization.k8s.io/v1"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "preflight"},
        "subjects": [{"kind": "ServiceAccount", "name": "preflight", "namespace": "default"}],
    }
    account = made("ServiceAccount", "preflight", "default")
    site.objects("apply", [role, binding])
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", stack.environment["KUBECONFIG"])
            site.silent()
            site.objects("apply", [reduced(role)])
            return site.until(TAKEN)
    finally:
        site.objects("delete", [role, binding, account])


@pytest.mark.parametrize("name", TAKEN)
def test_a_right_that_is_taken_from_the_documented_role_is_named(taken: Report, name: str) -> None:
    hold(taken, TAKEN[name])


def test_an_up_that_asks_for_it_stops_before_its_first_resource_unless_the_code_is_ignored(site: Site) -> None:
    fault = NODES["Cilium in the sockets of pods"]
    site.objects("apply", fault.objects)
    try:
        outcomes: list[tuple[int, bool]] = []
        for ignored in ([], [fault.code]):
            asked: Any = {"before": "up", "ignore": ignored}
            site.stack.file.write_text(with_settings(site.stack.file.read_text(), {"meshup:preflight": asked}))
            argv = ["pulumi", "preview", "--non-interactive", "--color", "never"]
            done = subprocess.run(
                site.stack.wrap(argv),
                cwd=site.stack.project,
                env=site.stack.env(),
                capture_output=True,
                text=True,
                check=False,
            )
            outcomes.append((done.returncode, f"error {fault.code}" in done.stdout + done.stderr))
        assert [(code != 0, named) for code, named in outcomes] == [(True, True), (False, False)]
    finally:
        site.objects("delete", fault.objects)


def test_without_a_cluster_there_is_an_exit_code_of_its_own(site: Site, tmp_path: Path) -> None:
    config = yaml.safe_load(site.embedded.cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path / "config"))
        report = site.run()
    assert (report.exit_code, [fault.code for fault in report.findings]) == (6, ["MSH023"])


def test_there_are_enough_faults_and_all_are_gone_in_the_end(site: Site) -> None:
    assert len(ADMITTED) + len(NODES) + len(CONFIGURED) + len(LINKERDS) + len(TAKEN) >= 30
    site.silent()
