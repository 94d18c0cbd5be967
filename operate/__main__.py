"""`python -m operate`: the `meshup` command."""

import sys

from operate.terminal import guarded


def main() -> int:
    """Run the command line. It is imported here, so that Ctrl-C during the import ends as quietly as later."""
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            print(f"meshup: {argument!r} is not text: its bytes are not UTF-8.", file=sys.stderr)
            return 2
    from operate.cli import app  # noqa: PLC0415

    app(prog_name="meshup")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("meshup", main))
