"""Counted requests through real proxies: does a split hold?

Requests go out from a pod of the mesh, one after another over a kept-alive connection, so the pod's own Envoy picks
the destination of each; or from outside of the pod network (`devcluster.netns`) to the load balancer of a gateway,
whose Envoy picks it. What a stack output `trafficSplits` promises is compared with what was counted.

The verdict is that of `shares.statistics`; a single request that fails, or is answered by an unknown backend, refuses
the split as well.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from devcluster import arguments, paths
from devcluster.cluster import Cluster, ClusterError
from devcluster.kubelet import registry
from devcluster.kubelet.registry import RunningPod
from shares.statistics import CONFIDENCE, HEADINGS, SIGNIFICANCE, Share, measured, p_value

REQUESTS = 2000
PREFERRED_SOURCE = "productpage"

_TIMEOUT_SECONDS = 10.0
# Generous: a run of 2,000 takes two seconds, and a route may delay or time out each request.
_SECONDS_PER_REQUEST = 0.1
# poll(2) takes milliseconds as an int: 24 days.
_LONGEST_SECONDS = 7 * 86_400.0


class TrafficError(Exception):
    """The requests can't be sent; the message says why and what to do."""


@dataclass(frozen=True)
class Edge:
    """Where callers from outside reach a Service: a listener of a gateway.

    Attributes:
        namespace: The gateway's namespace.
        service: The gateway's Service.
        port: The listener's port.
        host: The host name that callers use.
        tls: Whether the listener ends TLS.
        path: A path that the gateway takes for it.
    """

    namespace: str
    service: str
    port: int
    host: str
    tls: bool
    path: str = "/"


@dataclass(frozen=True)
class Split:
    """What a Service's requests without any match should meet.

    Attributes:
        service: The Service.
        namespace: Its namespace.
        host: Its full name.
        weights: Percent of each backend, by name: a version, or another Service.
        edge: Where callers from outside reach it; None if they don't.
        path: A path that a policy allows.
    """

    service: str
    namespace: str
    host: str
    weights: Mapping[str, int]
    edge: Edge | None = None
    path: str = "/"


@dataclass(frozen=True)
class Outcome:
    """What was counted.

    Attributes:
        requests: How many were sent.
        seconds: How long it took.
        answers: Count by (app, version).
        failed: How many had no 2xx answer from a workload.
        failures: The first few of them in words.
        statuses: Count by HTTP status.
        reconnects: How often an idle connection had been closed and was opened anew; no failures.
    """

    requests: int
    seconds: float
    answers: Mapping[tuple[str, str], int]
    failed: int = 0
    failures: Sequence[str] = ()
    statuses: Mapping[int, int] = field(default_factory=dict[int, int])
    reconnects: int = 0

    def by_backend(self, names: Sequence[str]) -> dict[str, int]:
        """Return the counts by backend: the version where it is one of these names, else the app.

        Answers of others are counted under `APP VERSION`, so that they show.
        """
        result: dict[str, int] = dict.fromkeys(names, 0)
        for (app, version), count in self.answers.items():
            name = next((n for n in (version, app, f"{app}-{version}") if n in names), f"{app} {version}")
            result[name] = result.get(name, 0) + count
        return result


@dataclass(frozen=True)
class Result:
    """A measured split and the verdict on it."""

    split: Split
    source: str
    outcome: Outcome
    shares: Sequence[Share]
    p_value: float

    @property
    def holds(self) -> bool:
        """Whether the split holds: no request failed and the counts are as likely as they should be."""
        return self.outcome.failed == 0 and self.outcome.requests > 0 and self.p_value >= SIGNIFICANCE

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data, keys in camel case."""
        return {
            "service": self.split.service,
            "namespace": self.split.namespace,
            "host": self.split.host,
            "source": self.source,
            "requests": self.outcome.requests,
            "failed": self.outcome.failed,
            "failures": list(self.outcome.failures),
            "seconds": self.outcome.seconds,
            "confidence": CONFIDENCE,
            "significance": SIGNIFICANCE,
            "pValue": self.p_value,
            "holds": self.holds,
            "backends": [share.as_json() for share in self.shares],
        }


# -- pure --------------------------------------------------------------------------------------------------------------


def splits(
    outputs: Mapping[str, Any], gateways: Mapping[str, Any] | None = None, security: Mapping[str, Any] | None = None
) -> list[Split]:
    """Return what the stack output `trafficSplits` promises for requests that no match applies to.

    Rules with matches are for special requests; the plain ones meet the rule that matches all. A Service without such
    a rule is left out.

    Args:
        outputs: The stack output `trafficSplits`.
        gateways: The stack output `gateways`.
        security: The stack output `security`.
    """
    policies: Mapping[str, Any] = (security or {}).get("services", {})
    rules: dict[str, list[Mapping[str, Any]]] = {one["host"]: one["rules"] for one in policies.values()}
    result: list[Split] = []
    for service, entry in sorted(outputs.items()):
        rule = next((r for r in entry["rules"] if r.get("match", "all") == "all"), None)
        if rule is not None and rule.get("backends"):
            weights = {backend["name"]: int(backend["weight"]) for backend in rule["backends"]}
            edge = _edge(entry, (gateways or {}).get(entry.get("gateway", ""), {}))
            path = _allowed_path(rules.get(entry["host"], ()))
            result.append(Split(service, entry["namespace"], entry["host"], weights, edge, path))
    return result


def _allowed_path(rules: Sequence[Mapping[str, Any]]) -> str:
    """Return a path that some rule of a policy allows for GET, "/" if none says one."""
    for rule in rules:
        for operation in rule["to"] if rule["effect"] == "allow" else ():
            if "GET" in operation.get("methods", ("GET",)) and operation.get("paths"):
                return operation["paths"][0].replace("{*}", "1").replace("/**", "") or "/"
    return "/"


def _edge(entry: Mapping[str, Any], gateway: Mapping[str, Any]) -> Edge | None:
    """Return the listener at which a Service is reached by a name, HTTPS before HTTP."""
    # Every path is taken unless some are named; no example is made up for a pattern.
    paths: list[Mapping[str, str]] = entry.get("paths") or [{"prefix": "/"}]
    path = next((p[kind] for p in paths for kind in ("exact", "prefix") if kind in p), None)
    found = [
        Edge(gateway["namespace"], gateway["service"], listener["port"], host, listener["protocol"] == "https", path)
        for listener in gateway.get("listeners", ())
        for host in entry.get("hosts", ())
        if path is not None
        and "service" in gateway
        and listener["protocol"] in ("http", "https")
        and not listener["redirect"]
        if "*" not in host and any(_takes(own, host) for own in listener["hosts"])
    ]
    return max(found, key=lambda edge: edge.tls, default=None)


def _takes(listener: str, host: str) -> bool:
    return listener in ("*", host) or (listener.startswith("*.") and host.endswith(listener[1:]))


def judged(split: Split, source: str, outcome: Outcome) -> Result:
    """Compare what was counted with what was promised."""
    counts = outcome.by_backend(list(split.weights))
    return Result(split, source, outcome, measured(counts, split.weights), p_value(counts, split.weights))


def choose_source(pods: Sequence[RunningPod], split: Split) -> RunningPod:
    """Return the pod that requests are sent from: productpage, else any pod of the namespace that is no target.

    Raises:
        TrafficError: There is none.
    """
    near = [pod for pod in pods if pod.namespace == split.namespace]
    for wanted in (PREFERRED_SOURCE, None):
        for pod in near:
            app = pod.labels.get("app", "")
            if app == wanted or (wanted is None and app not in (split.service, *split.weights)):
                return pod
    raise TrafficError(
        f"No running pod in namespace {split.namespace} can send requests to {split.service}. "
        "Pods are real only where they have a sidecar: is the namespace in the mesh, and is istiod ready?"
    )


def longest(requests: int, timeout: float) -> float:
    """Return how long so many requests may take, in seconds, when each may take `timeout` seconds."""
    return min(30 + requests * max(timeout, _SECONDS_PER_REQUEST), _LONGEST_SECONDS)


def table(result: Result) -> Table:
    """Return a result as a table for people."""
    split, outcome = result.split, result.outcome
    shown = Table(
        title=f"{split.namespace}/{split.service}: {outcome.requests} requests from {result.source}",
        title_justify="left",
        caption=f"{_verdict(result)} The interval is Wilson's at {CONFIDENCE:.0%}.",
        caption_justify="left",
    )
    shown.add_column("backend")
    for name in HEADINGS:
        shown.add_column(name, justify="right")
    for share in result.shares:
        shown.add_row(share.backend, *share.cells())
    return shown


def _verdict(result: Result) -> str:
    outcome = result.outcome
    if outcome.failed:
        return f"The split does not hold: {outcome.failed} requests failed, the first with: {outcome.failures[0]}."
    word = "holds" if result.holds else "does not hold"
    return (
        f"The split {word} (p = {result.p_value:.3g}, refused below {SIGNIFICANCE:g}); no request failed, "
        f"{outcome.requests / outcome.seconds if outcome.seconds else 0:.0f} requests/s."
    )


# -- requests ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tls:
    """How a client of a gateway uses TLS.

    Attributes:
        server_name: The host that the server's certificate must be for. It is sent as SNI and as Host.
        authority: File with the certificates of the authorities that are trusted, PEM.
        certificate: File with the client's own certificate and key, PEM; None if it shows none.
    """

    server_name: str
    authority: Path
    certificate: Path | None = None


@dataclass(frozen=True)
class Request:
    """What is sent, and to whom.

    Attributes:
        namespace: The Service's namespace.
        service: The Service.
        path: Path and query.
        method: HTTP method.
        headers: Further headers; Host is the Service's name unless given here.
        port: Name or number of the Service's port; its first one if not given.
        timeout: Seconds for one request.
        tls: How TLS is used; None for none.
    """

    namespace: str
    service: str
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    port: str | int | None = None
    timeout: float = _TIMEOUT_SECONDS
    tls: Tls | None = None


def find_pod(cluster: str, namespace: str, labels: Mapping[str, str]) -> RunningPod:
    """Return a running pod with these labels.

    Raises:
        TrafficError: There is none.
    """
    found = registry.running(registry.pods_folder(cluster), namespace, labels)
    if not found:
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        raise TrafficError(f"No pod runs in namespace {namespace} with labels {wanted}.")
    return found[0]


def send(cluster: str, source: RunningPod | None, request: Request, requests: int = REQUESTS) -> Outcome:
    """Send requests and count what comes back.

    Args:
        cluster: The cluster's name.
        source: The pod that they are sent from; None sends them from outside, to the address of a load balancer.
        request: What is sent.
        requests: How many.

    Raises:
        TrafficError: They can't be sent.
    """
    argv = [*_argv(cluster, source, request), "--requests", str(requests)]
    limit = longest(requests, request.timeout)
    try:
        done = subprocess.run(
            argv,
            cwd=paths.repository(),
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as fault:
        raise TrafficError(f"{requests} requests were not done in {limit:.0f} s.") from fault
    if done.returncode != 0:
        raise TrafficError(f"The requests could not be sent: {done.stderr.strip()}")
    return parsed(done.stdout)


@contextlib.contextmanager
def continuous(
    cluster: str, source: RunningPod | None, request: Request, rate: float = 200.0
) -> Generator[list[Outcome], None, None]:
    """Send requests as `send` does while the body of the `with` statement runs, `rate` per second at most.

    Yields:
        A list that holds the outcome once the body is done.

    Raises:
        TrafficError: They can't be sent.
    """
    argv = [*_argv(cluster, source, request), "--rate", str(rate)]
    result: list[Outcome] = []
    process = subprocess.Popen(
        argv,
        cwd=paths.repository(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield result
        # Closing its standard input ends it, after the request that is under way.
        out, err = process.communicate(timeout=request.timeout + 10)
        if process.returncode != 0:
            raise TrafficError(f"The requests could not be sent: {err.strip()}")
        result.append(parsed(out))
    finally:
        process.kill()
        process.wait()


def measure(
    cluster: str,
    split: Split,
    requests: int = REQUESTS,
    request: Request | None = None,
    *,
    authority: Path | None = None,
) -> Result:
    """Measure one split: at the gateway if callers from outside reach it there, else from a pod of its namespace.

    Args:
        cluster: The cluster's name.
        split: What is promised.
        requests: How many to send.
        request: What to send from a pod, if not a plain GET of the split's path.
        authority: File with the certificates of the authorities that callers from outside trust, PEM.

    Raises:
        TrafficError: The requests can't be sent.
    """
    if split.edge is not None and request is None:
        outcome = send(cluster, None, edge_request(split.edge, authority), requests)
        return judged(split, f"outside, {split.edge.host}", outcome)
    try:
        source = choose_source(registry.running(registry.pods_folder(cluster)), split)
    except TrafficError as fault:
        look = arguments.command_line("exec", cluster, "-- kubectl get pods -A")
        raise TrafficError(f"{fault} `{look}` shows them.") from None
    what = request or Request(split.namespace, split.service, split.path)
    return judged(split, f"pod {source.name}", send(cluster, source, what, requests))


def edge_request(edge: Edge, authority: Path | None) -> Request:
    """Return the request of a caller from outside.

    Raises:
        TrafficError: It needs to be told which authority to trust.
    """
    if edge.tls and authority is None:
        raise TrafficError(
            f"The certificate of {edge.host} can't be checked. Name the file with the certificate of the authority "
            "that issued it (or the certificate, if it is signed by itself): `--authority FILE`."
        )
    tls = Tls(edge.host, authority) if edge.tls and authority else None
    return Request(edge.namespace, edge.service, edge.path, headers={"host": edge.host}, port=edge.port, tls=tls)


def run(
    cluster: str,
    outputs: Mapping[str, Any],
    *,
    requests: int = REQUESTS,
    authority: Path | None = None,
    as_json: bool = False,
    console: Console,
) -> int:
    """Measure every split of a stack and print the results.

    Args:
        cluster: The cluster's name.
        outputs: The outputs of the stack.
        requests: How many to send for each Service.
        authority: See `measure`.
        as_json: Print one JSON object instead of tables.
        console: Where to print.

    Returns:
        The exit code: 0 when every split holds, 1 when one does not or a request failed.

    Raises:
        TrafficError: The requests can't be sent.
    """
    declared = splits(outputs.get("trafficSplits") or {}, outputs.get("gateways"), outputs.get("security"))
    results = [measure(cluster, split, requests, authority=authority) for split in declared]
    if as_json:
        console.print_json(
            data={"holds": all(r.holds for r in results), "splits": [r.as_json() for r in results]},
            indent=2,
            ensure_ascii=True,
        )
    elif not results:
        console.print("The stack declares no traffic split: set meshup:traffic, as docs and Pulumi.dev.yaml show.")
    else:
        for result in results:
            console.print(table(result))
    return 0 if all(result.holds for result in results) else 1


def parsed(text: str) -> Outcome:
    """Return the outcome that `devcluster.load` printed."""
    data = cast("dict[str, Any]", json.loads(text))
    return Outcome(
        requests=data["requests"],
        seconds=data["seconds"],
        answers={(a["app"], a["version"]): a["count"] for a in data["answers"]},
        failed=data["failed"],
        failures=tuple(data["failures"]),
        statuses={int(status): n for status, n in data["statuses"].items()},
        reconnects=data["reconnects"],
    )


def _argv(cluster: str, source: RunningPod | None, request: Request) -> list[str]:
    try:
        service = registry.service(registry.pods_folder(cluster), request.namespace, request.service)
        address = service.address if source else _external(service, request)
        port, tls = _port(service, request), request.tls
        host = tls.server_name if tls else f"{request.service}.{request.namespace}:{port}"
        headers = {"host": host} | {name.lower(): value for name, value in request.headers.items()}
        command = [sys.executable, "-m", "devcluster.load", "--address", address, "--port", str(port)]
        if tls:
            command += ["--server-name", tls.server_name, "--authority", str(tls.authority)]
            command += ["--certificate", str(tls.certificate)] if tls.certificate else []
        command += ["--path", request.path, "--method", request.method, "--timeout", str(request.timeout)]
        command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        return source.enter_argv(command) if source else Cluster(cluster).exec_argv(command)
    except (LookupError, ClusterError) as fault:
        raise TrafficError(str(fault)) from fault


def _external(service: registry.ServiceAddress, request: Request) -> str:
    if not service.external:
        raise LookupError(f"Service {request.namespace}/{request.service} has no address of a load balancer.")
    return service.external


def _port(address: registry.ServiceAddress, request: Request) -> int:
    if request.port is None:
        return next(iter(address.ports.values()))
    if isinstance(request.port, int):
        return request.port
    if request.port not in address.ports:
        raise LookupError(f"Service {request.service} has no port {request.port} (it has: {', '.join(address.ports)})")
    return address.ports[request.port]
