"""Alerts on a mesh itself that each mesh has, by series of its own. What only one mesh has stands in its folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from .promql import AlertingRule

HOUR = 3600
DAY = 24 * HOUR
PAGE: Mapping[str, str] = {"severity": "page"}
TICKET: Mapping[str, str] = {"severity": "ticket"}


def literal(text: str) -> str:
    """Return a text as part of a regular expression in a selector, where a backslash is written twice."""
    return re.escape(text).replace("\\", "\\\\")


def certificate_expires(seconds: str) -> AlertingRule:
    """Return the alert on certificates of pods with six hours left.

    Args:
        seconds: Expression of the seconds that a certificate has left, by namespace and pod.
    """
    return AlertingRule(
        "MeshupCertificateExpires",
        f"{seconds} < {6 * HOUR}",
        PAGE,
        "The certificate of {{ $labels.namespace }}/{{ $labels.pod }} ends in {{ $value | humanizeDuration }} and was "
        "not renewed.",
        "10m",
    )


def signer_expires(name: str, seconds: str, summary: str) -> AlertingRule:
    """Return the alert on a certificate that signs others and has 60 days left.

    Args:
        name: Name of the alert.
        seconds: Series of the seconds that it has left.
        summary: What ends, one sentence.
    """
    return AlertingRule(name, f"min({seconds}) < {60 * DAY}", TICKET, summary, "1h")


def old_proxies(counted: str, version: str) -> AlertingRule:
    """Return the alert on proxies of another version than the planned one.

    Args:
        counted: Expression of the number of these proxies, by version.
        version: The planned version.
    """
    return AlertingRule(
        "MeshupOldProxies",
        f"{counted} > 0",
        TICKET,
        f"{{{{ $value }}}} proxies have the version {{{{ $labels.version }}}} in place of {version}.",
        "1d",
    )


def denials_rise(denied: str) -> AlertingRule:
    """Return the alert on policies that deny far more than in the hour before.

    Args:
        denied: Counter of what is denied, with the label `namespace`.
    """
    return AlertingRule(
        "MeshupDenialsRise",
        f"sum by (namespace) (rate({denied}[5m])) > 3 * sum by (namespace) (rate({denied}[1h] offset 5m)) + 1",
        TICKET,
        "Policies in {{ $labels.namespace }} deny {{ $value | humanize }} requests a second, far more than in the hour "
        "before.",
        "5m",
    )


def retry_storm(retried: str, sent: str, by: Sequence[str]) -> AlertingRule:
    """Return the alert on retries that are more than a fifth of the requests.

    Args:
        retried: Counter of retries, with selectors.
        sent: Counter of requests, with selectors.
        by: The labels that say where they go.
    """
    labels = ", ".join(by)
    target = "/".join(f"{{{{ $labels.{label} }}}}" for label in by)
    return AlertingRule(
        "MeshupRetryStorm",
        f"sum by ({labels}) (rate({retried}[5m])) / (sum by ({labels}) (rate({sent}[5m])) > 1) > 0.2",
        TICKET,
        f"{{{{ $value | humanizePercentage }}}} of the requests to {target} are retries.",
        "5m",
    )


def without_sidecar(namespaces: Sequence[str], container: str) -> Iterator[AlertingRule]:
    """Yield the alert on pods without a sidecar, by the series of kube-state-metrics.

    A native sidecar is an init container.

    Args:
        namespaces: The namespaces in the mesh; no alert without one.
        container: The name of the container that is the sidecar.
    """
    if namespaces:
        chosen = "|".join(map(literal, sorted(namespaces)))
        phase = '(kube_pod_status_phase{phase="Running"} == 1)'
        running = f'kube_pod_info{{namespace=~"{chosen}"}} and on (namespace, pod) {phase}'
        has = f'{{__name__=~"kube_pod_(init_)?container_info", container="{container}"}}'
        yield AlertingRule(
            "MeshupPodWithoutSidecar",
            f"({running}) unless on (namespace, pod) {has}",
            TICKET,
            "The pod {{ $labels.namespace }}/{{ $labels.pod }} is in a namespace of the mesh and has no sidecar.",
            "10m",
        )
