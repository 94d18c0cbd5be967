"""Bookinfo, Istio's sample application: four Services, six Deployments.

Facts from samples/bookinfo/platform/kube/bookinfo.yaml and samples/bookinfo/src of Istio 1.30: names, labels, ports,
images, and that every image answers GET /health on its port. The images run as user 1000 (details, productpage,
ratings) and 1001 (reviews), so all pods are non-root, without capabilities and without privilege escalation. The root
file system of reviews stays writable: Open Liberty writes its output and its class cache there.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from ..manifests import Manifest
from ..scalars import Name, Registry, Tag
from ..security.model import Account
from ..security.world import Call
from ..traffic import Port, Service
from .interface import App, AppArgs, AppSection, AppSettings
from .workloads import Workloads, register_all, versioned_service

# renovate: datasource=docker depName=registry.istio.io/release/examples-bookinfo-productpage-v1
BOOKINFO = "1.20.3"
PORT = 9080
_VERSIONS = {"details": ("v1",), "ratings": ("v1",), "reviews": ("v1", "v2", "v3"), "productpage": ("v1",)}
_USERS = {"details": 1000, "ratings": 1000, "reviews": 1001, "productpage": 1000}
_SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
# Java and eight gunicorn workers.
_LARGE = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
_SCRAPED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(PORT),
    "prometheus.io/path": "/metrics",
}
_RESOURCES = {"details": _SMALL, "ratings": _SMALL, "reviews": _LARGE, "productpage": _LARGE}


class BookinfoSettings(AppSettings):
    """Settings of Bookinfo."""

    namespace: Name = "bookinfo"
    """Its namespace. meshup makes it, in the mesh."""
    registry: Registry = "registry.istio.io/release"
    """Registry and path of the images."""
    tag: Tag = BOOKINFO
    """Tag of the images."""


class BookinfoSection(BookinfoSettings, AppSection):
    """The section `meshup:bookinfo`."""


class BookinfoArgs(BookinfoSettings, AppArgs):
    """Arguments of `Bookinfo`."""


DEFAULTS = BookinfoArgs()


def services(args: BookinfoArgs = DEFAULTS) -> list[Service]:
    """Return the Services that routes may refer to, with their versions."""
    port = Port(PORT, "http", "http")
    return [versioned_service(app, args.namespace, (port,), versions) for app, versions in _VERSIONS.items()]


def manifests(args: BookinfoArgs) -> list[Manifest]:
    """Return the objects of the application: service accounts, Services, Deployments."""
    made = Workloads("bookinfo", args)
    return [
        *(made.account(f"bookinfo-{app}", {"account": app}) for app in _VERSIONS),
        *(made.service(item, {"app": item.name, "service": item.name}) for item in services(args)),
        *(_deployment(made, app, version) for app, versions in _VERSIONS.items() for version in versions),
    ]


def calls(args: BookinfoArgs = DEFAULTS) -> list[Call]:
    """Return its call graph.

    From the sources in samples/bookinfo/src of Istio 1.30: productpage.py, LibertyRestEndpoint.java of reviews, and
    the routes of productpage for what users call. Of reviews, v1 calls nothing; all versions have one account.
    """
    products = "/api/v1/products"
    users = (
        *("/productpage", {"prefix": "/static"}, "/", "/index.html", "/logout", "/health", "/metrics", products),
        *({"template": f"{products}/{{*}}{part}"} for part in ("", "/reviews", "/ratings")),
    )

    def call(caller: str, service: str, note: str = "") -> Call:
        account = Account(args.namespace, f"bookinfo-{caller}")
        path, example = {"template": f"/{service}/{{*}}"}, f"/{service}/0"
        return Call(account, service, args.namespace, PORT, "GET", (path,), example, note)

    return [
        Call(None, "productpage", args.namespace, PORT, "GET", users, "/productpage"),
        Call(None, "productpage", args.namespace, PORT, "POST", ("/login",), "/login"),
        call("productpage", "details"),
        call("productpage", "reviews"),
        call("productpage", "ratings", f"only for {products}/ID/ratings"),
        call("reviews", "ratings", "not by v1"),
    ]


def _deployment(made: Workloads, app: str, version: str) -> Manifest:
    container = made.container(
        app,
        f"examples-bookinfo-{app}-{version}:{made.args.tag}",
        _RESOURCES[app],
        ports={"http": PORT},
        ready=("/health", PORT),
        environment={"LOG_DIR": "/tmp/logs"} if app == "reviews" else {},  # noqa: S108 # a path in the container
        read_only=app != "reviews",
    )
    writes = app in ("productpage", "reviews")
    if writes:
        container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 # a path in the container
    return made.deployment(
        f"{app}-{version}",
        {"app": app, "version": version},
        container,
        user=_USERS[app],
        account=f"bookinfo-{app}",
        annotations=_SCRAPED if app == "productpage" else {},
        volumes=[{"name": "tmp", "emptyDir": {}}] if writes else [],
    )


class Bookinfo(pulumi.ComponentResource):
    """The Bookinfo application. Its namespace must already be in the mesh: pods are injected at creation."""

    def __init__(
        self, name: str, args: BookinfoArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Bookinfo", name, {}, opts)
        args = BookinfoArgs.of(args)
        register_all(self, name, manifests(args), args.pod_annotations)
        self.register_outputs({})


APP = App(
    "bookinfo",
    BookinfoSection,
    BookinfoArgs,
    services,
    manifests,
    Bookinfo,
    entry=("productpage", PORT, "/productpage"),
    calls=calls,
    # samples/bookinfo/networking/bookinfo-gateway.yaml
    paths=("/productpage", {"prefix": "/static"}, "/login", "/logout", {"prefix": "/api/v1/products"}),
)
