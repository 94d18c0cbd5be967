import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.provider import objects
from devcluster.provider.objects import Kind, Schema
from devcluster.provider.properties import UNKNOWN, Secret


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("kubernetes:core/v1:ConfigMap", Kind("", "v1", "ConfigMap")),
        ("kubernetes:apps/v1:Deployment", Kind("apps", "v1", "Deployment")),
        ("kubernetes:networking.istio.io/v1:VirtualService", Kind("networking.istio.io", "v1", "VirtualService")),
    ],
)
def test_a_type_token_names_a_kind(token: str, kind: Kind) -> None:
    assert objects.kind_of_type(token) == kind


def test_a_token_of_another_package_is_refused() -> None:
    with pytest.raises(ValueError, match="aws"):
        objects.kind_of_type("aws:s3/bucket:Bucket")


def test_a_urn_gives_type_without_parents_and_name_with_its_colons() -> None:
    urn = "urn:pulumi:dev::p::meshup:index:Istio$kubernetes:core/v1:Namespace::a::b"
    assert objects.type_of_urn(urn) == "kubernetes:core/v1:Namespace"
    assert objects.name_of_urn(urn) == "a::b"


def test_ids_name_the_namespace_only_where_there_is_one() -> None:
    assert objects.identity({"metadata": {"name": "n", "namespace": "ns"}}) == "ns/n"
    assert objects.identity({"metadata": {"name": "n"}}) == "n"
    assert objects.parse_identity("ns/n") == ("ns", "n")
    assert objects.parse_identity("n") == ("", "n")


def test_patch_and_list_types_are_known_by_their_tokens() -> None:
    assert objects.is_patch("kubernetes:core/v1:NamespacePatch", {"kind": "Namespace"})
    assert not objects.is_patch("kubernetes:example.invalid/v1:RoutePatch", {"kind": "RoutePatch"})
    assert objects.is_list("kubernetes:core/v1:ConfigMapList")
    assert not objects.is_list("kubernetes:example.invalid/v1:AllowList")


def test_schema_keys_that_python_writes_with_underscores_are_written_as_kubernetes_does() -> None:
    bag = {"schema": {"x_kubernetes_preserve_unknown_fields": True, "my_key": Secret(1)}}
    assert objects.plain(bag) == {"schema": {"x-kubernetes-preserve-unknown-fields": True, "my_key": 1}}


def test_pruning_keeps_only_what_the_inputs_name_but_every_extra_element_of_a_list() -> None:
    live: dict[str, Any] = {"spec": {"replicas": 2, "strategy": {}, "list": [{"a": 1, "b": 2}, {"c": 3}]}, "status": {}}
    shape = {"spec": {"replicas": 1, "list": [{"a": 0}], "missing": 1}}
    assert objects.prune(live, shape) == {"spec": {"replicas": 2, "list": [{"a": 1}, {"c": 3}]}}


_json = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(_json)
def test_pruning_by_its_own_shape_changes_nothing(value: Any) -> None:
    assert objects.prune(value, value) == value


def test_text_data_of_a_secret_becomes_base64_and_wins() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "b2xk", "k": "b2xk"}, "stringData": {"k": "ünew"}}
    assert objects.normalise(secret, None) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "data": {"a": "b2xk", "k": base64.b64encode("ünew".encode()).decode()},
    }


def test_a_secret_with_unknown_data_waits_for_it() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"k": UNKNOWN}}
    assert objects.normalise(secret, None) == secret


def test_metadata_that_only_the_server_sets_is_dropped() -> None:
    obj: dict[str, Any] = {
        "metadata": {"name": "n", "uid": "u", "resourceVersion": "1", "managedFields": [], "labels": {"a": "b"}}
    }
    assert objects.normalise(obj, None) == {"metadata": {"name": "n", "labels": {"a": "b"}}}


@pytest.mark.parametrize(
    ("given_", "canonical"),
    [
        ("0.5", "500m"), (0.1, "100m"), ("1000m", "1"), (2, "2"), ("1.5", "1500m"), ("1000", "1k"), ("100k", "100k"),
        ("1Gi", "1Gi"), ("1024Mi", "1Gi"), ("0.5Gi", "512Mi"), ("1536Mi", "1536Mi"), ("512Ki", "512Ki"),
        ("0", "0"), ("0Mi", "0"), ("-0.5", "-500m"), ("1e3", "1e3"), ("many", "many"), (True, True),
    ],
)  # fmt: skip
def test_quantities_are_written_as_the_server_writes_them(given_: Any, canonical: Any) -> None:
    assert objects.canonical_quantity(given_) == canonical


@given(st.integers(0, 10**15), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_a_canonical_quantity_is_its_own_canonical_form(number: int, suffix: str) -> None:
    once = objects.canonical_quantity(f"{number}{suffix}")
    assert objects.canonical_quantity(once) == once


_DOCUMENT = {
    "components": {
        "schemas": {
            "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "io.k8s.apimachinery.pkg.api.resource.Quantity": {},
            "Container": {
                "properties": {
                    "name": {},
                    "resources": {
                        "properties": {
                            "limits": {
                                "additionalProperties": {
                                    "allOf": [
                                        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}
                                    ]
                                }
                            }
                        }
                    },
                }
            },
            "Pod": {
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
                "properties": {
                    "apiVersion": {},
                    "kind": {},
                    "metadata": {},
                    "spec": {
                        "properties": {"containers": {"items": {"allOf": [{"$ref": "#/components/schemas/Container"}]}}}
                    },
                },
            },
        }
    }
}
_POD = Kind("", "v1", "Pod")


def test_fields_that_a_built_in_kind_does_not_have_go_and_quantities_are_made_canonical() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "sepc": {},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "0.5"}}, "imgae": "x"}]},
    }
    conformed = objects.normalise(pod, Schema(_DOCUMENT, _POD))
    assert "sepc" not in conformed
    assert conformed["spec"] == {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}}}]}


def test_a_kind_that_the_document_lacks_is_left_alone() -> None:
    schema = Schema(_DOCUMENT, Kind("", "v1", "Node"))
    assert schema.conform({"kind": "Node", "x": 1}) == {"kind": "Node", "x": 1}
    assert schema.top_level() == frozenset()


def test_custom_objects_keep_fields_that_no_schema_names() -> None:
    custom = {"apiVersion": "example.invalid/v1", "kind": "Pod", "anything": {"cpu": "0.5"}}
    assert objects.normalise(custom, Schema(_DOCUMENT, _POD)) == custom


def test_state_records_the_live_object_the_inputs_and_the_manager_and_gives_them_back() -> None:
    inputs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "eA=="}}
    live = inputs | {"type": "Opaque"}
    state = objects.checkpoint(inputs, live, inputs, "v1", "me")
    assert state["__fieldManager"] == "me"
    assert state["__initialApiVersion"] == "v1"
    assert isinstance(state["data"], Secret)
    assert isinstance(state["__inputs"]["data"], Secret)
    assert objects.parse_checkpoint(state) == (inputs, live)


def test_an_imported_object_gives_inputs_without_what_only_the_server_writes() -> None:
    live: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "d",
            "uid": "u",
            "generation": 3,
            "managedFields": [],
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {"replicas": 1},
        "status": {"replicas": 1},
    }
    assert objects.inputs_from_live(live, frozenset()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1},
    }
