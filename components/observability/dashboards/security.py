"""The dashboard of security: mutual TLS, denials and certificates."""

from __future__ import annotations

from typing import Any

from ..source import MetricsSource, Signal
from .panels import board as made
from .signals import missing, panels

_NUMBERS: tuple[Signal, ...] = ("mutual_tls", "issuer", "trust_anchor")
_CALLS: tuple[Signal, ...] = ("mutual_tls_edges", "denials", "authorizations")
_CERTIFICATES: tuple[Signal, ...] = ("certificates", "renewals")


def board(source: MetricsSource, mesh: str) -> dict[str, Any]:
    """Return the dashboard."""
    return made(
        mesh,
        "security",
        "Security",
        "Mutual TLS, denials and certificates of the whole mesh.",
        [
            ("", panels(source, *_NUMBERS, width=8)),
            ("Who calls whom", panels(source, *_CALLS)),
            ("Certificates", panels(source, *_CERTIFICATES)),
            ("", missing(source, *_NUMBERS, *_CALLS, *_CERTIFICATES)),
        ],
    )
