"""What a namespace that denies by default needs, so that Prometheus still reads the metrics of its proxies.

The proxy's own port is not redirected, but its server asks for the inbound policy of that port like any other and
answers 403 to whom it does not admit (linkerd2-proxy, linkerd/app/admin/src/stack.rs and linkerd/app/src/env.rs;
linkerd-viz has `allow-scrapes` for that, viz/cmd/allow-scrapes.go of linkerd2, edge-26.8.3). So a namespace that
denies closes it, too. What is written here is a Server of that port with those who scrape, and no route on it: without
one, Linkerd goes on to admit the probes of the proxy (policy-controller/k8s/index/src/inbound/workload.rs), and whoever
scrapes is admitted over whichever port the connection comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....diagnostics import Diagnostic
from ....manifests import Manifest, manifest
from ....security.model import Policy
from ....security.plane import SecurityObject
from ....security.world import World
from ..server import API_VERSION
from .callers import GROUP, POLICIES, Grant, account_name, authorize

ADMIN_PORT, ADMIN_NAME = 4191, "linkerd-admin"
"""The port of the proxy that has its metrics and takes its probes, and the name that its container has for it."""
PROBES = frozenset({"/live", "/ready"})
"""The paths of the proxy's own probes (chart partials, templates/_proxy.tpl)."""
SERVER = "proxy.metrics"
"""A name with a dot, which no Server of a Service has."""


def scraping(policy: Policy, world: World) -> Iterator[SecurityObject]:
    """Yield for each namespace that denies by default what admits those who scrape its proxies."""
    grants = [Grant(account_name(one.name, one.namespace, "", world)) for one in world.scrapers if one]
    for namespace in policy.namespaces if grants else ():
        if namespace.default == "deny":
            keys = (namespace.key,)
            target = {"group": GROUP, "kind": "Server", "name": SERVER}
            yield from authorize(target, SERVER, namespace.name, grants, keys)
            spec: Manifest = {"podSelector": {}, "port": ADMIN_PORT, "accessPolicy": "deny"}
            # After what admits.
            yield SecurityObject(manifest(API_VERSION, "Server", SERVER, namespace.name, spec), POLICIES + 1, keys)


def unknown_scrapers(policy: Policy, world: World) -> Iterator[Diagnostic]:
    """Find namespaces that close the metrics of their proxies to a Prometheus whose account is not known."""
    for namespace in policy.namespaces if None in world.scrapers else ():
        if namespace.default == "deny":
            yield Diagnostic(
                "MSH634",
                f"{namespace.where}.default",
                namespace.default,
                "Linkerd's proxies show their metrics only to callers that are allowed, and the service account of "
                "the Prometheus that scrapes them is not known.",
                severity="warning",
            )
