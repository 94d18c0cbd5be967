"""What is needed so that a mesh, its releases, namespaces and routes become those of a stack. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest, ObjectRef, object_ref, part
from components.meshes import MESHES, TARGETS
from components.meshes.adoption import Adopted, HelmRecord, records
from components.traffic import compile_routes, parse
from components.traffic.adoption import Form, Home, Reading, differences, entries, plain
from components.traffic.manifests import filled
from components.traffic.model import Api
from stacks import ownership, plan, settings
from stacks.charts import Charts
from stacks.cluster import ClusterView
from stacks.environments import PLAIN
from stacks.services import place_of, ports_of, protocol_of
from stacks.settings import MODEL, RawConfig

_PATH = "meshup:traffic"


@dataclass(frozen=True)
class Routes:
    """Routes that are there, as this stack's.

    Attributes:
        forms: The routes, as they stand under `meshup:traffic`.
        adopted: The objects that these are compiled to, and that are there.
        left: The objects that can't be expressed, each with the reason.
    """

    forms: Mapping[str, Form] = field(default_factory=dict[str, Form])
    adopted: tuple[ObjectRef, ...] = ()
    left: Mapping[ObjectRef, str] = field(default_factory=dict[ObjectRef, str])


@dataclass(frozen=True)
class Adoption:
    """What makes a mesh and its routes those of a stack.

    Attributes:
        config: The configuration of the stack.
        routes: Its routes.
        commands: What is to be run before `pulumi up`.
    """

    config: Mapping[str, Any]
    routes: Mapping[str, Form]
    commands: tuple[str, ...]


def adopt(mesh: str, view: ClusterView, owner: str, context: str) -> tuple[Adoption | None, list[Diagnostic]]:
    """Describe a mesh that somebody else has installed as a stack.

    Args:
        mesh: Its kind.
        view: The cluster.
        owner: The stack that takes it over, as in the annotation of objects.
        context: The kubeconfig's context of the cluster.
    """
    kind, name = MESHES[mesh], owner.rpartition("/")[2]
    defaults = MODEL.model_validate({"environment": PLAIN, "mesh": mesh})
    found, diagnostics = kind.find(defaults, view)
    if found is None or view.diagnostics:
        return None, view.diagnostics or [replace(fault, code="MSH060") for fault in diagnostics]
    releases = _releases(kind.adopted_charts, view.objects("v1", "Secret", found.namespace))
    helm = kind.adopted_charts[0] in releases
    adopted = kind.adopt(releases, found.accepted) if helm else Adopted({mesh: {"install": False}})
    if not helm:
        message = "Helm has no record of its control plane, so that the stack uses it and does not take it over."
        diagnostics.append(Diagnostic("MSH064", f"meshup:{mesh}.install", False, message, severity="warning"))
    if found.mtls == "disable":
        message = "Mutual TLS is off in the whole mesh, which meshup does not have."
        diagnostics.append(Diagnostic("MSH062", "meshup:mtls", found.mtls, message, severity="warning"))
    diagnostics += [Diagnostic("MSH062", f"meshup:{mesh}", None, f"{n}.", severity="warning") for n in adopted.notes]
    objects = [
        {**item, "apiVersion": api_version, "kind": kind_name}
        for api_version, kind_name in kind.claim_readers
        for item in view.objects(api_version, kind_name)
    ]
    live = routes(mesh, objects, view.objects("v1", "Service"), found.cluster_domain)
    diagnostics += [
        Diagnostic("MSH061", str(ref), None, f"It stays as it is: {reason}.", severity="warning")
        for ref, reason in live.left.items()
    ]
    own: dict[str, Any] = {"environment": PLAIN, "mesh": mesh, **({"mtls": found.accepted} if helm else {})}
    meshup = own | dict(adopted.sections)
    revision = found.revision or "default"
    meshed = [item["name"] for item in view.metadata("v1", "Namespace") if kind.is_member(item, revision)]
    if meshed:
        meshup["namespaces"] = {name: {} for name in sorted(meshed)}
    if live.forms:
        meshup["trafficFile"] = f"routes.{name}.yaml"
    refs, faults = _to_hand_over(meshup | {"traffic": live.forms}, name, view, owner)
    secrets = [ObjectRef("v1", "Secret", item.secret, item.namespace) for item in releases.values()]
    commands = [
        *adopted.commands,
        *(command for ref in refs for command in (ownership.hand_over(ref, owner), ownership.drop_managers(ref))),
        *(ownership.hand_over(ref, owner) for ref in secrets),
    ]
    config = {"kubernetes:context": context} | {f"meshup:{key}": value for key, value in meshup.items()}
    return Adoption(config, live.forms, tuple(commands)), [*diagnostics, *faults, *view.diagnostics]


def _releases(charts: Sequence[str], secrets: Iterable[Manifest]) -> dict[str, HelmRecord]:
    return {item.chart: item for item in records(secrets) if item.chart in charts and item.status == "deployed"}


def _to_hand_over(
    meshup: Mapping[str, Any], name: str, view: ClusterView, owner: str
) -> tuple[list[ObjectRef], list[Diagnostic]]:
    """Return the objects of a stack that exist and have no owner, and the faults of its configuration."""
    raw = {key: value for key, value in meshup.items() if key != "trafficFile"}
    chosen, diagnostics = settings.load(RawConfig(meshup=raw), name)
    now = datetime.now(UTC)
    # Files with certificates are not there yet.
    planned, _ = MESHES[chosen.mesh].plan(plan.request(chosen, Charts(), now, view=view))
    traffic, _ = plan.compiled(chosen, now, found=planned.existing)
    namespaces = [ObjectRef("v1", "Namespace", item["name"]) for item in planned.namespaces]
    refs = [*namespaces, *map(object_ref, planned.objects), *map(object_ref, traffic.manifests)]
    live = view.existing(refs)
    owners = {ref: ownership.owner_of(metadata) for ref, metadata in live.items()}
    diagnostics += [
        Diagnostic("MSH061", str(ref), None, f"It belongs to the stack {other}.")
        for ref, other in owners.items()
        if other not in ("", owner)
    ]
    return [ref for ref, other in owners.items() if not other], errors(diagnostics)


def routes(mesh: str, objects: Sequence[Manifest], services: Sequence[Manifest], domain: str) -> Routes:
    """Translate the objects of routes.

    The objects of each Service become its routes; these are compiled, and compared with the objects field by field.

    Args:
        mesh: The mesh that reads them.
        objects: VirtualServices, DestinationRules, HTTPRoutes, GRPCRoutes and ServiceProfiles.
        services: The Services of the cluster.
        domain: The DNS domain of the cluster.
    """
    kind = MESHES[mesh]
    readers = kind.claim_readers
    selectors = {place_of(item): cast("dict[str, str]", item["spec"].get("selector") or {}) for item in services}
    homes = {
        f"{item['metadata']['name']}.{item['metadata']['namespace']}.svc.{domain}": Home(
            item["metadata"]["name"],
            item["metadata"]["namespace"],
            domain,
            tuple(ports_of(item["spec"])),
            cast("dict[str, str]", item["spec"].get("selector") or {}),
            selectors,
        )
        for item in services
    }
    specs = {place_of(item): item for item in services}
    left: dict[ObjectRef, str] = {}
    by_host: dict[str, list[Manifest]] = {}
    for item in objects:
        hosts = [claim.host for claim in readers[item["apiVersion"], item["kind"]](item, domain)]
        if len(hosts) == 1 and hosts[0] in homes:
            by_host.setdefault(hosts[0], []).append(item)
        else:
            named = ", ".join(hosts) or "no Service of the mesh"
            left[object_ref(item)] = f"it is for {named}, and a route is for one Service of the cluster"
    candidates: dict[str, list[Form]] = {}
    for host, items in by_host.items():
        home = homes[host]
        apis = {target.api for target in kind.targets for item in items if _kind(item) in target.claims}
        if len(apis) > 1:
            left |= dict.fromkeys(
                map(object_ref, items), f"objects of {' and '.join(sorted(apis))} are for one Service"
            )
            continue
        api = cast("Api", next(iter(apis), kind.targets[0].api))
        normal = [kind.normal_route(item, domain) for item in items]
        by_host[host] = normal
        candidates[host] = _forms(api, kind.read_routes(api, normal, home), home, specs[home.namespace, home.name])
    # A route may name other Services, so that they stand and fall together.
    while True:
        failed = _failed(mesh, candidates, by_host, domain)
        if not failed:
            break
        for host, reason in failed.items():
            left |= {object_ref(item): reason for item in by_host[host]}
            del candidates[host]
    forms = _with_keys(candidates)
    adopted = tuple(object_ref(item) for host in candidates for item in by_host[host])
    return Routes(forms, adopted, left)


def _kind(item: Manifest) -> tuple[str, str]:
    return item["apiVersion"], item["kind"]


def _forms(api: Api, reading: Reading, home: Home, service: Manifest) -> list[Form]:
    """Return a route for each port that has rules; the first one describes the Service."""
    ports: list[Form] = []
    for number, port in ports_of(service["spec"]).items():
        target = port.get("targetPort")
        entry: Form = {"number": number}
        if protocol := protocol_of(port):
            entry["protocol"] = protocol
        if isinstance(target, int) and target != number:
            entry["targetPort"] = target
        ports.append(entry)
    forms: list[Form] = []
    for number in sorted(reading.rules) or [home.ports[0]]:
        form: Form = {"service": home.name, "namespace": home.namespace, "port": number, "api": api}
        if not forms:
            form |= {"ports": ports, "versions": reading.versions, "selector": dict(home.selector)}
        form["rules"] = reading.rules.get(number)
        forms.append(filled(form | ({} if forms else reading.policies)))
    return forms


def _with_keys(candidates: Mapping[str, Sequence[Form]]) -> dict[str, Form]:
    """Return routes by the name of the Service, with namespace and port where several have the same."""
    routes: dict[str, Form] = {}
    for forms in candidates.values():
        for form in forms:
            name = str(form["service"])
            keys = (name, f"{name}-{form['namespace']}", f"{name}-{form['namespace']}-{form['port']}")
            key = next(key for key in keys if key not in routes)
            routes[key] = {field: value for field, value in form.items() if field != "service" or value != key}
    return routes


def _failed(
    mesh: str, candidates: Mapping[str, Sequence[Form]], live: Mapping[str, Sequence[Manifest]], domain: str
) -> dict[str, str]:
    """Compile routes, and return why those of a Service are not what is there."""
    forms = _with_keys(candidates)
    hosts = dict(zip(forms, (host for host, listed in candidates.items() for _ in listed), strict=True))
    found, diagnostics = parse(forms, _PATH, (), domain)
    compilation = compile_routes(found, mesh, TARGETS)
    faults = errors([*diagnostics, *compilation.diagnostics])
    if faults:
        named = [(hosts.get(fault.path.removeprefix(f"{_PATH}.").partition(".")[0]), fault) for fault in faults]
        told = {host: f"{fault.path}: {fault.message.rstrip('.')}" for host, fault in reversed(named) if host}
        return told or dict.fromkeys(candidates, faults[0].message.rstrip("."))
    made = {object_ref(item): MESHES[mesh].normal_route(item, domain) for item in compilation.manifests}
    failed: dict[str, str] = {}
    for host in candidates:
        for item in live[host]:
            ref = object_ref(item)
            if ref not in made:
                failed[host] = f"meshup would not write {ref} for its Service, but an object of another name or kind"
                break
            reason = next(differences(_named(plain(item), plain(made[ref])), plain(made[ref]), ref.kind), "")
            if reason:
                failed[host] = reason
                break
    return failed


def _named(live: Manifest, made: Manifest) -> Manifest:
    """Return an object with the names that meshup gives to rules without one: they decide nothing."""
    rules, ours = entries(part(live, "spec"), "http"), entries(part(made, "spec"), "http")
    if not rules:
        return live
    named = [{"name": other.get("name"), **one} for one, other in zip(rules, ours, strict=False)]
    return {**live, "spec": {**live["spec"], "http": [*named, *rules[len(named) :]]}}
