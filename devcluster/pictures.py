"""The pictures of README, from a real run: `python -m devcluster.pictures`.

`make-up.svg` is what a terminal shows of `up` in a cluster of its own, which is ended afterwards; `split.svg` is what
was counted then, beside the weights. Nothing in them tells of the machine: the home folder is written as `~`.
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from devcluster import arguments, paths
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from shares.statistics import CONFIDENCE, SIGNIFICANCE, Share, p_value

FOLDER = paths.repository() / "docs" / "pictures"
CLUSTER = "demo"
REQUESTS = 5000
"""What is counted for the picture of the split."""
_COLUMNS, _ROWS = 400, 1500
"""Of the terminal: wider than any line, so that none is broken."""
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONT = re.compile(r"font-family: [^;]+;")
_FONTS = "font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace;"


def screen(output: bytes, columns: int = _COLUMNS) -> list[Text]:
    """Return the lines that a terminal shows once it has got all of some output, without empty ones at the end."""
    shown = pyte.Screen(columns, _ROWS)
    # A pseudo-terminal has made CR LF of each LF already.
    pyte.ByteStream(shown).feed(output)
    lines: list[Text] = []
    for row in range(_ROWS):
        line, cells = Text(), shown.buffer[row]
        for column in range(max(cells, default=-1) + 1):
            cell = cells[column]
            color = None if cell.fg == "default" else _NAMED.get(cell.fg, f"#{cell.fg}")
            line.append(cell.data, Style(color=color, bold=cell.bold or None, italic=cell.italics or None))
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def anonymous(lines: Sequence[Text], home: str) -> list[Text]:
    """Write the home folder as `~`."""
    return [Text("~").join(line.split(home, allow_blank=True)) for line in lines]


def shortened(lines: Sequence[Text]) -> list[Text]:
    """Put one line in place of those that Pulumi has about its resources, before it counts them."""
    first = next((index for index, line in enumerate(lines) if line.plain.startswith("Updating (")), None)
    last = next((index for index, line in enumerate(lines) if line.plain.startswith("Resources:")), None)
    if first is None or last is None or last - first <= 1:
        return list(lines)
    said = Text(f"    ... {last - first - 1} lines of Pulumi about its resources ...", style="dim")
    return [*lines[: first + 1], said, *lines[last:]]


def console_svg(lines: Sequence[Text], title: str) -> str:
    """Return lines as a picture of a terminal, which asks for no font from elsewhere."""
    console = Console(record=True, width=max(line.cell_len for line in lines) + 1, file=StringIO(), highlight=False)
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    made = console.export_svg(title=title, unique_id="meshup")
    return _FONT.sub(_FONTS, _FONT_FACE.sub("", made))


def split_svg(service: str, requests: int, shares: Sequence[Share]) -> str:
    """Return the picture of a split: for each version its weight, its measured share, and the interval of that."""
    left, width, step, top = 60, 560, 74, 62
    height = top + step * len(shares) + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 150} {height}" role="img">',
        f"<title>{escape(service)}: declared weights beside measured shares</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{left + width + 150}" height="{height}" rx="8"/>',
        f'<text class="title" x="20" y="32">{escape(service)}: {requests:,} requests counted</text>',
    ]
    for percent in range(0, 101, 20):
        x = left + width * percent / 100
        parts.append(f'<path class="grid" d="M{x:.1f} {top - 12}V{height - 52}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{height - 36}" text-anchor="middle">{percent}%</text>')
    for index, share in enumerate(shares):
        y = top + step * index
        weight, requests_of, observed, _ = share.cells()
        low, high = left + width * share.low, left + width * share.high
        parts += [
            f'<text class="version" x="20" y="{y + 30}">{escape(share.backend)}</text>',
            f'<rect class="declared" x="{left}" y="{y}" width="{width * share.expected:.1f}" height="20" rx="2"/>',
            f'<rect class="measured" x="{left}" y="{y + 24}" width="{width * share.observed:.1f}" height="20" rx="2"/>',
            f'<path class="interval" d="M{low:.1f} {y + 34}H{high:.1f}M{low:.1f} {y + 28}v12M{high:.1f} {y + 28}v12"/>',
            f'<text x="{left + width + 12}" y="{y + 15}">{weight} declared</text>',
            f'<text x="{left + width + 12}" y="{y + 39}">{observed} ({requests_of})</text>',
        ]
    counts = {share.backend: share.count for share in shares}
    chance = p_value(counts, {share.backend: share.expected for share in shares})
    verdict = "holds" if chance >= SIGNIFICANCE else "does not hold"
    legend = (
        f"The bracket is the interval of the measured share at {CONFIDENCE:.0%}. "
        f"The split {verdict} (p = {chance:.2g}, refused below {SIGNIFICANCE:g})."
    )
    parts.append(f'<text class="small" x="20" y="{height - 12}">{legend}</text>')
    return "\n".join([*parts, "</svg>", ""])


def write(folder: Path = FOLDER, cluster: str = CLUSTER) -> None:
    """Run `up` in a new cluster, draw what it shows and what it has counted, and end the cluster.

    Raises:
        RuntimeError: It failed.
    """
    embedded = Embedded(cluster)
    command = [sys.executable, "-m", "devcluster"]
    try:
        output, code = in_terminal([*command, "up", "--name", cluster])
        if code != 0:
            raise RuntimeError(f"`up` ended with {code}:\n{output.decode(errors='replace')}")
        argv = [*command, "traffic", "--name", cluster, "--requests", str(REQUESTS), "--json"]
        counted = subprocess.run(argv, cwd=paths.repository(), check=True, capture_output=True, text=True).stdout
    finally:
        with Progress() as progress:
            embedded.down(progress)
    lines = shortened(anonymous(screen(output), str(Path.home())))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "make-up.svg").write_text(console_svg(lines, arguments.make_line("up", cluster)))
    (result,) = cast("list[dict[str, Any]]", json.loads(counted)["splits"])
    (folder / "split.svg").write_text(split_svg(result["service"], result["requests"], _shares(result["backends"])))


def in_terminal(argv: Sequence[str]) -> tuple[bytes, int]:
    """Run a command in a terminal of its own; return what it has written there, and its exit code."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS)}
    process = subprocess.Popen(
        argv, cwd=paths.repository(), env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    written = bytearray()
    while part := _read(master):
        written += part
    os.close(master)
    return bytes(written), process.wait()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65_536)
    except OSError:
        # Linux ends a pseudo-terminal that nobody holds any more with EIO.
        return b""


def _shares(backends: Sequence[Mapping[str, Any]]) -> list[Share]:
    return [Share(b["name"], b["expected"], b["count"], b["observed"], b["low"], b["high"]) for b in backends]


_NAMED = {
    **{name: name for name in ("black", "red", "green", "blue", "magenta", "cyan", "white")},
    "brown": "yellow",
    **{f"bright{name}": f"bright_{name}" for name in ("black", "red", "green", "blue", "magenta", "cyan", "white")},
    "brightbrown": "bright_yellow",
}
"""Colours of pyte -> those of rich."""
_STYLE = """
text { font: 14px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
text.title, text.version { font-weight: bold } text.small { font-size: 12px; fill: #57606a }
.ground { fill: #ffffff } .grid { stroke: #d0d7de; fill: none }
.declared { fill: #afb8c1 } .measured { fill: #2a7de1 } .interval { stroke: #1f2328; stroke-width: 1.6; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } text.small { fill: #9ea7b3 }
.ground { fill: #0d1117 } .grid { stroke: #30363d }
.declared { fill: #6e7681 } .measured { fill: #4493f8 } .interval { stroke: #e6edf3 }
}
"""

if __name__ == "__main__":
    write()
