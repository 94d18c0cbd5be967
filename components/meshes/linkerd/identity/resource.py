"""One certificate as a Pulumi resource: made at `up`, its key a secret in the state, renewed within its window.

A dynamic provider does it: the certificate lives in the state and nowhere else, so it needs no plugin. What keeps
it from drifting: the provider is an importable class without fields, which is stored as its name and not as its code,
and nothing that depends on the time goes into the inputs. Only `diff` looks at the clock.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, cast

import pulumi
from pulumi import dynamic
from pulumi.runtime.rpc import UNKNOWN

from ....diagnostics import Diagnostic
from . import certificates, clock
from .certificates import Issued, Profile, Role

Properties = dict[str, Any]

_SHAPE = ("role", "commonName", "dnsNames", "validityDays")


def rotation_fault(olds: Properties, news: Properties) -> Diagnostic | None:
    """The fault of an issuer that moves to another anchor in one step.

    Moving is safe when every running proxy already trusts the new anchor (it was in the bundle of the last run) and the
    old one stays in the bundle until certificates under it are gone.

    Args:
        olds: The inputs of the last run, empty at the first.
        news: The inputs of this run. What is not known yet at preview is looked at by the `up` itself.
    """
    wanted = ("signerCertificatePEM", "trustBundlePEM")
    if any(not olds.get(key) or not news.get(key) or news[key] == UNKNOWN for key in wanted):
        return None
    old_signer = certificates.load_certificate(olds["signerCertificatePEM"])
    new_signer = certificates.load_certificate(news["signerCertificatePEM"])
    if certificates.key_hash(old_signer) == certificates.key_hash(new_signer):
        return None
    if certificates.key_hash(new_signer) not in certificates.members(olds["trustBundlePEM"]):
        return Diagnostic(
            "MSH216",
            "meshup:identity.signer",
            None,
            "The anchor that should sign was not in the trust bundle of the last run: no running proxy trusts it.",
            "An anchor that the last run has introduced.",
        )
    if certificates.key_hash(old_signer) not in certificates.members(news["trustBundlePEM"]):
        return Diagnostic(
            "MSH216",
            "meshup:identity.anchors",
            None,
            "The anchor that has signed until now would leave in the same run in which the issuer moves.",
            "The old anchor stays for one more run.",
        )
    return None


def next_material(state: Properties, news: Properties, now: datetime) -> Issued:
    """The certificate and key that the resource has after this run: those it has, or new ones.

    Args:
        state: The outputs of the last run, empty at the first.
        news: The inputs of this run.
        now: The time of the run.
    """
    profile = _profile(news)
    signer = None
    if profile.role == "issuer":
        signer = Issued(news["signerCertificatePEM"], news["signerPrivateKeyPEM"])
    if not state:
        return certificates.issue(profile, now, signer)
    current = Issued(state["certificatePEM"], state["privateKeyPEM"])
    same_shape = all(state.get(key) == news.get(key) for key in _SHAPE)
    if same_shape and _signer_stands(current, signer) and not _due(current, profile, signer, now):
        return current
    # A trust anchor that keeps name and key is the same authority with other dates: nothing below it has to change.
    keep_key = profile.role == "anchor" and state.get("commonName") == news.get("commonName")
    return certificates.issue(profile, now, signer, current.private_key_pem if keep_key else "")


def outputs(news: Properties, material: Issued) -> Properties:
    """The outputs of the resource: what it is asked for, and the certificate. The signer's key is not repeated."""
    facts = certificates.read(material.certificate_pem)
    kept = {key: value for key, value in news.items() if key not in ("signerPrivateKeyPEM", "__provider")}
    return {
        **kept,
        "certificatePEM": material.certificate_pem,
        "privateKeyPEM": material.private_key_pem,
        "subject": facts.subject,
        "serialNumber": facts.serial,
        "notBefore": facts.not_before.isoformat(),
        "notAfter": facts.not_after.isoformat(),
        "fingerprint": facts.fingerprint,
    }


class CertificateProvider(dynamic.ResourceProvider):
    """Makes, keeps and renews one certificate. Stateless, so that its stored form never changes."""

    __module__ = __name__.replace(".meshes.linkerd.identity.", ".identity.")
    """Where states look for it: components/identity/resource.py."""
    serialize_as_secret_always = False

    def check(self, _olds: Properties, news: Properties) -> dynamic.CheckResult:
        """Refuse a rotation that leaves out a step."""
        fault = rotation_fault(_olds, news)
        failures = [] if fault is None else [dynamic.CheckFailure("", _sentence(fault))]
        return dynamic.CheckResult(news, failures)

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.DiffResult:
        """Changed inputs or a certificate within its renewal window; it is always renewed in place."""
        wanted = {key: value for key, value in _news.items() if key not in ("__provider", "signerPrivateKeyPEM")}
        if UNKNOWN in wanted.values() or any(_olds.get(key) != value for key, value in wanted.items()):
            return dynamic.DiffResult(changes=True)
        current = Issued(_olds["certificatePEM"], _olds["privateKeyPEM"])
        profile = _profile(_news)
        signer = None
        if profile.role == "issuer":
            signer = Issued(_news["signerCertificatePEM"], "")
        return dynamic.DiffResult(changes=_due(current, profile, signer, _now()))

    def create(self, props: Properties) -> dynamic.CreateResult:
        """Make key and certificate."""
        material = next_material({}, props, _now())
        return dynamic.CreateResult(certificates.fingerprint(material.certificate_pem)[:16], outputs(props, material))

    def update(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.UpdateResult:
        """Make a new certificate where it is due or asked for; keep the old one otherwise."""
        return dynamic.UpdateResult(outputs(_news, next_material(_olds, _news, _now())))


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
        """Declare the certificate.

        Args:
            name: Name of the resource.
            profile: What the certificate is for.
            opts: Made fresh by the caller.
            signer: The anchor that signs an issuer.
            trust_bundle: For an issuer: the anchors that are trusted, to guard the steps of a rotation.
        """
        properties: dict[str, Any] = {
            "role": profile.role,
            "commonName": profile.common_name,
            "dnsNames": list(profile.dns_names),
            "validityDays": profile.validity // timedelta(days=1),
            "renewBeforeDays": profile.renew_before // timedelta(days=1),
            "certificatePEM": None,
            "privateKeyPEM": None,
            "notAfter": None,
            "subject": None,
            "serialNumber": None,
            "notBefore": None,
            "fingerprint": None,
        }
        if signer is not None:
            properties["signerCertificatePEM"] = signer.certificatePEM
            properties["signerPrivateKeyPEM"] = pulumi.Output.secret(signer.privateKeyPEM)
            properties["trustBundlePEM"] = trust_bundle
        secret = pulumi.ResourceOptions(additional_secret_outputs=["privateKeyPEM"])
        super().__init__(CertificateProvider(), name, properties, pulumi.ResourceOptions.merge(opts, secret))


def _profile(properties: Properties) -> Profile:
    return Profile(
        role=cast(Role, properties["role"]),
        common_name=properties["commonName"],
        dns_names=tuple(properties["dnsNames"]),
        validity=timedelta(days=int(properties["validityDays"])),
        renew_before=timedelta(days=int(properties["renewBeforeDays"])),
    )


def _due(current: Issued, profile: Profile, signer: Issued | None, now: datetime) -> bool:
    latest_end = None if signer is None else certificates.read(signer.certificate_pem).not_after
    return certificates.renewal_due(current.certificate_pem, profile.renew_before, now, latest_end)


def _signer_stands(current: Issued, signer: Issued | None) -> bool:
    return signer is None or certificates.is_signed_by(current.certificate_pem, signer.certificate_pem)


def _now() -> datetime:
    return clock.now(os.environ)


def _sentence(fault: Diagnostic) -> str:
    return f"{fault.code} {fault.title} at {fault.path}: {fault.message} {fault.remedy}"
