"""Kiali as an add-on: values of its chart, what it reads, its rights, and what it can't show."""

from collections.abc import Mapping
from typing import Any

import pytest

from components.diagnostics import errors
from stacks import outputs
from tests.unit.observability.addons import TYPES, addon_of, admitted, plan_of, release, set_paths, value_paths
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

ON: Mapping[str, Any] = {"enabled": True}
ALL: Mapping[str, Any] = {"kiali": ON, "prometheus": ON, "jaeger": ON}
FREE = ("external_services.", "deployment.pod_annotations.")
"""Kiali's own configuration (kiali, config/config.go), which the chart copies; and free keys."""


def values(keys: Mapping[str, Any]) -> Any:
    """Return the values of the chart."""
    return release(plan_of(keys), "kiali-server")["values"]


def reported(**keys: Any) -> list[tuple[str, str, str]]:
    """Return code, path and severity of what is reported about Kiali."""
    found = build(raw(**keys))[1]
    return [(one.code, one.path, one.severity) for one in found if one.code.startswith("MSH62")]


def test_every_value_is_one_of_the_chart_and_of_its_type() -> None:
    chosen = {"enabled": True, "viewOnly": False, "resources": {"limits": {"memory": "2Gi"}}}
    known = value_paths("kiali-server")
    for path, value in set_paths(values({**ALL, "kiali": chosen}), known).items():
        if path.startswith((*FREE, "deployment.resources.")):
            continue
        assert path in known, path
        assert isinstance(value, TYPES[known[path]["type"]]), path


def test_whoever_opens_it_logs_in_and_it_changes_nothing_unless_asked_for() -> None:
    made = values(ALL)
    assert made["auth"] == {"strategy": "token"}
    assert made["deployment"]["view_only_mode"] is True
    assert values({**ALL, "kiali": {"enabled": True, "viewOnly": False}})["deployment"]["view_only_mode"] is False


def test_the_signing_key_is_in_a_secret_and_in_no_value_or_object_of_the_plan() -> None:
    addon = addon_of(plan_of(ALL), "kiali-server")
    (secret,) = (one for one in addon.objects if one["kind"] == "Secret")
    ((name, wanted),) = addon.passwords.items()
    assert name == secret["metadata"]["name"]
    assert values(ALL)["login_token"] == {"signing_key": f"secret:{name}:{wanted.key}"}
    # Kiali takes no other lengths than 16, 24 and 32.
    assert wanted.length == 32
    assert "data" not in secret


def test_another_rotation_is_another_key_and_another_pod() -> None:
    def rotated(number: int) -> tuple[int, Any]:
        plan = plan_of({**ALL, "kiali": {"enabled": True, "rotation": number}})
        (wanted,) = addon_of(plan, "kiali-server").passwords.values()
        return wanted.rotation, release(plan, "kiali-server")["values"]["deployment"]["pod_annotations"]

    assert rotated(1)[0] != rotated(2)[0]
    assert rotated(1)[1] != rotated(2)[1]


def test_it_reads_the_prometheus_and_the_jaeger_of_the_stack_and_istios_root_namespace() -> None:
    found = values(ALL)["external_services"]
    assert found == {
        "istio": {"root_namespace": "istio-system"},
        "prometheus": {"enabled": True, "url": "http://prometheus.prometheus.svc:9090"},
        "grafana": {"enabled": False},
        "tracing": {
            "enabled": True,
            "internal_url": "http://jaeger.jaeger.svc:16686",
            "provider": "jaeger",
            "use_grpc": False,
        },
    }


def test_it_logs_in_to_servers_of_ones_own_by_secrets() -> None:
    keys = {
        "kiali": ON,
        "prometheus": {"url": "https://p.example.com", "login": {"type": "basic", "secret": "a"}},
        "grafana": {"url": "https://g.example.com", "login": {"type": "bearer", "secret": "b"}},
    }
    found = values(keys)["external_services"]
    basic = {"type": "basic", "username": "secret:a:user", "password": "secret:a:password"}
    assert found["prometheus"] == {"enabled": True, "url": "https://p.example.com", "auth": basic}
    assert found["grafana"] == {
        "enabled": True,
        "internal_url": "https://g.example.com",
        "external_url": "https://g.example.com",
        "auth": {"type": "bearer", "token": "secret:b:token"},
    }
    assert found["tracing"] == {"enabled": False}


def test_the_administrator_of_grafana_is_not_lent_to_it() -> None:
    plan = plan_of({**ALL, "grafana": ON})
    assert release(plan, "kiali-server")["values"]["external_services"]["grafana"] == {"enabled": False}
    assert "kiali" not in admitted(addon_of(plan, "grafana").objects[-1])


def test_its_pod_is_confined_as_its_namespace_asks_for() -> None:
    container = values(ALL)["deployment"]["security_context"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"]
    assert container["runAsNonRoot"]
    assert not container["allowPrivilegeEscalation"]
    assert container["seccompProfile"] == {"type": "RuntimeDefault"}
    labels = addon_of(plan_of(ALL), "kiali-server").namespace["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_only_its_own_namespace_and_named_ones_may_connect_and_it_may_read_the_others() -> None:
    plan = plan_of({**ALL, "kiali": {"enabled": True, "readers": ["istio-ingress"]}})
    policy = addon_of(plan, "kiali-server").objects[-1]
    assert admitted(policy) == {"kiali": {20001}, "istio-ingress": {20001}}
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "kiali"}}
    # The chart's own has no `from`.
    assert values(ALL)["deployment"]["network_policy"] == {"enabled": False}
    assert "kiali" in admitted(addon_of(plan, "jaeger").objects[-1])
    allowed = addon_of(plan, "prometheus").objects[0]["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kiali"}}} in allowed


def test_the_output_says_how_to_get_a_token() -> None:
    shown = outputs.outputs(plan_of(ALL))["dashboards"]["kiali-server"]
    assert shown == {
        "command": "kubectl --namespace kiali port-forward service/kiali 20001:20001",
        "url": "http://localhost:20001/",
        "tokenCommand": "kubectl --namespace kiali create token kiali",
    }


def test_on_linkerd_it_is_refused_once() -> None:
    found = build(raw(mesh="linkerd", kiali=ON, zipkin=ON))[1]
    (fault,) = errors(found)
    assert (fault.code, fault.path) == ("MSH623", "meshup:kiali.enabled")
    assert reported(mesh="linkerd", kiali=ON, zipkin=ON) == [("MSH623", "meshup:kiali.enabled", "error")]


def test_what_it_cannot_show_is_a_warning() -> None:
    assert reported(**ALL) == []
    assert reported(kiali=ON) == [("MSH622", "meshup:prometheus", "warning")]
    envoy = {"enabled": True, "metrics": "envoy"}
    assert reported(kiali=ON, prometheus=envoy) == [("MSH624", "meshup:prometheus.metrics", "warning")]
    assert reported(kiali=ON, prometheus=ON, zipkin=ON) == [("MSH625", "meshup:zipkin", "warning")]
    assert reported(**ALL, zipkin=ON) == []


@pytest.mark.parametrize("memory", ["2Gi", "32Mi"])
def test_a_request_above_the_limit_is_refused_whoever_sets_which(memory: str) -> None:
    kind = "requests" if memory == "2Gi" else "limits"
    chosen = {"enabled": True, "resources": {kind: {"memory": memory}}}
    (fault,) = errors(build(raw(prometheus=ON, kiali=chosen))[1])
    assert (fault.code, fault.path) == ("MSH015", "meshup:kiali.resources")
