"""Validate an identity that the user provides. Pure.

Linkerd's requirements are in pkg/issuercerts/issuercerts.go and pkg/tls at edge-26.8.3. Its charts don't check them:
an RSA issuer that another anchor signed renders without an error, and linkerd-identity then does not start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from ....diagnostics import Diagnostic
from . import certificates

WARN_DAYS = 60
"""`linkerd check` warns below this many days (pkg/healthcheck/healthcheck.go)."""

_SIGNATURES = (SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.RSA_WITH_SHA256)
_KEYS = {
    "trust anchor": (
        ("ECDSA secp256r1", "RSA 2048", "RSA 4096"),
        "ECDSA on the curve P-256, or RSA of 2048 or 4096 bits.",
    ),
    "issuer": (("ECDSA secp256r1",), "ECDSA on the curve P-256; with another, linkerd-identity would not start."),
}
"""The keys that Linkerd accepts, with a description."""
# The errors that the library raises for invalid input; they have no common base class.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True, repr=False)
class Provided:
    """An identity that the user provides, as PEM text. Its `repr` shows none of it.

    Attributes:
        anchors_pem: One or more trust anchors, as one bundle.
        issuer_certificate_pem: The issuer; intermediate certificates between it and the anchor may follow it.
        issuer_key_pem: The issuer's private key.
    """

    anchors_pem: str
    issuer_certificate_pem: str
    issuer_key_pem: str


def check_provided(
    provided: Provided,
    now: datetime,
    minimum_days: int,
    *,
    anchors_path: str,
    issuer_path: str,
    key_path: str,
) -> list[Diagnostic]:
    """Return the diagnostics of a provided identity.

    Args:
        provided: The material.
        now: The current time, with a time zone.
        minimum_days: A certificate with fewer days left is refused.
        anchors_path: The configuration path of the anchors, for diagnostics.
        issuer_path: The path of the issuer's certificate.
        key_path: The path of the issuer's key.
    """
    diagnostics: list[Diagnostic] = []
    anchors = _certificates(provided.anchors_pem, anchors_path, diagnostics)
    chain = _certificates(provided.issuer_certificate_pem, issuer_path, diagnostics)
    key = _private_key(provided.issuer_key_pem, key_path, diagnostics)
    for index, anchor in enumerate(anchors):
        path = f"{anchors_path}[{index}]" if len(anchors) > 1 else anchors_path
        diagnostics += _check_authority(anchor, path, "trust anchor")
        diagnostics += _check_time(anchor, path, "trust anchor", now, minimum_days)
        if anchor in anchors[:index]:
            message = "The bundle has the same trust anchor twice."
            diagnostics.append(Diagnostic("MSH219", path, _text(anchor.subject), message))
    if chain:
        issuer = chain[0]
        diagnostics += _check_authority(issuer, issuer_path, "issuer")
        diagnostics += _check_time(issuer, issuer_path, "issuer", now, minimum_days)
        if anchors:
            diagnostics += _check_chain(chain, anchors, issuer_path)
        if key is not None and key.public_key() != issuer.public_key():
            message = f"The private key is not that of the issuer {_text(issuer.subject)}."
            allowed = "The key from which the certificate was made."
            diagnostics.append(Diagnostic("MSH208", key_path, None, message, allowed))
    return diagnostics


def _certificates(text: str, path: str, diagnostics: list[Diagnostic]) -> list[x509.Certificate]:
    """Return the certificates in the text, in order, and append to the diagnostics."""
    certificates: list[x509.Certificate] = []
    for label, block in _blocks(text, path, diagnostics):
        if label.endswith("PRIVATE KEY"):
            message = "There is a private key where only certificates belong: the trust bundle is public."
            remedy = "Take the key out of it, and replace the key if the file has been where others can read it."
            allowed = "PEM blocks of the kind CERTIFICATE."
            diagnostics.append(Diagnostic("MSH202", path, None, message, allowed, remedy))
        elif label != "CERTIFICATE":
            message = "This PEM block is not a certificate."
            diagnostics.append(Diagnostic("MSH201", path, label, message, "Blocks of the kind CERTIFICATE."))
        elif (certificate := _readable(block)) is None:
            message = "The PEM block can't be read as a certificate, or its key or an extension is of an unknown kind."
            diagnostics.append(Diagnostic("MSH201", path, None, message, "An X.509 certificate."))
        else:
            certificates.append(certificate)
    return certificates


def _readable(block: str) -> x509.Certificate | None:
    """Return the certificate if every field that the checks use can be decoded: the library decodes lazily."""
    try:
        certificate = certificates.load_certificate(block)
        certificate.public_key()
        _text(certificate.subject)
        _text(certificate.issuer)
        list(certificate.extensions)
        # Linkerd's control plane is written in Go, which rejects certificates with a negative serial number.
        if certificate.serial_number < 0 or certificate.not_valid_before_utc > certificate.not_valid_after_utc:
            return None
    except _UNREADABLE:
        return None
    return certificate


def _blocks(text: str, path: str, diagnostics: list[Diagnostic]) -> list[tuple[str, str]]:
    """Return the PEM blocks of the text, each with its label."""
    whole = [(match[1], match[0] + "\n") for match in _BLOCK.finditer(text)]
    message = allowed = ""
    if not text.isascii():
        whole, message, allowed = [], "The text has characters that PEM does not have.", "PEM text."
    elif len(_BEGIN.findall(text)) > len(whole):
        message, allowed = "A PEM block begins and does not end: the text is truncated.", "Whole PEM blocks."
    elif not whole:
        message, allowed = "There is no PEM block in it.", "Text that begins with -----BEGIN CERTIFICATE-----."
    if message:
        diagnostics.append(Diagnostic("MSH201", path, None, message, allowed))
    return whole


def _private_key(
    text: str, path: str, diagnostics: list[Diagnostic]
) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None:
    before = len(diagnostics)
    blocks = [(label, block) for label, block in _blocks(text, path, diagnostics) if label != "EC PARAMETERS"]
    if len(diagnostics) > before:
        return None
    label, block = blocks[0] if len(blocks) == 1 else ("", "")
    code, allowed = "MSH201", ""
    if not label.endswith("PRIVATE KEY"):
        message, allowed = "This is not one private key.", "One PEM block: PRIVATE KEY or EC PRIVATE KEY."
    elif label == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in block:
        code, allowed = "MSH213", "A key without a passphrase."
        message = "The private key is protected by a passphrase, which linkerd-identity can't ask for."
    else:
        try:
            key = serialization.load_pem_private_key(block.encode("ascii"), password=None)
        except _UNREADABLE:
            message = "The PEM block can't be read as a private key."
        else:
            if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
                return key
            code, message, allowed = "MSH203", "The private key is neither ECDSA nor RSA.", "ECDSA on the curve P-256."
    diagnostics.append(Diagnostic(code, path, None, message, allowed))
    return None


def _check_authority(certificate: x509.Certificate, path: str, what: str) -> Iterator[Diagnostic]:
    name = _text(certificate.subject)
    algorithm = certificate.signature_algorithm_oid
    if algorithm not in _SIGNATURES:
        message = f"Linkerd does not accept the signature algorithm of this {what}."
        allowed = "ECDSA with SHA-256 or RSA with SHA-256."
        yield Diagnostic("MSH204", path, algorithm.dotted_string, message, allowed)
    constraints = _constraints(certificate)
    if constraints is None or not constraints.ca:
        message = f"The {what} is not a CA: it may sign nothing."
        yield Diagnostic("MSH205", path, name, message, "Basic constraints with CA true.")
    usages = (item.value for item in certificate.extensions if isinstance(item.value, x509.KeyUsage))
    if not all(usage.key_cert_sign for usage in usages):
        message = f"The key usage of the {what} forbids signing certificates."
        yield Diagnostic("MSH205", path, name, message, "Key usage keyCertSign.")
    keys, allowed = _KEYS[what]
    if _key_name(certificate) not in keys:
        message = f"Linkerd does not accept the key of this {what}."
        yield Diagnostic("MSH203", path, _key_name(certificate), message, allowed)


def _check_time(
    certificate: x509.Certificate, path: str, what: str, now: datetime, minimum_days: int
) -> Iterator[Diagnostic]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    shown = f"{_text(certificate.subject)}, valid {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    left = certificates.days_left(end, now)
    valid_now = "A certificate that is valid now."
    if now > end:
        yield Diagnostic("MSH209", path, shown, f"The {what} expired {_days(-left)} ago.", valid_now)
    elif now < start:
        message = f"The {what} is not valid yet. Or the clock of this machine is wrong."
        yield Diagnostic("MSH210", path, shown, message, valid_now)
    elif end - now < timedelta(days=minimum_days):
        allowed = f"At least {_days(minimum_days)} left."
        yield Diagnostic("MSH211", path, shown, f"The {what} expires in {_days(left)}.", allowed)
    elif end - now < timedelta(days=WARN_DAYS):
        message = f"The {what} expires in {_days(left)}; `linkerd check` warns from {WARN_DAYS} days on."
        yield Diagnostic("MSH212", path, shown, message, severity="warning")


def _check_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], path: str
) -> Iterator[Diagnostic]:
    """Check that the issuer leads to an anchor, through the intermediate certificates that follow it."""
    issuer = chain[0]
    leads = certificates.path_to_anchor(chain, anchors)
    if not leads:
        shown = f"{_text(issuer.subject)}, signed by {_text(issuer.issuer)}"
        allowed = "Signed by " + " or ".join(_text(anchor.subject) for anchor in anchors) + "."
        yield Diagnostic("MSH207", path, shown, "None of the trust anchors signed the issuer.", allowed)
        return
    for below, authority in enumerate(leads[1:], start=1):
        constraints = _constraints(authority)
        length = constraints.path_length if constraints is not None else None
        if length is not None and length < below:
            shown = f"{_text(authority.subject)}, path length {length}"
            allowed = f"Path length {below} or more, or none."
            yield Diagnostic("MSH206", path, shown, "This CA may not sign the one below it.", allowed)
    if issuer.not_valid_after_utc > leads[-1].not_valid_after_utc:
        ends = [f"{certificate.not_valid_after_utc:%Y-%m-%d}" for certificate in (issuer, leads[-1])]
        shown = f"issuer until {ends[0]}, anchor until {ends[1]}"
        message = "The issuer outlives the trust anchor that signed it: the mesh stops when the anchor ends."
        yield Diagnostic("MSH214", path, shown, message, severity="warning")


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    return next((item.value for item in certificate.extensions if isinstance(item.value, x509.BasicConstraints)), None)


def _text(name: x509.Name) -> str:
    return name.rfc4514_string() or "(no subject)"


def _key_name(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
