"""Which rights an `up`, a refresh and a destroy of a plan use, and which of them are missing. Pure.

What the provider does with an object: it reads and creates it, patches it when it changes, and deletes it when it goes
(server-side apply; Helm does the same with the objects of a chart). Helm keeps its records in Secrets of the namespace
of a release, or in ConfigMaps (`kubernetes:helmReleaseSettings`), and updates them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref
from stacks.checking import Check
from stacks.cluster import Access, Resource
from stacks.plan import Plan
from stacks.settings import Settings

from .model import Kind, Subject, kind_of

EVERYTHING = Access("*", "*", "*")
MAKES = ("get", "create", "patch")
ENDS = ("delete",)
RECORDS = ("get", "list", "create", "update", "delete")
"""Verbs by which Helm keeps its records (Helm 3, pkg/storage/driver/secrets.go)."""
WAITS: tuple[Access, ...] = (Access("list", "", "pods"), Access("list", "apps", "replicasets"))
"""What the provider reads until a release is ready."""

Needs = Mapping[Access, str]
"""Rights, each with an object that needs it."""


def needed(
    settings: Settings, plan: Plan, objects: Sequence[Manifest], kinds: Mapping[Kind, Resource]
) -> dict[Access, str]:
    """Return the rights that a plan needs, each with what needs it.

    Args:
        settings: The settings of the stack.
        plan: The plan.
        objects: All objects of the plan and its charts.
        kinds: How their kinds are served. One that is not known is left out.
    """
    needs: dict[Access, str] = {}
    patched = [*plan.patches, *(item.patch for item in plan.joined if item.patch)]
    restarted = [restart for item in plan.joined for restart in item.restarts]
    for items, verbs in ((objects, (*MAKES, *ENDS)), ([*patched, *restarted], ("get", "patch"))):
        for item in items:
            resource = kinds.get(kind_of(item))
            if resource is None:
                continue
            ref = object_ref(item)
            group = ref.api_version.rpartition("/")[0]
            namespace = ref.namespace if resource.namespaced else ""
            for verb in verbs:
                needs.setdefault(Access(verb, group, resource.plural, namespace), str(ref))
    for release in plan.releases:
        name = f"the Helm release {release['namespace']}/{release['name']}"
        for verb in RECORDS:
            needs.setdefault(Access(verb, "", _storage(settings), release["namespace"]), f"the record of {name}")
        for access in WAITS:
            needs.setdefault(access._replace(namespace=release["namespace"]), name)
    return needs


def _storage(settings: Settings) -> str:
    """Return the resource in which Helm keeps its records."""
    with suppress(ValueError):
        chosen = json.loads(settings.cluster.provider.get("helmReleaseSettings") or "{}")
        if str(chosen.get("driver")).startswith("configmap"):
            return "configmaps"
    return "secrets"


def everywhere(needs: Iterable[Access]) -> set[Access]:
    """Return the same rights in all namespaces: who has them need not be asked namespace by namespace."""
    return {access._replace(namespace="") for access in needs}


def left(needs: Iterable[Access], allowed: Mapping[Access, bool]) -> list[Access]:
    """Return the rights that are to be asked for in their namespace, since they are not there in all of them."""
    return [one for one in needs if one.namespace and not allowed.get(one._replace(namespace=""), False)]


def missing(needs: Needs, allowed: Mapping[Access, bool]) -> list[Diagnostic]:
    """Report the rights that are missing, by resource and namespace.

    Args:
        needs: The rights that the plan needs.
        allowed: Those that were asked for, and whether they are there.
    """
    if allowed.get(EVERYTHING):
        return []
    lacking: dict[tuple[str, str, str, bool], list[str]] = {}
    reasons: dict[tuple[str, str, str, bool], str] = {}
    for access, reason in needs.items():
        if allowed.get(access) or allowed.get(access._replace(namespace="")):
            continue
        key = (access.group, access.resource, access.namespace, access.verb in ENDS)
        lacking.setdefault(key, []).append(access.verb)
        reasons.setdefault(key, reason)
    diagnostics: list[Diagnostic] = []
    for (group, resource, namespace, ends), verbs in lacking.items():
        name = f"{resource}.{group}" if group else resource
        where = f"in the namespace {namespace}" if namespace else "cluster-wide"
        reason = reasons[group, resource, namespace, ends]
        message = f"The credentials may not {', '.join(verbs)} {name} {where}, as {reason} needs."
        place = f" --namespace {namespace}" if namespace else ""
        command = f"kubectl auth can-i {verbs[0]} {name}{place}"
        path = f"{name}/{namespace}" if namespace else name
        if ends:
            diagnostics.append(Diagnostic("MSH701", path, None, message, severity="warning", command=command))
        else:
            diagnostics.append(Diagnostic("MSH700", path, None, message, command=command))
    return diagnostics


def _run(subject: Subject) -> list[Diagnostic]:
    probes = subject.probes
    return missing(needed(subject.settings, subject.plan, subject.objects, probes.kinds), probes.allowed)


RIGHTS = Check("rights", "The credentials may do what the plan asks for", ("MSH700", "MSH701"), _run)
