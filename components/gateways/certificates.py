"""Check the certificate of a listener: that it is one, has its key, is in date and is for the hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..diagnostics import Diagnostic
from .model import EVERY_HOST


def check_pair(certificate: bytes, key: bytes) -> Iterator[tuple[Literal["certificate", "key"], str]]:
    """Find what is wrong with a certificate and a key, which must be PEM and belong together.

    Args:
        certificate: The certificate and its chain.
        key: The private key. Nothing of it is shown.

    Returns:
        Of which of both it is, and what it does, as the end of a sentence.
    """
    chain = _chain(certificate)
    private = None
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError):
        yield "key", "holds no private key in PEM, or an encrypted one"
    except UnsupportedAlgorithm:
        yield "key", "holds a private key of a kind that is not supported"
    if not chain:
        yield "certificate", "holds no certificate in PEM"
    elif private is not None and _public(chain[0].public_key()) != _public(private.public_key()):
        yield "key", "holds another key than that of the first certificate"


def check_certificate(certificate: bytes, hosts: Iterable[str], now: datetime, path: str) -> Iterator[Diagnostic]:
    """Check that a certificate is in date and for the hosts of its listener.

    Args:
        certificate: The certificate and its chain, PEM. Without one, nothing is found.
        hosts: The hosts of the listener.
        now: The time.
        path: The path of the listener's TLS, for reports.
    """
    chain = _chain(certificate)
    if not chain:
        return
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if not first <= now <= last:
        message = f"The certificate is valid from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC."
        yield Diagnostic("MSH414", path, None, message)
    names = _names(chain[0])
    missing = [host for host in hosts if host != EVERY_HOST and not any(_is_for(name, host) for name in names)]
    if missing:
        message = f"The certificate is for {', '.join(names) or 'no host'}, and not for {', '.join(missing)}."
        yield Diagnostic("MSH414", path, missing, message)


def _chain(certificate: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(certificate)
    except ValueError:
        return []


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names of a certificate: clients look at nothing else (RFC 9525, section 2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def _is_for(name: str, host: str) -> bool:
    """Return True if a name of a certificate is for a host: `*` stands for one label (RFC 9525, section 6.3)."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
