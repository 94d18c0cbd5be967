"""Grafana as an add-on: values of its chart, data sources, dashboards, its password, and who may connect."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from components.addons import grafana
from components.diagnostics import errors
from stacks import outputs
from stacks.plan import Plan
from tests.unit.observability.addons import TYPES, addon_of, admitted, plan_of, release, set_paths, value_paths
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

ON: Mapping[str, Any] = {"enabled": True}
ALL: Mapping[str, Any] = {"grafana": ON, "prometheus": ON, "zipkin": ON, "jaeger": ON}
FREE = (
    "grafana.ini.",
    "containerSecurityContext.",
    "securityContext.",
    "resources.",
    "env.",
)
"""Mappings of the chart whose keys are free, though they have defaults."""


def values(keys: Mapping[str, Any]) -> Any:
    """Return the values of the chart."""
    return release(plan_of(keys), "grafana")["values"]


def sources(keys: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the data sources by uid."""
    return {one["uid"]: one for one in values(keys)["datasources"]["datasources.yaml"]["datasources"]}


def files(plan: Plan) -> dict[str, Any]:
    """Return the dashboards by name of their file."""
    found = next(one for one in addon_of(plan, "grafana").objects if one["kind"] == "ConfigMap")
    return {name: json.loads(text) for name, text in found["data"].items()}


def named_sources(value: Any) -> Iterator[tuple[str, str]]:
    """Yield type and uid of each data source that a dashboard names."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if isinstance(chosen := fields.get("datasource"), dict):
            one = cast("dict[str, str]", chosen)
            yield one.get("type", ""), one.get("uid", "")
        for inner in fields.values():
            yield from named_sources(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from named_sources(inner)


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("storage", [None, "5Gi"])
def test_every_value_is_one_of_the_chart_and_of_its_type(mesh: str, storage: str | None) -> None:
    login = {"url": "https://prometheus.example.com", "login": {"type": "basic", "secret": "prometheus-login"}}
    chosen = {"enabled": True, "storage": storage, "rootUrl": "https://grafana.example.com"}
    known = value_paths("grafana")
    for path, value in set_paths(values({"mesh": mesh, **ALL, "prometheus": login, "grafana": chosen}), known).items():
        if path.startswith(FREE) or path == "fullnameOverride":  # In templates/_helpers.tpl, without a default.
            continue
        assert path in known, path
        assert isinstance(value, TYPES[known[path]["type"]]), path


def test_nobody_gets_in_without_a_login_and_nothing_calls_out() -> None:
    ini = values(ALL)["grafana.ini"]
    assert ini["auth.anonymous"] == {"enabled": False}
    assert not any(ini["users"].values())
    assert not any(ini["analytics"].values())
    assert not any(
        ini[section][key] for section, key in (("news", "news_feed_enabled"), ("snapshots", "external_enabled"))
    )
    assert ini["plugins"]["preinstall_disabled"]


def test_it_has_no_rights_on_the_cluster_and_no_sidecar() -> None:
    made = values(ALL)
    assert made["rbac"] == {"create": False}
    assert made["automountServiceAccountToken"] is False
    assert made["testFramework"] == {"enabled": False}
    assert "sidecar" not in made


def test_its_pod_is_confined_as_its_namespace_asks_for() -> None:
    made = values(ALL)
    container, pod = made["containerSecurityContext"], made["securityContext"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    # What it writes to is mounted.
    assert [one["mountPath"] for one in made["extraEmptyDirMounts"]] == ["/tmp"]  # noqa: S108
    labels = addon_of(plan_of(ALL), "grafana").namespace["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_what_it_reads_is_what_the_stack_has() -> None:
    assert {uid: one["url"] for uid, one in sources(ALL).items()} == {
        "prometheus": "http://prometheus.prometheus.svc:9090",
        "zipkin": "http://zipkin.zipkin.svc:9411",
        "jaeger": "http://jaeger.jaeger.svc:16686",
    }
    assert [uid for uid, one in sources(ALL).items() if one["isDefault"]] == ["prometheus"]
    own = {"url": "https://prometheus.example.com/mesh/"}
    found = sources({"grafana": ON, "prometheus": own})
    assert {uid: one["url"] for uid, one in found.items()} == {"prometheus": "https://prometheus.example.com/mesh"}
    assert "secureJsonData" not in found["prometheus"]


@pytest.mark.parametrize(("kind", "keys"), [("basic", ["user", "password"]), ("bearer", ["token"])])
def test_a_login_is_read_from_a_secret_and_expanded_once(kind: str, keys: list[str]) -> None:
    own = {"url": "https://prometheus.example.com", "login": {"type": kind, "secret": "mine"}}
    made = values({"grafana": ON, "prometheus": own})
    variables = made["envValueFrom"]
    assert [one["secretKeyRef"] for one in variables.values()] == [{"name": "mine", "key": key} for key in keys]
    (source,) = made["datasources"]["datasources.yaml"]["datasources"]
    written = json.dumps({**source["secureJsonData"], "user": source.get("basicAuthUser", "")})
    # In braces, Grafana would expand what it has expanded already.
    assert set(re.findall(r"\$(\w+)", written)) == set(variables)
    assert "{" not in written[1:]
    if kind == "bearer":
        assert source["jsonData"]["httpHeaderName1"] == "Authorization"
        assert source["secureJsonData"]["httpHeaderValue1"].startswith("Bearer $")


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_dashboards_are_mounted_and_name_data_sources_that_there_are(mesh: str) -> None:
    keys = {"mesh": mesh, **ALL}
    found = files(plan_of(keys))
    assert set(found) == {f"{board['uid']}.json" for board in found.values()}
    assert f"meshup-{mesh}-split.json" in found
    known = sources(keys)
    for name, board in found.items():
        (chosen,) = (one for one in board["templating"]["list"] if one["type"] == "datasource")
        assert known[chosen["current"]["value"]]["type"] == chosen["query"], name
        named = {one for one in named_sources(board) if one[1] != "-- Grafana --"}
        assert named == {(chosen["query"], f"${{{chosen['name']}}}")}, name
    made = values(keys)
    (provider,) = made["dashboardProviders"]["dashboardproviders.yaml"]["providers"]
    assert made["dashboardsConfigMaps"] == {provider["name"]: grafana.DASHBOARDS}
    # Where the chart mounts the ConfigMap of this provider (templates/_pod.tpl).
    assert provider["options"]["path"] == f"/var/lib/grafana/dashboards/{provider['name']}"


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_the_dashboards_fit_into_one_configmap(mesh: str) -> None:
    (found,) = (
        one for one in addon_of(plan_of({"mesh": mesh, **ALL}), "grafana").objects if one["kind"] == "ConfigMap"
    )
    assert sum(map(len, found["data"].values())) < 900_000


def test_the_password_is_in_no_value_and_no_object_of_the_plan() -> None:
    plan = plan_of(ALL)
    addon = addon_of(plan, "grafana")
    (secret,) = (one for one in addon.objects if one["kind"] == "Secret")
    made = values(ALL)
    assert made["admin"] == {
        "existingSecret": secret["metadata"]["name"],
        "userKey": "admin-user",
        "passwordKey": "admin-password",
    }
    assert set(secret["data"]) == {"admin-user"}
    (wanted,) = addon.passwords.values()
    assert set(addon.passwords) == {secret["metadata"]["name"]}
    assert (wanted.key, wanted.length) == ("admin-password", 32)
    assert "adminPassword" not in made


def test_another_rotation_is_another_password_and_another_pod() -> None:
    def rotated(number: int) -> tuple[int, Any]:
        plan = plan_of({**ALL, "grafana": {"enabled": True, "rotation": number}})
        (wanted,) = addon_of(plan, "grafana").passwords.values()
        return wanted.rotation, release(plan, "grafana")["values"]["env"]

    assert rotated(1)[0] != rotated(2)[0]
    assert rotated(1)[1] != rotated(2)[1]
    assert rotated(2) == rotated(2)


def test_with_a_volume_the_pods_take_turns_and_a_rotation_is_warned_of() -> None:
    kept = values({**ALL, "grafana": {"enabled": True, "storage": "5Gi"}})
    assert kept["persistence"] == {"enabled": True, "size": "5Gi"}
    assert kept["deploymentStrategy"] == {"type": "Recreate"}
    # It would change the owner of the files as root.
    assert kept["initChownData"] == {"enabled": False}
    assert values(ALL)["persistence"] == {"enabled": False}

    def warned(**more: Any) -> list[tuple[str, str]]:
        keys: dict[str, Any] = {**ALL, "grafana": {"enabled": True, **more}}
        found = build(raw(**keys))[1]
        return [(one.code, one.severity) for one in found if one.code.startswith("MSH62")]

    assert warned(storage="5Gi", rotation=2) == [("MSH626", "warning")]
    assert warned(storage="5Gi") == warned(rotation=2) == []


def test_the_output_says_how_to_get_the_password_and_not_what_it_is() -> None:
    shown = outputs.outputs(plan_of(ALL))["dashboards"]["grafana"]
    assert shown == {
        "command": "kubectl --namespace grafana port-forward service/grafana 3000:3000",
        "url": "http://localhost:3000/",
        "user": "admin",
        "passwordCommand": "kubectl --namespace grafana get secret grafana-admin "
        "--output jsonpath='{.data.admin-password}' | base64 --decode",
    }


def test_only_its_own_namespace_and_named_ones_may_connect_and_it_may_read_the_others() -> None:
    plan = plan_of({**ALL, "grafana": {"enabled": True, "readers": ["istio-ingress"]}})
    policy = addon_of(plan, "grafana").objects[-1]
    assert admitted(policy) == {"grafana": {3000}, "istio-ingress": {3000}}
    for name in ("zipkin", "jaeger"):
        assert "grafana" in admitted(addon_of(plan, name).objects[-1])
    allowed = addon_of(plan, "prometheus").objects[0]["spec"]["ingress"][0]["from"]
    assert "grafana" in json.dumps(allowed)


def test_on_linkerd_it_is_in_the_mesh_whose_metrics_and_traces_it_reads() -> None:
    addon = addon_of(plan_of({"mesh": "linkerd", **ALL}), "grafana")
    assert "linkerd.io/inject" in addon.namespace["annotations"]
    assert admitted(addon.objects[-1]) == {
        "grafana": {3000, 4143},
        # It scrapes the proxies of Grafana, too.
        "prometheus": {4143, 4190, 4191},
    }


def test_without_a_prometheus_it_has_nothing_to_show() -> None:
    found = build(raw(grafana=ON))[1]
    assert [(one.code, one.path) for one in found if one.code.startswith("MSH62")] == [("MSH622", "meshup:prometheus")]
    assert not errors(found)
    assert not [
        one for one in build(raw(grafana=ON, prometheus={"url": "http://a.example"}))[1] if one.code == "MSH622"
    ]


def test_the_same_stack_has_the_same_values_and_objects() -> None:
    one, other = (addon_of(plan_of(ALL), "grafana") for _ in range(2))
    assert json.dumps([one.release, one.objects]) == json.dumps([other.release, other.objects])


def test_one_of_ones_own_is_not_installed() -> None:
    assert not plan_of({"grafana": {"url": "https://grafana.example.com"}}).addons
