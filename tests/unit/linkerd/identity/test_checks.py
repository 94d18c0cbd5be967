"""Every wrong identity is refused before anything is deployed, with code, field and remedy."""

import base64
import textwrap
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.diagnostics import Diagnostic, errors
from components.meshes.linkerd.identity.checks import Provided, check_provided
from tests.unit.linkerd.identity.material import DAY, NOW, Made, key_pem, make, p256

ANCHOR, ISSUER, KEY = "anchors", "issuer", "key"
OLD_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def check(provided: Provided, minimum_days: int = 14) -> list[Diagnostic]:
    return check_provided(provided, NOW, minimum_days, anchors_path=ANCHOR, issuer_path=ISSUER, key_path=KEY)


def anchor(**changes: object) -> Made:
    return make("root.linkerd.cluster.local", **{"path_length": 1, "end": NOW + 3650 * DAY, **changes})  # pyright: ignore[reportArgumentType] # keywords of make


def issuer(signer: Made, **changes: object) -> Made:
    return make("identity.linkerd.cluster.local", signer, **{"path_length": 0, **changes})  # pyright: ignore[reportArgumentType] # keywords of make


def pair(root: Made, below: Made) -> Provided:
    return Provided(root.pem, below.pem, below.key_pem)


def good() -> tuple[Made, Made]:
    root = anchor()
    return root, issuer(root)


def test_a_good_identity_has_no_fault() -> None:
    assert check(pair(*good())) == []


def test_an_rsa_anchor_with_an_ecdsa_issuer_and_a_sec1_key_is_good() -> None:
    root = anchor(key=OLD_RSA)
    below = issuer(root)
    assert check(Provided(root.pem, below.pem, key_pem(below.key, traditional=True))) == []


def test_an_intermediate_after_the_issuer_leads_to_the_anchor() -> None:
    root = anchor(path_length=2)
    middle = make("middle", root, path_length=1)
    below = issuer(middle)
    assert check(Provided(root.pem, below.pem + middle.pem, below.key_pem)) == []
    assert [fault.code for fault in check(pair(root, below))] == ["MSH207"]


def _with(change: Callable[[Made, Made], Provided]) -> Provided:
    return change(*good())


def _other_anchor(_root: Made, below: Made) -> Provided:
    return pair(anchor(), below)


def _short_middle() -> Provided:
    root = anchor(path_length=1)
    middle = make("middle", root, path_length=0)
    below = issuer(middle)
    return Provided(root.pem, below.pem + middle.pem, below.key_pem)


def _below(signer: Callable[[], Made] = anchor, **changes: object) -> Provided:
    root = signer()
    return pair(root, issuer(root, **changes))


WRONG: dict[str, tuple[Callable[[], Provided], set[tuple[str, str]]]] = {
    "issuer expired": (lambda: _below(start=NOW - 9 * DAY, end=NOW - 2 * DAY), {("MSH209", ISSUER)}),
    "issuer not yet valid": (lambda: _below(start=NOW + DAY), {("MSH210", ISSUER)}),
    "issuer of five days": (lambda: _below(end=NOW + 5 * DAY), {("MSH211", ISSUER)}),
    "anchor expired": (
        lambda: _below(lambda: anchor(start=NOW - 9 * DAY, end=NOW - DAY)),
        {("MSH209", ANCHOR)},
    ),
    "anchor not yet valid": (lambda: _below(lambda: anchor(start=NOW + DAY)), {("MSH210", ANCHOR)}),
    "anchor of three days": (lambda: _below(lambda: anchor(end=NOW + 3 * DAY)), {("MSH211", ANCHOR)}),
    "issuer with an RSA key": (lambda: _below(key=OLD_RSA), {("MSH203", ISSUER)}),
    "issuer on the curve P-384": (
        lambda: _below(key=ec.generate_private_key(ec.SECP384R1())),
        {("MSH203", ISSUER)},
    ),
    "anchor on the curve P-384": (
        lambda: _below(lambda: anchor(key=ec.generate_private_key(ec.SECP384R1()))),
        {("MSH203", ANCHOR)},
    ),
    "anchor with RSA 3072": (
        lambda: _below(lambda: anchor(key=rsa.generate_private_key(public_exponent=65537, key_size=3072))),
        {("MSH203", ANCHOR)},
    ),
    "anchor with Ed25519": (
        lambda: _below(lambda: anchor(key=ed25519.Ed25519PrivateKey.generate())),
        {("MSH203", ANCHOR), ("MSH204", ANCHOR), ("MSH204", ISSUER)},
    ),
    "issuer signed with SHA-384": (lambda: _below(digest=hashes.SHA384()), {("MSH204", ISSUER)}),
    "issuer that is no CA": (lambda: _below(ca=False), {("MSH205", ISSUER)}),
    "issuer without basic constraints": (lambda: _below(ca=None), {("MSH205", ISSUER)}),
    "issuer that may not sign": (lambda: _below(cert_sign=False), {("MSH205", ISSUER)}),
    "anchor that is no CA": (lambda: _below(lambda: anchor(ca=False)), {("MSH205", ANCHOR)}),
    "anchor with path length 0": (lambda: _below(lambda: anchor(path_length=0)), {("MSH206", ISSUER)}),
    "intermediate with path length 0": (_short_middle, {("MSH206", ISSUER)}),
    "another anchor of the same name": (lambda: _with(_other_anchor), {("MSH207", ISSUER)}),
    "a key of something else": (
        lambda: _with(lambda root, below: Provided(root.pem, below.pem, key_pem(p256()))),
        {("MSH208", KEY)},
    ),
    "truncated issuer": (
        lambda: _with(lambda root, below: Provided(root.pem, below.pem[:-30], below.key_pem)),
        {("MSH201", ISSUER)},
    ),
    "broken base64 in the anchor": (
        lambda: _with(lambda root, below: Provided(root.pem.replace("\nMII", "\n!!!", 1), below.pem, below.key_pem)),
        {("MSH201", ANCHOR)},
    ),
    "no PEM at all": (
        lambda: _with(lambda _root, below: Provided("trust me", below.pem, below.key_pem)),
        {("MSH201", ANCHOR)},
    ),
    "text beyond ASCII": (
        lambda: _with(lambda root, below: Provided(root.pem, "é" + below.pem, below.key_pem)),
        {("MSH201", ISSUER)},
    ),
    "a certificate where the key belongs": (
        lambda: _with(lambda root, below: Provided(root.pem, below.pem, below.pem)),
        {("MSH201", KEY)},
    ),
    "truncated key": (
        lambda: _with(lambda root, below: Provided(root.pem, below.pem, below.key_pem[:60])),
        {("MSH201", KEY)},
    ),
    "key with a passphrase": (
        lambda: _with(lambda root, below: Provided(root.pem, below.pem, key_pem(below.key, b"secret"))),
        {("MSH213", KEY)},
    ),
    "a private key in the trust bundle": (
        lambda: _with(lambda root, below: Provided(root.pem + root.key_pem, below.pem, below.key_pem)),
        {("MSH202", ANCHOR)},
    ),
    "the same anchor twice": (
        lambda: _with(lambda root, below: Provided(root.pem * 2, below.pem, below.key_pem)),
        {("MSH219", f"{ANCHOR}[1]")},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_identity_is_refused_with_code_field_and_remedy(case: str) -> None:
    build, expected = WRONG[case]
    provided = build()
    found = errors(check(provided))
    assert {(fault.code, fault.path) for fault in found} == expected
    for fault in found:
        assert fault.message
        assert fault.remedy
        shown = str(fault.as_dict())
        assert "PRIVATE KEY" not in shown.replace("PRIVATE KEY or EC PRIVATE KEY", "")
        assert provided.issuer_key_pem.splitlines()[1] not in shown


def test_several_faults_are_reported_at_once() -> None:
    root = anchor(end=NOW + DAY)
    below = make("identity", anchor(), key=OLD_RSA, ca=False, end=NOW - DAY / 2)
    codes = {fault.code for fault in check(Provided(root.pem, below.pem, key_pem(p256())))}
    assert codes >= {"MSH203", "MSH205", "MSH207", "MSH208", "MSH209", "MSH211"}


@pytest.mark.parametrize(("days", "code"), [(13, "MSH211"), (15, "MSH212"), (59, "MSH212"), (61, None)])
def test_remaining_days_refuse_then_warn_then_pass(days: int, code: str | None) -> None:
    found = check(_below(end=NOW + days * DAY))
    assert [fault.code for fault in found] == ([code] if code else [])
    assert all((fault.severity == "warning") == (fault.code == "MSH212") for fault in found)


def test_an_issuer_that_outlives_its_anchor_is_a_warning() -> None:
    root = anchor(end=NOW + 100 * DAY)
    found = check(pair(root, issuer(root, end=NOW + 200 * DAY)))
    assert [(fault.code, fault.severity) for fault in found] == [("MSH214", "warning")]


def test_the_key_is_not_in_the_representation() -> None:
    assert "PRIVATE" not in repr(pair(*good()))


_GOOD = pair(*good())


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_text_makes_the_checks_fail_themselves(anchors: str, certificate: str, key: str) -> None:
    assert errors(check(Provided(anchors, certificate, key)))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255), st.sampled_from(["anchor", "issuer", "key"]))
def test_no_damaged_byte_makes_the_checks_fail_themselves(place: int, value: int, where: str) -> None:
    texts = {"anchor": _GOOD.anchors_pem, "issuer": _GOOD.issuer_certificate_pem, "key": _GOOD.issuer_key_pem}
    first, *lines, last = texts[where].strip().splitlines()
    der = bytearray(base64.b64decode("".join(lines)))
    der[place % len(der)] = value
    body = textwrap.fill(base64.b64encode(der).decode(), 64)
    texts[where] = f"{first}\n{body}\n{last}\n"
    for fault in check(Provided(texts["anchor"], texts["issuer"], texts["key"])):
        assert fault.code.startswith("MSH2")
