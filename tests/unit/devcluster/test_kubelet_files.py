import base64
from typing import Any

import pytest

from devcluster.kubelet import volumes
from devcluster.kubelet.spec import Context, NotYet, Source
from devcluster.kubelet.volumes import TokenRequest
from tests.unit.devcluster.test_kubelet_spec import NODE, PROXY, a_pod

TOKEN = {"serviceAccountToken": {"path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200}}
REQUEST = TokenRequest("istio-ca", 43200)


def a_meshed_pod(*volumes_: dict[str, Any]) -> dict[str, Any]:
    mounts = [{"name": v["name"], "mountPath": f"/var/run/secrets/{v['name']}"} for v in volumes_]
    return a_pod({**PROXY, "volumeMounts": mounts}, volumes=list(volumes_))


def contents(pod: dict[str, Any], source: Source) -> dict[str, dict[str, str]]:
    return volumes.contents(Context(pod, NODE, "10.244.128.7", source), {REQUEST: "t"})


def test_a_projected_volume_puts_token_certificate_and_fields_side_by_side() -> None:
    parts = [
        TOKEN,
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    pod = a_meshed_pod({"name": "api", "projected": {"sources": parts}})
    assert volumes.needs(pod) == volumes.Needs(frozenset({"kube-root-ca.crt"}), frozenset(), frozenset({REQUEST}))
    source = Source(config_maps={"kube-root-ca.crt": {"ca.crt": "PEM", "other": "x"}})
    assert contents(pod, source) == {"api": {"istio-token": "t", "ca.crt": "PEM", "namespace": "bookinfo"}}


def test_a_missing_config_map_makes_the_pod_wait_unless_it_is_optional() -> None:
    required = a_meshed_pod({"name": "ca", "configMap": {"name": "istio-ca-root-cert"}})
    with pytest.raises(NotYet, match="ConfigMap istio-ca-root-cert"):
        contents(required, Source())
    optional = a_meshed_pod({"name": "crl", "configMap": {"name": "istio-ca-crl", "optional": True}})
    assert contents(optional, Source()) == {"crl": {}}


def test_a_secret_volume_and_a_projected_secret_name_it_differently() -> None:
    pod = a_meshed_pod(
        {"name": "one", "secret": {"secretName": "s1"}},
        {"name": "two", "projected": {"sources": [{"secret": {"name": "s2"}}]}},
    )
    assert volumes.needs(pod).secrets == {"s1", "s2"}
    source = Source(secrets={"s1": {"k": "1"}, "s2": {"k": "2"}})
    assert contents(pod, source) == {"one": {"k": "1"}, "two": {"k": "2"}}


def test_mounts_below_var_run_are_below_run_and_outer_folders_come_first() -> None:
    pod = a_pod(
        {
            **PROXY,
            "volumeMounts": [
                {"name": "crl", "mountPath": "/var/run/secrets/istio/crl"},
                {"name": "ca", "mountPath": "/var/run/secrets/istio"},
                {"name": "envoy", "mountPath": "/etc/istio/proxy/"},
            ],
        }
    )
    assert list(volumes.mounts(pod).items()) == [
        ("/etc/istio/proxy", "envoy"),
        ("/run/secrets/istio", "ca"),
        ("/run/secrets/istio/crl", "crl"),
    ]


def test_an_istiod_pod_gets_its_mesh_configuration_as_the_file_that_it_prefers() -> None:
    pod = a_pod({"name": "discovery"}, metadata={"labels": {"istio.io/rev": "canary"}})
    assert volumes.needs(pod).config_maps == {"istio-canary"}
    assert volumes.mounts(pod) == {"/etc/istio/config": "meshup-mesh-config"}
    with pytest.raises(NotYet, match="istio-canary"):
        contents(pod, Source())
    made = contents(pod, Source(config_maps={"istio-canary": {"mesh": "rootNamespace: istio-system\n"}}))
    assert made["meshup-mesh-config"]["mesh"] == "defaultProviders:\n  metrics: []\nrootNamespace: istio-system\n"


def test_environment_references_are_asked_for_as_well() -> None:
    env = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ]
    pod = a_pod({"name": "x", "env": env, "envFrom": [{"configMapRef": {"name": "all"}}]})
    assert volumes.needs(pod) == volumes.Needs(frozenset({"c", "all"}), frozenset({"s"}), frozenset())


def test_volumes_that_a_pod_writes_to_are_told_from_those_that_are_filled() -> None:
    pod = a_meshed_pod({"name": "work", "emptyDir": {}}, {"name": "ca", "configMap": {"name": "c"}})
    assert volumes.empty_directories(pod) == {"work"}


def test_a_secret_is_decoded_and_what_is_no_text_is_left_out() -> None:
    data = {"a": base64.b64encode(b"x").decode(), "b": base64.b64encode(b"\xff\xfe").decode()}
    assert volumes.decoded(data) == {"a": "x"}
    assert volumes.decoded(None) == {}
