"""Types of command-line arguments, and the command lines that messages name. Pure."""

import argparse
from collections.abc import Callable

from devcluster import paths


def count(most: int) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number from 1 to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = 0
        if not 1 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return value

    return parse


def command_line(command: str, name: str, *arguments: str) -> str:
    """Return what to type for a command on a cluster: the cluster is named where it is not the one by default."""
    option = [] if name == paths.cluster_name() else ["--name", name]
    return " ".join(["python3 -m devcluster", command, *option, *arguments])


def make_line(target: str, name: str) -> str:
    """Return what to type for a target of the Makefile on a cluster."""
    return f"make {target}" if name == paths.cluster_name() else f'make {target} ARGS="--name {name}"'
