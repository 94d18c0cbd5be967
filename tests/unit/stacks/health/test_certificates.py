"""Certificates of the mesh: expired, ending, unreadable, of another authority."""

from datetime import timedelta

import pytest

from components.manifests import Manifest
from components.meshes.linkerd.identity.certificates import Issued, anchor_profile, issue, issuer_profile
from stacks.health.certificates import CERTIFICATES
from tests.unit.stacks.configs import NOW
from tests.unit.stacks.health.subjects import found, secret, subject

DAY = timedelta(days=1)
ANCHOR, ISSUER = "ConfigMap/linkerd/linkerd-identity-trust-roots", "Secret/linkerd/linkerd-identity-issuer"


def anchor(days: float = 365, ago: float = 0) -> Issued:
    return issue(anchor_profile("cluster.local", days * DAY, DAY), NOW - ago * DAY)


def issuer(by: Issued, days: float = 365, ago: float = 0) -> Issued:
    return issue(issuer_profile("cluster.local", days * DAY, DAY), NOW - ago * DAY, by)


def linkerd(roots: str, chain: str) -> list[Manifest]:
    return [
        secret("ConfigMap", "linkerd-identity-trust-roots", "linkerd", **{"ca-bundle_crt": roots}),
        secret("Secret", "linkerd-identity-issuer", "linkerd", crt_pem=chain),
    ]


def judged(roots: str, chain: str) -> list[tuple[str, str]]:
    return found(CERTIFICATES, subject(*linkerd(roots, chain), mesh="linkerd"))


GOOD = anchor(3650)


def test_valid_certificates_of_one_chain_are_fine() -> None:
    assert judged(GOOD.certificate_pem, issuer(GOOD).certificate_pem) == []


@pytest.mark.parametrize(
    ("days", "ago", "code"),
    [(30, 31, "MSH788"), (365, -2, "MSH788"), (365, 320, "MSH789"), (365, 300, ""), (2, 1, ""), (2, 1.8, "MSH789")],
)
def test_an_issuer_warns_in_its_last_sixty_days_or_its_last_quarter(days: float, ago: float, code: str) -> None:
    """Without it: 24 hours after the end of the issuer, every proxy has an expired certificate."""
    signer = anchor(3650, 400)
    expected = [(code, ISSUER)] if code else []
    assert judged(signer.certificate_pem, issuer(signer, days, ago).certificate_pem) == expected


def test_an_issuer_of_another_anchor_is_found() -> None:
    other = anchor(3650)
    assert judged(other.certificate_pem, issuer(GOOD).certificate_pem) == [("MSH790", ISSUER)]
    both = f"{other.certificate_pem}{GOOD.certificate_pem}"
    assert judged(both, issuer(GOOD).certificate_pem) == []


def test_text_that_is_no_certificate_is_found_and_what_may_not_be_read_is_left_out() -> None:
    assert judged("nonsense", issuer(GOOD).certificate_pem) == [("MSH790", ANCHOR)]
    live = linkerd(GOOD.certificate_pem, issuer(anchor()).certificate_pem)
    assert found(CERTIFICATES, subject(*live, refused=["Secret"], mesh="linkerd")) == []
    assert found(CERTIFICATES, subject(mesh="linkerd")) == []


def test_of_two_authorities_of_istiod_that_counts_which_has_signed_with_the_root() -> None:
    live = [
        secret("ConfigMap", "istio-ca-root-cert", "istio-system", **{"root-cert_pem": GOOD.certificate_pem}),
        secret("Secret", "istio-ca-secret", "istio-system", **{"ca-cert_pem": anchor().certificate_pem}),
    ]
    assert found(CERTIFICATES, subject(*live)) == [("MSH790", "Secret/istio-system/istio-ca-secret")]
    chain = f"{issuer(GOOD).certificate_pem}{GOOD.certificate_pem}"
    entries = {"cert-chain_pem": chain, "ca-cert_pem": anchor().certificate_pem}
    assert found(CERTIFICATES, subject(*live, secret("Secret", "cacerts", "istio-system", **entries))) == []
    given = secret("Secret", "cacerts", "istio-system", **{"ca-cert_pem": issuer(GOOD).certificate_pem})
    assert found(CERTIFICATES, subject(*live, given)) == []
    foreign = secret("Secret", "cacerts", "istio-system", **{"ca-cert_pem": issuer(anchor()).certificate_pem})
    assert found(CERTIFICATES, subject(*live, foreign)) == [("MSH790", "Secret/istio-system/cacerts")]
    own = secret("Secret", "istio-ca-secret", "istio-system", **{"ca-cert_pem": GOOD.certificate_pem})
    assert found(CERTIFICATES, subject(live[0], own, foreign)) == []
