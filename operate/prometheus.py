"""Asking a Prometheus: at an address, or behind a Service through the API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import urllib3

from stacks.cluster import Cluster, ClusterError

SECONDS = 30.0
"""Timeout of a query to Prometheus."""
_QUERY = "api/v1/query"
Ask = Callable[[str], Any]
"""An instant query -> the answer of Prometheus. Raises `PrometheusError`."""


class PrometheusError(Exception):
    """A Prometheus can't be asked; the message says why, without a full stop."""


def at_address(address: str) -> Ask:
    """Return what asks the Prometheus at an address."""
    pool = urllib3.PoolManager(retries=False, timeout=SECONDS)

    def ask(expression: str) -> Any:
        if not address.startswith(("http://", "https://")):
            raise PrometheusError(f"its address {address!r} has to start with http:// or https://")
        where = f"{address.rstrip('/')}/{_QUERY}?{urlencode({'query': expression})}"
        try:
            answer = pool.request("GET", where, headers={"Accept": "application/json"})
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise PrometheusError(f"it does not answer: {str(error).rstrip('.')}") from None
        try:
            return json.loads(answer.data)
        except (ValueError, RecursionError):
            raise PrometheusError(f"{answer.status} the answer is not one of Prometheus") from None

    return ask


def behind_service(cluster: Cluster, namespace: str, service: str, port: int) -> Ask:
    """Return what asks the Prometheus behind a Service, through the API server."""

    def ask(expression: str) -> Any:
        try:
            return json.loads(cluster.service_text(namespace, service, port, _QUERY, {"query": expression}))
        except ClusterError as error:
            raise PrometheusError(error.diagnostics[0].message.rstrip(".")) from None
        except (ValueError, RecursionError):
            raise PrometheusError("the answer is not one of Prometheus") from None

    return ask
