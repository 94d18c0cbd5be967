"""Create and parse Linkerd's certificates. Pure: the time is an argument.

Facts (Linkerd edge-26.8.3): the issuer is ECDSA P-256 and a CA (pkg/issuercerts/issuercerts.go);
the names `root.linkerd.<domain>` and `identity.linkerd.<domain>` are the convention of its documentation; a webhook's
certificate carries the DNS name of its Service (proxy-injector-rbac.yaml, destination-rbac.yaml). Keys are PKCS#8:
the policy controller's certificate is documented so, and the other programs read it too (pkg/tls/codec.go).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Role = Literal["anchor", "issuer", "webhook"]

CLOCK_SKEW = timedelta(minutes=5)
"""A new certificate is backdated, so that a machine whose clock is behind accepts it."""

# RFC 5280 puts notAfter within a GeneralizedTime; Go and Python read no year beyond it.
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Profile:
    """Properties of a certificate, except its key and its dates.

    Attributes:
        role: `anchor` (self-signed CA), `issuer` (CA signed by an anchor, signs no further CA), `webhook` (self-signed
            server certificate, which is its own CA bundle).
        common_name: Common name of the subject.
        dns_names: DNS subject alternative names; a webhook needs the name of its Service.
        validity: Validity of a new certificate.
        renew_before: The renewal window before its end.
    """

    role: Role
    common_name: str
    dns_names: tuple[str, ...]
    validity: timedelta
    renew_before: timedelta


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both as PEM. The key is not in its `repr`."""

    certificate_pem: str
    private_key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """The fields of a certificate. Times are UTC; the serial number is decimal, as text."""

    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


def anchor_profile(domain: str, validity: timedelta, renew_before: timedelta) -> Profile:
    """Return the profile of the trust anchor of a trust domain."""
    name = f"root.linkerd.{domain}"
    return Profile("anchor", name, (name,), validity, renew_before)


def issuer_profile(domain: str, validity: timedelta, renew_before: timedelta) -> Profile:
    """Return the profile of the identity issuer of a trust domain."""
    name = f"identity.linkerd.{domain}"
    return Profile("issuer", name, (name,), validity, renew_before)


def webhook_profile(service: str, namespace: str, validity: timedelta, renew_before: timedelta) -> Profile:
    """Return the profile of a webhook's serving certificate: the API server asks for `<service>.<namespace>.svc`."""
    name = f"{service}.{namespace}.svc"
    return Profile("webhook", name, (name,), validity, renew_before)


def issue(profile: Profile, now: datetime, signer: Issued | None = None, private_key_pem: str = "") -> Issued:
    """Create a certificate.

    Args:
        profile: Its profile.
        now: The current time, with a time zone.
        signer: The anchor that signs an issuer. Anchors and webhooks sign themselves.
        private_key_pem: The key to reuse; "" generates one. A renewed anchor keeps its key: everything that it
            signed stays valid, and proxies that still hold the old certificate accept the same chain.

    Raises:
        ValueError: An issuer without a signer, or another role with one; an unreadable key; a signer that has expired.
    """
    if (profile.role == "issuer") != (signer is not None):
        raise ValueError(
            f"a certificate for {profile.role} is {'' if profile.role == 'issuer' else 'not '}signed by an anchor"
        )
    key = _load_key(private_key_pem) if private_key_pem else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)])
    issuer_name, signing_key = subject, key
    start = now.astimezone(UTC).replace(microsecond=0) - CLOCK_SKEW
    end = min(start + profile.validity + CLOCK_SKEW, _LAST)
    if signer is not None:
        anchor = load_certificate(signer.certificate_pem)
        issuer_name, signing_key = anchor.subject, _load_key(signer.private_key_pem)
        start = max(start, anchor.not_valid_before_utc)
        end = min(end, anchor.not_valid_after_utc)
        if end <= now:
            raise ValueError("the trust anchor that should sign has expired")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    is_authority = profile.role != "webhook"
    path_length = {"anchor": 1, "issuer": 0}.get(profile.role)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), False),
        (x509.BasicConstraints(ca=is_authority, path_length=path_length), True),
        (_key_usage(is_authority), True),
    ]
    if not is_authority:
        names = [x509.DNSName(name) for name in profile.dns_names]
        extensions.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))
        extensions.append((x509.SubjectAlternativeName(names), False))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    pkcs8, unprotected = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, pkcs8, unprotected)
    return Issued(_pem(builder.sign(signing_key, hashes.SHA256())), private.decode("ascii"))


def renewal_due(
    certificate_pem: str, renew_before: timedelta, now: datetime, latest_end: datetime | None = None
) -> bool:
    """Return True if the certificate is within its renewal window and a new one would live longer.

    Args:
        certificate_pem: The certificate in use.
        renew_before: The length of the window before its end.
        now: The current time, with a time zone.
        latest_end: The end of the signing anchor. An issuer that ends with its anchor gains nothing from being
            signed again, and would otherwise be renewed at every `up`.
    """
    end = load_certificate(certificate_pem).not_valid_after_utc
    return now >= end - renew_before and (latest_end is None or latest_end > end)


def read(certificate_pem: str) -> Facts:
    """Return the fields of the first certificate in the PEM text."""
    certificate = load_certificate(certificate_pem)
    return Facts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=str(certificate.serial_number),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def days_left(not_after: datetime, now: datetime) -> int:
    """Return the whole days until the end, negative after it."""
    return (not_after - now) // timedelta(days=1)


def bundle(certificates: list[str]) -> str:
    """Return the certificates as one PEM bundle, in the given order, each once."""
    return "".join(dict.fromkeys(pem for text in certificates for pem in split(text)))


def split(bundle_pem: str) -> list[str]:
    """Return the certificates of a bundle, one PEM text each."""
    return [_pem(certificate) for certificate in _load_all(bundle_pem)]


def signer_in(chain_pem: str, bundle_pem: str) -> str:
    """Return the anchor of the bundle to which the chain leads, as PEM; empty if there is none.

    The chain begins with the issuer; intermediate certificates may follow in any order.
    """
    return "".join(_pem(anchor) for anchor in path_to_anchor(_load_all(chain_pem), _load_all(bundle_pem))[-1:])


def path_to_anchor(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates from the first of the chain to an anchor, both included; empty if none is reached."""
    path, rest = [chain[0]], list(chain[1:])
    while path[-1] not in anchors or len(path) == 1:
        signer = next((candidate for candidate in (*anchors, *rest) if signed_by(path[-1], candidate)), None)
        if signer is None:
            return []
        path.append(signer)
        rest = [candidate for candidate in rest if candidate != signer]
    return path


def members(bundle_pem: str) -> set[str]:
    """Return the authorities of a bundle by `key_hash`: a renewed anchor that keeps its key is the same authority."""
    return {key_hash(certificate) for certificate in _load_all(bundle_pem)}


def key_hash(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of subject and public key, which identify a trust anchor to a verifier."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(certificate.subject.public_bytes() + spki).hexdigest()


def restart_hash(bundle_pem: str, signer_pem: str) -> str:
    """Return a short hash of the trusted anchors and the signing one: workloads restart when it changes.

    A proxy reads the trust bundle only at startup. When another anchor signs, a restart gives
    each workload a certificate of the new issuer at once. A renewed issuer under the same anchor changes nothing here.
    """
    signer = key_hash(load_certificate(signer_pem)) if signer_pem else ""
    return hashlib.sha256(f"{bundle_pem}{signer}".encode()).hexdigest()[:16]


def is_signed_by(certificate_pem: str, authority_pem: str) -> bool:
    """Return True if the authority's key signed the certificate under the authority's name."""
    return signed_by(load_certificate(certificate_pem), load_certificate(authority_pem))


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return True if the authority's key signed the certificate under the authority's name."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def load_certificate(certificate_pem: str) -> x509.Certificate:
    """Return the first certificate in the PEM text.

    Raises:
        ValueError: There is none, or it can't be read.
    """
    return x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))


def _load_all(bundle_pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle_pem.encode("ascii"))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _load_key(private_key_pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(private_key_pem.encode("ascii"), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the private key is neither ECDSA nor RSA")  # noqa: TRY004 - of the right type, of a wrong kind
    return key


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
