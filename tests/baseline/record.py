"""Records the baseline: `python -m tests.baseline.record REVISION`, in a checkout of it with the tests of this version.

Each stack is brought up on an embedded cluster; what its state says is what a later version must register. Options that
the state does not have, such as deleteBeforeReplace, are those that the same revision registers under mocks; in all
else both must agree.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import Stack
from tests.baseline import snapshot
from tests.baseline.snapshot import Entry, bundle, charts
from tests.baseline.stacks import CHARTS, CONTEXT, NAME, PLANNED, STACKS
from tests.conftest import copied_program


def brought_up(stack: Stack, settings: Mapping[str, Any], source: Path, context: str) -> tuple[list[Entry], Entry]:
    """Bring a stack up, read its state and take it down."""
    keys = {"meshup:charts": {"directory": str(source)}, "meshup:gatewayApi": {"manifest": str(bundle())}}
    cluster = {key: value for key, value in yaml.safe_load(stack.file.read_text()).items() if key != "config"}
    config = {"kubernetes:context": context, **keys, **settings}
    stack.file.write_text(yaml.safe_dump({**cluster, "config": config}))
    try:
        stack.run(["up", "--yes", "--skip-preview"])
        stack.run(["preview", "--expect-no-changes"], quiet=True)
        state = json.loads(stack.run(["stack", "export"], quiet=True))
    finally:
        stack.run(["destroy", "--yes", "--skip-preview"], quiet=True)
    return snapshot.of_state(state, {str(source): CHARTS, context: CONTEXT})


def joined(state: tuple[list[Entry], Entry], registered: tuple[list[Entry], Entry]) -> tuple[list[Entry], Entry]:
    """Return the entries of a state with their options.

    Raises:
        ValueError: Mocks and engine do not agree, so the comparison would prove nothing.
    """
    options = {entry["urn"]: entry.pop("options", {}) for entry in registered[0]}
    if differences := snapshot.differences(*state, *registered):
        raise ValueError("\n".join(differences))
    return [entry | ({"options": o} if (o := options[entry["urn"]]) else {}) for entry in state[0]], state[1]


def main(revision: str) -> None:
    """Bring all stacks up, one after the other, and write the file."""
    subject = Embedded("baseline")
    found: dict[str, tuple[list[Entry], Entry]] = {}
    with tempfile.TemporaryDirectory() as directory, Progress() as progress:
        folder = Path(directory)
        source = charts(folder / "charts")
        for name, settings in PLANNED.items():
            found[name] = snapshot.registered(settings, source, folder)
        subject.toolbox.ensure(progress=progress)
        try:
            subject.cluster.up(subject.toolbox, progress, mode="api")
            state = folder / "state"
            stack = subject.stack_of(copied_program(folder / "program"), state, state / "passphrase", NAME)
            state.mkdir()
            subject.prepare(stack)
            for name, settings in STACKS.items():
                up = brought_up(stack, settings, source, subject.cluster.context)
                found[name] = joined(up, snapshot.registered(settings, source, folder))
        finally:
            subject.down(progress)
    snapshot.write(revision, found)


if __name__ == "__main__":
    main(sys.argv[1])
