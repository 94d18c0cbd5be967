"""The stacks of the baseline: both meshes, both deliveries, both applications, objects of the traffic of every kind."""

from typing import Any

NAME = "test"
CONTEXT = "baseline"
CHARTS = "/charts"
"""What the context and the folder of charts are called in the recording; both differ from machine to machine."""

_EGRESS = [{"host": "example.com", "port": 80, "protocol": "HTTP"}]
_CANARY = {
    "name": "canary",
    "backends": {"v1": 95, "v2": 5},
    "timeout": "2s",
    "retries": {"attempts": 2, "conditions": ["gateway-error"]},
}
_STAFF = {"name": "staff", "match": {"headers": {"x-staff": {"present": True}}}, "backends": {"v3": 100}}
_TRAFFIC: dict[str, Any] = {
    "reviews": {"namespace": "bookinfo", "rules": [_STAFF, _CANARY], "egress": _EGRESS},
    "ratings": {
        "namespace": "bookinfo",
        "split": {"v1": 100},
        "circuitBreaker": {"consecutiveErrors": 5, "ejection": "10s"},
        "rateLimit": {"requests": 100},
    },
    "web-svc": {"namespace": "emojivoto", "split": {"v11": 90, "v12": 10}},
}
_ROUTE = {"api": "gateway-api", "rules": [{"backends": {"v1": 100}, "headers": {"request": {"set": {"x-a": "1"}}}}]}
_PROFILE = {"api": "service-profile", "rules": [{"match": {"path": {"exact": "/details/0"}}, "timeout": "3s"}]}

_BOTH: dict[str, Any] = {
    "meshup:environment": "dev",
    "meshup:apps": ["bookinfo", "emojivoto"],
    "meshup:emojivoto": {"webVersions": {"v11": "v11", "v12": "v12"}},
}
_ISTIO: dict[str, Any] = {
    "meshup:mesh": "istio",
    # Nobody answers Istio's webhooks where pods are no processes.
    "meshup:istio": {"webhooks": False, "accessLog": "json"},
    "meshup:traffic": _TRAFFIC | {"details": {"namespace": "bookinfo", **_ROUTE}},
}
_LINKERD: dict[str, Any] = {
    "meshup:mesh": "linkerd",
    "meshup:linkerd": {"cni": True, "viz": {"enabled": True}},
    "meshup:traffic": _TRAFFIC | {"details": {"namespace": "bookinfo", **_PROFILE}},
}

STACKS: dict[str, dict[str, Any]] = {
    f"{mesh}-{delivery}": {**_BOTH, **settings, "meshup:delivery": delivery}
    for mesh, settings in (("istio", _ISTIO), ("linkerd", _LINKERD))
    for delivery in ("objects", "release")
}
"""The configuration of each stack that was brought up, by name, without what names the cluster and the charts."""

PLANNED: dict[str, dict[str, Any]] = {
    "istio-gateways": {
        "meshup:environment": "prod",
        "meshup:mesh": "istio",
        "meshup:istio": {"gateways": [{"name": "istio-ingress"}, {"name": "istio-egress"}], "egress": "registry-only"},
    }
}
"""Stacks of which only the registrations are recorded: gateways need webhooks, which nobody answers."""
