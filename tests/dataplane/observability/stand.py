"""A mesh that is observed: a stack with a split by either API, a Prometheus with its rules, a Zipkin for its spans."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from devcluster import traffic
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.stack import Stack
from tests.dataplane.observability.replay import Snapshot, snapshot
from tests.dataplane.traffic import request_batch
from tests.dataplane.traffic.bench import until
from tests.dataplane.traffic.request_batch import Answer, Sent

NAMESPACE, PORT = "bookinfo", 9080
BY_VIRTUAL_SERVICE, BY_HTTP_ROUTE = "reviews", "reviews-http"
SERVICES = (BY_VIRTUAL_SERVICE, BY_HTTP_ROUTE)
WEIGHTS = {"v1": 60, "v2": 40}
WORKLOADS = [{"app": "productpage", "version": "v1"}, *({"app": "reviews", "version": version} for version in WEIGHTS)]
"""Who sends requests, and who gets them."""
ROUTE: dict[str, Any] = {
    "namespace": NAMESPACE,
    "split": WEIGHTS,
    # Five percent of errors in v2 are two percent of all, and well within.
    "slo": {"success": 95, "latency": {"p": 99, "below": "500ms"}},
    # So many errors in a row never are: only its statistics are wanted.
    "circuitBreaker": {"consecutiveErrors": 100},
}
SETTINGS: dict[str, Any] = {
    "meshup:prometheus": {"metrics": "envoy"},
    "meshup:tracing": {
        "collector": {"service": "zipkin", "namespace": "zipkin", "port": 9411, "protocol": "zipkin"},
        "sampling": 100,
    },
    "meshup:traffic": {
        # More than is ever sent, too. It holds at the pods, which both routes have.
        BY_VIRTUAL_SERVICE: {**ROUTE, "api": "istio", "rateLimit": {"requests": 100_000, "per": "1s"}},
        BY_HTTP_ROUTE: {
            **ROUTE,
            "api": "gateway-api",
            "ports": [{"number": PORT, "protocol": "http"}],
            "selector": {"app": "reviews"},
            "versions": {version: {"version": version} for version in WEIGHTS},
        },
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": BY_HTTP_ROUTE, "namespace": NAMESPACE},
    "spec": {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": PORT}]},
}
"""The Service of the second route, as its owner would have made it."""
DENIED = "/denied"
POLICY: dict[str, Any] = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "observed", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"app": "reviews"}},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"paths": [DENIED]}}]}],
    },
}
"""Denies one path, so that there is something to count."""


@dataclass(frozen=True)
class Stand:
    """A mesh that is observed.

    Attributes:
        prometheus: The URL of Prometheus, which scrapes every second.
        zipkin: The URL of Zipkin.
        rules: What `meshup rules` prints.
        jobs: How many jobs `meshup rules --jobs` prints.
    """

    embedded: Embedded
    stack: Stack
    prometheus: str
    zipkin: str
    rules: Mapping[str, Any]
    jobs: int

    def send(self, requests: Sequence[Sent]) -> list[Answer]:
        """Send requests from productpage, through its sidecar."""
        folder = registry.pods_folder(self.embedded.cluster.name)
        source = traffic.find_pod(self.embedded.cluster.name, NAMESPACE, {"app": "productpage"})
        address = registry.service(folder, NAMESPACE, BY_VIRTUAL_SERVICE).address
        return request_batch.send(source.enter_argv, address, PORT, requests)

    def ask(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return what Prometheus answers to an instant query, at a time in seconds or now."""
        parameters = {"query": query} | ({} if at is None else {"time": str(at)})
        data = urllib.parse.urlencode(parameters).encode()
        return _loaded(f"{self.prometheus}/api/v1/query", data)["data"]["result"]

    def scraped(self) -> Snapshot:
        """Return the series that the rules read, once every target was scraped after this moment."""
        now = datetime.now(UTC)
        until(lambda: self._all_scraped(now))
        return snapshot(self.ask(f'{{__name__=~"{"|".join(sorted(self.names))}"}}'))

    def _all_scraped(self, since: datetime) -> bool:
        targets = _loaded(f"{self.prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
        # Those of a job come all at once, and are first scraped one after the other.
        return len({target["scrapePool"] for target in targets}) == self.jobs and all(
            target["health"] == "up" and datetime.fromisoformat(target["lastScrape"]) > since for target in targets
        )

    @property
    def names(self) -> set[str]:
        """The metrics of proxies and control plane that the rules read."""
        text = " ".join(rule["expr"] for group in self.rules["groups"] for rule in group["rules"])
        return set(re.findall(r"\b(?:envoy|istio|pilot|citadel|galley|sidecar)_[a-z0-9_]+", text))

    def spans(self, service: str, limit: int) -> list[list[dict[str, Any]]]:
        """Return the traces in Zipkin that a service took part in, each as its spans."""
        query = urllib.parse.urlencode({"serviceName": service, "limit": limit, "lookback": 3_600_000})
        return _loaded(f"{self.zipkin}/api/v2/traces?{query}")


def by_version(answers: Sequence[Answer]) -> dict[str, list[int]]:
    """Return the statuses that each version answered with."""
    found: dict[str, list[int]] = {version: [] for version in WEIGHTS}
    for answer in answers:
        found[answer.version].append(answer.status)
    return found


def _loaded(url: str, data: bytes | None = None) -> Any:
    with urllib.request.urlopen(url, data, timeout=60) as answer:  # noqa: S310 - it is http
        return json.load(answer)
