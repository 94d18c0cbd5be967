import json
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.arguments import Resources
from components.diagnostics import Diagnostic, render
from components.diagnostics.validation import section_of
from components.helm import nested
from components.meshes.istio.settings import ISTIOD_RESOURCES, SIDECAR_RESOURCES, IstioSettings
from components.meshes.linkerd.component import chart_resources, releases
from components.meshes.linkerd.settings import HA_RESOURCES, LinkerdArgs
from stacks import settings
from stacks.environments import ENVIRONMENTS
from stacks.settings import RawConfig
from tests.unit.components.charts import defaults
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build, stack_of


def faults(config: RawConfig, stack: str = "dev") -> list[Diagnostic]:
    return build(config, stack_of(f"organization/meshup/{stack}"))[1]


def codes(config: RawConfig, stack: str = "dev") -> list[tuple[str, str]]:
    return sorted((fault.code, fault.path) for fault in faults(config, stack))


def reviews(**route: Any) -> dict[str, Any]:
    return {"reviews": {"namespace": "bookinfo", **route}}


def gateway(**keys: Any) -> dict[str, Any]:
    return {"gateways": [{"name": "edge", **keys}]}


@pytest.mark.parametrize(
    ("chosen", "mode", "is_set"),
    [
        ({}, "strict", False),
        ({"security": {"mtls": {"mode": "permissive"}}}, "permissive", True),
        ({"security": {"mtls": {"mode": "permissive"}}, "mtls": "strict"}, "strict", True),
        ({"security": {"mtls": {"mode": 1}}}, "strict", False),
        ({"security": {"mtls": []}}, "strict", False),
        ({"security": []}, "strict", False),
    ],
)
def test_the_mode_of_mutual_tls_can_be_said_under_security(chosen: dict[str, Any], mode: str, is_set: bool) -> None:
    valid, _ = settings.load(raw(apps=[], traffic={}, **chosen), "none")
    assert valid.mtls == mode
    assert ("mtls" in valid.model_fields_set) is is_set


WRONG: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "weights that sum to 99": (
        {"traffic": reviews(split={"v1": 89, "v2": 10})},
        [("MSH110", "meshup:traffic.reviews.split")],
    ),
    "a negative weight": (
        {"traffic": reviews(split={"v1": 101, "v2": -1})},
        [("MSH111", "meshup:traffic.reviews.split.v1"), ("MSH111", "meshup:traffic.reviews.split.v2")],
    ),
    "a fractional weight": (
        {"traffic": reviews(split={"v1": 89.5, "v2": 10.5})},
        [("MSH111", "meshup:traffic.reviews.split.v1"), ("MSH111", "meshup:traffic.reviews.split.v2")],
    ),
    "a weight as text": (
        {"traffic": reviews(split={"v1": "90", "v2": 10})},
        [("MSH111", "meshup:traffic.reviews.split.v1")],
    ),
    "an unknown version of a Service": (
        {"traffic": reviews(split={"v1": 90, "v9": 10})},
        [("MSH107", "meshup:traffic.reviews.split.v9")],
    ),
    "an unknown Service": (
        {"traffic": {"revews": {"namespace": "bookinfo", "split": {"v1": 100}}}},
        [("MSH106", "meshup:traffic.revews")],
    ),
    "an empty split": ({"traffic": reviews(split={})}, [("MSH112", "meshup:traffic.reviews.split")]),
    "an unknown mesh": ({"mesh": "isto"}, [("MSH004", "meshup:mesh")]),
    "an unknown application": ({"apps": ["bookinfo", "bokinfo"]}, [("MSH004", "meshup:apps[1]")]),
    "an application twice": ({"apps": ["bookinfo", "bookinfo"]}, [("MSH012", "meshup:apps[1]")]),
    "an unknown key": ({"mehs": "istio"}, [("MSH002", "meshup:mehs")]),
    "an unknown key inside a section": ({"istio": {"replica": 3}}, [("MSH002", "meshup:istio.replica")]),
    "an unknown key deep inside": (
        {"istio": {"resources": {"requests": {"cpus": "1"}}}},
        [("MSH002", "meshup:istio.resources.requests.cpus")],
    ),
    "an unknown environment": ({"environment": "prd"}, [("MSH004", "meshup:environment")]),
    "an unknown mTLS mode": ({"mtls": "on"}, [("MSH004", "meshup:mtls")]),
    "a namespace in capitals": (
        {"bookinfo": {"namespace": "Book"}, "traffic": {}},
        [("MSH006", "meshup:bookinfo.namespace")],
    ),
    "a namespace of 64 letters": ({"istio": {"namespace": "n" * 64}}, [("MSH006", "meshup:istio.namespace")]),
    "a namespace of Kubernetes": (
        {"bookinfo": {"namespace": "kube-system"}, "traffic": {}},
        [("MSH009", "meshup:bookinfo.namespace")],
    ),
    "an application in the control plane's namespace": (
        {"bookinfo": {"namespace": "istio-system"}, "traffic": {}},
        [("MSH009", "meshup:bookinfo.namespace")],
    ),
    "a version that moves": ({"istio": {"version": "latest"}}, [("MSH010", "meshup:istio.version")]),
    "an empty version": ({"istio": {"version": ""}}, [("MSH003", "meshup:istio.version")]),
    "a version of Istio that is not supported": ({"istio": {"version": "1.9.0"}}, [("MSH306", "meshup:istio.version")]),
    "an empty tag": ({"bookinfo": {"tag": ""}}, [("MSH004", "meshup:bookinfo.tag")]),
    "replicas as text": ({"istio": {"replicas": "3"}}, [("MSH001", "meshup:istio.replicas")]),
    "no replicas": ({"istio": {"replicas": 0}}, [("MSH005", "meshup:istio.replicas")]),
    "replicas and autoscaling": (
        {"istio": {"replicas": 2, "autoscaling": {"min": 1, "max": 2}}},
        [("MSH007", "meshup:istio")],
    ),
    "autoscaling upside down": (
        {"istio": {"autoscaling": {"min": 3, "max": 2}}},
        [("MSH005", "meshup:istio.autoscaling.min")],
    ),
    "autoscaling without a maximum": (
        {"istio": {"autoscaling": {"min": 2}}},
        [("MSH003", "meshup:istio.autoscaling.max")],
    ),
    "sampling of 101 percent": ({"istio": {"traceSampling": 101}}, [("MSH005", "meshup:istio.traceSampling")]),
    "a list where a mapping is": ({"istio": []}, [("MSH001", "meshup:istio")]),
    "a gateway without a name": ({"istio": {"gateways": [{}]}}, [("MSH003", "meshup:istio.gateways[0].name")]),
    "a gateway with an unknown Service type": (
        {"istio": gateway(serviceType="loadbalancer")},
        [("MSH004", "meshup:istio.gateways[0].serviceType")],
    ),
    "two gateways of one name": (
        {"istio": {"gateways": [{"name": "a"}, {"name": "a"}]}},
        [("MSH012", "meshup:istio.gateways[1].name")],
    ),
    "a gateway without injection": ({"istio": gateway() | {"webhooks": False}}, [("MSH307", "meshup:istio.gateways")]),
    "raw values of an unknown release": (
        {"istio": {"values": {"istoid": {}}}},
        [("MSH002", "meshup:istio.values.istoid")],
    ),
    "two chart sources": (
        {"charts": {"directory": "/charts", "repository": "oci://example.invalid/charts"}},
        [("MSH007", "meshup:charts")],
    ),
    "a chart repository that is none": ({"charts": {"repository": "charts"}}, [("MSH305", "meshup:charts.repository")]),
    "traffic as a secret": ({"secret": ("meshup:traffic",)}, [("MSH011", "meshup:traffic")]),
    "a path with a NUL": ({"charts": {"directory": "a\x00b"}}, [("MSH013", "meshup:charts.directory")]),
    "a path of 9,000 characters": ({"trafficFile": "a/" * 4_500}, [("MSH013", "meshup:trafficFile")]),
    "a part of a path of 256 bytes": (
        {"identity": {"issuerKeyFile": "é" * 128}},
        [("MSH013", "meshup:identity.issuerKeyFile")],
    ),
    "an empty path": ({"gatewayApi": {"manifest": " "}}, [("MSH003", "meshup:gatewayApi.manifest")]),
    "values that nest too deeply": (
        {"istio": {"values": {"istiod": {"a": settings.nested(100)}}}},
        [("MSH014", "meshup:istio")],
    ),
    "routes that nest too deeply": ({"traffic": {"reviews": settings.nested(100_000)}}, [("MSH014", "meshup:traffic")]),
    "a value that is infinite": (
        {"istio": {"values": {"istiod": {"a": float("inf")}}}},
        [("MSH014", "meshup:istio")],
    ),
    "a number that no float holds": ({"bookinfo": {"replicas": 10**5_000}}, [("MSH014", "meshup:bookinfo")]),
    "half of a character": ({"istio": {"hub": "\ud800"}}, [("MSH014", "meshup:istio")]),
    "a request above the limit": (
        {"bookinfo": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1999m"}}}},
        [("MSH015", "meshup:bookinfo.resources")],
    ),
    "a request above the limit of the chart": (
        {"istio": {"proxyResources": {"requests": {"memory": "2Gi"}}}},
        [("MSH015", "meshup:istio.proxyResources")],
    ),
    "a limit below the request of the preset": (
        {"istio": {"resources": {"limits": {"memory": "128Mi"}}}},
        [("MSH015", "meshup:istio.resources")],
    ),
    "a request of a gateway above the limit of the chart": (
        {"istio": gateway(resources={"requests": {"cpu": "3"}})},
        [("MSH015", "meshup:istio.gateways[0].resources")],
    ),
    "the name of a gateway that Helm does not take": (
        {"istio": {"gateways": [{"name": "a" * 54}, {"name": "1edge"}]}},
        [("MSH006", "meshup:istio.gateways[0].name"), ("MSH006", "meshup:istio.gateways[1].name")],
    ),
    "a revision that Helm does not take": ({"istio": {"revision": "a" * 47}}, [("MSH006", "meshup:istio.revision")]),
    "flags of the provider that are none": (
        {"kubernetes": {"context": "kind-dev", "upsertExistingObjects": "yes", "enableServerSideApply": "True"}},
        [("MSH018", "kubernetes:enableServerSideApply"), ("MSH018", "kubernetes:upsertExistingObjects")],
    ),
    "Helm settings of the provider that are no JSON": (
        {"kubernetes": {"context": "kind-dev", "helmReleaseSettings": "driver: secret"}},
        [("MSH018", "kubernetes:helmReleaseSettings")],
    ),
    "Helm settings of the provider that nest deeply": (
        {"kubernetes": {"context": "kind-dev", "helmReleaseSettings": "[" * 100_000}},
        [("MSH018", "kubernetes:helmReleaseSettings")],
    ),
    "Helm settings of the provider that are unknown": (
        {"kubernetes": {"context": "kind-dev", "helmReleaseSettings": '{"driver": "disk", "cache": "/a"}'}},
        [("MSH018", "kubernetes:helmReleaseSettings.cache"), ("MSH018", "kubernetes:helmReleaseSettings.driver")],
    ),
    "client settings of the provider that are wrong": (
        {"kubernetes": {"context": "kind-dev", "kubeClientSettings": '{"burst": "many", "qps": 0}'}},
        [("MSH018", "kubernetes:kubeClientSettings.burst"), ("MSH018", "kubernetes:kubeClientSettings.qps")],
    ),
    "a namespace of the provider that is none": (
        {"kubernetes": {"context": "kind-dev", "namespace": "Dev_1"}},
        [("MSH018", "kubernetes:namespace")],
    ),
    "an unknown key of the provider": (
        {"kubernetes": {"context": "kind-dev", "contxt": "a"}},
        [("MSH002", "kubernetes:contxt")],
    ),
}


def at(path: str, value: Any) -> dict[str, Any]:
    """The configuration with a value at a dotted path."""
    first, *rest = path.split(".")
    for key in reversed(rest):
        value = {key: value}
    return {first: value}


TRACING = {"serviceAccount": "a", "namespace": "b"}
SCALARS: dict[str, tuple[str, list[Any], list[Any]]] = {
    # path: code, what is taken, what is refused
    "bookinfo.resources.requests.cpu": (
        "MSH015",
        ["500m", "2", ".5", "1e3", "1E", "100u", "0"],
        ["lots", "-1", "1gb", "1 ", "1_0", "NaN", "1K", "1ki", "٣", "1e999999999"],
    ),
    "bookinfo.resources.limits.memory": ("MSH015", ["1Gi", "512M", "1e9", "1.5Gi"], ["-1Gi", "1gb", "100m", "1GiB"]),
    "bookinfo.resources.limits.ephemeral-storage": ("MSH015", ["1Gi"], ["lots", "1500m"]),
    "istio.hub": (
        "MSH016",
        [
            "docker.io/istio",
            "localhost:5000",
            "localhost:5000/a/b__c",
            "istio",
            "registry.example.org/",
            "[::1]:5000/a",
        ],
        [
            "https://docker.io/istio",
            "docker.io/Istio",
            "docker.io/istio:1.30",
            "a b",
            "a//b",
            "/a",
            "a@sha256:0",
            "é/a",
        ],
    ),
    "bookinfo.registry": ("MSH016", ["docker.io/istio"], ["docker.io/istio:1.30", "a" * 300]),
    "bookinfo.imagePullSecrets": ("MSH006", [["reg.cred"], ["a", "b-1.c"]], [["Reg"], ["a..b"], ["a_b"], ["a" * 64]]),
    "linkerd.trustDomain": ("MSH017", ["cluster.local", "a"], ["a_b", "A.b", "a..b", "a.", "*.a", "a" * 64, "a." * 70]),
    "linkerd.clusterDomain": ("MSH017", ["cluster.local"], ["cluster local", ".a", "-a.b"]),
    "linkerd.logLevel": ("MSH004", ["info", "debug", "WARN"], ["loud", "warn,linkerd=info", ""]),
    "linkerd.proxyLogLevel": (
        "MSH004",
        ["warn", "warn,linkerd=info,hickory=error", "INFO", "off", "linkerd::app=debug,[{request}]=off", "a[b{c}]=5"],
        ["loud", "warn,", "linkerd=loud", "warn linkerd=info", "linkerd", "=info"],
    ),
    "linkerd.opaquePorts": (
        "MSH017",
        ["25", "25,3306,8000-8010", "1-65535", "80-80"],
        ["99999", "9000-8000", "0", "80-", "-80", "80,", "80, 81", "http", "65536", "1-2-3", "٣", "0" * 9_000 + "1"],
    ),
    "linkerd.skipInboundPorts": ("MSH017", ["4567,4568"], ["70000"]),
    "linkerd.clusterNetworks": (
        "MSH017",
        ["10.0.0.0/8", "10.0.0.0/8,fd00::/8", "10.1.2.3/8", "0.0.0.0/0"],
        [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/8, ::/0",
            "fe80::%eth0/64",
            "010.0.0.0/8",
            "a/8",
            "1",
        ],
    ),
    "linkerd.viz.prometheusUrl": (
        "MSH017",
        ["http://prometheus.monitoring:9090", "https://[::1]:9090/a?b"],
        [
            "prometheus:9090",
            "ftp://a",
            "http://",
            "http://a:99999",
            "http://a:b",
            "http://[::1",
            "http://a b",
            "http://a_b",
            "http://é",
        ],
    ),
    "linkerd.viz.dashboardHosts": (
        "MSH004",
        ["^(localhost|127\\.0\\.0\\.1|\\[::1\\])(:\\d+)?$", ".*", "a\\*+"],
        ["(", "a(?!b)", "(a)\\1", "a*+", "*", "[" * 5_000],
    ),
    "charts.repository": (
        "MSH305",
        ["https://charts.example.org/a", "oci://registry.example.org:5000/charts", "http://127.0.0.1:8080"],
        [
            "https://a:99999",
            "https://a:b/c",
            "https://[::1",
            "https://user:word@a/b",
            "https://a/b?c",
            "https://é/a",
            "https:///a",
        ],
    ),
}
SCALARS["linkerd.tracing"] = (
    "MSH017",
    [{**TRACING, "endpoint": value} for value in ("collector.tracing:4317", "10.0.0.1:4317", "[::1]:4317")],
    [
        {**TRACING, "endpoint": value}
        for value in (
            "collector",
            "http://collector:4317",
            "collector:0",
            "collector:99999",
            "a b:1",
            ":4317",
            "::1:4317",
        )
    ],
)


@pytest.mark.parametrize("path", SCALARS)
def test_a_value_is_taken_or_refused_as_by_what_reads_it(path: str) -> None:
    code, right, wrong = SCALARS[path]

    def said(value: Any) -> list[Diagnostic]:
        keys = at(path, value)
        if ".viz." in path:
            keys["linkerd"]["viz"]["enabled"] = True
        return faults(raw(mesh="linkerd", traffic={}, **keys))

    for value in right:
        assert said(value) == [], value
    for value in wrong:
        (fault,) = said(value)
        assert fault.code in (code, "MSH003") and fault.path.startswith(f"meshup:{path}"), value
        assert fault.remedy


@pytest.mark.parametrize("profile", ["demo", "default"])
def test_the_requests_of_the_charts_count_where_the_profile_leaves_them(profile: str) -> None:
    istio = {"profile": profile, "proxyResources": {"limits": {"memory": "64Mi"}}}
    expected = [] if profile == "demo" else [("MSH015", "meshup:istio.proxyResources")]
    assert codes(raw(environment="prod", istio=istio)) == expected


def test_what_meshup_knows_of_the_charts_resources_is_what_they_have() -> None:
    istiod, edge = defaults("istiod"), defaults("gateway")
    assert istiod["resources"] == ISTIOD_RESOURCES
    assert istiod["global"]["proxy"]["resources"] == SIDECAR_RESOURCES == edge["resources"]
    values = releases(LinkerdArgs(high_availability=True))[-1]["values"]["proxy"]["resources"]
    assert nested(chart_resources(Resources.of(HA_RESOURCES))) == values


def test_json_that_can_not_be_read_for_its_depth_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"meshup:traffic": "[" * 100_000, "meshup:istio": "{", "meshup:environment": "dev"}
    monkeypatch.setattr(pulumi.runtime, "get_config_env", lambda: values)
    monkeypatch.setattr(pulumi.runtime, "get_config_secret_keys_env", list[str])
    assert codes(settings.read_config()) == [("MSH001", "meshup:istio"), ("MSH014", "meshup:traffic")]


def test_a_secret_of_the_provider_is_not_in_a_report() -> None:
    kubernetes = {"context": "kind-dev", "helmReleaseSettings": "hunter2", "upsertExistingObjects": "hunter2"}
    found = faults(raw(kubernetes=kubernetes, secret=tuple(f"kubernetes:{key}" for key in kubernetes)))
    assert len(found) == 2
    assert "hunter2" not in render(found)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_refused_by_code_and_path(case: str) -> None:
    keys, expected = WRONG[case]
    assert codes(raw(**keys)) == expected


@pytest.mark.parametrize("case", WRONG)
def test_the_report_of_a_wrong_configuration_names_field_and_remedy(case: str) -> None:
    found = faults(raw(**WRONG[case][0]))
    report = render(found)
    for fault in found:
        assert fault.code in report
        assert fault.path in report
        assert fault.remedy
    assert "Traceback" not in report


def test_all_faults_of_a_configuration_are_found_at_once() -> None:
    config = raw(
        mesh="isto",
        apps=["bookinfo", "bokinfo"],
        istio={"replica": 1, "version": "1"},
        traffic=reviews(split={"v1": 99}),
    )
    assert codes(config) == [
        ("MSH002", "meshup:istio.replica"),
        ("MSH004", "meshup:apps[1]"),
        ("MSH004", "meshup:mesh"),
        ("MSH010", "meshup:istio.version"),
        ("MSH110", "meshup:traffic.reviews.split"),
    ]


def test_a_stack_without_an_environment_must_name_one() -> None:
    assert codes(raw(environment=None), "team-a") == [("MSH008", "meshup:environment")]


@pytest.mark.parametrize("stack", ENVIRONMENTS)
def test_a_stack_that_is_named_after_an_environment_gets_its_preset(stack: str) -> None:
    chosen, found = settings.load(raw(environment=None), stack)
    assert found == []
    assert chosen.environment == stack
    assert chosen.mtls == "strict"


def test_a_project_that_is_misspelt_is_refused_with_the_right_one() -> None:
    config = RawConfig({"environment": "dev"}, {"context": "a"}, frozenset(), ("meshpu:mesh", "aws:region"))
    found = settings.load(config, "dev")[1]
    assert [(fault.code, fault.path) for fault in found] == [("MSH002", "meshpu:mesh")]
    assert "meshup:mesh" in found[0].message


def test_the_nearest_known_key_is_suggested() -> None:
    remedy = faults(raw(istio={"replicsa": 1}))[0].remedy
    assert "Did you mean 'replicas'?" in remedy


def test_a_secret_value_is_never_in_a_report() -> None:
    config = raw(istio={"replicas": "hunter2", "egress": "hunter2", "hub": ["hunter2"]}, secret=("meshup:istio",))
    found = faults(config)
    assert len(found) == 3
    assert "hunter2" not in render(found)


def test_what_a_stack_sets_wins_over_the_preset_key_by_key() -> None:
    chosen, found = settings.load(raw(istio={"traceSampling": 5}), "dev")
    assert found == []
    istio = chosen.section(IstioSettings)
    assert (istio.trace_sampling, istio.access_log) == (5, "text")


def test_replicas_of_a_stack_put_aside_the_autoscaling_of_the_preset() -> None:
    chosen, found = settings.load(raw(environment="prod", istio={"replicas": 3}), "prod")
    assert found == []
    istio = chosen.section(IstioSettings)
    assert (istio.replicas, istio.autoscaling) == (3, None)


def test_the_right_configuration_has_no_fault() -> None:
    assert faults(raw()) == []


SURROGATES = st.text(st.characters(categories=["Cs", "Lu"]), max_size=3)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(settings.KEYS), value=JSON)
def test_no_value_of_any_key_raises_anything(key: str, value: Any) -> None:
    assert isinstance(render(faults(raw(**{key: value}))), str)


@pytest.mark.parametrize("key", sorted(settings.KEYS))
def test_a_key_without_a_value_is_read_or_refused_at_the_key_and_never_waited_for(key: str) -> None:
    found = faults(RawConfig(meshup={key: None}, kubernetes={"context": "kind-dev"}))
    assert {fault.path for fault in found} <= {f"meshup:{key}"}


def test_a_key_without_a_value_inside_a_section_is_refused_there() -> None:
    assert codes(raw(bookinfo={"replicas": None})) == [("MSH001", "meshup:bookinfo.replicas")]


@given(st.dictionaries(st.sampled_from(["replicas", "gateways", "values", "autoscaling", "version", "hub", "x"]), JSON))
def test_no_istio_section_raises_anything(section: dict[str, Any]) -> None:
    assert isinstance(render(faults(raw(istio=section))), str)


SECTIONS = {key: section for key, info in settings.FIELDS.items() if (section := section_of(info)) is not None}
WORDS = st.sampled_from(["", "a", "1Gi", "-1", "a:1", "http://a:b", "1-0", "::/0", "~nobody/x", "{", "\x00", "é", "/"])


@given(data=st.data(), key=st.sampled_from(sorted(SECTIONS)))
def test_no_value_of_any_setting_raises_anything(data: st.DataObject, key: str) -> None:
    section = SECTIONS[key]
    names = [info.alias or name for name, info in section.model_fields.items()]
    values = data.draw(st.dictionaries(st.sampled_from(names), WORDS | JSON | st.lists(WORDS, max_size=2), max_size=4))
    keys: dict[str, Any] = {"mesh": data.draw(st.sampled_from(["istio", "linkerd"])), key: values}
    assert isinstance(render(faults(raw(**keys))).encode("utf-8"), bytes)


@given(st.dictionaries(st.sampled_from(settings.PROVIDER_KEYS), WORDS | JSON.map(json.dumps), max_size=3))
def test_no_value_of_the_provider_raises_anything(kubernetes: dict[str, str]) -> None:
    assert isinstance(render(faults(raw(kubernetes=kubernetes))).encode("utf-8"), bytes)
