"""Whether the API server can ask the mesh's webhooks, and asks them for the namespaces of the plan. Pure."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, part
from components.meshes.interface import annotations_of, labels_of
from stacks.checking import Check
from stacks.other_meshes import selects

from .certificates import authorities, held, is_signed_by_any, places
from .model import Subject

KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
REGISTRATION = "admissionregistration.k8s.io/v1"
SLICES = ("discovery.k8s.io/v1", "EndpointSlice")
CRDS = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
_Hook = Mapping[str, Any]


def _run(subject: Subject) -> list[Diagnostic]:
    injectors, validators = subject.mesh.signature.injectors, subject.mesh.signature.validators
    found: list[tuple[str, Manifest, _Hook]] = []
    for kind, ends in zip(KINDS, (injectors, validators), strict=True):
        for config in subject.view.objects(REGISTRATION, kind):
            hooks = cast("list[_Hook]", config.get("webhooks") or [])
            found += [
                (kind, config, hook) for hook in hooks if str(hook["name"]).endswith(ends) and _ours(subject, hook)
            ]
    diagnostics: list[Diagnostic] = []
    for kind, config, hook in found:
        path = f"{kind}/{config['metadata']['name']}"
        diagnostics += [fault for fault in _answer(subject, path, hook) if fault not in diagnostics]
        diagnostics += [fault for fault in _authority(subject, path, hook) if fault not in diagnostics]
        if kind == KINDS[0]:
            diagnostics += _policy(subject, path, hook)
    diagnostics += _selected(subject, [hook for kind, _, hook in found if kind == KINDS[0]])
    return diagnostics


def _ours(subject: Subject, hook: _Hook) -> bool:
    """Return whether a webhook leads to the control plane of the plan. One with a URL is a provider's own affair."""
    return part(hook, "clientConfig", "service").get("namespace") == subject.control_plane


def _answer(subject: Subject, path: str, hook: _Hook) -> Iterator[Diagnostic]:
    """Report a webhook whose Service has nobody who answers."""
    name = str(part(hook, "clientConfig", "service").get("name"))
    namespace = subject.control_plane
    services = {item["metadata"]["name"] for item in subject.view.objects("v1", "Service", namespace)}
    slices = [
        item
        for item in subject.view.objects(*SLICES, namespace)
        if labels_of(item["metadata"]).get("kubernetes.io/service-name") == name
    ]
    ends = [end for item in slices for end in cast("list[Mapping[str, Any]]", item.get("endpoints") or [])]
    if name not in services:
        why = f"there is no Service {namespace}/{name}"
    elif not any(part(end, "conditions").get("ready", True) is not False for end in ends):
        why = f"the Service {namespace}/{name} has no ready endpoint"
    else:
        return
    refuses = hook.get("failurePolicy", "Fail") == "Fail"
    effect = "the API server refuses what it is to judge" if refuses else "the API server goes on without it"
    show = f"kubectl --namespace {namespace} get services,endpointslices"
    yield Diagnostic("MSH774", path, None, f"Nobody answers: {why}. Until then, {effect}.", command=show)


def _authority(subject: Subject, path: str, hook: _Hook) -> Iterator[Diagnostic]:
    """Report a caBundle that does not verify what answers the webhook, as far as its certificate can be read."""
    show = f"kubectl get {path.partition('/')[0].lower()} {path.partition('/')[2]} --output yaml"
    try:
        text = base64.b64decode(str(part(hook, "clientConfig").get("caBundle") or ""), validate=True).decode("ascii")
        bundle = authorities(text)
    except (binascii.Error, ValueError):
        text, bundle = "?", []
    if not bundle:
        message = "It has no caBundle." if not text else "Its caBundle is no certificate."
        yield Diagnostic("MSH775", path, None, f"{message} The API server does not trust the webhook.", command=show)
        return
    service = str(part(hook, "clientConfig", "service").get("name"))
    for place in places(subject):
        if place.webhooks is None or (place.webhooks and service not in place.webhooks):
            continue
        holder = held(subject, place)
        presented, where = authorities(holder.text), f"{subject.control_plane}/{holder.name}"
        # The Secret of a server holds its own certificate; of an authority, its own, which must be in the bundle.
        if presented and not (presented[0] in bundle or is_signed_by_any(presented[0], bundle)):
            message = f"Its caBundle does not go with the {place.title} of {place.kind}/{where}: every call fails."
            yield Diagnostic("MSH775", path, None, message, command=show)


def _policy(subject: Subject, path: str, hook: _Hook) -> Iterator[Diagnostic]:
    """Warn of an injector that fails in another way than the stack has it."""
    wanted = subject.mesh.injector_failure_policy(subject.plan.mesh)
    live = str(hook.get("failurePolicy", "Fail"))
    if wanted and live != wanted:
        effect = "start without a sidecar" if live == "Ignore" else "are refused"
        message = f"The failurePolicy of its webhook {hook['name']} is {live}: without an answer, pods {effect}."
        show = f"kubectl get mutatingwebhookconfiguration {path.partition('/')[2]} --output yaml"
        yield Diagnostic("MSH787", path, live, message, wanted, severity="warning", command=show)


def _selected(subject: Subject, injectors: Sequence[_Hook]) -> Iterator[Diagnostic]:
    """Report namespaces that have joined, and that no injector selects, where the mesh has one."""
    if subject.plan.mesh.output.get("injection") is False:
        return
    for namespace in subject.meshed:
        live = subject.existing.get(namespace)
        if live is None:
            continue
        labels = {**labels_of(live), "kubernetes.io/metadata.name": namespace}
        key, values = subject.mesh.signature.opt_in
        asks = not key or annotations_of(live).get(key) in values
        # A webhook with a selector of pods is for those that ask by themselves.
        of_namespaces = [hook for hook in injectors if selects(hook.get("objectSelector"), {})]
        if not (asks and any(selects(hook.get("namespaceSelector"), labels) for hook in of_namespaces)):
            message = (
                "It is a namespace of the mesh, and no webhook of the control plane adds sidecars to its new pods."
            )
            show = f"kubectl get namespace {namespace} --output yaml"
            yield Diagnostic("MSH776", f"Namespace/{namespace}", None, message, command=show)


def _crds(subject: Subject) -> list[Diagnostic]:
    live = {item["metadata"]["name"]: item for item in subject.view.objects(*CRDS)}
    diagnostics: list[Diagnostic] = []
    for name in subject.plan.mesh.crds:
        conditions = cast("list[Mapping[str, Any]]", part(live.get(name, {}), "status").get("conditions") or [])
        refused = next(
            (one for one in conditions if one.get("type") == "Established" and one["status"] != "True"), None
        )
        if name not in live:
            message = "The mesh needs it, and the cluster does not have it."
        elif refused is not None:
            message = f"The API server does not serve it: {refused.get('message') or refused.get('reason')}.".replace(
                "..", "."
            )
        else:
            continue
        show = f"kubectl get customresourcedefinition {name} --output yaml"
        diagnostics.append(Diagnostic("MSH777", f"CustomResourceDefinition/{name}", None, message, command=show))
    return diagnostics


WEBHOOKS = Check(
    "webhooks",
    "The API server can ask the mesh's webhooks, and asks them for the namespaces of the mesh",
    ("MSH774", "MSH775", "MSH776", "MSH787"),
    _run,
)
KINDS_SERVED = Check("crds", "The API server serves the kinds of the mesh", ("MSH777",), _crds)
