"""`python3 -m devcluster`: checks the machine, enters the virtual environment, hands over to the command line.

Until then it runs on any Python 3 and needs only the standard library.
"""

import sys

MINIMUM = (3, 11)


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.version_info < MINIMUM:
        print(
            "This is Python {}.{} ({}); meshup needs {}.{} or newer.\n"
            "Install one and name it: `make up PYTHON=python3.12`, or `python3.12 -m devcluster up`.".format(
                *sys.version_info[:2], sys.executable, *MINIMUM
            ),
            file=sys.stderr,
        )
        return 2
    if not sys.platform.startswith("linux"):
        print(
            "The embedded cluster needs Linux: network namespaces and Envoy's Linux build.\n"
            "On this machine use a cluster of your own, for example kind (https://kind.sigs.k8s.io): "
            "docs/own-cluster.md has the steps.",
            file=sys.stderr,
        )
        return 2
    # An older Python can't even read these.
    from operate.terminal import guarded  # noqa: PLC0415

    return guarded("devcluster", _run)


def _run() -> int:
    """Imports as it goes, so that Ctrl-C ends it quietly from the start."""
    from devcluster import bootstrap  # noqa: PLC0415

    try:
        bootstrap.enter(sys.argv[1:])
    except bootstrap.BootstrapError as error:
        print(error, file=sys.stderr)
        return 2
    from devcluster import cli  # noqa: PLC0415 - needs what the bootstrap has just made sure of

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
