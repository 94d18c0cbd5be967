"""`meshup explain`: what a code means, and what the routes of a stack do with requests; as plain data and as tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import yaml
from pydantic import BaseModel, Field
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from components.diagnostics import CATALOGUE, ConfigurationError, Diagnostic, nearest, one_of
from components.diagnostics.codes import ALIASES
from components.diagnostics.validation import validate
from components.traffic import Compilation, patterns
from components.traffic.evaluate import Decision, Request, evaluate, policies
from components.traffic.grammar import TOKEN, TOKEN_ALLOWED, DnsLabel, Labels
from components.traffic.manifests import match_text
from components.traffic.model import Rule
from components.traffic.proxies import Proxy
from components.traffic.targets import Planned

Explanation = dict[str, Any]

_SENT = re.compile(r"/[!-~]*")
_PARAMETER = re.compile(r"[!-\"$-%'-~]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_AS_THEY_ARE = "/!$'()*,;:@%="


def is_code(word: str) -> bool:
    """Whether an argument asks for a code and not for a route: no Service has capital letters in its name."""
    return word.startswith("MSH")


def explain_code(code: str) -> dict[str, Any] | None:
    """What a code means, as plain data; None for a code that there is not."""
    entry = CATALOGUE.get(ALIASES.get(code, code))
    if entry is None:
        return None
    example = example_of(entry.code)
    return {
        "code": code,
        "now": entry.code,
        "title": entry.title,
        "meaning": entry.meaning,
        "remedy": entry.remedy,
        "example": example_text(example) if example else "",
    }


def code_text(explanation: Mapping[str, str]) -> str:
    """What a code means, for people."""
    code, now = explanation["code"], explanation["now"]
    lines = [f"{code} {explanation['title']}"] + ([f"It is {now} now: reports use that."] if now != code else [])
    lines += ["", explanation["meaning"], "", f"What to do: {explanation['remedy']}"]
    if explanation["example"]:
        lines += ["", "Example:", "", textwrap.indent(explanation["example"], "  ")]
    return "\n".join(lines) + "\n"


def unknown_code(word: str) -> str:
    """What to say to a code that there is not."""
    near = nearest(word, [*CATALOGUE, *ALIASES])
    return f"There is no code {word}." + (f" Did you mean {near}?" if near else "")


def example_of(code: str) -> dict[str, Any] | None:
    """The configuration that raises a code: `traffic`, `security`, and `mesh` if it is not Istio."""
    return _examples().get(code)


@cache
def _examples() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(Path(__file__).with_name("examples.yaml").read_text())


def example_text(example: Mapping[str, Any]) -> str:
    """An example as it stands in the file of a stack."""
    config = {f"meshup:{key}": example[key] for key in ("mesh", "traffic", "security") if key in example}
    return yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=100).rstrip()


def request_faults(request: Request) -> list[Diagnostic]:
    """What makes a request one that nobody can send, with the option of the command line that says so."""
    diagnostics: list[Diagnostic] = []
    if not _SENT.fullmatch(request.path):
        diagnostics.append(_unsendable("--path", request.path, quote(request.path, safe=_AS_THEY_ARE)))
    if not TOKEN.fullmatch(request.method):
        diagnostics.append(Diagnostic("MSH170", "--method", request.method, "This is not a method.", TOKEN_ALLOWED))
    for name, value in request.headers:
        if not TOKEN.fullmatch(name):
            diagnostics.append(Diagnostic("MSH119", "--header", name, "This is not a legal name.", TOKEN_ALLOWED))
        if _CONTROL.search(value):
            message = f"The header '{name}' has a control character."
            diagnostics.append(Diagnostic("MSH170", "--header", value, message, "text and tabs"))
    for name, value in request.query:
        if not _PARAMETER.fullmatch(name) or not _PARAMETER.fullmatch(value):
            encoded = "=".join(quote(part, safe=_AS_THEY_ARE) for part in (name, value))
            diagnostics.append(_unsendable("--query", f"{name}={value}", encoded))
    caller = {"--source": dict(request.source), "--source-namespace": request.source_namespace}
    return diagnostics + validate(_Caller, {option: value for option, value in caller.items() if value}, "")[1]


class _Caller(BaseModel):
    """The workload that sends a request, by the options of the command line."""

    source: Annotated[Labels | None, Field(alias="--source")] = None
    source_namespace: Annotated[DnsLabel | None, Field(alias="--source-namespace")] = None


def _unsendable(option: str, value: str, encoded: str) -> Diagnostic:
    message = "This has characters that stand encoded in a request."
    return Diagnostic("MSH170", option, value, message, "visible ASCII characters", f"Write '{encoded}'.")


def explain(
    compilation: Compilation, keys: Sequence[str], request: Request | None, proxy: Proxy | None = None
) -> Explanation:
    """What each request would meet, and for one request which rule takes it.

    Args:
        compilation: The compiled routes, without an error.
        keys: The routes to explain; empty for all.
        request: A request to decide, or None.
        proxy: How the proxies of the mesh's version read requests.

    Returns:
        Plain data with camelCase keys: `routes` by name, and `notes`.

    Raises:
        ConfigurationError: To decide the request takes too many steps (MSH163).
    """
    with patterns.counted():
        return _explained(compilation, keys, request, proxy)


def _explained(
    compilation: Compilation, keys: Sequence[str], request: Request | None, proxy: Proxy | None
) -> Explanation:
    routes: dict[str, Explanation] = {}
    for plan in compilation.planned:
        key = plan.route.key
        if keys and key not in keys:
            continue
        summary = compilation.summaries[key]
        routes[key] = {
            **{name: summary[name] for name in ("namespace", "host", "mesh", "api", "apiReason", "objects")},
            "port": plan.route.port.number,
            "rules": [_rule(plan, rule) for rule in plan.route.rules],
        }
        if request is not None:
            try:
                routes[key]["decision"] = decision(plan, evaluate(plan, request, proxy))
            except patterns.TooMuchWork as error:
                raise ConfigurationError([too_much(plan, error)]) from None
    explanation: Explanation = {"routes": routes, "notes": [note.as_dict() for note in compilation.diagnostics]}
    if request is not None:
        explanation["request"] = {
            "method": request.method,
            "path": request.path,
            # Pairs, since a request may repeat a name.
            "headers": [{"name": name, "value": value} for name, value in request.headers],
            "query": [{"name": name, "value": value} for name, value in request.query],
        }
    return explanation


def too_much(plan: Planned, error: patterns.TooMuchWork) -> Diagnostic:
    """Return the fault of a request that takes too many steps to decide."""
    names = " and ".join(f"'{pattern}'" for pattern in error.patterns)
    message = f"To decide the request takes more than {patterns.MOST_STEPS:,} steps."
    return Diagnostic("MSH163", plan.route.where, None, f"{message} Most went on {names}." if names else message)


def _rule(plan: Planned, rule: Rule) -> Explanation:
    return {
        "name": rule.name,
        "match": match_text(rule.matches),
        "backends": [
            {
                "name": backend.destination.label_for(plan.route.service),
                "host": backend.destination.service.host,
                "weight": backend.weight,
            }
            for backend in rule.backends
        ],
        "policies": list(policies(plan.route, rule)),
        "added": rule.added,
    }


def decision(plan: Planned, decided: Decision) -> Explanation:
    """Return which rule of a route takes a request, as plain data."""
    if not plan.route.rules:
        return {
            "rule": None,
            "reason": "The route has no rules: every request goes to the Service.",
            "backends": [{"name": plan.route.service.name, "weight": 100}],
            "policies": list(policies(plan.route, Rule("none"))),
            "passed": [],
            "elsewhere": [],
        }
    return {
        "rule": decided.rule.name if decided.rule else None,
        "reason": decided.reason,
        "backends": [{"name": name, "weight": weight} for name, weight in decided.shares],
        "policies": list(decided.policies),
        "passed": [{"rule": name, "because": why} for name, why in decided.passed],
        "elsewhere": [{"with": title, "rule": name or None} for title, name in decided.elsewhere],
    }


def show(explanation: Explanation, console: Console) -> None:
    """Prints an explanation for people."""
    request = explanation.get("request")
    if request:
        console.print(Text(f"{request['method']} {request['path']}", style="bold"))
    for key, route in explanation["routes"].items():
        console.print(_route(key, route))
    if "cluster" in explanation:
        where = f" of the context {explanation['cluster']}" if explanation["cluster"] else ""
        console.print(Text(f"Compared with the cluster{where}."))
    for note in explanation["notes"]:
        line = f"{note['severity']} {note['code']} {note['path']}: {note['message']}"
        console.print(Text(line, style="yellow" if note["severity"] == "warning" else "dim"))


def _route(key: str, route: Explanation) -> Panel:
    taken_by = route.get("decision")
    table = Table(expand=True, box=None, pad_edge=False)
    for column in ("", "Rule", "Match", "Backends", "Policies"):
        table.add_column(column, overflow="fold")
    for rule in route["rules"]:
        taken = bool(taken_by) and taken_by["rule"] == rule["name"]
        name = f"{rule['name']} (added)" if rule["added"] else rule["name"]
        cells = ("->" if taken else "", name, rule["match"], _shares(rule["backends"]), _lines(rule["policies"]))
        table.add_row(*(Text(cell) for cell in cells), style="bold" if taken else "")
    parts: list[Any] = [Text(f"{route['host']}:{route['port']}, {route['mesh']}, {route['api']}")]
    parts.append(Text(route["apiReason"], style="dim"))
    if route["rules"]:
        parts += [Text(), table]
    if taken_by:
        parts += [Text(), *taken_lines(taken_by)]
    parts += [Text(), Text("Objects: " + (", ".join(route["objects"]) or "none"), style="dim")]
    return Panel(Group(*parts), title=Text(key), title_align="left")


def taken_lines(decision: Explanation) -> list[Text]:
    """Return which rule of a route takes a request, for people."""
    taken = f"The rule '{decision['rule']}' takes it. " if decision["rule"] else ""
    lines = [Text(f"{taken}{decision['reason']}", style="bold")]
    lines += [Text(f"  passed over '{entry['rule']}': {entry['because']}") for entry in decision["passed"]]
    if decision["backends"]:
        lines.append(Text(f"  goes to {_shares(decision['backends']).replace(chr(10), ', ')}"))
    if decision["policies"]:
        lines.append(Text(f"  with {', '.join(decision['policies'])}"))
    for other in decision["elsewhere"]:
        what = f"the rule '{other['rule']}' takes it" if other["rule"] else "no rule takes it"
        lines.append(Text(f"  otherwise with {other['with']}: {what}"))
    return lines


def _shares(backends: Sequence[Explanation]) -> str:
    return _lines([f"{backend['name']} {backend['weight']}%" for backend in backends])


def _lines(items: Sequence[str]) -> str:
    return "\n".join(items)


def unknown_routes(wanted: Sequence[str], known: Sequence[str]) -> list[Diagnostic]:
    """The faults of asking for routes that the stack does not have, each with the name that is nearest."""
    allowed = one_of(known) if known else "nothing: the stack declares no traffic"
    return [
        Diagnostic(
            "MSH155",
            "SERVICE",
            name,
            f"The stack has no route '{name}'.",
            allowed,
            remedy=f"Did you mean '{guess}'?" if (guess := nearest(name, known)) else "",
        )
        for name in wanted
        if name not in known
    ]
