"""`python -m devcluster.bench`, inside the virtual environment. `python3 -m devcluster bench` makes that first."""

import sys

from operate.terminal import guarded


def main() -> int:
    """Run the bench. It is imported here, so that Ctrl-C during the import ends as quietly as later."""
    from devcluster.bench import command  # noqa: PLC0415

    return command.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(guarded("bench", main))
