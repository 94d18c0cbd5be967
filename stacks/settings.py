"""Raw configuration -> Settings, or one report of all faults.

`load` is pure. `read_config` is the only place in meshup that reads Pulumi's configuration.

A new section is a `Section` with its fields, and a field of `Settings`. Keys are written camelCase in configuration,
and their Python names are snake_case. Values are never coerced: `"3"` is not a number.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast, get_origin

import pulumi
from pydantic import BaseModel, ConfigDict, Field, Json, Strict, ValidationError
from pydantic.alias_generators import to_camel

from components.diagnostics import Diagnostic, nearest, one_of
from components.diagnostics.validation import HIDDEN, keys_of, validate
from components.scalars import (
    Bytes,
    ClusterDomain,
    Endpoint,
    FilePath,
    HostPattern,
    HttpUrl,
    LogLevel,
    Name,
    Networks,
    Ports,
    ProxyLogLevel,
    Quantity,
    Registry,
    ReleaseName,
    Repository,
    Revision,
    SecretName,
    Tag,
    Text,
    TrustDomain,
    Version,
    amount,
)
from stacks import versions
from stacks.environments import ENVIRONMENTS, with_preset
from stacks.files import MOST_DEPTH, depth

PROJECT = "meshup"
PROVIDER_KEYS = (
    "alwaysRender",
    "cluster",
    "clusterIdentifier",
    "context",
    "deleteUnreachable",
    "enableConfigMapMutable",
    "enablePatchForce",
    "enableSecretMutable",
    "enableServerSideApply",
    "helmReleaseSettings",
    "kubeClientSettings",
    "kubeconfig",
    "namespace",
    "renderYamlToDirectory",
    "skipUpdateUnreachable",
    "strictMode",
    "suppressDeprecationWarnings",
    "suppressHelmHookWarnings",
    "upsertExistingObjects",
)
"""The keys of the Kubernetes provider 4.34 (pulumi_kubernetes/provider.py), and `strictMode` of its documentation."""
_PROVIDER_FLAGS = (
    "alwaysRender",
    "deleteUnreachable",
    "enableConfigMapMutable",
    "enablePatchForce",
    "enableSecretMutable",
    "enableServerSideApply",
    "skipUpdateUnreachable",
    "strictMode",
    "suppressDeprecationWarnings",
    "suppressHelmHookWarnings",
    "upsertExistingObjects",
)
"""Those that the provider compares with the text `true`; any other text is false to it (provider.go, Configure)."""
LINKERD_RELEASES = ("crds", "cni", "control-plane", "viz")
KUBERNETES_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

Replicas = Annotated[int, Field(ge=1, le=100)]
Seconds = Annotated[int, Field(ge=10, le=3600)]
Days = Annotated[int, Field(ge=1, le=36500)]
Percent = Annotated[float, Field(ge=0, le=100)]
# YAML has lists, and a frozen model wants tuples: only here, a value may be of another type than declared.
Names = Annotated[tuple[Name, ...], Strict(False)]
SecretNames = Annotated[tuple[SecretName, ...], Strict(False)]


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are refused, nothing is coerced, nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class Quantities(Section):
    """CPU, memory and ephemeral storage as Kubernetes quantities."""

    cpu: Quantity | None = None
    memory: Bytes | None = None
    ephemeral_storage: Annotated[Bytes | None, Field(alias="ephemeral-storage")] = None


class Resources(Section):
    """Kubernetes resource requests and limits."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class Autoscaling(Section):
    """A horizontal pod autoscaler."""

    min: Replicas
    max: Replicas
    cpu: Annotated[int | None, Field(ge=1, le=100)] = None


class Gateway(Section):
    """An Istio gateway."""

    name: ReleaseName
    service_type: Literal["LoadBalancer", "ClusterIP", "NodePort", "None"] = "LoadBalancer"
    replicas: Replicas | None = None
    autoscaling: Autoscaling | None = None
    resources: Resources | None = None


class IstioSettings(Section):
    """`meshup:istio`."""

    version: Version | None = None
    namespace: Name = "istio-system"
    gateway_namespace: Name = "istio-ingress"
    revision: Revision | None = None
    profile: Literal["default", "minimal", "demo", "preview", "stable"] = "default"
    replicas: Replicas | None = None
    autoscaling: Autoscaling | None = None
    resources: Resources | None = None
    proxy_resources: Resources | None = None
    access_log: Literal["off", "text", "json"] = "off"
    trace_sampling: Percent | None = None
    egress: Literal["allow-any", "registry-only"] = "allow-any"
    hub: Registry | None = None
    tag: Tag | None = None
    image_pull_secrets: SecretNames = ()
    webhooks: bool = True
    gateways: Annotated[tuple[Gateway, ...], Strict(False)] = ()
    timeout_seconds: Seconds = 300
    values: dict[str, dict[str, Any]] = {}


class TracingSettings(Section):
    """Where Linkerd's proxies send spans."""

    endpoint: Endpoint
    service_account: Name
    namespace: Name


class VizSettings(Section):
    """`meshup:linkerd.viz`."""

    enabled: bool = False
    namespace: Name = "linkerd-viz"
    prometheus_url: HttpUrl | None = None
    dashboard_hosts: HostPattern | None = None


class LinkerdSettings(Section):
    """`meshup:linkerd`."""

    version: Version | None = None
    namespace: Name = "linkerd"
    cluster_domain: ClusterDomain = "cluster.local"
    trust_domain: TrustDomain | None = None
    high_availability: bool = False
    webhook_failure_policy: Literal["Ignore", "Fail"] | None = None
    proxy_resources: Resources | None = None
    proxy_log_level: ProxyLogLevel | None = None
    log_level: LogLevel | None = None
    log_format: Literal["plain", "json"] | None = None
    native_sidecar: bool | None = None
    opaque_ports: Ports | None = None
    skip_inbound_ports: Ports | None = None
    skip_outbound_ports: Ports | None = None
    cluster_networks: Networks | None = None
    tracing: TracingSettings | None = None
    registry: Registry | None = None
    image_pull_secrets: SecretNames = ()
    cni: bool = False
    heartbeat: bool = True
    timeout_seconds: Seconds = 300
    viz: VizSettings = VizSettings()
    values: dict[str, dict[str, Any]] = {}


class LifetimeSettings(Section):
    """How long a certificate is valid, and how long before its end it is renewed. Days."""

    validity_days: Days | None = None
    renew_before_days: Days | None = None


class IdentitySettings(Section):
    """`meshup:identity`: the certificates of Linkerd. stacks/identity.py checks how the keys go together."""

    anchors: Names = ("first",)
    signer: Name | None = None
    external_ca: Annotated[bool, Field(alias="externalCA")] = False
    trust_anchors: Text | None = None
    trust_anchors_file: FilePath | None = None
    issuer_certificate: Text | None = None
    issuer_certificate_file: FilePath | None = None
    issuer_key: Text | None = None
    issuer_key_file: FilePath | None = None
    minimum_days_left: Days = 14
    anchor: LifetimeSettings = LifetimeSettings()
    issuer: LifetimeSettings = LifetimeSettings()
    webhook: LifetimeSettings = LifetimeSettings()


class GatewayApiSettings(Section):
    """`meshup:gatewayApi`."""

    install: bool | None = None
    manifest: FilePath | None = None


class ChartSettings(Section):
    """`meshup:charts`."""

    directory: FilePath | None = None
    repository: Repository | None = None


class BookinfoSettings(Section):
    """`meshup:bookinfo`."""

    namespace: Name = "bookinfo"
    registry: Registry | None = None
    tag: Tag | None = None
    replicas: Replicas = 1
    resources: Resources | None = None
    image_pull_secrets: SecretNames = ()


class EmojivotoSettings(Section):
    """`meshup:emojivoto`."""

    namespace: Name = "emojivoto"
    registry: Registry | None = None
    tag: Tag | None = None
    web_versions: dict[Name, Tag] = {}
    vote_bot: bool = True
    replicas: Replicas = 1
    resources: Resources | None = None
    image_pull_secrets: SecretNames = ()


class HelmReleaseSettings(Section):
    """`kubernetes:helmReleaseSettings`, as JSON (pulumi-kubernetes 4, provider/pkg/provider/helm_release.go)."""

    driver: Literal["secret", "secrets", "configmap", "configmaps", "memory", "sql"] | None = None
    plugins_path: FilePath | None = None
    registry_config_path: FilePath | None = None
    repository_cache: FilePath | None = None
    repository_config_path: FilePath | None = None
    suppress_beta_warning: bool | None = None


class KubeClientSettings(Section):
    """`kubernetes:kubeClientSettings`, as JSON."""

    burst: Annotated[int | None, Field(ge=1)] = None
    qps: Annotated[float | None, Field(gt=0)] = None
    timeout: Annotated[int | None, Field(ge=0)] = None


class ProviderSettings(BaseModel):
    """Those of the `kubernetes:*` keys that have a form, as text."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    namespace: Name | None = None
    render_yaml_to_directory: FilePath | None = None
    helm_release_settings: Json[HelmReleaseSettings] | None = None
    kube_client_settings: Json[KubeClientSettings] | None = None


class ClusterSettings(BaseModel):
    """The `kubernetes:*` keys of the stack: which cluster, and anything else that the Kubernetes provider takes."""

    model_config = ConfigDict(frozen=True)

    context: str = ""
    kubeconfig: str = ""
    """A path or the text of a kubeconfig. The text may hold credentials: it is never printed."""
    provider: dict[str, str] = {}
    """All `kubernetes:*` keys as they stand."""
    secret: frozenset[str] = frozenset()
    """Those of them that are secrets."""


class Settings(Section):
    """The whole configuration of a stack, with the defaults of its environment."""

    environment: Literal["dev", "staging", "prod"]
    mesh: Literal["istio", "linkerd"] = "istio"
    mtls: Literal["strict", "permissive"] = "strict"
    delivery: Literal["objects", "release"] = "objects"
    apps: Annotated[tuple[Literal["bookinfo", "emojivoto"], ...], Strict(False)] = ()
    charts: ChartSettings = ChartSettings()
    istio: IstioSettings = IstioSettings()
    linkerd: LinkerdSettings = LinkerdSettings()
    identity: IdentitySettings = IdentitySettings()
    gateway_api: GatewayApiSettings = GatewayApiSettings()
    bookinfo: BookinfoSettings = BookinfoSettings()
    emojivoto: EmojivotoSettings = EmojivotoSettings()
    traffic: dict[str, Any] = {}
    """As written: components.traffic.parse reads it, since it needs the Services of the applications."""
    traffic_file: FilePath | None = None

    cluster: Annotated[ClusterSettings, Field(exclude=True)] = ClusterSettings()
    secret: Annotated[frozenset[str], Field(exclude=True)] = frozenset()
    """Keys whose values are Pulumi secrets."""


KEYS = keys_of(Settings)
"""The keys of a stack's configuration, without `meshup:`."""
FIELDS = {to_camel(name): info for name, info in Settings.model_fields.items()}
MAY_BE_SECRET = ("istio", "linkerd", "identity")
"""Keys whose values reach the cluster, but no output and no name."""


@dataclass(frozen=True)
class RawConfig:
    """The configuration as Pulumi has it.

    Attributes:
        meshup: The values of the keys `meshup:*`, by key without prefix: text, or what the text is as JSON.
        kubernetes: The values of the keys `kubernetes:*`, as text.
        secret: The full keys that are secrets.
        other: The full keys of all other projects and providers.
    """

    meshup: dict[str, Any] = field(default_factory=dict[str, Any])
    kubernetes: dict[str, str] = field(default_factory=dict[str, str])
    secret: frozenset[str] = frozenset()
    other: tuple[str, ...] = ()


def read_config() -> RawConfig:
    """Collect all `meshup:*` and `kubernetes:*` keys of the stack.

    Pulumi hands them to the program as JSON in PULUMI_CONFIG, decrypted, with the list of those that are secrets beside
    it (sdk/python/cmd/pulumi-language-python-exec, SDK 3.200).
    """
    values: dict[str, str] = pulumi.runtime.get_config_env()
    return RawConfig(
        meshup={
            key.removeprefix(f"{PROJECT}:"): _decoded(key.removeprefix(f"{PROJECT}:"), value)
            for key, value in values.items()
            if key.startswith(f"{PROJECT}:")
        },
        kubernetes={
            key.removeprefix("kubernetes:"): value for key, value in values.items() if key.startswith("kubernetes:")
        },
        secret=frozenset(pulumi.runtime.get_config_secret_keys_env()),
        other=tuple(sorted(key for key in values if key.split(":")[0] not in (PROJECT, "kubernetes"))),
    )


def _decoded(key: str, value: str) -> Any:
    """Pulumi stores mappings and lists as JSON text, and everything else as text."""
    structured = key in KEYS and not _is_text(FIELDS[key].annotation)
    if structured or value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
        except RecursionError:
            return _TOO_DEEP
    return value


def nested(levels: int) -> list[Any]:
    """Return lists in each other, one more than `levels`."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


_TOO_DEEP = nested(MOST_DEPTH)
"""Stands for JSON that can't be read for its depth; `load` refuses it for the same."""


def _is_text(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or annotation is str


def load(config: RawConfig, stack: str) -> tuple[Settings, list[Diagnostic]]:
    """Validate the configuration of a stack.

    Args:
        config: What `read_config` found.
        stack: The name of the stack; if it is the name of an environment, that is the preset.

    Returns:
        The settings and every fault. If there is a fault, the settings are good only for finding further faults in what
        builds on them: what is wrong is left out of them.
    """
    raw = {key: value for key, value in config.meshup.items() if value != ""}
    found: list[Diagnostic] = []
    for key, value in config.meshup.items():
        if wrong := _not_plain(value):
            found.append(Diagnostic("MSH014", f"{PROJECT}:{key}", None, wrong))
            del raw[key]
    environment = raw.get("environment", stack)
    if not isinstance(environment, str) or environment not in ENVIRONMENTS:
        found.append(_no_environment(raw.get("environment"), stack))
        environment = "dev"
    raw["environment"] = environment
    complete = with_preset(environment, raw)
    secret = frozenset(key.removeprefix(f"{PROJECT}:") for key in config.secret if key.startswith(f"{PROJECT}:"))
    complete["secret"] = secret
    complete["cluster"] = ClusterSettings(
        context=config.kubernetes.get("context", "").strip(),
        kubeconfig=config.kubernetes.get("kubeconfig", ""),
        provider=config.kubernetes,
        secret=frozenset(k.removeprefix("kubernetes:") for k in config.secret if k.startswith("kubernetes:")),
    )
    # These two names are no keys of the configuration.
    found += [
        Diagnostic("MSH002", f"{PROJECT}:{key}", None, f"There is no key '{key}' here.", one_of(KEYS))
        for key in ("secret", "cluster")
        if key in raw
    ]
    # A private key that was written without --secret is not printed either.
    hidden = secret | {key for key, value in complete.items() if "PRIVATE KEY" in str(value)}
    valid, faults = validate(Settings, complete, f"{PROJECT}:", hidden)
    settings = valid or Settings(environment="dev")
    found += faults
    found += [
        Diagnostic(
            "MSH011", f"{PROJECT}:{key}", HIDDEN, "The value is a secret.", f"secret: {', '.join(MAY_BE_SECRET)}"
        )
        for key in sorted(secret & set(KEYS) - set(MAY_BE_SECRET))
    ]
    found += [
        *_exclusive(complete),
        *_foreign(config),
        *_provider(config),
        *_repeated(settings),
        *_namespaces(settings),
        *_istio(settings.istio),
        *_linkerd(settings.linkerd),
        *_resources(settings),
    ]
    return settings, found


def _not_plain(value: Any) -> str:
    """What in a value is no plain data, or "". It is gone through level by level, without recursion."""
    if depth(value) > MOST_DEPTH:
        return f"More than {MOST_DEPTH} mappings and lists stand in each other."
    queue = [value]
    for item in queue:
        if isinstance(item, dict):
            queue += [*cast("dict[Any, Any]", item).keys(), *cast("dict[Any, Any]", item).values()]
        elif isinstance(item, list):
            queue += cast("list[Any]", item)
        elif isinstance(item, str):
            if any("\ud800" <= character <= "\udfff" for character in item):
                return "A text in it is no Unicode: it has half of a surrogate pair."
        elif item is not None and not isinstance(item, int | float):
            return "A value in it is neither text nor number, true or false."
        elif item is not None and not abs(item) <= sys.float_info.max:
            return "A number in it is not finite."
    return ""


def _no_environment(written: Any, stack: str) -> Diagnostic:
    allowed = "one of " + ", ".join(ENVIRONMENTS)
    if written is None:
        message = f"The stack is called {stack!r}, which is no environment."
        return Diagnostic("MSH008", "meshup:environment", None, message, allowed)
    near = nearest(str(written), ENVIRONMENTS)
    hint = f" Did you mean {near}?" if near else ""
    return Diagnostic("MSH004", "meshup:environment", written, f"There is no such environment.{hint}", allowed)


def _exclusive(raw: Mapping[str, Any]) -> list[Diagnostic]:
    """Keys of which only one may be set, looked for in the raw values, so that other faults do not hide them."""
    places: list[tuple[str, Any, str, str]] = [
        ("charts", raw.get("charts"), "directory", "repository"),
        ("istio", raw.get("istio"), "replicas", "autoscaling"),
    ]
    istio = raw.get("istio")
    gateways: Any = cast("dict[str, Any]", istio).get("gateways") if isinstance(istio, dict) else None
    if isinstance(gateways, list):
        places += [
            (f"istio.gateways[{position}]", gateway, "replicas", "autoscaling")
            for position, gateway in enumerate(cast("list[Any]", gateways))
        ]
    return [
        Diagnostic("MSH007", f"{PROJECT}:{path}", None, f"{one} and {other} are both set.", f"{one} or {other}")
        for path, value, one, other in places
        if isinstance(value, dict) and one in value and other in value
    ]


def _istio(istio: IstioSettings) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    if istio.gateways and not istio.webhooks:
        found.append(Diagnostic("MSH307", f"{PROJECT}:istio.gateways", None, "Gateways are set, but webhooks are off."))
    releases = ["base", "istiod", "gateway", *(gateway.name for gateway in istio.gateways)]
    for name in istio.values:
        if name not in releases:
            near = nearest(name, releases)
            message = "Istio has no such release." + (f" Did you mean {near}?" if near else "")
            path = f"{PROJECT}:istio.values.{name}"
            found.append(Diagnostic("MSH002", path, None, message, "one of " + ", ".join(releases)))
    for path, scale in (
        (f"{PROJECT}:istio.autoscaling", istio.autoscaling),
        *((f"{PROJECT}:istio.gateways[{i}].autoscaling", g.autoscaling) for i, g in enumerate(istio.gateways)),
    ):
        if scale is not None and scale.min > scale.max:
            found.append(Diagnostic("MSH005", f"{path}.min", scale.min, "min is above max.", f"at most {scale.max}"))
    if istio.version is not None:
        supported = versions.unsupported("istio", istio.version)
        if supported:
            message = "meshup does not support this version of Istio."
            found.append(Diagnostic("MSH306", f"{PROJECT}:istio.version", istio.version, message, supported))
    return found


def _linkerd(linkerd: LinkerdSettings) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for name in linkerd.values:
        if name not in LINKERD_RELEASES:
            near = nearest(name, LINKERD_RELEASES)
            message = "Linkerd has no such release." + (f" Did you mean {near}?" if near else "")
            path = f"{PROJECT}:linkerd.values.{name}"
            found.append(Diagnostic("MSH002", path, None, message, "one of " + ", ".join(LINKERD_RELEASES)))
    viz = linkerd.viz
    if not viz.enabled and (viz.prometheus_url or viz.dashboard_hosts):
        found.append(Diagnostic("MSH319", f"{PROJECT}:linkerd.viz", None, "linkerd-viz is not enabled."))
    if linkerd.version is not None:
        supported = versions.unsupported("linkerd", linkerd.version)
        if supported:
            message = "meshup does not support this version of Linkerd's charts."
            found.append(Diagnostic("MSH306", f"{PROJECT}:linkerd.version", linkerd.version, message, supported))
    return found


def _repeated(settings: Settings) -> list[Diagnostic]:
    """Entries of a list that stand there twice."""
    lists = {
        "apps[{}]": settings.apps,
        "identity.anchors[{}]": settings.identity.anchors,
        "istio.gateways[{}].name": tuple(gateway.name for gateway in settings.istio.gateways),
    }
    return [
        Diagnostic("MSH012", f"{PROJECT}:{path.format(i)}", name, "This stands in the list already.", "each name once")
        for path, names in lists.items()
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _foreign(config: RawConfig) -> list[Diagnostic]:
    """Keys of the Kubernetes provider that it does not have, and projects that are most likely a misspelt one."""
    found: list[Diagnostic] = []
    for key in config.kubernetes:
        if key not in PROVIDER_KEYS:
            near = nearest(key, PROVIDER_KEYS)
            message = "The Kubernetes provider has no such key." + (f" Did you mean {near}?" if near else "")
            found.append(Diagnostic("MSH002", f"kubernetes:{key}", None, message, "one of " + ", ".join(PROVIDER_KEYS)))
    for key in config.other:
        near = nearest(key.split(":")[0], (PROJECT, "kubernetes"))
        if near:
            message = f"No part of this program reads this key. Did you mean {near}:{key.partition(':')[2]}?"
            found.append(Diagnostic("MSH002", key, None, message, "keys that start with meshup: or kubernetes:"))
    return found


def _provider(config: RawConfig) -> list[Diagnostic]:
    """Values of the Kubernetes provider's keys that it would end on, or read as false."""
    secret = {key.removeprefix("kubernetes:") for key in config.secret if key.startswith("kubernetes:")}
    found = [
        Diagnostic(
            "MSH018", f"kubernetes:{key}", HIDDEN if key in secret else value, "This is no truth value.", allowed
        )
        for key, value in config.kubernetes.items()
        if key in _PROVIDER_FLAGS and value not in ("true", "false")
        for allowed in ("true or false",)
    ]
    try:
        ProviderSettings.model_validate(config.kubernetes)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = ".".join(str(part) for part in detail["loc"])
            value = HIDDEN if detail["loc"][0] in secret else detail["input"]
            allowed = str(detail.get("ctx", {}).get("allowed", ""))
            found.append(Diagnostic("MSH018", f"kubernetes:{place}", value, f"{detail['msg']}.", allowed))
    return found


SIDECAR_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}
"""Of a sidecar and a gateway, by Istio's charts (1.30, values.yaml of istiod and gateway)."""
ISTIOD_RESOURCES = {"requests": {"cpu": "500m", "memory": "2048Mi"}}
"""Of istiod, by its chart."""
LINKERD_HA_RESOURCES = {"requests": {"cpu": "100m", "memory": "20Mi"}, "limits": {"memory": "250Mi"}}
"""Of Linkerd's sidecars with high availability (components/meshes/linkerd/component.py)."""


def _resources(settings: Settings) -> list[Diagnostic]:
    """Requests above their limit. Helm lays what is set over what the chart has, so both can come from there."""
    istio, linkerd = settings.istio, settings.linkerd
    # Raw values come last and can say anything; the profile `demo` requests less than the charts do.
    istiod = {} if istio.values or istio.profile == "demo" else ISTIOD_RESOURCES
    sidecar = (
        {}
        if istio.values
        else {"limits": SIDECAR_RESOURCES["limits"]}
        if istio.profile == "demo"
        else SIDECAR_RESOURCES
    )
    places: list[tuple[str, Resources | None, Mapping[str, Mapping[str, str]]]] = [
        ("istio.resources", istio.resources, istiod),
        ("istio.proxyResources", istio.proxy_resources, sidecar),
        *((f"istio.gateways[{i}].resources", gateway.resources, sidecar) for i, gateway in enumerate(istio.gateways)),
        (
            "linkerd.proxyResources",
            linkerd.proxy_resources,
            LINKERD_HA_RESOURCES if linkerd.high_availability and not linkerd.values else {},
        ),
        ("bookinfo.resources", settings.bookinfo.resources, {}),
        ("emojivoto.resources", settings.emojivoto.resources, {}),
    ]
    found: list[Diagnostic] = []
    for path, resources, chart in places:
        written = plain(resources) or {}
        requests, limits = ({**chart.get(kind, {}), **written.get(kind, {})} for kind in ("requests", "limits"))
        for name in sorted(requests.keys() & limits.keys()):
            ours = [kind for kind in ("requests", "limits") if name in written.get(kind, {})]
            if ours and amount(requests[name]) > amount(limits[name]):
                whose = (
                    "" if len(ours) > 1 else f" The chart sets the {'limit' if ours == ['requests'] else 'request'}."
                )
                message = f"The {name} request of {requests[name]} is above the limit of {limits[name]}.{whose}"
                allowed = "requests that are at most the limits"
                found.append(Diagnostic("MSH015", f"{PROJECT}:{path}", written, message, allowed))
    return found


def _namespaces(settings: Settings) -> list[Diagnostic]:
    if settings.mesh == "istio":
        uses = [("istio.namespace", settings.istio.namespace)]
        if settings.istio.gateways:
            uses.append(("istio.gatewayNamespace", settings.istio.gateway_namespace))
    else:
        uses = [("linkerd.namespace", settings.linkerd.namespace)]
        if settings.linkerd.viz.enabled:
            uses.append(("linkerd.viz.namespace", settings.linkerd.viz.namespace))
    uses += [(f"{app}.namespace", getattr(settings, app).namespace) for app in dict.fromkeys(settings.apps)]
    found: list[Diagnostic] = []
    taken: dict[str, str] = {}
    for path, namespace in uses:
        if namespace in KUBERNETES_NAMESPACES:
            message = "This namespace is Kubernetes' own; meshup would label it, and delete it on destroy."
            found.append(Diagnostic("MSH009", f"{PROJECT}:{path}", namespace, message))
        elif namespace in taken:
            message = f"This namespace is that of {PROJECT}:{taken[namespace]} as well."
            found.append(Diagnostic("MSH009", f"{PROJECT}:{path}", namespace, message))
        taken.setdefault(namespace, path)
    return found


def plain(section: BaseModel | None) -> dict[str, Any] | None:
    """A section as a plain mapping, keys as they are written, without what is not set."""
    return None if section is None else section.model_dump(by_alias=True, exclude_none=True)
