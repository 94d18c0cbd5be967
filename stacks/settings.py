"""Validate raw configuration into Settings, or report all faults at once.

`load` is pure. `read_config` is the only place in meshup that reads Pulumi's configuration.

Meshes, applications and add-ons declare the sections of the configuration (components/arguments.py); here they are put
together with the keys of the stack itself. Values are never coerced: `"3"` is not a number.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import pulumi
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, Strict, ValidationError, create_model
from pydantic.alias_generators import to_camel, to_snake
from pydantic.json_schema import SkipJsonSchema

from components.addons import ADDONS
from components.apps import APPS
from components.apps.interface import ExposeSettings
from components.arguments import Arguments, Extended, check_all, repeated
from components.diagnostics import CATALOGUE, Diagnostic, nearest, one_of
from components.diagnostics.validation import HIDDEN, MOST_DEPTH, impurity, join, keys_of, refused, validate
from components.gateway_api import GatewayApiSettings
from components.gateways.settings import GatewaySettings, ListenerSettings
from components.helm import ChartSource
from components.mesh_namespace import NamespaceSettings
from components.meshes import MESHES
from components.meshes.interface import Mtls
from components.scalars import FilePath, Name, ReleaseName
from components.telemetry.model import SECTIONS as TELEMETRY
from stacks.environments import ENVIRONMENTS, with_preset
from stacks.overrides import Origins

PROJECT = "meshup"
PROVIDER_FLAGS = (
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
"""Keys that the provider compares with the text `true`; any other text is false (provider.go, Configure)."""
_OTHERS = ("cluster", "clusterIdentifier", "context", "helmReleaseSettings", "kubeClientSettings", "kubeconfig")
PROVIDER_KEYS = tuple(sorted((*PROVIDER_FLAGS, *_OTHERS, "namespace", "renderYamlToDirectory")))
"""The keys of the Kubernetes provider 4.34 (pulumi_kubernetes/provider.py), and `strictMode` from its documentation."""
DEFAULT_GATEWAY = ExposeSettings().gateway
KUBERNETES_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class HelmReleaseSettings(Arguments):
    """`kubernetes:helmReleaseSettings`, as JSON (pulumi-kubernetes 4, provider/pkg/provider/helm_release.go)."""

    driver: Literal["secret", "secrets", "configmap", "configmaps", "memory", "sql"] | None = None
    plugins_path: FilePath | None = None
    registry_config_path: FilePath | None = None
    repository_cache: FilePath | None = None
    repository_config_path: FilePath | None = None
    suppress_beta_warning: bool | None = None


class KubeClientSettings(Arguments):
    """`kubernetes:kubeClientSettings`, as JSON."""

    burst: Annotated[int | None, Field(ge=1)] = None
    qps: Annotated[float | None, Field(gt=0)] = None
    timeout: Annotated[int | None, Field(ge=0)] = None


class ProviderSettings(BaseModel):
    """The `kubernetes:*` keys with a format, as text."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    namespace: Name | None = None
    render_yaml_to_directory: FilePath | None = None
    helm_release_settings: Json[HelmReleaseSettings] | None = None
    kube_client_settings: Json[KubeClientSettings] | None = None


def _preflight_code(code: str) -> str:
    if code not in PREFLIGHT_CODES:
        near = nearest(code, PREFLIGHT_CODES)
        message = "This is not a code of `meshup preflight`." + (f" Did you mean {near}?" if near else "")
        raise refused("MSH004", message, one_of(PREFLIGHT_CODES))
    return code


PREFLIGHT_CODES = tuple(code for code in CATALOGUE if code.startswith("MSH7"))
"""What `meshup:preflight` may ignore. Other codes are reported by `pulumi up` as well, which refuses their errors."""


class PreflightSettings(Arguments):
    """When `meshup preflight` runs by itself, and what it leaves out."""

    before: Literal["up"] | None = None
    """`up` runs the checks at each `pulumi preview` and `pulumi up`, before the first resource; an error refuses it."""
    ignore: Annotated[tuple[Annotated[str, AfterValidator(_preflight_code)], ...], Strict(False)] = ()
    """Codes that are not reported, such as `MSH726`."""


class ClusterSettings(BaseModel):
    """The `kubernetes:*` keys of the stack: the cluster, and other settings of the Kubernetes provider."""

    model_config = ConfigDict(frozen=True)

    context: str = ""
    kubeconfig: str = ""
    """A path or the text of a kubeconfig. The text may hold credentials: it is never printed."""
    provider: dict[str, str] = {}
    """All `kubernetes:*` keys, unchanged."""
    secret: frozenset[str] = frozenset()
    """The secret ones among these keys."""


class Settings(Arguments):
    """The configuration of a stack with the defaults of its environment: its own keys, and sections of its parts."""

    environment: Literal["dev", "staging", "prod", "none"]
    """The preset; `none` has no defaults of its own. Without it, the name of the stack; required if that is another
    one."""
    mesh: str
    """The mesh."""
    mtls: Mtls = "strict"
    """Mutual TLS in the whole mesh. `strict` refuses plain text, `permissive` takes both."""
    delivery: Literal["objects", "release"] = "objects"
    """How routes reach the cluster. `objects`: one Pulumi resource per object. `release`: up to six Helm releases per
    namespace, faster above about 100 Services ([why, and how to change it](decisions/0002-scale.md))."""
    retain: bool = False
    """Leaves everything on the cluster as it runs: what goes, by `pulumi destroy` or from the configuration, goes from
    the state alone ([how](adoption.md#moving-out))."""
    apps: Annotated[tuple[str, ...], Strict(False)] = ()
    """Sample applications in the mesh."""
    charts: ChartSource = ChartSource()
    """Where the charts come from. Empty, from the project of the mesh."""
    gateway_api: GatewayApiSettings = GatewayApiSettings()
    """The Gateway API bundle. Installed where it is needed and not there."""
    gateways: dict[ReleaseName, GatewaySettings] = Field(default_factory=dict[ReleaseName, GatewaySettings])
    """Gateways, by which callers outside of the cluster reach Services ([how](gateways.md))."""
    namespaces: dict[Name, NamespaceSettings] = Field(default_factory=dict[Name, NamespaceSettings])
    """Namespaces in the mesh, by name: your own, which stay yours, or made by meshup
    ([how](own-namespaces.md))."""
    traffic: dict[str, Any] = Field(default_factory=dict)
    """Routes by Service."""  # As written: components.traffic.parse reads it with the Services of the applications.
    traffic_file: FilePath | None = None
    """A YAML file with further routes, as they stand under `meshup:traffic`; a relative path starts at the project.
    Pulumi hands the configuration over in one environment variable of at most 128 KiB: the routes of about 900
    Services."""

    traffic_overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields of routes that this stack has in another way, by route: mappings merge, everything else replaces
    ([how](traffic.md#one-set-of-routes-for-several-stacks))."""

    security: dict[str, Any] = Field(default_factory=dict)
    """Who may call whom, mutual TLS, tokens, and calls to the outside ([how](security.md))."""
    # As written: components.security.parse reads it with the Services of applications and routes.

    preflight: PreflightSettings = PreflightSettings()
    """Checks of the cluster before `pulumi up` ([which](preflight.md))."""
    origins: Annotated[SkipJsonSchema[Origins], Field(exclude=True)] = Origins()
    """Where the fields of the routes were written."""
    cluster: Annotated[ClusterSettings, Field(exclude=True)] = ClusterSettings()
    secret: Annotated[frozenset[str], Field(exclude=True)] = frozenset()
    """Keys whose values are Pulumi secrets."""

    def section(self, kind: type[Extended]) -> Extended:
        """Return the section that is declared by a class, such as `IstioSettings`."""
        return next(value for _, value in self if type(value) is kind)

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Check applications and namespaces."""
        yield from repeated(f"{path}apps[{{}}]", self.apps)
        mesh = MESHES[self.mesh]
        of_mesh = mesh.namespaces(self)
        uses = dict(of_mesh)
        apps = {f"{app}.namespace": self.section(APPS[app].section).namespace for app in self.apps}
        chosen = {key: self.section(kind) for addon in ADDONS.values() for key, kind in addon.sections.items()}
        uses |= {f"{key}.namespace": section.namespace for key, section in chosen.items() if section.enabled}
        yield from self._check_namespaces(path, {namespace: where for where, namespace in uses.items()})
        taken: dict[str, str] = {}
        for where, namespace in (uses | apps).items():
            if where in of_mesh and not self.section(mesh.settings).install:
                pass  # Somebody else has made it.
            elif where in apps and namespace in self.namespaces and namespace not in taken:
                pass  # Whether that is possible, its own entry tells.
            elif namespace in KUBERNETES_NAMESPACES:
                message = "This namespace is Kubernetes' own; meshup would label it, and delete it on destroy."
                remedy = (
                    "Choose another namespace, or say that it is to be in the mesh as it is: "
                    "meshup:namespaces {default: {}}."
                )
                exists = where in apps and namespace == "default"
                yield Diagnostic("MSH009", f"{path}{where}", namespace, message, remedy=remedy if exists else "")
            elif namespace in taken:
                message = f"This namespace is that of {path}{taken[namespace]} as well."
                yield Diagnostic("MSH009", f"{path}{where}", namespace, message)
            taken.setdefault(namespace, where)

    def _check_namespaces(self, path: str, taken: Mapping[str, str]) -> Iterator[Diagnostic]:
        """Check `namespaces` against those of the mesh and the add-ons, each with the key that names it."""
        for name, chosen in self.namespaces.items():
            where = join(f"{path}namespaces", name)
            yield from chosen.check_mesh(self.mesh, where)
            if name in taken:
                message = (
                    f"This namespace is that of {path}{taken[name]}, whose pods join by themselves or stay outside."
                )
                yield Diagnostic("MSH009", where, name, message)
            elif name in KUBERNETES_NAMESPACES and (name != "default" or chosen.create):
                message = "This namespace is Kubernetes' own."
                remedy = "Remove `create`." if name == "default" else "Remove the entry."
                yield Diagnostic("MSH009", where, name, message, remedy=remedy)


MAY_BE_SECRET = tuple(key for mesh in MESHES.values() for key in mesh.sections)
"""Keys whose values reach the cluster, but no output or name."""
SECTIONS: dict[str, type[Arguments]] = {
    **{key: kind for mesh in MESHES.values() for key, kind in mesh.sections.items()},
    **{app.name: app.section for app in APPS.values()},
    **{key: kind for addon in ADDONS.values() for key, kind in addon.sections.items()},
    **TELEMETRY,
}
"""The sections that the parts of a stack declare, by key."""
_fields: dict[str, Any] = {
    "mesh": (Literal[tuple(MESHES)], Field(next(iter(MESHES)), description="The mesh.")),
    "apps": (
        Annotated[tuple[Literal[tuple(APPS)], ...], Strict(False)],
        Field((), description=f"Sample applications in the mesh: {', '.join(f'`{name}`' for name in APPS)}."),
    ),
    **{to_snake(key): (kind, Field(kind(), description=kind.__doc__)) for key, kind in SECTIONS.items()},
}
MODEL = create_model("Stack", __base__=Settings, **_fields)
"""Settings with these sections and the available meshes and applications."""
KEYS = keys_of(MODEL)
"""The keys of a stack's configuration, without `meshup:`."""
FIELDS = {info.alias or name: info for name, info in MODEL.model_fields.items()}


@dataclass(frozen=True)
class RawConfig:
    """The configuration as Pulumi provides it.

    Attributes:
        meshup: The values of the keys `meshup:*`, by key without prefix: text, or parsed JSON.
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
    """Decode mappings and lists, which Pulumi stores as JSON text; anything else is text."""
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
    """Return `levels` + 1 nested lists."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


_TOO_DEEP = nested(MOST_DEPTH)
"""Stands for JSON that is nested too deeply to parse; `load` refuses it for its depth."""


def _is_text(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or annotation is str


def load(config: RawConfig, stack: str) -> tuple[Settings, list[Diagnostic]]:
    """Validate the configuration of a stack.

    Args:
        config: What `read_config` found.
        stack: The name of the stack, which selects the preset if it is the name of an environment.

    Returns:
        The settings and the diagnostics. With an error among them, invalid values are left out of the settings, which
        then serve only to find further faults.
    """
    raw = {key: value for key, value in config.meshup.items() if value != ""}
    diagnostics: list[Diagnostic] = []
    for key, value in config.meshup.items():
        if wrong := impurity(value):
            diagnostics.append(Diagnostic("MSH014", f"{PROJECT}:{key}", None, wrong))
            del raw[key]
    environment = raw.get("environment", stack)
    if not isinstance(environment, str) or environment not in ENVIRONMENTS:
        diagnostics.append(_no_environment(raw.get("environment"), stack))
        environment = "dev"
    raw["environment"] = environment
    if "mtls" not in raw and (mode := _mode_of(raw.get("security"))):
        raw["mtls"] = mode
    complete = with_preset(environment, raw)
    secret = frozenset(key.removeprefix(f"{PROJECT}:") for key in config.secret if key.startswith(f"{PROJECT}:"))
    complete["secret"] = secret
    complete["cluster"] = ClusterSettings(
        context=config.kubernetes.get("context", "").strip(),
        kubeconfig=config.kubernetes.get("kubeconfig", ""),
        provider=config.kubernetes,
        secret=frozenset(k.removeprefix("kubernetes:") for k in config.secret if k.startswith("kubernetes:")),
    )
    # These fields are not configuration keys.
    diagnostics += [
        Diagnostic("MSH002", f"{PROJECT}:{key}", None, f"There is no key '{key}' here.", one_of(KEYS))
        for key in ("secret", "cluster", "origins")
        if key in raw
    ]
    # Do not print a private key that was set without --secret either.
    hidden = secret | {key for key, value in complete.items() if "PRIVATE KEY" in str(value)}
    valid, invalid_values = validate(MODEL, complete, f"{PROJECT}:", hidden)
    settings = _with_default_gateway(valid or MODEL.model_validate({"environment": "dev"}))
    diagnostics += invalid_values
    diagnostics += [
        Diagnostic(
            "MSH011", f"{PROJECT}:{key}", HIDDEN, "The value is a secret.", f"secret: {', '.join(MAY_BE_SECRET)}"
        )
        for key in sorted(secret & set(KEYS) - set(MAY_BE_SECRET))
    ]
    diagnostics += [
        *_unknown_keys(config),
        *_invalid_provider_values(config),
        *check_all(settings, f"{PROJECT}:"),
    ]
    return settings, diagnostics


def _mode_of(security: object) -> str:
    """Return `security.mtls.mode`, which is `mtls` said in another place; "" if it is not there, or is none."""
    mtls = cast("dict[str, object]", security).get("mtls") if isinstance(security, dict) else None
    mode = cast("dict[str, object]", mtls).get("mode") if isinstance(mtls, dict) else None
    return mode if isinstance(mode, str) and mode in get_args(Mtls) else ""


def _with_default_gateway(settings: Settings) -> Settings:
    """Return settings with the gateway by which an application is opened that names no other."""
    named = {chosen.gateway for app in settings.apps if (chosen := settings.section(APPS[app].section).expose)}
    if DEFAULT_GATEWAY not in named or DEFAULT_GATEWAY in settings.gateways:
        return settings
    made = GatewaySettings(listeners=(ListenerSettings(port=80, protocol="http"),))
    return settings.model_copy(update={"gateways": {**settings.gateways, DEFAULT_GATEWAY: made}})


def _no_environment(written: Any, stack: str) -> Diagnostic:
    allowed = "one of " + ", ".join(ENVIRONMENTS)
    if written is None:
        message = f"The stack is called {stack!r}, which is not an environment."
        return Diagnostic("MSH008", "meshup:environment", None, message, allowed)
    near = nearest(str(written), ENVIRONMENTS)
    hint = f" Did you mean {near}?" if near else ""
    return Diagnostic("MSH004", "meshup:environment", written, f"There is no such environment.{hint}", allowed)


def _unknown_keys(config: RawConfig) -> list[Diagnostic]:
    """Return diagnostics for unknown keys of the Kubernetes provider and for misspelt project names."""
    diagnostics: list[Diagnostic] = []
    for key in config.kubernetes:
        if key not in PROVIDER_KEYS:
            near = nearest(key, PROVIDER_KEYS)
            message = "The Kubernetes provider has no such key." + (f" Did you mean {near}?" if near else "")
            diagnostics.append(
                Diagnostic("MSH002", f"kubernetes:{key}", None, message, "one of " + ", ".join(PROVIDER_KEYS))
            )
    for key in config.other:
        near = nearest(key.split(":")[0], (PROJECT, "kubernetes"))
        if near:
            message = f"No part of this program reads this key. Did you mean {near}:{key.partition(':')[2]}?"
            diagnostics.append(Diagnostic("MSH002", key, None, message, "keys that start with meshup: or kubernetes:"))
    return diagnostics


def _invalid_provider_values(config: RawConfig) -> list[Diagnostic]:
    """Return diagnostics for values that the Kubernetes provider fails on or reads as false."""
    secret = {key.removeprefix("kubernetes:") for key in config.secret if key.startswith("kubernetes:")}
    diagnostics = [
        Diagnostic(
            "MSH018",
            f"kubernetes:{key}",
            HIDDEN if key in secret else value,
            "This is neither true nor false.",
            allowed,
        )
        for key, value in config.kubernetes.items()
        if key in PROVIDER_FLAGS and value not in ("true", "false")
        for allowed in ("true or false",)
    ]
    try:
        ProviderSettings.model_validate(config.kubernetes)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = ".".join(str(part) for part in detail["loc"])
            value = HIDDEN if detail["loc"][0] in secret else detail["input"]
            allowed = str(detail.get("ctx", {}).get("allowed", ""))
            diagnostics.append(Diagnostic("MSH018", f"kubernetes:{place}", value, f"{detail['msg']}.", allowed))
    return diagnostics
