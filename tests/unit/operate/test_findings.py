"""How commands that check a cluster report, wait and end."""

import json

import pytest

from components.diagnostics import Diagnostic
from operate import findings
from operate.findings import Checked, Report

ERROR = Diagnostic(
    "MSH721", "Node", None, "None takes pods.", "a node", "Add one:\nkubectl get nodes", command="kubectl x"
)
WARNING = Diagnostic("MSH720", "Node/one", "v1", "It is \x1b[31mnot ready.", severity="warning")


def report(*faults: Diagnostic, reachable: bool = True) -> Report:
    checked = [Checked("nodes", "The nodes are ready", faults), Checked("clocks", "The clocks agree", ())]
    return Report("preflight", {"stack": "dev"}, checked, reachable=reachable, more={"images": []}, notes=["a note"])


@pytest.mark.parametrize(
    ("found", "code"),
    [(report(), 0), (report(WARNING), 0), (report(WARNING, ERROR), 1), (report(ERROR, reachable=False), 6)],
)
def test_errors_fail_warnings_do_not_and_no_cluster_has_a_code_of_its_own(found: Report, code: int) -> None:
    assert found.exit_code == code
    assert findings.as_json(found)["success"] is (code == 0)


def test_the_document_has_its_version_every_check_and_each_finding_with_its_command() -> None:
    made = json.loads(json.dumps(findings.as_json(report(WARNING, ERROR))))
    assert (made["schemaVersion"], made["command"], made["stack"], made["images"]) == (1, "preflight", "dev", [])
    assert made["counts"] == {"errors": 1, "warnings": 1, "notes": 0}
    assert [(one["name"], one["status"]) for one in made["checks"]] == [("nodes", "failed"), ("clocks", "passed")]
    assert [one["code"] for one in made["checks"][0]["findings"]] == ["MSH721", "MSH720"]
    assert made["checks"][0]["findings"][0]["command"] == "kubectl x"


def test_the_table_shows_each_check_and_short_only_what_is_wrong() -> None:
    table, short = findings.as_table(report(WARNING)), findings.as_table(report(WARNING), short=True)
    assert "√ clocks: The clocks agree" in table and "a note" in table
    assert "clocks" not in short and "‼ warning MSH720 Node/one" in short
    assert "\x1b" not in table
    assert findings.as_table(report(), short=True) == ""


def test_commands_of_a_finding_stand_in_lines_of_their_own() -> None:
    lines = [line.strip() for line in findings.as_table(report(ERROR)).splitlines()]
    assert "kubectl get nodes" in lines and "see:     kubectl x" in lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5m", 300.0), ("1h30m", 5400.0), ("0s", 0.0), ("", None), ("5", None), ("-1s", None), ("1.5m", None)],
)
def test_a_duration_is_hours_minutes_and_seconds(text: str, expected: float | None) -> None:
    assert findings.seconds(text) == expected


def test_waiting_ends_with_the_errors_and_says_each_change_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("operate.findings.PAUSE", 0.0)
    rounds = iter([report(ERROR), report(ERROR), report(ERROR, WARNING), report(WARNING)])
    assert findings.awaited(lambda: next(rounds), 600, "preflight").exit_code == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "meshup preflight: waiting: 1 error (MSH721)\n"


def test_without_a_duration_the_checks_run_once() -> None:
    rounds = iter([report(ERROR)])
    assert findings.awaited(lambda: next(rounds), 0, "preflight").exit_code == 1
