"""Stacks that trace and log."""

from collections.abc import Mapping
from typing import Any

from components.diagnostics import Diagnostic, errors
from stacks.plan import Plan
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build

COLLECTOR = {"service": "collector", "namespace": "tracing", "port": 4317, "serviceAccount": "collector"}
ZIPKIN = {"service": "zipkin", "namespace": "tracing", "port": 9411, "protocol": "zipkin"}
REMOTE: dict[str, Any] = {"istio": {"collector": ZIPKIN}, "linkerd": {"collector": COLLECTOR}}


def plan_of(**keys: Any) -> Plan:
    """Return the plan of a stack that has no error."""
    made, diagnostics = build(raw(**keys))
    assert not errors(diagnostics), diagnostics
    assert made is not None
    return made


def faults(**keys: Any) -> list[Diagnostic]:
    """Return the diagnostics of a stack."""
    return build(raw(**keys))[1]


def values(plan: Plan, role: str) -> Mapping[str, Any]:
    """Return the values of a release."""
    return next(item["values"] for item in plan.mesh.releases if item["role"] == role)
