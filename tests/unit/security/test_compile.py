"""What any mesh's objects become: ordered, each once, summed up; nothing at all beside an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import pytest

from components.diagnostics import Diagnostic, errors
from components.manifests import Manifest, manifest
from components.security.compile import compile_policy
from components.security.model import (
    Authentication,
    Egress,
    EgressHost,
    Jwt,
    Mode,
    MtlsException,
    NamespacePolicy,
    Network,
    Operation,
    Policy,
    Source,
)
from components.security.paths import exact, prefix
from components.security.plane import AccessRequest, Guarded, SecurityObject, SecurityPlane, Verdict
from components.security.world import World
from components.traffic.model import TextMatch
from tests.unit.security.helpers import CART, REVIEWS, WORLD, policy, rule, source


def item(name: str, phase: int, *keys: str) -> SecurityObject:
    return SecurityObject(manifest("example.com/v1", "Allow", name, "bookinfo", {}), phase, keys)


class Plane(SecurityPlane):
    """A mesh that writes what a test says."""

    name = "some"
    title = "Some mesh"

    def __init__(
        self,
        guarded: Guarded | None = None,
        refusals: Mapping[str, str] | None = None,
        found: Sequence[Diagnostic] = (),
    ) -> None:
        self.guarded = guarded or Guarded()
        self.refusals = refusals or {}
        self.found = found

    def check(self, policy: Policy, world: World) -> Iterable[Diagnostic]:
        del policy, world
        return self.found

    def write(self, policy: Policy, world: World) -> Guarded:
        del policy, world
        return self.guarded

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        raise NotImplementedError


class Other(Plane):
    """A mesh that can do everything."""

    name = "other"
    title = "Other mesh"


WARNING = Diagnostic("MSH501", "b", None, "m", severity="warning")


def test_objects_come_in_the_order_of_their_phases_and_otherwise_as_written() -> None:
    written = (item("c", 2), item("b", 0), item("a", 2), item("d", 0))
    plane = Plane(Guarded(written, annotations={"b": {"y": "1", "x": "2"}, "a": {}}, diagnostics=(WARNING,)))
    compiled = compile_policy(policy(rule()), "some", [Other(), plane], WORLD)
    assert [one.manifest["metadata"]["name"] for one in compiled.objects] == ["b", "d", "c", "a"]
    assert json.dumps(compiled.annotations) == '{"a": {}, "b": {"x": "2", "y": "1"}}'
    assert compiled.diagnostics == (WARNING,)


def test_what_a_mesh_refuses_names_the_field_the_reason_and_the_meshes_that_can() -> None:
    plane = Plane(refusals={"deny": "It has lists of allowed callers only."})
    denies = rule(effect="deny", key="deny.reviews[0]")
    compiled = compile_policy(policy(denies), "some", [plane, Other()], WORLD)
    (fault,) = compiled.diagnostics
    assert (fault.code, fault.path, fault.allowed) == ("MSH501", "meshup:security.deny.reviews[0]", "on Other mesh")
    assert "It has lists of allowed callers only." in fault.message
    assert not compiled.objects


@pytest.mark.parametrize("severity", ["error", "warning"])
@pytest.mark.parametrize("in_check", [True, False])
def test_an_error_leaves_nothing_and_a_warning_all(severity: str, in_check: bool) -> None:
    found = (replace(WARNING, severity=severity),)
    guarded = Guarded((item("a", 0),), annotations={"a": {}}, diagnostics=() if in_check else found)
    compiled = compile_policy(policy(rule()), "some", [Plane(guarded, found=found if in_check else ())], WORLD)
    assert compiled.diagnostics == found
    assert bool(compiled.objects) == bool(compiled.annotations) == bool(compiled.summaries) == (severity == "warning")


def test_two_objects_of_one_name_are_a_fault_at_the_rule_behind() -> None:
    second = rule(key="allow.reviews[1]")
    objects = (item("a", 0, "allow.reviews[0]"), item("a", 1, "allow.reviews[1]"))
    compiled = compile_policy(policy(rule(), second), "some", [Plane(Guarded(objects))], WORLD)
    (fault,) = errors(compiled.diagnostics)
    assert (fault.code, fault.path, fault.value) == ("MSH502", second.where, "Allow/bookinfo/a")
    assert not compiled.objects


def test_the_summary_says_who_may_call_what_and_which_objects_do_it() -> None:
    operation = Operation(
        REVIEWS.ports[0],
        ("GET", "HEAD"),
        (exact("/a"), prefix("/b")),
        (("x-a", TextMatch("exact", "1")), ("x-b", TextMatch("present"))),
        ("api.example.com",),
    )
    rules = (
        rule(operations=(operation,), claims=((("realm", "role"), ("admin",)),)),
        rule(Source(title="everybody"), key="allow.reviews[1]", audit=True, reason="tried out"),
        rule(source(), key="allow.cart[0]", service=CART),
    )
    egress = Egress(True, (EgressHost("api.example.com", 443, "HTTPS"),), (Network("10.0.0.0/8"),))
    given = policy(
        *rules,
        exceptions=(MtlsException("shop", "permissive", CART, CART.ports[0], date(2027, 3, 31), "an old client"),),
        namespaces=(NamespacePolicy("bookinfo", "deny", egress),),
        authentications=(Authentication(REVIEWS, (Jwt("https://issuer.example.com"),)),),
    )
    objects = (
        item("reviews", 1, "allow.reviews[0]"),
        item("tokens", 0, "authentication.bookinfo/reviews"),
        item("closed", 4, "namespaces.bookinfo"),
    )
    summary = compile_policy(given, "some", [Plane(Guarded(objects))], WORLD).summaries
    assert summary == {
        "mtls": {
            "mode": "strict",
            "exceptions": [
                {
                    "namespace": "shop",
                    "service": "cart",
                    "port": 80,
                    "mode": "permissive",
                    "until": "2027-03-31",
                    "reason": "an old client",
                }
            ],
        },
        "namespaces": {
            "bookinfo": {
                "default": "deny",
                "egress": {
                    "default": "deny",
                    "hosts": [{"host": "api.example.com", "port": 443, "protocol": "HTTPS"}],
                    "cidrs": ["10.0.0.0/8"],
                },
                "networkPolicy": False,
                "objects": ["Allow/bookinfo/closed"],
            }
        },
        "services": {
            "bookinfo/reviews": {
                "host": REVIEWS.host,
                "mesh": "some",
                "guarded": True,
                "callers": ["bookinfo/bookinfo-productpage"],
                "rules": [
                    {
                        "key": "allow.reviews[0]",
                        "effect": "allow",
                        "from": ["bookinfo/bookinfo-productpage"],
                        "to": [
                            {
                                "port": 9080,
                                "methods": ["GET", "HEAD"],
                                "paths": ["/a", "/b/**"],
                                "headers": {"x-a": {"exact": "1"}, "x-b": {"present": True}},
                                "hosts": ["api.example.com"],
                            }
                        ],
                        "claims": {"realm.role": ["admin"]},
                    },
                    {
                        "key": "allow.reviews[1]",
                        "effect": "allow",
                        "from": ["everybody"],
                        "to": [],
                        "audit": True,
                        "reason": "tried out",
                    },
                ],
                "issuers": ["https://issuer.example.com"],
                "objects": ["Allow/bookinfo/tokens", "Allow/bookinfo/reviews"],
            },
            "shop/cart": {
                "host": CART.host,
                "mesh": "some",
                "guarded": True,
                "callers": ["bookinfo/bookinfo-productpage"],
                "rules": [
                    {
                        "key": "allow.cart[0]",
                        "effect": "allow",
                        "from": ["bookinfo/bookinfo-productpage"],
                        "to": [],
                    }
                ],
                "objects": [],
            },
        },
    }
    assert json.loads(json.dumps(summary)) == summary


def test_nothing_asked_for_is_nothing_summed_up() -> None:
    assert compile_policy(policy(), "some", [Plane()], WORLD).summaries == {}
