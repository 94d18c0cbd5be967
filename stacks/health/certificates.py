"""Whether the certificates of the mesh are valid, and one signs the other. Pure.

Of Secrets, only certificates are read, and reports show names and dates.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from components.diagnostics import Diagnostic
from components.manifests import Manifest, part
from components.meshes.interface import CertificatePlace
from components.meshes.linkerd.identity.certificates import days_left, path_to_anchor, signed_by
from stacks.checking import Check

from .model import Subject

WARN = timedelta(days=60)
"""`linkerd check` warns below this (pkg/healthcheck/healthcheck.go)."""
SHARE = 4
"""Of a short-lived certificate, the last part of its life that warns: cert-manager renews in the last third."""


def places(subject: Subject) -> Sequence[CertificatePlace]:
    """Return where the certificates of the mesh are."""
    return subject.mesh.certificate_places(subject.plan.mesh)


class Held(NamedTuple):
    """What a place holds.

    Attributes:
        name: The name of the object, that of the first possible one if there is none.
        text: The PEM, "" if there is none, or if it may not be read.
    """

    name: str
    text: str


def held(subject: Subject, place: CertificatePlace) -> Held:
    """Return what a place holds on the cluster: of several objects, that whose certificate leads to the signer."""
    live = {item["metadata"]["name"]: item for item in subject.view.if_allowed("v1", place.kind, subject.control_plane)}
    found = [Held(name, _text(live[name], place)) for name in place.names if name in live]
    anchors = _anchors(subject, place) if len(found) > 1 else []
    leading = (one for one in found if anchors and _leads(authorities(one.text), anchors))
    return next(leading, next(iter(found), Held(place.names[0], "")))


def _anchors(subject: Subject, place: CertificatePlace) -> list[x509.Certificate]:
    """Return the authorities that are to have signed what is in a place; empty without any, or if they are unknown."""
    signers = (one for one in places(subject) if place.signer and one.title == place.signer)
    return [one for signer in signers for one in authorities(held(subject, signer).text)]


def _leads(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> bool:
    return bool(chain and path_to_anchor(chain, anchors))


def _text(item: Manifest, place: CertificatePlace) -> str:
    data = part(item, "data")
    value = next((str(data[key]) for key in place.keys if data.get(key)), "")
    if place.kind == "ConfigMap":
        return value
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return value


def authorities(pem: str) -> list[x509.Certificate]:
    """Return the certificates of PEM text, none if it is empty or no such text."""
    try:
        return x509.load_pem_x509_certificates(pem.encode("ascii")) if pem.strip() else []
    except ValueError:
        return []


def is_signed_by_any(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> bool:
    """Return whether one of these has signed the certificate."""
    return any(signed_by(certificate, candidate) for candidate in candidates)


def _run(subject: Subject) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    for place in places(subject):
        name, text = held(subject, place)
        found = authorities(text)
        path = f"{place.kind}/{subject.control_plane}/{name}"
        show = f"kubectl --namespace {subject.control_plane} get {place.kind.lower()} {name} --output yaml"
        if text and not found:
            message = f"What should be the {place.title} is no certificate."
            diagnostics.append(Diagnostic("MSH790", path, None, message, command=show))
        diagnostics += [fault for one in found for fault in _time(one, place.title, path, show, subject.plan.now)]
        anchors = _anchors(subject, place)
        if found and anchors and not _leads(found, anchors):
            message = f"The {place.title} is not signed by the {place.signer}: proxies refuse each other."
            diagnostics.append(Diagnostic("MSH790", path, None, message, command=show))
    return diagnostics


def _time(one: x509.Certificate, title: str, path: str, show: str, now: datetime) -> Iterator[Diagnostic]:
    start, end = one.not_valid_before_utc, one.not_valid_after_utc
    left = days_left(end, now)
    if now >= end:
        yield Diagnostic("MSH788", path, f"{end:%Y-%m-%d}", f"The {title} has expired.", command=show)
    elif now < start:
        message = f"The {title} is not valid before {start:%Y-%m-%d %H:%M} UTC."
        yield Diagnostic("MSH788", path, f"{start:%Y-%m-%d}", message, command=show)
    elif end - now < min(WARN, (end - start) / SHARE):
        message = f"The {title} expires in {left} {'day' if left == 1 else 'days'}."
        yield Diagnostic("MSH789", path, f"{end:%Y-%m-%d}", message, severity="warning", command=show)


CERTIFICATES = Check(
    "certificates",
    "The certificates of the mesh are valid, and one signs the other",
    ("MSH788", "MSH789", "MSH790"),
    _run,
)
