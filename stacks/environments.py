"""The presets: what an environment sets, written as a user would write it in Pulumi.<stack>.yaml.

A preset holds defaults. Whatever the stack's own configuration sets wins, key by key.
"""

from collections.abc import Mapping
from typing import Any

from components.helm import merged

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    # A laptop or a shared playground: small, and everything can be seen.
    "dev": {
        "mtls": "strict",
        "istio": {
            "replicas": 1,
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
            "proxyResources": {
                "requests": {"cpu": "10m", "memory": "64Mi"},
                "limits": {"cpu": "1000m", "memory": "512Mi"},
            },
            "accessLog": "text",
            "traceSampling": 100,
        },
        "linkerd": {
            "proxyResources": {"requests": {"cpu": "10m", "memory": "20Mi"}, "limits": {"memory": "250Mi"}},
        },
    },
    # Like production, on fewer machines.
    "staging": {
        "mtls": "strict",
        "istio": {
            "autoscaling": {"min": 1, "max": 3},
            "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}},
            "accessLog": "json",
            "traceSampling": 10,
        },
        # Without an answer of the injector, a pod would start outside the mesh, silently.
        "linkerd": {"logFormat": "json", "webhookFailurePolicy": "Fail"},
    },
    # While no istiod answers, no pod starts in a meshed namespace. With two replicas, the chart adds a
    # PodDisruptionBudget.
    "prod": {
        "mtls": "strict",
        "istio": {
            "autoscaling": {"min": 2, "max": 5},
            "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}},
            "accessLog": "off",
            "traceSampling": 1,
        },
        "linkerd": {"highAvailability": True, "webhookFailurePolicy": "Fail", "logFormat": "json"},
    },
}

_EXCLUSIVE = (("istio", "replicas", "autoscaling"),)
"""Section, and two keys of it of which only one may be set: setting one drops the preset's other."""


def with_preset(environment: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stack's configuration with the environment's defaults under it.

    Args:
        environment: A key of ENVIRONMENTS.
        raw: The configuration, by key without `meshup:`.

    Returns:
        The merged configuration. A section that is not a mapping is left as it stands, to be refused with its value.
    """
    preset = merged(ENVIRONMENTS[environment])
    for section, one, other in _EXCLUSIVE:
        written = raw.get(section)
        if isinstance(written, Mapping):
            for mine, theirs in ((one, other), (other, one)):
                if mine in written:
                    preset[section].pop(theirs, None)
    return merged(preset, raw)
