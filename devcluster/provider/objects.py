"""Kubernetes objects as plain data: which kind a resource is, its normal form, what state records of it."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, cast

from devcluster.provider import properties

JsonObject: TypeAlias = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
PATCH_FORCE = "pulumi.com/patchForce"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"

INPUTS_KEY = "__inputs"
INITIAL_API_VERSION_KEY = "__initialApiVersion"
FIELD_MANAGER_KEY = "__fieldManager"

RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"

_SERVER_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
_NOT_INPUT_ANNOTATIONS = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")

# Python's SDK writes these schema keys with underscores (pulumi-kubernetes provider.go, underscoreToDashMap).
_DASHED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
_UNDERSCORED = {dashed: underscored for underscored, dashed in _DASHED.items()}

# Group versions whose objects the official plugin converts to their Go types and back (kinds.KnownGroupVersions).
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "policy"}) | {
    f"{group}.k8s.io"
    for group in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
    )
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A group, version and kind; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`: as an object writes it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def built_in(self) -> bool:
        """Whether Kubernetes itself defines the kind."""
        return self.group in _BUILT_IN_GROUPS


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """Return the kind of an object by its `apiVersion` and `kind`."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return Kind("" if group == "core" else group, version, str(obj.get("kind", "")))


def kind_of_type(token: str) -> Kind:
    """Return the kind of a type token such as `kubernetes:apps/v1:Deployment`; raises ValueError for others."""
    match = re.fullmatch(r"kubernetes:([^/:]+)/([^/:]+):(\w+)", token)
    if match is None:
        message = f"unrecognized resource type: {token!r} for this provider"
        raise ValueError(message)
    group, version, kind = match.groups()
    return Kind("" if group == "core" else group, version, kind)


def type_of_urn(urn: str) -> str:
    """Return the type token of a URN, without those of its parents."""
    return urn.split("::")[2].rpartition("$")[2]


def name_of_urn(urn: str) -> str:
    """Return the resource's name in the program."""
    return urn.split("::", 3)[3]


def is_patch(token: str, obj: Mapping[str, Any]) -> bool:
    """Say whether the resource patches an object that it does not own (`ConfigMapPatch` for a `ConfigMap`)."""
    return token.endswith("Patch") and not str(obj.get("kind", "")).endswith("Patch")


def is_list(token: str) -> bool:
    """Say whether the type is one of the List kinds, which hold other objects."""
    return kind_of_type(token).kind.endswith("List") and kind_of_type(token).built_in


def identity(obj: Mapping[str, Any]) -> str:
    """Return the resource's id: `namespace/name`, or `name` for what has no namespace."""
    meta = metadata(obj)
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])


def parse_identity(resource_id: str) -> tuple[str, str]:
    """Return namespace (may be empty) and name of an id."""
    namespace, _, name = resource_id.rpartition("/")
    return namespace, name


def metadata(obj: Mapping[str, Any]) -> JsonObject:
    """Return the object's metadata, empty where it has none or does not know it yet."""
    return child(obj, "metadata")


def child(obj: Mapping[str, Any], *keys: str) -> JsonObject:
    """Return the object at a path of keys, empty where there is none."""
    value: Any = obj
    for key in keys:
        value = cast("JsonObject", value).get(key)
        if not isinstance(value, dict):
            return {}
    return cast("JsonObject", value)


def annotation(obj: Mapping[str, Any], key: str) -> str:
    """Return an annotation's value, empty where it is not set."""
    return str(child(obj, "metadata", "annotations").get(key, ""))


def with_metadata(obj: Mapping[str, Any], **changes: Any) -> JsonObject:
    """Return a copy with metadata fields set, or taken away where the value is empty."""
    meta = metadata(obj) | changes
    return {**obj, "metadata": {key: value for key, value in meta.items() if value not in (None, "")}}


def with_annotation(obj: Mapping[str, Any], key: str, value: str) -> JsonObject:
    """Return a copy with an annotation set."""
    return with_metadata(obj, annotations=child(obj, "metadata", "annotations") | {key: value})


def plain(bag: Mapping[str, Any]) -> JsonObject:
    """Return a property bag as the Kubernetes object it stands for: secrets bare, keys as Kubernetes writes them."""
    return cast("JsonObject", _rename(properties.reveal(dict(bag)), _DASHED))


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {names.get(k, k): _rename(v, names) for k, v in cast("JsonObject", value).items()}
        case list():
            return [_rename(item, names) for item in cast("list[Any]", value)]
        case _:
            return value


def prune(live: Any, shape: Any) -> Any:
    """Return of `live` only what `shape` names: what the server and its controllers added does not count as change."""
    match live, shape:
        case dict(), dict():
            wanted = cast("JsonObject", shape)
            return {k: prune(v, wanted[k]) for k, v in cast("JsonObject", live).items() if k in wanted}
        case list(), list():
            items, shapes = cast("list[Any]", live), cast("list[Any]", shape)
            # An element that the inputs never had is drift, so it is kept whole.
            return [prune(v, shapes[i]) if i < len(shapes) else v for i, v in enumerate(items)]
        case _:
            return live


def normalise(obj: Mapping[str, Any], schema: Schema | None) -> JsonObject:
    """Return the object as the API server would write it, so that equal inputs compare equal.

    For built-in kinds: text data of a Secret as base64, quantities in their canonical form, fields that the kind does
    not have left out. Metadata that only the server sets goes for every kind. An object with unknown values stays.
    """
    result = copy.deepcopy(dict(obj))
    if not properties.contains_unknown(result):
        kind = kind_of(result)
        if schema is not None and kind.built_in:
            result = cast("JsonObject", schema.conform(result))
        if kind == Kind("", "v1", "Secret"):
            result = _encode_string_data(result)
    if isinstance(result.get("metadata"), dict):
        meta = cast("JsonObject", result["metadata"])
        result["metadata"] = {key: value for key, value in meta.items() if key not in _SERVER_METADATA}
    return result


def _encode_string_data(secret: JsonObject) -> JsonObject:
    texts = secret.pop("stringData", None)
    if isinstance(texts, dict):
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in cast("JsonObject", texts).items()}
        secret["data"] = {**cast("JsonObject", secret.get("data") or {}), **encoded}
    return secret


class Schema:
    """One kind's schema in an OpenAPI v3 document of the API server."""

    def __init__(self, document: Mapping[str, Any], kind: Kind) -> None:
        self._schemas = cast("JsonObject", document.get("components", {}).get("schemas", {}))
        self._root: JsonObject | None = None
        for candidate in self._schemas.values():
            for gvk in candidate.get("x-kubernetes-group-version-kind", []):
                if (gvk.get("group"), gvk.get("version"), gvk.get("kind")) == (kind.group, kind.version, kind.kind):
                    self._root = candidate

    def conform(self, obj: Any) -> Any:
        """Return `obj` without fields that the schema lacks and with its quantities in canonical form."""
        return obj if self._root is None else self._conform(obj, self._root)

    def top_level(self) -> frozenset[str]:
        """Return the names of the kind's top-level fields."""
        return frozenset((self._root or {}).get("properties", {}))

    def _resolve(self, schema: JsonObject) -> tuple[JsonObject, str]:
        reference = schema.get("$ref", "")
        for part in cast("list[JsonObject]", schema.get("allOf", [])):
            reference = part.get("$ref", reference)
        name = str(reference).rpartition("/")[2]
        return (self._schemas.get(name, {}), name) if name else (schema, "")

    def _conform(self, value: Any, schema: JsonObject) -> Any:
        resolved, name = self._resolve(schema)
        if name.endswith("api.resource.Quantity"):
            return canonical_quantity(value)
        match value:
            case dict():
                entries = cast("JsonObject", value)
                known: JsonObject = resolved.get("properties", {})
                if known:
                    return {k: self._conform(v, known[k]) for k, v in entries.items() if k in known}
                rest = child(resolved, "additionalProperties")
                return {k: self._conform(v, rest) for k, v in entries.items()} if rest else entries
            case list():
                items: JsonObject = resolved.get("items", {})
                return [self._conform(item, items) for item in cast("list[Any]", value)]
            case _:
                return value


_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]?)")
_DECIMAL_SUFFIXES = {"E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0, "m": -3, "u": -6, "n": -9}
_BINARY_SUFFIXES = {"Ei": 60, "Pi": 50, "Ti": 40, "Gi": 30, "Mi": 20, "Ki": 10}
_KIBI = 1024


def canonical_quantity(value: Any) -> Any:
    """Return a quantity as Kubernetes writes it: the largest suffix that needs no fraction.

    What is not a quantity, has an exponent, or is finer than the smallest suffix stays as it is. Source: `Quantity` in
    k8s.io/apimachinery/pkg/api/resource (v0.36), "canonical form".
    """
    match = _QUANTITY.fullmatch(str(value)) if not isinstance(value, bool) else None
    if match is None:
        return value
    amount, suffix = Decimal(match.group(1)), match.group(2)
    if suffix in _BINARY_SUFFIXES:
        whole = amount * 2 ** _BINARY_SUFFIXES[suffix]
        return _canonical_binary(int(whole)) if whole == whole.to_integral_value() else value
    amount = amount.scaleb(_DECIMAL_SUFFIXES[suffix])
    if amount == 0:
        return "0"
    scaled = ((name, amount.scaleb(-exponent)) for name, exponent in _DECIMAL_SUFFIXES.items())
    return next((f"{int(n)}{name}" for name, n in scaled if n == n.to_integral_value()), value)


def _canonical_binary(amount: int) -> str:
    # Below one Ki the form is decimal.
    fitting = (f"{amount >> p}{name}" for name, p in _BINARY_SUFFIXES.items() if amount % 2**p == 0)
    return next(fitting, str(amount)) if abs(amount) >= _KIBI else str(amount)


def checkpoint(
    inputs: Mapping[str, Any],
    live: Mapping[str, Any],
    given: Mapping[str, Any],
    initial_api_version: str,
    field_manager: str,
) -> JsonObject:
    """Return what state records: the live object, the inputs beside it, and who manages the fields.

    Args:
        inputs: the object that was applied.
        live: the object as the server has it.
        given: the resource's inputs with their secrets marked: what is secret there is secret in state.
        initial_api_version: the version that the object was created with.
        field_manager: the field manager of server-side apply.
    """
    state = properties.mark_secrets(cast("JsonObject", _rename(dict(live), _UNDERSCORED)), given)
    recorded = properties.mark_secrets(cast("JsonObject", _rename(dict(inputs), _UNDERSCORED)), given)
    return state | {
        INPUTS_KEY: recorded,
        INITIAL_API_VERSION_KEY: initial_api_version,
        FIELD_MANAGER_KEY: field_manager,
    }


def parse_checkpoint(state: Mapping[str, Any]) -> tuple[JsonObject, JsonObject]:
    """Return the inputs and the live object that state recorded."""
    obj = plain(state)
    inputs = cast("JsonObject", obj.pop(INPUTS_KEY, {}))
    for key in (INITIAL_API_VERSION_KEY, FIELD_MANAGER_KEY):
        obj.pop(key, None)
    return inputs, obj


def inputs_from_live(live: Mapping[str, Any], fields: frozenset[str]) -> JsonObject:
    """Return the inputs that an imported object would have had: all but what only the server writes.

    Args:
        live: the object as the server has it.
        fields: the kind's top-level input fields; empty where they are not known.
    """
    inputs = {k: copy.deepcopy(v) for k, v in live.items() if k != "status" and (not fields or k in fields)}
    meta = {k: v for k, v in metadata(inputs).items() if k not in _SERVER_METADATA and k != "selfLink"}
    kept = {k: v for k, v in child(meta, "annotations").items() if k not in _NOT_INPUT_ANNOTATIONS}
    if kept:
        meta["annotations"] = kept
    else:
        meta.pop("annotations", None)
    return {**inputs, "metadata": meta}
