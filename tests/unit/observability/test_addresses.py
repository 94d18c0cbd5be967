"""Where Prometheus is: the add-on of the stack, or one of the user's own, which may ask for a login."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.addons.interface import Address, Login
from components.addons.prometheus import PrometheusSettings
from components.diagnostics import errors, render
from stacks import settings
from tests.unit.stacks.configs import raw

OWN = "https://prometheus.example.com/mesh"
PASSWORD = "hunter2"  # noqa: S105 -- no password of anything


def load(**prometheus: Any) -> tuple[Address | None, list[tuple[str, str]], str]:
    """Return where Prometheus is, the codes and paths of faults, and the report."""
    chosen, diagnostics = settings.load(raw(prometheus=prometheus), "dev")
    faults = errors(diagnostics)
    where = chosen.section(PrometheusSettings).address()
    return where, [(fault.code, fault.path) for fault in faults], render(diagnostics)


def test_an_add_on_is_at_its_service_and_asks_for_no_login() -> None:
    assert load(enabled=True) == (Address("http://prometheus.prometheus.svc:9090", None, "prometheus"), [], "")
    where, _, _ = load(enabled=True, namespace="metrics")
    assert where == Address("http://prometheus.metrics.svc:9090", None, "metrics")


def test_one_of_the_users_own_is_at_its_address_without_a_slash_at_the_end() -> None:
    assert load(url=f"{OWN}/")[:2] == (Address(OWN), [])
    login = {"type": "bearer", "secret": "prometheus-login"}
    assert load(url=OWN, login=login)[0] == Address(OWN, Login(type="bearer", secret="prometheus-login"))  # noqa: S106


def test_without_either_there_is_none() -> None:
    assert load()[:2] == (None, [])
    assert load(namespace="metrics")[:2] == (None, [])


def test_to_install_one_and_to_have_one_is_refused() -> None:
    assert load(enabled=True, url=OWN)[1] == [("MSH620", "meshup:prometheus.url")]
    assert load(enabled=False, url=OWN)[1] == []


def test_a_login_is_for_an_address() -> None:
    assert load(login={"type": "basic", "secret": "x"})[1] == [("MSH003", "meshup:prometheus.url")]
    assert load(url=OWN, login={"type": "anonymous", "secret": "x"})[1] == [("MSH004", "meshup:prometheus.login.type")]


@pytest.mark.parametrize(
    "written",
    [
        f"https://meshup:{PASSWORD}@prometheus.example.com",
        f"https://prometheus.example.com/?token={PASSWORD}",
        f"https://prometheus.example.com/#{PASSWORD}",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_printed(written: str) -> None:
    where, faults, report = load(url=written)
    assert where is None
    assert faults == [("MSH621", "meshup:prometheus.url")]
    assert PASSWORD not in report
    assert "[secret]" in report


@given(st.text(alphabet="abz019.:/@?#%[]-_ ", max_size=30))
def test_no_address_that_is_taken_can_hold_a_user_a_query_or_a_fragment(rest: str) -> None:
    where, faults, _ = load(url=f"https://{rest}")
    assert (where is None) == bool(faults)
    assert where is None or not set(where.url) & set("@?# ")
