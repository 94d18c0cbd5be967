"""The stack outputs: plain data with camelCase keys, stable across versions. docs/outputs.md is their contract."""

from typing import Any

from components.apps.interface import AppPlan
from components.diagnostics.validation import join
from stacks import gateways
from stacks.overrides import TRAFFIC
from stacks.plan import Plan
from stacks.settings import Settings


def outputs(plan: Plan) -> dict[str, Any]:
    """Return the outputs of a stack by name."""
    namespaces = {
        item.name: {"created": item.created, "inject": item.inject, "revision": item.revision} for item in plan.joined
    }
    return {
        "mesh": dict(plan.mesh.output),
        "apps": {app.name: _app(app) for app in plan.apps},
        "trafficSplits": dict(plan.traffic.summaries),
        "dashboards": {addon.name: dict(addon.dashboard) for addon in plan.addons if addon.dashboard},
        **({"gateways": gateways.output(plan.gateways)} if plan.gateways.gateways else {}),
        # Not for a stack without any: its outputs stay as they were.
        **({"namespaces": namespaces} if namespaces else {}),
        **({"security": dict(plan.security.guarded.summaries)} if plan.security.guarded.summaries else {}),
    }


def overridden(settings: Settings) -> dict[str, Any]:
    """Return the output about `meshup:trafficOverrides`; none without one."""
    fields: dict[str, dict[str, Any]] = {}
    for override in settings.origins.overrides:
        field = override.path.removeprefix(join(TRAFFIC, override.route)).removeprefix(".")
        fields.setdefault(override.route, {})[field] = override.value
    return {"trafficOverrides": fields} if fields else {}


def _app(app: AppPlan[Any]) -> dict[str, Any]:
    service, port, path = app.entry
    return {
        "namespace": app.namespace,
        "services": {
            item.name: {
                "host": item.host,
                "ports": [{"name": port.name, "number": port.number} for port in item.ports],
                "versions": [version.name for version in item.versions],
            }
            for item in app.services
        },
        "open": {
            "command": f"kubectl --namespace {app.namespace} port-forward service/{service} {port}:{port}",
            "url": f"http://localhost:{port}{path}",
        },
    }
