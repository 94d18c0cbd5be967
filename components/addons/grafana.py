"""Grafana with the dashboards of the stack.

Source of the facts: the chart grafana 12.11.1 of grafana-community (Grafana 13.2). Its own password is another in every
render, and its dashboard sidecar may read all Secrets, so that neither is used: the password is generated into a Secret
here, and the dashboards are one ConfigMap that is mounted as a directory. A changed dashboard is read by the running
Grafana within two minutes: the kubelet refreshes the mounted files, and Grafana looks at them every 30 seconds. A
changed data source or setting restarts it (`checksum/config` of the chart).

Environment variables in data sources are written without braces: Grafana expands `${NAME}` twice, so that a password
with a dollar sign would be torn (pkg/services/provisioning/values/values.go, interpolateValue).
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..arguments import HelmValue, Names, Resources, helm_values, over_limit
from ..diagnostics import Diagnostic
from ..helm import HelmRelease, merged, nested
from ..manifests import Manifest
from ..observability.promql import INTERVAL_SECONDS
from ..passwords import GeneratedPassword
from ..scalars import Name, Quantity, ServerUrl
from .access import CONFINED, POD_CONFINED, Opening, admitting
from .interface import Addon, AddonRequest, AddonSettings, Address, ServerSettings, addon_release, plain_object
from .jaeger import JaegerSettings
from .prometheus import PrometheusSettings, source_of
from .zipkin import ZipkinSettings

# renovate: datasource=helm depName=grafana registryUrl=https://grafana-community.github.io/helm-charts
CHART = "12.11.1"
REPOSITORY = "https://grafana-community.github.io/helm-charts"
PORT = 3000
SERVICE = "grafana"
SECRET = "grafana-admin"  # noqa: S105 -- the name of a Secret
USER, USER_KEY, PASSWORD_KEY = "admin", "admin-user", "admin-password"
DASHBOARDS = "grafana-dashboards"
"""The ConfigMap of the dashboards."""
PROVIDER = "meshup"
FOLDER = f"/var/lib/grafana/dashboards/{PROVIDER}"
"""Where the chart mounts the ConfigMap of the provider of this name."""
_LENGTH = 32
_USER_ID = 472
"""The user that the chart runs it as."""
_SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}


class GrafanaSettings(ServerSettings):
    """Settings of Grafana."""

    service = SERVICE
    port = PORT

    namespace: Name = "grafana"
    """Its namespace. meshup makes it."""
    root_url: ServerUrl | None = None
    """Its address in a browser, if it is opened through a gateway, such as `https://grafana.example.com`."""
    rotation: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Another number makes another password of `admin`, and restarts Grafana. With `storage`, Grafana keeps the first
    one: set it with `grafana cli admin reset-admin-password` as well."""
    storage: Annotated[Quantity | None, HelmValue("persistence.size")] = None
    """Size of a volume for users and dashboards made by hand; without one, these are gone with the pod."""
    resources: Annotated[Resources | None, HelmValue("resources")] = None
    """Requests and limits; built in if not set."""
    readers: Names = ()
    """Further namespaces whose pods may connect, such as that of a gateway."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Raw chart values, merged last."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check the address, the resources, and a rotation that would change nothing."""
        yield from super().check(path)
        yield from over_limit(f"{path}.resources", self.resources)
        if self.enabled and self.storage is not None and self.rotation > 1:
            message = "Grafana reads the password at its first start only, and its volume outlives the pod."
            yield Diagnostic("MSH626", f"{path}.rotation", self.rotation, message, severity="warning")


class GrafanaArgs(GrafanaSettings):
    """Arguments of Grafana: its settings, and what it is planned from."""

    request: Any
    """An `AddonRequest`."""


class GrafanaAddon(Addon[GrafanaArgs]):
    """Grafana as an add-on: see `Addon`."""

    name = "grafana"
    resource = ("Grafana", "grafana")
    repository = REPOSITORY
    sections: ClassVar[Mapping[str, type[AddonSettings]]] = {"grafana": GrafanaSettings}
    dashboard = (SERVICE, PORT)
    reads = frozenset({"prometheus", "zipkin", "jaeger"})

    def args(self, request: AddonRequest) -> GrafanaArgs | None:
        """Return the arguments, see `Addon`."""
        chosen = request.settings.section(GrafanaSettings)
        return chosen.extended(GrafanaArgs, request=request) if chosen.enabled else None

    def release(self, args: GrafanaArgs) -> HelmRelease:
        """Return the release, see `Addon`."""
        request: AddonRequest = args.request
        kept = args.storage is not None
        values: dict[str, Any] = {
            "fullnameOverride": SERVICE,
            "service.port": PORT,
            "admin.existingSecret": SECRET,
            "admin.userKey": USER_KEY,
            "admin.passwordKey": PASSWORD_KEY,
            "rbac.create": False,
            "automountServiceAccountToken": False,
            "testFramework.enabled": False,
            # It would run as root; the group of the volume does the same.
            "initChownData.enabled": False,
            "securityContext": {**POD_CONFINED, **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), _USER_ID)},
            "containerSecurityContext": dict(CONFINED),
            "extraEmptyDirMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 -- in the container
            "resources": _SMALL,
            "persistence.enabled": kept,
            # A new pod would wait forever for the volume that the old one has.
            "deploymentStrategy.type": "Recreate" if kept else "RollingUpdate",
            # A Secret that changes restarts nothing by itself.
            "env": {"MESHUP_ROTATION": str(args.rotation)},
            "envValueFrom": _variables(request),
            "datasources": {"datasources.yaml": _data_sources(request)},
            "dashboardProviders": {"dashboardproviders.yaml": _PROVIDERS},
            "dashboardsConfigMaps": {PROVIDER: DASHBOARDS},
            **helm_values(args),
        }
        return addon_release(
            self,
            args,
            request.other_charts,
            version=CHART,
            values=merged(nested(values), {"grafana.ini": _ini(args)}, args.values),
        )

    def namespace(self, args: GrafanaArgs) -> Mapping[str, Any]:
        """Return the namespace: in the mesh where what it reads is in the mesh."""
        request: AddonRequest = args.request
        return request.namespace(args.namespace, meshed=_in_mesh(request), pod_security="restricted")

    def objects(self, args: GrafanaArgs) -> Sequence[Manifest]:
        """Return the Secret of the password, the dashboards, and the NetworkPolicy."""
        request: AddonRequest = args.request
        opening = Opening(request.callers(self.name, args.namespace, args.readers), frozenset({PORT}))
        proxy = request.proxy if _in_mesh(request) else None
        encoded = base64.b64encode(USER.encode()).decode()
        return [
            {**plain_object("Secret", SECRET, args.namespace), "type": "Opaque", "data": {USER_KEY: encoded}},
            {**plain_object("ConfigMap", DASHBOARDS, args.namespace), "data": _files(request)},
            admitting(SERVICE, args.namespace, {"app.kubernetes.io/name": self.name}, [opening], proxy),
        ]

    def passwords(self, args: GrafanaArgs) -> Mapping[str, GeneratedPassword]:
        """Return the password of `admin`."""
        return {SECRET: GeneratedPassword(PASSWORD_KEY, _LENGTH, args.rotation)}

    def login(self, args: GrafanaArgs) -> Mapping[str, str]:
        """Return the user, and the command that shows the password."""
        where = f"--namespace {args.namespace} get secret {SECRET}"
        shown = f"kubectl {where} --output jsonpath='{{.data.{PASSWORD_KEY}}}' | base64 --decode"
        return {"user": USER, "passwordCommand": shown}

    def check(self, args: GrafanaArgs) -> Sequence[Diagnostic]:
        """Check that there is a Prometheus to read."""
        request: AddonRequest = args.request
        if request.settings.section(PrometheusSettings).address() is not None:
            return []
        message = "There is no Prometheus that Grafana could read: every dashboard stays empty."
        return [Diagnostic("MSH622", "meshup:prometheus", None, message, severity="warning")]


_PROVIDERS: Mapping[str, Any] = {
    "apiVersion": 1,
    "providers": [
        {
            "name": PROVIDER,
            "orgId": 1,
            "folder": PROVIDER,
            "type": "file",
            "disableDeletion": False,
            "allowUiUpdates": False,
            "updateIntervalSeconds": 30,
            "options": {"path": FOLDER},
        }
    ],
}


def _files(request: AddonRequest) -> dict[str, str]:
    """Return the dashboards by name of their file."""
    source = source_of(request)
    if source is None:
        return {}
    # Grafana's builders take 0.2 s to import, and a stack without Grafana does not need them.
    from ..observability.dashboards import dashboards  # noqa: PLC0415

    boards = dashboards(source, request.mesh)
    return {f"{uid}.json": json.dumps(board, sort_keys=True) for uid, board in boards.items()}


def _in_mesh(request: AddonRequest) -> bool:
    """Return whether what it reads takes calls from pods of the mesh only."""
    return request.collector_in_mesh or any(source.scraper_in_mesh for source in request.metrics)


def _ini(args: GrafanaArgs) -> dict[str, Any]:
    """Return grafana.ini: nobody without a login, and no call to the outside."""
    return {
        **({"server": {"root_url": args.root_url}} if args.root_url else {}),
        "analytics": {
            "check_for_updates": False,
            "check_for_plugin_updates": False,
            "feedback_links_enabled": False,
            "reporting_enabled": False,
        },
        "auth.anonymous": {"enabled": False},
        "news": {"news_feed_enabled": False},
        "plugins": {"preinstall_disabled": True, "preinstall_auto_update": False},
        "public_dashboards": {"enabled": False},
        "security": {"disable_gravatar": True},
        "snapshots": {"external_enabled": False},
        "users": {"allow_sign_up": False, "allow_org_create": False},
    }


def _sources(request: AddonRequest) -> list[tuple[str, Address, Mapping[str, Any]]]:
    """Return what Grafana reads: kind and uid, address, further fields. The dashboards name these uids."""
    chosen = request.settings
    prometheus = {"timeInterval": f"{INTERVAL_SECONDS}s", "httpMethod": "POST"}
    none: Mapping[str, Any] = {}
    listed = (
        ("prometheus", chosen.section(PrometheusSettings).address(), prometheus),
        ("zipkin", chosen.section(ZipkinSettings).address(), none),
        ("jaeger", chosen.section(JaegerSettings).address(), none),
    )
    return [(kind, address, more) for kind, address, more in listed if address is not None]


def _variable(kind: str, key: str) -> str:
    return f"MESHUP_{kind}_{key}".upper()


def _variables(request: AddonRequest) -> dict[str, Any]:
    """Return the environment variables that logins are read from: the state of the stack has no password."""
    return {
        _variable(kind, key): {"secretKeyRef": {"name": address.login.secret, "key": key}}
        for kind, address, _ in _sources(request)
        if address.login is not None
        for key in address.login.keys
    }


def _data_sources(request: AddonRequest) -> dict[str, Any]:
    """Return the file of data sources. One that is taken out of it goes from Grafana (`prune`)."""
    listed: list[dict[str, Any]] = []
    for kind, address, more in _sources(request):
        made: dict[str, Any] = {
            "name": kind.capitalize(),
            "type": kind,
            "uid": kind,
            "url": address.url,
            "access": "proxy",
            "isDefault": kind == "prometheus",
            "editable": False,
            "jsonData": dict(more),
        }
        if address.login is not None and address.login.type == "basic":
            made |= {"basicAuth": True, "basicAuthUser": f"${_variable(kind, 'user')}"}
            made["secureJsonData"] = {"basicAuthPassword": f"${_variable(kind, 'password')}"}
        elif address.login is not None:
            made["jsonData"]["httpHeaderName1"] = "Authorization"
            made["secureJsonData"] = {"httpHeaderValue1": f"Bearer ${_variable(kind, 'token')}"}
        listed.append(made)
    return {"apiVersion": 1, "prune": True, "datasources": listed}


ADDON = GrafanaAddon()
