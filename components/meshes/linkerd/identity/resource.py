"""A certificate as a Pulumi resource: created at `up`, its key a secret in the state, renewed within its window.

A dynamic provider creates it: the certificate is only in the state, so it needs no plugin. To keep
the state stable, the provider is an importable class without fields, which is stored as its name and not as its code,
and no input depends on the time. Only `diff` reads the clock.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, cast

import pulumi
from pulumi import dynamic
from pulumi.runtime.rpc import UNKNOWN

from .... import clock
from ....diagnostics import Diagnostic
from . import certificates
from .certificates import Issued, Profile, Role

Properties = dict[str, Any]

_SHAPE = ("role", "commonName", "dnsNames", "validityDays")
_COMPUTED = ("certificatePEM", "privateKeyPEM", "notAfter", "subject", "serialNumber", "notBefore", "fingerprint")


def rotation_fault(olds: Properties, news: Properties) -> Diagnostic | None:
    """Return the diagnostic for an issuer that moves to another anchor in one step.

    The move is safe if every running proxy trusts the new anchor (it was in the bundle of the last run) and the
    old one stays in the bundle until its certificates are gone.

    Args:
        olds: The inputs of the last run, empty at the first.
        news: The inputs of this run. The `up` checks inputs that are unknown at preview.
    """
    wanted = ("signerCertificatePEM", "trustBundlePEM")
    if any(not olds.get(key) or not news.get(key) or news[key] == UNKNOWN for key in wanted):
        return None
    old, new = (
        certificates.key_hash(certificates.load_certificate(run["signerCertificatePEM"])) for run in (olds, news)
    )
    if old != new and new not in certificates.members(olds["trustBundlePEM"]):
        message = "The anchor that should sign was not in the trust bundle of the last run: no running proxy trusts it."
        allowed = "An anchor that the last run has introduced."
        return Diagnostic("MSH216", "meshup:identity.signer", None, message, allowed)
    if old != new and old not in certificates.members(news["trustBundlePEM"]):
        message = "The anchor that has signed until now would leave in the same run in which the issuer moves."
        return Diagnostic("MSH216", "meshup:identity.anchors", None, message, "The old anchor stays for one more run.")
    return None


def next_material(state: Properties, news: Properties, now: datetime) -> Issued:
    """Return the resource's current certificate and key, or new ones if they are due.

    Args:
        state: The outputs of the last run, empty at the first.
        news: The inputs of this run.
        now: The time of the run.
    """
    signer = None
    if news["role"] == "issuer":
        signer = Issued(news["signerCertificatePEM"], news["signerPrivateKeyPEM"])
    if state and all(state.get(key) == news.get(key) for key in _SHAPE):
        current = Issued(state["certificatePEM"], state["privateKeyPEM"])
        signed = signer is None or certificates.is_signed_by(current.certificate_pem, signer.certificate_pem)
        if signed and not _due(current.certificate_pem, news, now):
            return current
    # A trust anchor with the same name and key is the same authority: certificates below it stay valid.
    keep_key = news["role"] == "anchor" and state.get("commonName") == news["commonName"]
    profile = Profile(
        role=cast(Role, news["role"]),
        common_name=news["commonName"],
        dns_names=tuple(news["dnsNames"]),
        validity=timedelta(days=int(news["validityDays"])),
        renew_before=timedelta(days=int(news["renewBeforeDays"])),
    )
    return certificates.issue(profile, now, signer, state["privateKeyPEM"] if keep_key else "")


def outputs(news: Properties, material: Issued) -> Properties:
    """Return the outputs of the resource: its inputs without the signer's key, and the certificate."""
    facts = certificates.read(material.certificate_pem)
    return {
        **_without_signer_key(news),
        "certificatePEM": material.certificate_pem,
        "privateKeyPEM": material.private_key_pem,
        "subject": facts.subject,
        "serialNumber": facts.serial,
        "notBefore": facts.not_before.isoformat(),
        "notAfter": facts.not_after.isoformat(),
        "fingerprint": facts.fingerprint,
    }


class CertificateProvider(dynamic.ResourceProvider):
    """Create, keep and renew one certificate. Stateless, so that its stored form never changes."""

    __module__ = __name__.replace(".meshes.linkerd.identity.", ".identity.")
    """Existing states refer to it by this module: components/identity/resource.py."""
    serialize_as_secret_always = False

    def check(self, _olds: Properties, news: Properties) -> dynamic.CheckResult:
        """Refuse a rotation that skips a step."""
        fault = rotation_fault(_olds, news)
        if fault is None:
            return dynamic.CheckResult(news, [])
        reason = f"{fault.code} {fault.title} at {fault.path}: {fault.message} {fault.remedy}"
        return dynamic.CheckResult(news, [dynamic.CheckFailure("", reason)])

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.DiffResult:
        """Report changed inputs, or a certificate within its renewal window; it is always renewed in place."""
        wanted = _without_signer_key(_news)
        if UNKNOWN in wanted.values() or any(_olds.get(key) != value for key, value in wanted.items()):
            return dynamic.DiffResult(changes=True)
        return dynamic.DiffResult(changes=_due(_olds["certificatePEM"], _news, clock.now(os.environ)))

    def create(self, props: Properties) -> dynamic.CreateResult:
        """Create key and certificate."""
        made = outputs(props, next_material({}, props, clock.now(os.environ)))
        return dynamic.CreateResult(made["fingerprint"][:16], made)

    def update(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.UpdateResult:
        """Create a new certificate if it is due or the inputs require it; keep the old one otherwise."""
        return dynamic.UpdateResult(outputs(_news, next_material(_olds, _news, clock.now(os.environ))))


class Certificate(dynamic.Resource, module="meshup", name="Certificate"):
    """A certificate with its private key.

    Attributes:
        certificate_pem: The certificate.
        private_key_pem: Its key, PKCS#8; a secret.
        not_after: Its end, RFC 3339.
        subject: Its subject, RFC 4514.
    """

    certificatePEM: pulumi.Output[str]  # noqa: N815 - the property's name in the state
    privateKeyPEM: pulumi.Output[str]  # noqa: N815
    notAfter: pulumi.Output[str]  # noqa: N815
    subject: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        profile: Profile,
        opts: pulumi.ResourceOptions,
        signer: Certificate | None = None,
        trust_bundle: pulumi.Input[str] | None = None,
    ) -> None:
        """Register the certificate.

        Args:
            name: Name of the resource.
            profile: Properties of the certificate.
            opts: Options of this resource only.
            signer: The anchor that signs an issuer.
            trust_bundle: For an issuer: the trusted anchors, to check the steps of a rotation.
        """
        properties: dict[str, Any] = {
            "role": profile.role,
            "commonName": profile.common_name,
            "dnsNames": list(profile.dns_names),
            "validityDays": profile.validity // timedelta(days=1),
            "renewBeforeDays": profile.renew_before // timedelta(days=1),
            **dict.fromkeys(_COMPUTED),
        }
        if signer is not None:
            properties["signerCertificatePEM"] = signer.certificatePEM
            properties["signerPrivateKeyPEM"] = pulumi.Output.secret(signer.privateKeyPEM)
            properties["trustBundlePEM"] = trust_bundle
        secret = pulumi.ResourceOptions(additional_secret_outputs=["privateKeyPEM"])
        super().__init__(CertificateProvider(), name, properties, pulumi.ResourceOptions.merge(opts, secret))


def _without_signer_key(inputs: Properties) -> Properties:
    return {key: value for key, value in inputs.items() if key not in ("signerPrivateKeyPEM", "__provider")}


def _due(certificate_pem: str, news: Properties, now: datetime) -> bool:
    window = timedelta(days=int(news["renewBeforeDays"]))
    latest_end = certificates.read(news["signerCertificatePEM"]).not_after if news["role"] == "issuer" else None
    return certificates.renewal_due(certificate_pem, window, now, latest_end)
