"""What may be written under meshup:gateways, and what is refused."""

from typing import Any

import pytest

from components.meshes import MESHES
from stacks import gateways, settings
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

HTTP = {"port": 80, "protocol": "http"}
HTTPS = {"port": 443, "protocol": "https", "hosts": ["a.example.com"], "tls": {"secret": "a"}}


def codes(*listeners: Any, mesh: str = "istio", **more: Any) -> set[tuple[str, str]]:
    gateways = {"public": {"listeners": list(listeners), **more}}
    _, faults = build(raw(gateways=gateways, traffic={}, apps=[], mesh=mesh))
    return {(fault.code, fault.path.removeprefix("meshup:gateways.public").lstrip(".")) for fault in faults}


@pytest.mark.parametrize("api", ["istio", "gateway-api"])
def test_a_gateway_with_a_listener_of_each_kind_is_taken(api: str) -> None:
    passed = {"port": 8443, "protocol": "tls", "hosts": ["b.example.com"]}
    assert codes(HTTPS, {**HTTP, "redirect": "https"}, passed, api=api) == set()


@pytest.mark.parametrize(
    ("listeners", "fault"),
    [
        ([HTTP, {**HTTPS, "port": 80}], ("MSH404", "listeners[1].protocol")),
        ([HTTP, HTTP], ("MSH404", "listeners[1].hosts")),
        ([HTTPS, {**HTTPS, "protocol": "tls", "tls": None}], ("MSH404", "listeners[1].hosts")),
        ([{**HTTPS, "tls": None}], ("MSH405", "listeners[0].tls")),
        ([{**HTTP, "tls": {"secret": "a"}}], ("MSH405", "listeners[0].tls")),
        ([{**HTTPS, "tls": {}}], ("MSH405", "listeners[0].tls")),
        ([{**HTTPS, "tls": {"certificate": "/a"}}], ("MSH405", "listeners[0].tls.key")),
        ([{**HTTPS, "hosts": [], "tls": {"issuer": {"name": "a"}}}], ("MSH405", "listeners[0].hosts")),
        ([{**HTTP, "redirect": "https"}], ("MSH406", "listeners[0].redirect")),
        ([{**HTTP, "redirect": "https"}, {**HTTPS, "port": 8443}], ("MSH406", "listeners[0].redirect")),
        ([HTTPS, {**HTTP, "redirect": "https", "hosts": ["b.example.com"]}], ("MSH406", "listeners[1].redirect")),
        ([{**HTTPS, "redirect": "https"}], ("MSH406", "listeners[0].redirect")),
        ([{**HTTPS, "tls": {"secret": "a", "certificate": "/a"}}], ("MSH007", "listeners[0].tls")),
        ([{**HTTP, "port": 15021}], ("MSH420", "listeners[0].port")),
        ([{**HTTP, "hosts": ["A.example.com"]}], ("MSH006", "listeners[0].hosts[0]")),
    ],
)
def test_a_listener_that_can_not_be_is_refused(listeners: Any, fault: tuple[str, str]) -> None:
    written = [{key: value for key, value in one.items() if value is not None} for one in listeners]
    assert fault in codes(*written)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"api": "gateway-api", "serviceType": "None"}, ("MSH419", "serviceType")),
        ({"addresses": ["192.0.2.1", "192.0.2.2"]}, ("MSH419", "addresses")),
        ({"addresses": ["192.0.2.1"], "serviceType": "ClusterIP"}, ("MSH419", "addresses")),
        ({"class": "istio"}, ("MSH419", "class")),
        ({"api": "gateway-api", "class": "eg", "proxyProtocol": True}, ("MSH419", "proxyProtocol")),
        ({"replicas": 2, "autoscaling": {"min": 1, "max": 2}}, ("MSH007", "")),
        ({"api": "gateway-api", "annotations": {f"a.b/{n}": "x" for n in range(7)}}, ("MSH005", "annotations")),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(more: Any, fault: tuple[str, str]) -> None:
    assert fault in codes(HTTP, **more)


def test_without_listeners_there_are_only_pods() -> None:
    assert codes() == set()
    assert codes(api="gateway-api") == {("MSH003", "listeners")}


def test_every_mesh_has_an_api_for_gateways() -> None:
    for mesh in MESHES.values():
        assert mesh.gateway_apis


def test_to_a_mesh_of_somebody_else_no_chart_adds_pods() -> None:
    keys: dict[str, Any] = {"traffic": {}, "apps": [], "istio": {"install": False}}
    chosen, _ = settings.load(raw(gateways={"public": {"listeners": [HTTP]}}, **keys), "dev")
    (gateway,), faults = gateways.declared(chosen)
    assert (gateway.api, gateway.service, faults) == ("gateway-api", "public-istio", [])
    chosen, _ = settings.load(raw(gateways={"public": {"api": "istio", "listeners": [HTTP]}}, **keys), "dev")
    assert [fault.code for fault in gateways.declared(chosen)[1]] == ["MSH407"]
