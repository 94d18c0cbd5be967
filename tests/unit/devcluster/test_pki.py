import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from devcluster import pki


def test_a_server_certificate_is_valid_for_its_names_and_addresses_only() -> None:
    authority = pki.authority("test")
    pair = pki.issued(authority, "server", names=["localhost"], addresses=["127.0.0.1"])
    builder = verification.PolicyBuilder().store(verification.Store([authority.certificate]))
    verifier = builder.build_server_verifier(x509.DNSName("localhost"))
    assert verifier.verify(pair.certificate, [])
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("other")).verify(pair.certificate, [])


def test_a_client_certificate_carries_user_and_group_and_is_no_servers() -> None:
    authority = pki.authority("test")
    pair = pki.issued(authority, "meshup-admin", organization="system:masters")
    assert pair.certificate.subject.rfc4514_string() == "CN=meshup-admin,O=system:masters"
    purposes = pair.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_of_another_authority_is_refused() -> None:
    pair = pki.issued(pki.authority("one"), "server", names=["localhost"])
    store = verification.Store([pki.authority("one").certificate])
    verifier = verification.PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost"))
    with pytest.raises(verification.VerificationError):
        verifier.verify(pair.certificate, [])


def test_certificates_outlive_the_cluster() -> None:
    certificate = pki.authority("test").certificate
    assert certificate.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365)


def test_key_and_certificate_belong_together() -> None:
    pair = pki.authority("test")
    loaded = serialization.load_pem_private_key(pair.key_pem, password=None)
    assert loaded.public_key() == x509.load_pem_x509_certificate(pair.certificate_pem).public_key()
    assert pki.public_pem(pair.key).startswith(b"-----BEGIN PUBLIC KEY-----")
