"""`python -m devcluster.provider`: the executable entry of the plugin."""

from __future__ import annotations

import sys

from devcluster.provider.server import serve

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
