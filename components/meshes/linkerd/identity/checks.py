"""Validation of an identity that the user brings: a list of coded faults, before anything is deployed. Pure.

What Linkerd demands is from pkg/issuercerts/issuercerts.go and pkg/tls at edge-26.8.3. Its charts check nothing of it:
an RSA issuer that another anchor signed renders without a word, and linkerd-identity then does not start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from ....diagnostics import Diagnostic
from . import certificates

WARN_DAYS = 60
"""`linkerd check` warns below this many days (pkg/healthcheck/healthcheck.go)."""

_SIGNATURES = (SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.RSA_WITH_SHA256)
_RSA_SIZES = (2048, 4096)
# All that the library raises for what it can't read; these have no common base class.
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


@dataclass(frozen=True, slots=True)
class Provided:
    """An identity that the user brings. Public parts as PEM text; the key is never shown.

    Attributes:
        anchors_pem: One or more trust anchors, as one bundle.
        issuer_certificate_pem: The issuer; intermediate certificates between it and the anchor may follow it.
        issuer_key_pem: The issuer's private key.
    """

    anchors_pem: str
    issuer_certificate_pem: str
    issuer_key_pem: str

    def __repr__(self) -> str:
        return "Provided(...)"


def check_provided(
    provided: Provided,
    now: datetime,
    minimum_days: int,
    *,
    anchors_path: str,
    issuer_path: str,
    key_path: str,
) -> list[Diagnostic]:
    """All faults of a brought identity.

    Args:
        provided: The material.
        now: The time of asking, with a time zone.
        minimum_days: A certificate with fewer days left is refused.
        anchors_path: The configuration field of the anchors, for the report; and so on.
        issuer_path: The field of the issuer's certificate.
        key_path: The field of the issuer's key.
    """
    found: list[Diagnostic] = []
    anchors = _certificates(provided.anchors_pem, anchors_path, found)
    chain = _certificates(provided.issuer_certificate_pem, issuer_path, found)
    key = _private_key(provided.issuer_key_pem, key_path, found)
    seen: set[str] = set()
    for index, anchor in enumerate(anchors):
        path = f"{anchors_path}[{index}]" if len(anchors) > 1 else anchors_path
        found += _check_authority(anchor, path, "trust anchor")
        found += _check_anchor_key(anchor, path)
        found += _check_time(anchor, path, "trust anchor", now, minimum_days)
        digest = anchor.fingerprint(hashes.SHA256()).hex()
        if digest in seen:
            found.append(Diagnostic("MSH219", path, _name(anchor), "The same trust anchor stands twice in the bundle."))
        seen.add(digest)
    if chain:
        issuer = chain[0]
        found += _check_authority(issuer, issuer_path, "issuer")
        found += _check_issuer_key(issuer, issuer_path)
        found += _check_time(issuer, issuer_path, "issuer", now, minimum_days)
        if anchors:
            found += _check_chain(chain, anchors, issuer_path)
        if key is not None and _public(key) != _public(issuer):
            found.append(
                Diagnostic(
                    "MSH208",
                    key_path,
                    None,
                    f"The private key is not that of the issuer {_name(issuer)}.",
                    "The key from which the certificate was made.",
                )
            )
    return found


def _certificates(text: str, path: str, found: list[Diagnostic]) -> list[x509.Certificate]:
    """The certificates in the text, in order. Faults are added to `found`."""
    certificate_list: list[x509.Certificate] = []
    for label, block in _blocks(text, path, found):
        if label.endswith("PRIVATE KEY"):
            found.append(
                Diagnostic(
                    "MSH202",
                    path,
                    None,
                    "There is a private key where only certificates belong: the trust bundle is public.",
                    "PEM blocks of the kind CERTIFICATE.",
                    "Take the key out of it, and replace the key if the file has been where others can read it.",
                )
            )
        elif label != "CERTIFICATE":
            found.append(
                Diagnostic(
                    "MSH201", path, label, "This PEM block is not a certificate.", "Blocks of the kind CERTIFICATE."
                )
            )
        else:
            certificate = _readable(block)
            if certificate is not None:
                certificate_list.append(certificate)
                continue
            message = "The PEM block can't be read as a certificate, or its key is of an unknown kind."
            found.append(Diagnostic("MSH201", path, None, message, "An X.509 certificate."))
    return certificate_list


def _readable(block: str) -> x509.Certificate | None:
    """The certificate, if all of it that the checks look at can be read: the library decodes lazily."""
    try:
        certificate = x509.load_pem_x509_certificate(block.encode("ascii"))
        certificate.public_key()
        _text(certificate.subject)
        _text(certificate.issuer)
        _extensions(certificate)
        # Go, in which Linkerd's control plane is written, reads no certificate with a negative serial number.
        if certificate.serial_number < 0 or certificate.not_valid_before_utc > certificate.not_valid_after_utc:
            return None
    except _UNREADABLE:
        return None
    return certificate


def _blocks(text: str, path: str, found: list[Diagnostic]) -> list[tuple[str, str]]:
    if not text.isascii():
        found.append(Diagnostic("MSH201", path, None, "The text has characters that PEM does not have.", "PEM text."))
        return []
    whole = [(match.group(1), match.group(0) + "\n") for match in _BLOCK.finditer(text)]
    begun = len(_BEGIN.findall(text))
    if begun > len(whole):
        found.append(
            Diagnostic(
                "MSH201", path, None, "A PEM block begins and does not end: the text is truncated.", "Whole PEM blocks."
            )
        )
    elif not whole:
        found.append(
            Diagnostic(
                "MSH201",
                path,
                None,
                "There is no PEM block in it.",
                "Text that begins with -----BEGIN CERTIFICATE-----.",
            )
        )
    return whole


def _private_key(
    text: str, path: str, found: list[Diagnostic]
) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None:
    before = len(found)
    blocks = [(label, block) for label, block in _blocks(text, path, found) if label != "EC PARAMETERS"]
    if len(found) > before:
        return None
    if len(blocks) != 1 or not blocks[0][0].endswith("PRIVATE KEY"):
        found.append(
            Diagnostic(
                "MSH201", path, None, "This is not one private key.", "One PEM block: PRIVATE KEY or EC PRIVATE KEY."
            )
        )
        return None
    label, block = blocks[0]
    if label == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in block:
        found.append(
            Diagnostic(
                "MSH213",
                path,
                None,
                "The private key is protected by a passphrase, which linkerd-identity can't ask for.",
                "A key without a passphrase.",
            )
        )
        return None
    try:
        key = serialization.load_pem_private_key(block.encode("ascii"), password=None)
    except _UNREADABLE:
        found.append(Diagnostic("MSH201", path, None, "The PEM block can't be read as a private key."))
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        found.append(
            Diagnostic("MSH203", path, None, "The private key is neither ECDSA nor RSA.", "ECDSA on the curve P-256.")
        )
        return None
    return key


def _check_authority(certificate: x509.Certificate, path: str, what: str) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    if certificate.signature_algorithm_oid not in _SIGNATURES:
        found.append(
            Diagnostic(
                "MSH204",
                path,
                certificate.signature_algorithm_oid.dotted_string,
                f"Linkerd does not accept the signature algorithm of this {what}.",
                "ECDSA with SHA-256 or RSA with SHA-256.",
            )
        )
    extensions = _extensions(certificate)
    if extensions is None:
        return [
            *found,
            Diagnostic("MSH201", path, _name(certificate), "The extensions of the certificate can't be read."),
        ]
    constraints, usage = extensions
    if constraints is None or not constraints.ca:
        found.append(
            Diagnostic(
                "MSH205",
                path,
                _name(certificate),
                f"The {what} is not a CA: it may sign nothing.",
                "Basic constraints with CA true.",
            )
        )
    if usage is not None and not usage.key_cert_sign:
        found.append(
            Diagnostic(
                "MSH205",
                path,
                _name(certificate),
                f"The key usage of the {what} forbids signing certificates.",
                "Key usage keyCertSign.",
            )
        )
    return found


def _check_anchor_key(anchor: x509.Certificate, path: str) -> list[Diagnostic]:
    key = anchor.public_key()
    fits = (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_SIZES
    )
    if fits:
        return []
    return [
        Diagnostic(
            "MSH203",
            path,
            _key_name(anchor),
            "Linkerd does not accept the key of this trust anchor.",
            "ECDSA on the curve P-256, or RSA of 2048 or 4096 bits.",
        )
    ]


def _check_issuer_key(issuer: x509.Certificate, path: str) -> list[Diagnostic]:
    key = issuer.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return []
    return [
        Diagnostic(
            "MSH203",
            path,
            _key_name(issuer),
            "Linkerd does not accept the key of this issuer: linkerd-identity would not start.",
            "ECDSA on the curve P-256.",
        )
    ]


def _check_time(
    certificate: x509.Certificate, path: str, what: str, now: datetime, minimum_days: int
) -> list[Diagnostic]:
    end = certificate.not_valid_after_utc
    shown = f"{_name(certificate)}, valid {certificate.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d}"
    left = certificates.days_left(end, now)
    if now > end:
        return [
            Diagnostic(
                "MSH209", path, shown, f"The {what} expired {_days(-left)} ago.", "A certificate that is valid now."
            )
        ]
    if now < certificate.not_valid_before_utc:
        return [
            Diagnostic(
                "MSH210",
                path,
                shown,
                f"The {what} is not valid yet. Or the clock of this machine is wrong.",
                "A certificate that is valid now.",
            )
        ]
    if end - now < timedelta(days=minimum_days):
        return [
            Diagnostic(
                "MSH211", path, shown, f"The {what} expires in {_days(left)}.", f"At least {_days(minimum_days)} left."
            )
        ]
    if end - now < timedelta(days=WARN_DAYS):
        return [
            Diagnostic(
                "MSH212",
                path,
                shown,
                f"The {what} expires in {_days(left)}; `linkerd check` warns from {WARN_DAYS} days on.",
                severity="warning",
            )
        ]
    return []


def _check_chain(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], path: str) -> list[Diagnostic]:
    """The issuer leads to an anchor, through the intermediate certificates that follow it."""
    path_up = certificates.path_to_anchor(chain, anchors)
    if not path_up:
        return [
            Diagnostic(
                "MSH207",
                path,
                f"{_name(chain[0])}, signed by {_text(chain[0].issuer)}",
                "None of the trust anchors signed the issuer.",
                "Signed by " + " or ".join(_name(anchor) for anchor in anchors) + ".",
            )
        ]
    signer = path_up[-1]
    found: list[Diagnostic] = []
    for below, authority in enumerate(path_up[1:], start=1):
        limits = _extensions(authority)
        length = limits[0].path_length if limits is not None and limits[0] is not None else None
        if length is not None and length < below:
            found.append(
                Diagnostic(
                    "MSH206",
                    path,
                    f"{_name(authority)}, path length {length}",
                    "This CA may not sign the one below it.",
                    f"Path length {below} or more, or none.",
                )
            )
    if chain[0].not_valid_after_utc > signer.not_valid_after_utc:
        found.append(
            Diagnostic(
                "MSH214",
                path,
                f"issuer until {_day(chain[0])}, anchor until {_day(signer)}",
                "The issuer outlives the trust anchor that signed it: the mesh stops when the anchor ends.",
                severity="warning",
            )
        )
    return found


def _extensions(certificate: x509.Certificate) -> tuple[x509.BasicConstraints | None, x509.KeyUsage | None] | None:
    """Basic constraints and key usage, each None where absent. None when the extensions can't be read at all."""
    constraints: x509.BasicConstraints | None = None
    usage: x509.KeyUsage | None = None
    try:
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.BasicConstraints):
                constraints = extension.value
            elif isinstance(extension.value, x509.KeyUsage):
                usage = extension.value
    except _UNREADABLE:
        return None
    return constraints, usage


def _public(holder: x509.Certificate | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _name(certificate: x509.Certificate) -> str:
    return _text(certificate.subject)


def _text(name: x509.Name) -> str:
    return name.rfc4514_string() or "(no subject)"


def _key_name(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
