"""The account of the pods of a gateway, which a policy names as the caller."""

from typing import Any

import pytest

from components.meshes import MESHES
from stacks import gateways, settings
from tests.unit.stacks.configs import raw

LISTENER = {"port": 80, "protocol": "http"}


def account(mesh: str = "istio", istio: dict[str, Any] | None = None, gateway_class: str = "", **keys: Any) -> str:
    keys |= {"class": gateway_class} if gateway_class else {}
    config = raw(mesh=mesh, gateways={"public": {"listeners": [LISTENER], **keys}}, istio=istio or {})
    chosen = settings.load(config, "dev")[0]
    (gateway,) = gateways.declared(chosen)[0]
    return str(MESHES[mesh].gateway_account(gateway, chosen))


def test_istios_chart_names_the_account_after_the_release() -> None:
    assert account() == "istio-ingress/public"
    assert account(istio={"gatewayNamespace": "edge"}) == "edge/public"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"public": {"serviceAccount": {"name": "door"}}}, "istio-ingress/door"),
        ({"gateway": {"serviceAccount": {"create": False}}}, "istio-ingress/default"),
        ({"gateway": {"name": "entry"}, "public": {"name": "door"}}, "istio-ingress/door"),
    ],
)
def test_raw_values_of_the_chart_decide_as_in_the_chart(values: dict[str, Any], name: str) -> None:
    assert account(istio={"values": values}) == name


def test_istiod_names_the_account_of_the_pods_that_it_makes_after_the_gateway_and_its_class() -> None:
    assert account(api="gateway-api") == "istio-ingress/public-istio"
    assert account(istio={"install": False}) == "istio-ingress/public-istio"


def test_the_account_of_pods_that_another_controller_makes_is_not_known() -> None:
    assert account(api="gateway-api", gateway_class="envoy") == "None"
    assert account("linkerd", gateway_class="envoy") == "None"
