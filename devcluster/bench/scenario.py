"""What is measured: the routes, and the same things for helm, kubectl and a bare program. Pure functions.

The things are read from the state of the program that `pulumi up` has just run, so every way makes the same objects
with the same values.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import cast

Json = Mapping[str, object]

NAMESPACE = "scale"
RELEASE = "kubernetes:helm.sh/v3:Release"
_RELEASE_KEYS = ("name", "namespace", "chart", "version", "values", "timeout", "skipAwait", "createNamespace")


@dataclass(frozen=True)
class Apply:
    """A step of the baseline: `kubectl apply` of objects."""

    objects: tuple[Json, ...]


@dataclass(frozen=True)
class Install:
    """A step of the baseline: `helm install`."""

    name: str
    namespace: str
    chart: str
    values: Json


def routes(services: int, weight: int = 90) -> dict[str, object]:
    """Return `meshup:traffic` for Services of the user's own, each split over two versions.

    Args:
        services: How many.
        weight: Percent for v1 of the first one; the others have 90.
    """
    return {
        f"s{number}": {
            "namespace": NAMESPACE,
            "port": 80,
            "versions": {"v1": {"v": "1"}, "v2": {"v": "2"}},
            "split": {"v1": weight, "v2": 100 - weight} if number == 0 else {"v1": 90, "v2": 10},
        }
        for number in range(services)
    }


def worst() -> dict[str, dict[str, object]]:
    """Return `meshup:traffic` by name: within the limits of a configuration, and as much work as could be thought of.

    What takes too much work is refused (MSH162) when the steps that meshup counts to are used up; that is the most
    that a compilation can take.
    """

    def rules(matches: Sequence[object]) -> dict[str, object]:
        listed = [{"match": match, "backends": {f"v{n % 2 + 1}": 100}} for n, match in enumerate(matches)]
        described = {"namespace": NAMESPACE, "port": 80, "versions": {"v1": {"v": "1"}, "v2": {"v": "2"}}}
        return {"s0": {**described, "rules": listed}}

    def headers(pattern: str) -> dict[str, object]:
        return {"headers": {"x": {"regex": pattern}}}

    return {
        "64 patterns": rules([headers(f"[a-z]+-{n}-[a-z]+") for n in range(64)]),
        "8 large patterns": rules([{"path": {"regex": f"/([ab]?){{{893 + n}}}"}} for n in range(8)]),
        "4,096 paths": rules([[{"path": f"/p/{n}/{m}"} for m in range(64)] for n in range(64)]),
        "4,096 pairs of patterns": rules(
            [
                [
                    {"path": {"regex": f"/.*{n}.*{m}.*"}, "headers": {f"h{m % 4}": {"regex": f".*{n}.*"}}}
                    for m in range(64)
                ]
                for n in range(64)
            ]
        ),
        "patterns that count": rules([headers(f".*a.{{{400 + n}}}") for n in range(64)]),
        "patterns without end": rules([headers("[ab]*a[ab]{99}"), headers("[ab]*aa[ab]{98}")]),
    }


def compiler(traffic: Mapping[str, object]) -> str:
    """Return a program that compiles routes for Istio and prints JSON: processor time, MiB, objects, codes of faults.

    It is run in a process of its own, which has done nothing else, so that its peak memory is that of the compiler. The
    first compilation of a process is the one that counts: `pulumi up` makes no second one.
    """
    return f"""\
import json, resource, time
from components.diagnostics import errors
from components.meshes import TARGETS
from components.traffic import compile_routes, parse
traffic = json.loads({json.dumps(json.dumps(traffic))})
start = time.process_time()
found, faults = parse(traffic, "meshup:traffic", [])
compiled = compile_routes(found, "istio", TARGETS)
seconds = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert not faults, faults[0]
print(json.dumps({{
    "seconds": seconds,
    "mib": peak / 1024,
    "objects": list(compiled.manifests),
    "refused": sorted({{fault.code for fault in errors(compiled.diagnostics)}}),
}}))
"""


def listed(objects: Sequence[Json]) -> Json:
    """Return objects as one List, which kubectl takes in one go."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def resources(exported: Json) -> list[Json]:
    """Return the Kubernetes resources of a state as `pulumi stack export` prints it, in their order.

    The `dependencies` of each are those of them that it waits for, directly or through what is left out.
    """
    deployment = cast("Json", exported.get("deployment") or {})
    everything = cast("Sequence[Json]", deployment.get("resources") or ())
    found = [item for item in everything if item.get("custom") and str(item["type"]).startswith("kubernetes:")]
    before = _before(everything, {str(item["urn"]) for item in found})
    return [{**item, "dependencies": before[str(item["urn"])]} for item in found]


def _before(everything: Sequence[Json], kept: Set[str]) -> dict[str, list[str]]:
    """What each resource waits for, of those that are kept, by URN and in the order of the state.

    A resource waits for its dependencies; for its parent, and with it for what that waits for, since Pulumi registers
    no child before its parent; for the children of a component that it depends on; and, through resources that are
    not kept, for what those wait for. A state lists each resource after all of these.
    """
    children: dict[str, list[str]] = {}
    before: dict[str, dict[str, None]] = {}
    for item in everything:
        urn, parent = str(item["urn"]), str(item.get("parent") or "")
        reached = [*cast("Sequence[str]", item.get("dependencies") or ()), parent]
        for dependency in [*reached, *(child for one in reached[:-1] for child in _below(one, children))]:
            before.setdefault(urn, {})
            if dependency in kept:
                before[urn][dependency] = None
            else:
                before[urn] |= before.get(dependency, {})
        children.setdefault(parent, []).append(urn)
    return {urn: list(found) for urn, found in before.items()}


def _below(urn: str, children: Mapping[str, Sequence[str]]) -> list[str]:
    return [found for child in children.get(urn, ()) for found in (child, *_below(child, children))]


def baseline(found: Sequence[Json]) -> list[Apply | Install]:
    """Return the steps that make the same objects with helm and kubectl; neighbours are applied together."""
    steps: list[Apply | Install] = []
    for item in found:
        inputs = _inputs(item)
        if item["type"] == RELEASE:
            values = cast("Json", inputs.get("values") or {})
            steps.append(Install(str(inputs["name"]), str(inputs["namespace"]), str(inputs["chart"]), values))
        elif steps and isinstance(last := steps[-1], Apply):
            steps[-1] = Apply((*last.objects, inputs))
        else:
            steps.append(Apply((inputs,)))
    return steps


def bare_program(found: Sequence[Json]) -> str:
    """Return a Pulumi program that registers the same resources with literal arguments, in the same order, and decides
    nothing. It has no components, so each resource names itself what it waits for.
    """
    names = {str(item["urn"]): f"r{position}" for position, item in enumerate(found)}
    lines = ["import pulumi", "import pulumi_kubernetes as k8s", ""]
    for item in found:
        after = [names[urn] for urn in cast("Sequence[str]", item.get("dependencies") or ()) if urn in names]
        call, arguments = _call(item)
        given = "".join(f"{key}={value!r}, " for key, value in arguments.items())
        name = str(item["urn"]).rpartition("::")[2]
        options = f"opts=pulumi.ResourceOptions(depends_on=[{', '.join(after)}])"
        lines.append(f"{names[str(item['urn'])]} = {call}({name!r}, {given}{options})")
    return "\n".join(lines) + "\n"


def _call(item: Json) -> tuple[str, dict[str, object]]:
    """The class of a resource in pulumi_kubernetes, and its arguments."""
    inputs = _inputs(item)
    if item["type"] == RELEASE:
        return "k8s.helm.v3.Release", {_snake(key): inputs[key] for key in _RELEASE_KEYS if key in inputs}
    _, group, kind = str(item["type"]).split(":")
    body = {_snake(key): value for key, value in inputs.items() if key not in ("apiVersion", "kind")}
    if "." in group:
        return "k8s.apiextensions.CustomResource", {"api_version": group, "kind": kind, **body}
    return f"k8s.{group.replace('/', '.')}.{kind}", body


def _inputs(item: Json) -> dict[str, object]:
    inputs = cast("Json", item.get("inputs") or {})
    return {key: value for key, value in inputs.items() if not key.startswith("__")}


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
