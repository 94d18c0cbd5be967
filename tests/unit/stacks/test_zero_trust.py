"""The page "From open to zero trust": each block is a policy of both meshes, and lets in exactly whom the page says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.diagnostics import errors, render
from components.manifests import Manifest
from components.meshes import MESHES
from components.security.evaluate import decide
from components.security.model import Account
from components.security.plane import AccessRequest
from stacks import plan, settings
from stacks.security import Secured
from tests.unit.stacks.configs import NOW, raw

PAGE = Path(__file__).resolve().parents[3] / "docs" / "walkthrough" / "zero-trust.md"
ISTIO_ONLY = "# Istio only\n"
PRODUCTPAGE, REVIEWS = (Account("bookinfo", f"bookinfo-{name}") for name in ("productpage", "reviews"))
STRANGER = Account("bookinfo", "default")
TOKEN: dict[str, Any] = {"iss": "https://issuer.example.com", "aud": "bookinfo"}


@dataclass(frozen=True)
class Step:
    """A step of the page."""

    number: int
    text: str

    @property
    def istio_only(self) -> bool:
        return self.text.startswith(ISTIO_ONLY)

    def config(self, mesh: str) -> dict[str, Any]:
        # The page has a day that will have passed.
        later = (NOW.date() + timedelta(days=30)).isoformat()
        found = yaml.safe_load(re.sub(r"until: '\S+'", f"until: '{later}'", self.text))
        own = {key.removeprefix("meshup:"): value for key, value in found.items()}
        return {"mesh": mesh, "traffic": None, **own}


def steps() -> list[Step]:
    """The steps, the start as number 0; step 1 has no block."""
    sections = re.split(r"^## (?:Start: |(\d+)\. )", PAGE.read_text(), flags=re.MULTILINE)[1:]
    found: list[Step] = []
    for number, section in zip(sections[::2], sections[1::2], strict=True):
        found += [Step(int(number or 0), block) for block in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]
    return found


STEPS = steps()
BOTH = [(step, mesh) for step in STEPS for mesh in MESHES if not (step.istio_only and mesh != "istio")]


@dataclass(frozen=True)
class Stack:
    """A stack with the block of a step, on a mesh: its policy, and all objects that decide."""

    mesh: str
    secured: Secured
    objects: list[Manifest]

    def lets_in(self, service: str, caller: Account | None, **request: Any) -> bool:
        """Decide by the policy, and by the objects, which must agree."""
        policy, world = self.secured.policy, self.secured.world
        called = world.service(service, "bookinfo")
        assert called
        asked = AccessRequest(called, called.ports[0], caller, **request)
        decision = decide(policy, world, asked)
        verdict = MESHES[self.mesh].security.verdict(self.objects, world, asked, policy.mode)
        assert verdict.allowed == decision.allowed, (verdict, decision)
        return decision.allowed


def stack(step: Step, mesh: str) -> Stack:
    chosen, found = settings.load(raw(**step.config(mesh)), "dev")
    secured, of_policy = plan.secured(chosen, NOW, mesh)
    compilation, of_routes = plan.compiled(chosen, NOW, mesh)
    found += [*of_policy, *of_routes]
    assert not errors(found), render(found)
    return Stack(mesh, secured, secured.deciding(compilation.manifests))


def ids(value: object) -> str:
    return f"step {value.number}" if isinstance(value, Step) else str(value)


def test_the_page_has_all_steps() -> None:
    assert [step.number for step in STEPS] == [0, 2, 3, *range(3, 11)]


@pytest.mark.parametrize(("step", "mesh"), BOTH, ids=ids)
def test_each_step_is_accepted_and_keeps_the_calls_of_the_application(step: Step, mesh: str) -> None:
    subject = stack(step, mesh)
    calls = [one for one in subject.secured.world.calls if one.caller]
    assert {one.service for one in calls} == {"details", "reviews", "ratings"}
    for call in calls:
        path = call.example.partition("?")[0]
        assert subject.lets_in(call.service, call.caller, method=call.method, path=path), call


@pytest.mark.parametrize(("step", "mesh"), BOTH, ids=ids)
def test_each_step_closes_what_the_page_says(step: Step, mesh: str) -> None:
    subject = stack(step, mesh)
    permissive = subject.secured.policy.mode == "permissive"
    assert permissive == (step in STEPS[:3])
    assert subject.lets_in("reviews", None, path="/reviews/1") == permissive
    assert subject.lets_in("reviews", STRANGER, path="/reviews/1") == (step.number < 4)
    assert subject.lets_in("reviews", PRODUCTPAGE, method="POST", path="/reviews/1") == (step.number < 6)
    assert subject.lets_in("ratings", REVIEWS, method="POST", path="/ratings/1") == (step.number < 6)
    assert subject.lets_in("productpage", None, path="/productpage") == (step.number not in (7, 10))
    assert subject.lets_in("productpage", None, path="/api/v1/products") == (step.number < 6)
    if step.number == 7:
        token: dict[str, Any] = {"bearer": "valid", "claims": TOKEN}
        assert subject.lets_in("productpage", None, path="/productpage", **token)
        assert not subject.lets_in("productpage", None, path="/admin", **token)
    if step.number == 10:
        (gateway,) = subject.secured.world.gateways.values()
        assert gateway and subject.lets_in("productpage", gateway, path="/productpage")


@pytest.mark.parametrize("step", [step for step in STEPS if step.istio_only], ids=ids)
def test_what_the_page_calls_istios_alone_is_refused_on_linkerd(step: Step) -> None:
    chosen, found = settings.load(raw(**step.config("linkerd")), "dev")
    assert errors([*found, *plan.secured(chosen, NOW, "linkerd")[1], *plan.compiled(chosen, NOW, "linkerd")[1]])


@pytest.mark.parametrize(("number", "kinds"), [(8, {"Sidecar", "ServiceEntry"}), (9, {"NetworkPolicy"})])
def test_egress_and_network_policies_come_with_their_steps(number: int, kinds: set[str]) -> None:
    def kinds_of(step: Step) -> set[str]:
        return {one["kind"] for one in stack(step, "istio").objects}

    at = next(position for position, step in enumerate(STEPS) if step.number == number)
    assert kinds <= kinds_of(STEPS[at])
    assert not kinds & kinds_of(STEPS[at - 1])
