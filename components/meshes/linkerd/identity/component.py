"""The identity of a Linkerd mesh: trust anchors, issuer and webhook certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pulumi

from .... import clock
from . import certificates
from .resource import Certificate

Source = Literal["managed", "provided", "external"]

CONTROL_PLANE_WEBHOOKS: Mapping[str, str] = {
    "proxyInjector": "linkerd-proxy-injector",
    "profileValidator": "linkerd-sp-validator",
    "policyValidator": "linkerd-policy-validator",
}
"""Value key of the chart linkerd-control-plane -> Service of the webhook (edge-26.8.3)."""

VIZ_WEBHOOKS: Mapping[str, str] = {"tap": "tap", "tapInjector": "tap-injector"}
"""Value key of the chart linkerd-viz -> Service of the webhook or API (edge-26.8.3)."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Validity and renewal window of a certificate, in days."""

    validity_days: int
    renew_before_days: int

    @property
    def validity(self) -> timedelta:
        """The validity."""
        return timedelta(days=self.validity_days)

    @property
    def renew_before(self) -> timedelta:
        """The renewal window."""
        return timedelta(days=self.renew_before_days)


@dataclass(frozen=True, slots=True)
class IdentityPlan:
    """Plan of a mesh's identity: validated, plain data.

    Attributes:
        source: `managed` (created here), `provided` (by the user), `external` (by a CA in the cluster).
        trust_domain: The trust domain, part of every workload identity.
        anchors: Names of the trust anchors in the bundle; `managed` only.
        signer: The anchor that signs the issuer; `managed` only.
        anchor: Lifetime of a trust anchor. Renewal keeps its key, so certificates below it stay valid.
        issuer: Lifetime of the issuer.
        webhook: Lifetime of the webhooks' certificates.
        anchors_pem: The provided trust bundle; `provided` only.
        issuer_certificate_pem: The provided issuer; `provided` only.
        issuer_key_pem: Its key: plain text here, a Pulumi secret once registered; never in `repr`.
    """

    source: Source
    trust_domain: str
    anchors: tuple[str, ...]
    signer: str
    anchor: Lifetime
    issuer: Lifetime
    webhook: Lifetime
    anchors_pem: str = ""
    issuer_certificate_pem: str = ""
    issuer_key_pem: str = ""

    def __repr__(self) -> str:
        return (
            f"IdentityPlan({self.source}, {self.trust_domain}, anchors {self.anchors}, signed by {self.signer or '-'})"
        )


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key as Pulumi inputs. The key is a secret."""

    certificate_pem: pulumi.Output[str]
    private_key_pem: pulumi.Output[str]


def bundle_order(anchors: tuple[str, ...]) -> tuple[str, ...]:
    """Return the anchors in the order of the bundle: by name, independent of the configured order."""
    return tuple(sorted(anchors))


def summary_entry(role: str, certificate_pem: str) -> dict[str, Any]:
    """Return a certificate's entry in the stack output `identity`: no key, nothing that depends on the time."""
    facts = certificates.read(certificate_pem)
    return {
        "role": role,
        "subject": facts.subject,
        "notAfter": facts.not_after.isoformat().replace("+00:00", "Z"),
        "fingerprint": facts.fingerprint,
    }


def report(listed: Mapping[str, str], now: datetime) -> str:
    """Return the end dates of certificates as text.

    It is logged, since an output that changes every day would make every `up` a change.

    Args:
        listed: Role -> certificate, PEM.
        now: The time of the run.
    """
    ends = ((role, certificates.read(pem).not_after) for role, pem in listed.items())
    shown = (f"{role} {end:%Y-%m-%d} ({certificates.days_left(end, now)} days left)" for role, end in ends)
    return "Certificates end: " + ", ".join(shown) + "."


class Identity(pulumi.ComponentResource):
    """Trust anchors, issuer and webhook certificates of one Linkerd mesh.

    Attributes:
        trust_bundle: The trust anchors as PEM; empty with an external CA.
        issuer: The issuer; None with an external CA.
        webhooks: Value key of the chart -> certificate and key.
        restart_hash: Changes when workloads have to restart (`certificates.restart_hash`); empty with an external CA.
        summary: The stack output `identity`.
    """

    trust_bundle: pulumi.Output[str]
    issuer: KeyPair | None
    webhooks: dict[str, KeyPair]
    restart_hash: pulumi.Output[str]
    summary: pulumi.Output[dict[str, Any]]

    def __init__(
        self,
        name: str,
        plan: IdentityPlan,
        webhook_services: Mapping[str, tuple[str, str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register the certificates.

        Args:
            name: Name of the component; its certificates are `<name>-<role>`.
            plan: The plan of the identity.
            webhook_services: Value key of the chart -> Service and namespace of the webhook.
            opts: Of the component.
        """
        super().__init__("meshup:index:Identity", name, None, opts)
        listed: list[tuple[str, pulumi.Output[str]]] = []
        signer_pem = pulumi.Output.from_input("")
        if plan.source == "managed":
            profile = certificates.anchor_profile(plan.trust_domain, plan.anchor.validity, plan.anchor.renew_before)
            anchors = {
                anchor: Certificate(f"{name}-anchor-{anchor}", profile, pulumi.ResourceOptions(parent=self))
                for anchor in bundle_order(plan.anchors)
            }
            listed += [(f"anchor {anchor}", made.certificatePEM) for anchor, made in anchors.items()]
            pems = [made.certificatePEM for made in anchors.values()]
            self.trust_bundle = pulumi.Output.all(*pems).apply(certificates.bundle)
            signer = anchors[plan.signer]
            signer_pem = signer.certificatePEM
            issuer = Certificate(
                f"{name}-issuer",
                certificates.issuer_profile(plan.trust_domain, plan.issuer.validity, plan.issuer.renew_before),
                pulumi.ResourceOptions(parent=self),
                signer,
                self.trust_bundle,
            )
            self.issuer = KeyPair(issuer.certificatePEM, pulumi.Output.secret(issuer.privateKeyPEM))
            listed.append(("issuer", issuer.certificatePEM))
        elif plan.source == "provided":
            bundle = certificates.bundle([plan.anchors_pem])
            self.trust_bundle = pulumi.Output.from_input(bundle)
            self.issuer = KeyPair(
                pulumi.Output.from_input(plan.issuer_certificate_pem), pulumi.Output.secret(plan.issuer_key_pem)
            )
            signer_pem = pulumi.Output.from_input(certificates.signer_in(plan.issuer_certificate_pem, bundle))
            listed += [
                (f"anchor {index}", pulumi.Output.from_input(pem))
                for index, pem in enumerate(certificates.split(bundle), start=1)
            ]
            listed.append(("issuer", self.issuer.certificate_pem))
        else:
            self.trust_bundle = pulumi.Output.from_input("")
            self.issuer = None
        self.webhooks = {}
        for key, (service, namespace) in webhook_services.items():
            made = Certificate(
                f"{name}-{service}",
                certificates.webhook_profile(service, namespace, plan.webhook.validity, plan.webhook.renew_before),
                pulumi.ResourceOptions(parent=self),
            )
            self.webhooks[key] = KeyPair(made.certificatePEM, pulumi.Output.secret(made.privateKeyPEM))
            listed.append((service, made.certificatePEM))
        if plan.source == "external":
            self.restart_hash = pulumi.Output.from_input("")
        else:
            self.restart_hash = pulumi.Output.all(self.trust_bundle, signer_pem).apply(
                lambda pair: certificates.restart_hash(pair[0], pair[1])
            )
        now = clock.now(os.environ)
        roles = [role for role, _ in listed]
        source = plan.source

        def summary(pems: list[str]) -> dict[str, Any]:
            named = dict(zip(roles, pems, strict=True))
            pulumi.log.info(report(named, now), self)
            entries = [summary_entry(role, pem) for role, pem in named.items()]
            return {"source": source, "trustDomain": plan.trust_domain, "certificates": entries}

        self.summary = pulumi.Output.all(*[pem for _, pem in listed]).apply(summary)
        self.register_outputs({"trustBundle": self.trust_bundle, "restartHash": self.restart_hash})
