import itertools
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from components import clock
from components.meshes.linkerd.identity import certificates
from components.meshes.linkerd.identity.certificates import Issued
from components.meshes.linkerd.identity.checks import Provided, check_provided
from components.meshes.linkerd.identity.resource import CertificateProvider, next_material, outputs, rotation_fault
from tests.unit.linkerd.identity.material import DAY, NOW

TEN_YEARS, YEAR, WINDOW = 3650 * DAY, 365 * DAY, 90 * DAY


def anchor() -> Issued:
    return certificates.issue(certificates.anchor_profile("cluster.local", TEN_YEARS, WINDOW), NOW)


def issuer(signer: Issued) -> Issued:
    return certificates.issue(certificates.issuer_profile("cluster.local", YEAR, WINDOW), NOW, signer)


def test_what_is_made_here_passes_the_checks_for_what_is_brought() -> None:
    root = anchor()
    below = issuer(root)
    provided = Provided(root.certificate_pem, below.certificate_pem, below.private_key_pem)
    assert check_provided(provided, NOW, 60, anchors_path="a", issuer_path="i", key_path="k") == []


def test_keys_are_p256_in_pkcs8_and_hidden_in_the_representation() -> None:
    root = anchor()
    key = serialization.load_pem_private_key(root.private_key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert root.private_key_pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in repr(root)


def test_an_issuer_may_sign_no_further_authority_and_ends_with_its_anchor() -> None:
    short = certificates.issue(certificates.anchor_profile("cluster.local", 100 * DAY, WINDOW), NOW)
    below = certificates.load_certificate(issuer(short).certificate_pem)
    constraints = below.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert below.not_valid_after_utc == certificates.read(short.certificate_pem).not_after


def test_a_webhook_certificate_names_its_service_and_signs_nothing() -> None:
    made = certificates.issue(certificates.webhook_profile("tap", "linkerd-viz", YEAR, WINDOW), NOW)
    certificate = certificates.load_certificate(made.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["tap.linkerd-viz.svc"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificates.is_signed_by(made.certificate_pem, made.certificate_pem)


def test_an_expired_anchor_signs_nothing() -> None:
    profile = certificates.issuer_profile("cluster.local", YEAR, WINDOW)
    with pytest.raises(ValueError, match="expired"):
        certificates.issue(profile, NOW + 4000 * DAY, anchor())


def test_an_issuer_needs_a_signer_and_a_webhook_takes_none() -> None:
    with pytest.raises(ValueError, match="signed"):
        certificates.issue(certificates.issuer_profile("cluster.local", YEAR, WINDOW), NOW)
    with pytest.raises(ValueError, match="signed"):
        certificates.issue(certificates.webhook_profile("a", "b", YEAR, WINDOW), NOW, anchor())


@settings(deadline=None)
@given(st.integers(min_value=-400, max_value=800))
def test_renewal_is_due_exactly_in_the_window(day: int) -> None:
    end = certificates.read(_ISSUER.certificate_pem).not_after
    due = certificates.renewal_due(_ISSUER.certificate_pem, WINDOW, NOW + day * DAY)
    assert due == (NOW + day * DAY >= end - WINDOW)


def test_an_issuer_that_ends_with_its_anchor_is_not_renewed_again_and_again() -> None:
    root = anchor()
    end = certificates.read(root.certificate_pem).not_after
    last = certificates.issue(certificates.issuer_profile("cluster.local", YEAR, WINDOW), end - 100 * DAY, root)
    assert certificates.read(last.certificate_pem).not_after == end
    assert not certificates.renewal_due(last.certificate_pem, WINDOW, end - DAY, end)
    assert certificates.renewal_due(last.certificate_pem, WINDOW, end - DAY, end + DAY)


def test_an_anchor_renewed_with_its_key_stays_the_authority_of_what_it_signed() -> None:
    root = anchor()
    below = issuer(root)
    profile = certificates.anchor_profile("cluster.local", TEN_YEARS, WINDOW)
    renewed = certificates.issue(profile, NOW + 3600 * DAY, private_key_pem=root.private_key_pem)
    assert certificates.is_signed_by(below.certificate_pem, renewed.certificate_pem)
    assert certificates.members(renewed.certificate_pem) == certificates.members(root.certificate_pem)


def test_a_bundle_has_each_certificate_once_in_order() -> None:
    one, two = anchor().certificate_pem, anchor().certificate_pem
    assert certificates.bundle([one, two, one]) == one + two
    assert certificates.split(one + two) == [one, two]


def test_the_restart_hash_follows_bundle_and_signer_only() -> None:
    one, two = anchor(), anchor()
    both = one.certificate_pem + two.certificate_pem
    begun = certificates.restart_hash(one.certificate_pem, one.certificate_pem)
    introduced = certificates.restart_hash(both, one.certificate_pem)
    moved = certificates.restart_hash(both, two.certificate_pem)
    ended = certificates.restart_hash(two.certificate_pem, two.certificate_pem)
    assert len({begun, introduced, moved, ended}) == 4


def properties(role: str, **more: object) -> dict[str, object]:
    name = {"anchor": "root.linkerd.cluster.local", "issuer": "identity.linkerd.cluster.local"}[role]
    return {
        "role": role,
        "commonName": name,
        "dnsNames": [name],
        "validityDays": 365.0,
        "renewBeforeDays": 90.0,
        **more,
    }


def signed(root: Issued, bundle: str) -> dict[str, object]:
    return properties(
        "issuer",
        signerCertificatePEM=root.certificate_pem,
        signerPrivateKeyPEM=root.private_key_pem,
        trustBundlePEM=bundle,
    )


def test_the_resource_keeps_its_certificate_until_the_window() -> None:
    news = properties("anchor")
    first = next_material({}, news, NOW)
    state = outputs(news, first)
    assert next_material(state, news, NOW + 274 * DAY) == first
    renewed = next_material(state, news, NOW + 280 * DAY)
    assert renewed.certificate_pem != first.certificate_pem
    assert renewed.private_key_pem == first.private_key_pem, "an anchor keeps its key"


def test_an_issuer_gets_a_new_key_when_it_is_renewed_and_when_its_anchor_changes() -> None:
    root, other = anchor(), anchor()
    news = signed(root, root.certificate_pem)
    first = next_material({}, news, NOW)
    state = outputs(news, first)
    assert next_material(state, news, NOW + 300 * DAY).private_key_pem != first.private_key_pem
    both = root.certificate_pem + other.certificate_pem
    assert next_material(state, signed(root, both), NOW) == first, "the bundle alone changes nothing"
    moved = next_material(state, signed(other, both), NOW)
    assert certificates.is_signed_by(moved.certificate_pem, other.certificate_pem)


def test_the_signers_key_is_not_repeated_in_the_outputs() -> None:
    root = anchor()
    news = signed(root, root.certificate_pem)
    assert root.private_key_pem not in str(outputs(news, next_material({}, news, NOW)))


def test_a_step_of_the_rotation_can_not_be_left_out() -> None:
    old, new = anchor(), anchor()
    one, two = old.certificate_pem, new.certificate_pem
    steps = [signed(old, one), signed(old, one + two), signed(new, one + two), signed(new, two)]
    for olds, news in itertools.pairwise(steps):
        assert rotation_fault(olds, news) is None
        assert rotation_fault(news, olds) is None, "and each step can be taken back"
    assert rotation_fault({}, steps[0]) is None
    for olds, news in ((steps[0], steps[2]), (steps[0], steps[3]), (steps[1], steps[3])):
        fault = rotation_fault(olds, news)
        assert fault is not None
        assert fault.code == "MSH216"


def test_the_provider_fails_the_check_with_code_and_remedy() -> None:
    old, new = anchor(), anchor()
    result = CertificateProvider().check(signed(old, old.certificate_pem), signed(new, new.certificate_pem))
    assert [failure.reason.split()[0] for failure in result.failures] == ["MSH216"]


def test_the_clock_is_the_machines_unless_it_is_set() -> None:
    assert clock.now({"MESHUP_NOW": "2027-03-01T01:00:00+01:00"}).isoformat() == "2027-03-01T00:00:00+00:00"
    assert clock.now({}).utcoffset() == timedelta(0)
    for wrong in ("tomorrow", "2027-03-01T00:00:00"):
        with pytest.raises(ValueError, match="MESHUP_NOW"):
            clock.now({"MESHUP_NOW": wrong})


_ISSUER = issuer(anchor())
