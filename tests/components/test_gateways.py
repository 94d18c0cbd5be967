"""What a program with gateways registers, in which order, and that no key of a certificate is visible."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pulumi
import yaml

from stacks import gateways, outputs, program, settings
from stacks.settings import RawConfig
from stacks.state import Stack
from tests.components.recorder import Record, by_name, recorded
from tests.components.test_program import behind
from tests.unit.gateways.test_cluster import ENVIRON, pair
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import FakeCluster, item, planned, stack_of

GATEWAYS: dict[str, Any] = yaml.safe_load("""
public:
  listeners:
  - {port: 443, protocol: https, hosts: [shop.example.com], tls: {secret: shop-tls}}
  - {port: 80, protocol: http, redirect: https}
""")
TRAFFIC = {"reviews": {"hosts": ["shop.example.com"], "split": {"v1": 95, "v2": 5}}}


def registered(config: RawConfig, stack: Stack | None = None) -> dict[str, Record]:
    plan, cluster = planned(config, stack), settings.load(config, "dev")[0].cluster

    def build() -> None:
        program.register(plan, program.provider(cluster))

    return by_name(recorded(build))


def configured(**keys: Any) -> RawConfig:
    made: dict[str, Any] = {"gateways": GATEWAYS, "traffic": TRAFFIC} | keys
    return raw(**made)


def test_the_pods_come_by_istios_chart_with_the_ports_of_the_listeners() -> None:
    values = registered(configured())["istio-gateway-public"].inputs["values"]
    ports = {port["name"]: port["port"] for port in values["service"]["ports"]}
    assert ports == {"status-port": 15021, "https-443": 443, "http-80": 80}


def test_the_gateway_takes_its_own_pods_and_the_virtual_services_of_its_namespace() -> None:
    gateway = registered(configured())["gateways-public-gateway"].inputs
    assert gateway["metadata"]["namespace"] == "istio-ingress"
    assert gateway["spec"]["selector"] == {"app": "public", "istio": "public"}
    tls = {"mode": "SIMPLE", "credentialName": "shop-tls"}
    assert [(s["port"]["number"], s["hosts"], s["tls"]) for s in gateway["spec"]["servers"]] == [
        (443, ["./shop.example.com"], tls),
        (80, ["./*"], {"httpsRedirect": True}),
    ]


def test_routes_wait_for_their_gateway_and_that_for_the_mesh() -> None:
    records = registered(configured())
    route = "traffic-istio-ingress-host.shop.example.com.public-virtualservice"
    assert {"gateways-public-gateway", "istio-gateway-public"} <= behind(records, route)
    assert "istio-istiod" in behind(records, "gateways-public-gateway")


def test_by_the_gateway_api_the_controller_makes_the_pods() -> None:
    public = {**GATEWAYS["public"], "api": "gateway-api", "serviceType": "ClusterIP", "replicas": 2, "forwardedHops": 1}
    records = registered(configured(gateways={"public": public}))
    assert not [name for name in records if name.startswith("istio-gateway")]
    assert "istio-istio-ingress-namespace" in records
    spec = records["gateways-public-gateway"].inputs["spec"]
    annotations = spec["infrastructure"]["annotations"]
    assert annotations["networking.istio.io/service-type"] == "ClusterIP"
    assert json.loads(annotations["proxy.istio.io/config"]) == {"gatewayTopology": {"numTrustedProxies": 1}}
    laid = records["gateways-public-parameters-configmap"].inputs["data"]
    assert json.loads(laid["deployment"]) == {"spec": {"replicas": 2}}
    https, http = spec["listeners"]
    assert https["allowedRoutes"]["namespaces"]["selector"]["matchExpressions"][0]["values"] == ["bookinfo"]
    assert http["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    redirect = records["gateways-public-http-80-redirect-httproute"].inputs["spec"]
    assert redirect["parentRefs"][0]["sectionName"] == "http-80"


def test_the_old_key_and_the_new_one_register_the_same_pods() -> None:
    old = registered(
        configured(gateways=None, traffic=None, istio={"gateways": [{"name": "istio-ingress", "replicas": 2}]})
    )
    new = registered(configured(gateways={"istio-ingress": {"replicas": 2}}, traffic=None))
    assert {name: record.inputs for name, record in old.items()} == {name: r.inputs for name, r in new.items()}


def test_the_key_of_a_certificate_is_a_secret_and_in_no_other_place(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, text in zip((certificate, key), pair("shop.example.com"), strict=True):
        file.write_bytes(text)
    private = key.read_text().splitlines()[1]
    listener = {**GATEWAYS["public"]["listeners"][0], "tls": {"certificate": str(certificate), "key": str(key)}}
    config = raw(gateways={"public": {"listeners": [listener]}}, traffic=TRAFFIC)
    plan = planned(config, stack_of(environ=ENVIRON))
    assert private not in repr(plan)
    assert private not in json.dumps(outputs.outputs(plan))
    records = registered(config, stack_of(environ=ENVIRON))
    secret = records["gateways-public-https-443-tls-secret"]
    # The mark of a secret on the wire (sdk/go/common/resource/sig.go).
    mark = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
    assert all(mark.items() <= value.items() for value in secret.inputs["data"].values())
    assert "gateways-public-https-443-tls-secret" in behind(records, "gateways-public-gateway")
    del records["gateways-public-https-443-tls-secret"]
    assert private not in str([record.inputs for record in records.values()])


def test_the_address_is_read_once_the_objects_of_the_gateway_are_there() -> None:
    config = configured()
    plan, cluster = planned(config), settings.load(config, "dev")[0].cluster
    found: dict[str, Any] = {}

    def build() -> None:
        later = program.register(plan, program.provider(cluster), lambda gateway: f"address of {gateway.service}")
        pulumi.Output.from_input(later["gateways"]).apply(found.update)

    recorded(build)
    assert found["public"]["address"] == "address of public"


def test_the_address_is_that_of_the_service_or_of_the_gateway_of_another_controller() -> None:
    (gateway,) = planned(configured()).gateways.gateways
    other = replace(gateway, api="gateway-api", class_name="eg", service="")
    name = {"name": "public", "namespace": "istio-ingress"}
    service = item("Service", name, spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "a"}]}})
    own = item("Gateway", name, status={"addresses": [{"type": "Hostname", "value": "b"}]})

    class Live(FakeCluster):
        def forget_kinds(self) -> None:
            pass

    cluster = cast("Any", Live([service, own]))
    assert gateways.address(gateway, cluster) == "a"
    assert gateways.address(other, cluster) == "b"
    assert gateways.address(gateway, cast("Any", Live([]))) is None
    assert gateways.address(gateway, cast("Any", Live([], refused=["Service"]))) is None


def test_the_output_says_how_a_gateway_is_reached() -> None:
    made = outputs.outputs(planned(raw(gateways=GATEWAYS, traffic=TRAFFIC)))["gateways"]["public"]
    assert made["urls"] == ["https://shop.example.com/"]
    assert made["open"]["command"] == ("kubectl --namespace istio-ingress port-forward service/public 8443:443 8080:80")
    assert "gateways" not in outputs.outputs(planned(raw()))
