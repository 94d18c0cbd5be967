"""Dashboards of Grafana: the same for both meshes, from neutral series and the signals of a `MetricsSource`.

A module for each dashboard has `board(source, mesh)`. What a mesh has no metric for is left out, and a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..source import MetricsSource
from . import control_plane, overview, resilience, security, service, split

_BOARDS = (overview.board, service.board, split.board, resilience.board, security.board, control_plane.board)


def dashboards(source: MetricsSource, mesh: str) -> Mapping[str, dict[str, Any]]:
    """Return dashboards of Grafana by uid, as plain data in the schema of Grafana 13.

    Args:
        source: The metrics that the proxies have.
        mesh: The mesh, a label of every neutral series.
    """
    made = [board(source, mesh) for board in _BOARDS]
    return {one["uid"]: one for one in made}
