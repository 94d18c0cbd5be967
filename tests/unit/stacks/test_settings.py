from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.routing import Diagnostic, render
from stacks import settings
from stacks.charts import Charts
from stacks.environments import ENVIRONMENTS
from stacks.plan import plan
from stacks.settings import RawConfig
from tests.unit.stacks.configs import raw


def faults(config: RawConfig, stack: str = "dev") -> list[Diagnostic]:
    chosen, found = settings.load(config, stack)
    return [*found, *plan(chosen, Charts())[1]]


def codes(config: RawConfig, stack: str = "dev") -> list[tuple[str, str]]:
    return sorted((fault.code, fault.path) for fault in faults(config, stack))


def reviews(**route: Any) -> dict[str, Any]:
    return {"reviews": {"namespace": "bookinfo", **route}}


def gateway(**keys: Any) -> dict[str, Any]:
    return {"gateways": [{"name": "edge", **keys}]}


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
    "an unknown key of the provider": (
        {"kubernetes": {"context": "kind-dev", "contxt": "a"}},
        [("MSH002", "kubernetes:contxt")],
    ),
}


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
    message = faults(raw(istio={"replicsa": 1}))[0].message
    assert "Did you mean replicas?" in message


def test_a_secret_value_is_never_in_a_report() -> None:
    config = raw(istio={"replicas": "hunter2", "egress": "hunter2", "hub": ["hunter2"]}, secret=("meshup:istio",))
    found = faults(config)
    assert len(found) == 3
    assert "hunter2" not in render(found)


def test_what_a_stack_sets_wins_over_the_preset_key_by_key() -> None:
    chosen, found = settings.load(raw(istio={"traceSampling": 5}), "dev")
    assert found == []
    assert (chosen.istio.trace_sampling, chosen.istio.access_log) == (5, "text")


def test_replicas_of_a_stack_put_aside_the_autoscaling_of_the_preset() -> None:
    chosen, found = settings.load(raw(environment="prod", istio={"replicas": 3}), "prod")
    assert found == []
    assert (chosen.istio.replicas, chosen.istio.autoscaling) == (3, None)


def test_the_right_configuration_has_no_fault() -> None:
    assert faults(raw()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
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
