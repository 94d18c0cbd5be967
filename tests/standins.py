"""Small charts of our own in place of Linkerd's (tests/charts), with the CustomResourceDefinitions of the real ones."""

import json
import shutil
from pathlib import Path

from tests.facts import linkerd


def charts(folder: Path) -> None:
    """Make a folder of them."""
    shutil.copytree(Path(__file__).with_name("charts"), folder)
    (folder / "linkerd-crds" / "files").mkdir()
    documents = "\n---\n".join(json.dumps(item) for item in linkerd.crds())
    (folder / "linkerd-crds" / "files" / "crds.yaml").write_text(documents)
