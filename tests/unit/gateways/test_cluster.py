"""What the cluster shows of gateways: certificates, claims of others, classes, addresses."""

import base64
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from components.diagnostics import Diagnostic
from components.gateways.certificates import check_certificate, check_pair
from components.manifests import Manifest
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import OWNER, build, compare, item, stack_of, view_of

NOW = dt.datetime(2027, 3, 1, tzinfo=dt.UTC)
ENVIRON = {"MESHUP_NOW": NOW.isoformat()}
HOST = "shop.example.com"


def pair(*names: str, days: int = 90, key: ec.EllipticCurvePrivateKey | None = None) -> tuple[bytes, bytes]:
    """A self-signed certificate, valid until so many days after now, and its key."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    made = (
        x509.CertificateBuilder(subject, subject, own.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=100))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .sign(own, hashes.SHA256())
    )
    private = (key or own).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def secret(certificate: bytes, key: bytes = b"k", kind: str = "kubernetes.io/tls", name: str = "shop-tls") -> Manifest:
    data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode()}
    return item("Secret", {"name": name, "namespace": "istio-ingress"}, type=kind, data=data)


def gateway(tls: Any = None, **more: Any) -> dict[str, Any]:
    listener = {"port": 443, "protocol": "https", "hosts": [HOST], "tls": tls or {"secret": "shop-tls"}}
    return {"public": {"listeners": [listener], **more}}


def found(gateways: Any, *live: Manifest, namespace: bool = True, **keys: Any) -> list[Diagnostic]:
    made = {"name": "istio-ingress", "annotations": {"meshup/stack": OWNER}}
    view = view_of(*live, *([item("Namespace", made)] if namespace else []))
    traffic = {"reviews": {"hosts": [HOST], "split": {"v1": 95, "v2": 5}}}
    config = raw(gateways=gateways, traffic=traffic, **keys)
    return compare(config, view, stack_of(environ=ENVIRON))[2]


def codes(*args: Any, **keys: Any) -> list[tuple[str, str]]:
    return [(fault.code, fault.severity) for fault in found(*args, **keys)]


def test_a_certificate_that_fits_is_nothing_to_report() -> None:
    assert codes(gateway(), secret(*pair(HOST))) == []
    assert codes(gateway(), secret(*pair("*.example.com"))) == []


def test_a_missing_secret_is_refused_once_its_namespace_is_there() -> None:
    assert codes(gateway()) == [("MSH413", "error")]
    assert codes(gateway(), namespace=False) == [("MSH413", "warning")]


@pytest.mark.parametrize(
    ("live", "code"),
    [
        (secret(*pair(HOST, days=-1)), "MSH414"),
        (secret(*pair("other.example.com")), "MSH414"),
        (secret(*pair("*.com")), "MSH414"),
        (secret(b"", b""), "MSH413"),
        (secret(b"no PEM", pair(HOST)[1]), "MSH413"),
        (secret(pair(HOST)[0], b"no PEM"), "MSH413"),
        (secret(*pair(HOST, key=ec.generate_private_key(ec.SECP256R1()))), "MSH413"),
    ],
    ids=["expired", "other host", "wildcard of another level", "empty", "no certificate", "no key", "another key"],
)
def test_a_certificate_that_clients_refuse_is_refused(live: Manifest, code: str) -> None:
    assert codes(gateway(), live) == [(code, "error")]


def test_no_report_shows_anything_of_a_secret() -> None:
    certificate, key = pair("other.example.com", days=-1)
    shown = str(found(gateway(), secret(certificate, key)))
    for text in (certificate, key):
        assert text.decode().splitlines()[1] not in shown
        assert base64.b64encode(text).decode() not in shown


def test_the_gateway_api_wants_a_secret_of_the_type_for_tls() -> None:
    live = secret(*pair(HOST), kind="Opaque")
    assert codes(gateway(), live) == []
    assert codes(gateway(api="gateway-api"), live) == [("MSH413", "error")]


def test_a_key_that_no_annotation_can_have_is_refused() -> None:
    wrong = build(raw(gateways=gateway(annotations={"foo bar/x": "1"})), stack_of(environ=ENVIRON), view_of())[1]
    assert [fault.code for fault in wrong] == ["MSH006"]
    assert codes(gateway(annotations={"a.example.com/X_1": "1"}), secret(*pair(HOST))) == []


def test_the_authority_of_clients_has_to_be_there() -> None:
    own = gateway({"secret": "shop-tls", "clientCa": "ca"})
    assert codes(own, secret(*pair(HOST))) == [("MSH413", "error")]
    authority = item("Secret", {"name": "ca", "namespace": "istio-ingress"}, data={"ca.crt": "eA=="})
    assert codes(own, secret(*pair(HOST)), authority) == []


def test_an_issuer_needs_cert_manager() -> None:
    own = gateway({"issuer": {"name": "letsencrypt"}})
    assert codes(own) == [("MSH415", "error")]
    assert codes(own, item("CustomResourceDefinition", {"name": "certificates.cert-manager.io"})) == []


def test_hosts_of_others_at_the_gateway_are_refused() -> None:
    live = secret(*pair(HOST))
    taken = {"hosts": [HOST], "gateways": ["istio-ingress/public"]}
    theirs = item("VirtualService", {"name": "a", "namespace": "istio-ingress"}, spec=taken)
    assert codes(gateway(), live, theirs) == [("MSH416", "error")]
    ours = {**theirs, "metadata": {**theirs["metadata"], "annotations": {"meshup/stack": OWNER}}}
    elsewhere = {**theirs, "metadata": {"name": "a", "namespace": "default"}}
    other = {**theirs, "spec": {**taken, "hosts": ["b.example.com"]}}
    assert codes(gateway(), live, ours, elsewhere, other) == []
    parent = {"name": "public", "namespace": "istio-ingress"}
    route = item("HTTPRoute", {"name": "a", "namespace": "shop"}, spec={"parentRefs": [parent], "hostnames": [HOST]})
    assert codes(gateway(api="gateway-api"), live, route) == [("MSH416", "error")]


def test_a_gateway_of_others_on_the_same_pods_and_port_is_refused() -> None:
    server = {"port": {"number": 443}, "hosts": ["*"]}
    spec = {"selector": {"istio": "public"}, "servers": [server]}
    theirs = item("Gateway", {"name": "theirs", "namespace": "default"}, spec=spec)
    assert codes(gateway(), secret(*pair(HOST)), theirs) == [("MSH420", "error")]


def test_a_gateway_that_got_no_address_is_said() -> None:
    live = secret(*pair(HOST))
    service = item("Service", {"name": "public", "namespace": "istio-ingress"}, spec={"type": "LoadBalancer"})
    assert codes(gateway(), live, service) == [("MSH417", "warning")]
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert codes(gateway(), live, {**service, "status": status}) == []


def test_the_class_of_another_controller_has_to_be_there() -> None:
    own = {"public": {**gateway()["public"], "class": "eg"}}
    live = {**secret(*pair(HOST)), "metadata": {"name": "shop-tls", "namespace": "linkerd-ingress"}}
    space = item("Namespace", {"name": "linkerd-ingress", "annotations": {"meshup/stack": OWNER}})
    known = item("GatewayClass", {"name": "eg"}, status={"conditions": [{"type": "Accepted", "status": "True"}]})
    refused = item("GatewayClass", {"name": "eg"}, status={"conditions": [{"type": "Accepted", "status": "False"}]})
    assert ("MSH418", "error") in codes(own, live, space, mesh="linkerd")
    assert ("MSH418", "error") in codes(own, live, space, refused, mesh="linkerd")
    assert codes(own, live, space, known, mesh="linkerd") == []


def test_linkerd_without_a_class_is_refused() -> None:
    _, faults = build(raw(gateways=gateway(), mesh="linkerd", traffic={}))
    assert ("MSH407", "meshup:gateways.public.class") in {(fault.code, fault.path) for fault in faults}


def test_files_have_to_be_a_certificate_with_its_key(tmp_path: Path) -> None:
    files = {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}

    def result(certificate: bytes, key: bytes) -> list[str]:
        Path(files["certificate"]).write_bytes(certificate)
        Path(files["key"]).write_bytes(key)
        return codes_of(files)

    def codes_of(tls: dict[str, str]) -> list[str]:
        config = raw(gateways=gateway(tls), traffic={})
        return [fault.code for fault in build(config, stack_of(environ=ENVIRON))[1]]

    assert codes_of(files) == ["MSH412", "MSH412"]
    assert result(*pair(HOST)) == []
    assert result(*pair(HOST, key=ec.generate_private_key(ec.SECP256R1()))) == ["MSH412"]
    assert result(b"nothing", pair(HOST)[1]) == ["MSH412"]
    assert result(pair(HOST)[0], b"nothing") == ["MSH412"]
    assert result(*pair("other.example.com")) == ["MSH414"]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(certificate: bytes, key: bytes) -> None:
    assert {part for part, _ in check_pair(certificate, key)} <= {"certificate", "key"}
    assert list(check_certificate(certificate, [HOST], NOW, "x")) == []
