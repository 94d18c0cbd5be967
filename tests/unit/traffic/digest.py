"""`python -m tests.unit.traffic.digest`: a digest of what examples of all features and faults compile to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from components.diagnostics import render
from components.meshes import TARGETS
from components.traffic.capability import FEATURES
from tests.unit.traffic.helpers import SERVICES, compile_routes, parsed
from tests.unit.traffic.test_parse import FAULTY


def configurations() -> Iterator[object]:
    """The example of each feature for each API, and what is refused."""
    for feature in FEATURES:
        for target in TARGETS:
            yield {"reviews": {**feature.example, "api": target.api}}
    yield from (raw for raw, _ in FAULTY)


def main() -> None:
    """Print the digest."""
    digest = hashlib.sha256()
    for raw in configurations():
        for mesh in ("istio", "linkerd"):
            routes, faults = parsed(raw)
            made = compile_routes(routes, mesh, SERVICES)
            digest.update(json.dumps([made.manifests, made.patches, made.summaries]).encode())
            digest.update(render([*faults, *made.diagnostics]).encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
