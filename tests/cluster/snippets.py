"""Snippets of Python that run where a cluster can be reached, one after the other in one process."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any

from devcluster import paths
from devcluster.cluster import Cluster

Run = Callable[[str], Any]
"""Runs a snippet and returns what it assigned to `answer`."""

# A line of JSON for each snippet, and for each answer.
_LOOP = """
import json as _json, sys as _sys, traceback as _traceback
for _line in _sys.stdin:
    _names = dict(globals())
    try:
        exec(_json.loads(_line), _names)
        _said = {"answer": _names["answer"]}
    except Exception:
        _said = {"error": _traceback.format_exc()}
    print(_json.dumps(_said), flush=True)
"""


@contextlib.contextmanager
def interpreter(cluster: Cluster, prelude: str) -> Generator[Run]:
    """Give a function that runs snippets beside the cluster's API, each on its own after the prelude.

    They share one process, for importing a client takes longer than most snippets do.
    """
    process = subprocess.Popen(
        cluster.exec_argv([sys.executable, "-c", prelude + _LOOP]),
        cwd=paths.repository(),
        env={**os.environ, **cluster.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def run(snippet: str) -> Any:
        stdin.write(json.dumps(snippet) + "\n")
        stdin.flush()
        said: dict[str, Any] = json.loads(stdout.readline())
        assert "error" not in said, said["error"]
        return said["answer"]

    try:
        yield run
    finally:
        process.communicate()
