"""`python -m devcluster.bench`, inside the virtual environment. `python3 -m devcluster bench` makes that first."""

import sys

from devcluster.bench.command import main

sys.exit(main(sys.argv[1:]))
