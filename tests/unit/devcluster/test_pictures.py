"""README's pictures are there and tell nothing of a machine; what draws them draws what it is given."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.text import Text

from devcluster import paths, pictures
from shares.statistics import measured

README = paths.repository() / "README.md"
SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted(pictures.FOLDER.glob("*.svg"))


def test_readme_shows_every_picture_and_no_other() -> None:
    shown = re.findall(r"\(docs/pictures/([a-z-]+\.svg)\)", README.read_text())
    assert sorted(shown) == [file.name for file in FILES]
    assert {"make-up.svg", "overview.svg", "split.svg"} <= set(shown)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_picture_is_whole_has_a_title_and_tells_nothing_of_a_machine(file: Path) -> None:
    text = file.read_text()
    root = ElementTree.fromstring(text)  # noqa: S314 -- it is ours
    assert root.tag == f"{SVG}svg"
    shown = " ".join("".join(root.itertext()).split())
    assert shown
    assert not re.search(r"(?<![\w.~/])/(root|home|tmp|work|w|Users|var)/", text)
    # A picture in a page may load nothing, and names no server but that of its own namespace.
    assert set(re.findall(r"https?://[^\s\"')<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://localhost:9080/productpage",
    } | set(re.findall(r"https://(?:www\.)?(?:textualize|rich)[^\s\"')<]*", text))
    assert not re.search(r"<(script|image|foreignObject)|@import|url\(\s*[\"']?http", text)


@pytest.mark.parametrize("name", ["overview.svg", "split.svg"])
def test_a_drawing_is_readable_on_dark_ground(name: str) -> None:
    assert "prefers-color-scheme: dark" in (pictures.FOLDER / name).read_text()


def test_a_terminal_shows_what_is_left_after_all_moves_of_the_cursor() -> None:
    lines = pictures.screen(b"spinner\r\x1b[2K\x1b[32mdone\x1b[0m step\r\n\r\n\x1b[1mHead\x1b[0m\r\n", 20)
    assert [line.plain for line in lines] == ["done step", "", "Head"]
    styles = {str(span.style) for line in lines for span in line.spans}
    assert "green" in styles and "bold" in styles


def test_the_home_folder_and_the_resources_of_pulumi_are_left_out() -> None:
    lines = [
        Text("Updating (dev):"),
        Text(" +  kubernetes:core/v1:Namespace a creating (0s)"),
        Text("@ updating..."),
        Text("Resources:"),
        Text("see /home/jo/x and /home/jo/y"),
    ]
    shown = [line.plain for line in pictures.anonymous(pictures.shortened(lines), "/home/jo")]
    said = "    ... 2 lines of Pulumi about its resources ..."
    assert shown == ["Updating (dev):", said, "Resources:", "see ~/x and ~/y"]
    assert pictures.shortened(lines[:3]) == lines[:3]


def test_the_picture_of_a_console_asks_for_no_font_from_elsewhere() -> None:
    made = pictures.console_svg([Text("one"), Text("two <&>")], "make up")
    ElementTree.fromstring(made)  # noqa: S314 -- it is ours
    assert "@font-face" not in made and "url(http" not in made
    assert "two" in made


def test_the_bars_of_a_split_are_as_long_as_its_shares() -> None:
    root = ElementTree.fromstring(  # noqa: S314 -- it is ours
        pictures.split_svg("reviews", 2000, measured({"v1": 1800, "v2": 200}, {"v1": 90, "v2": 10}))
    )
    bars = {
        name: [float(one.get("width", 0)) for one in root.iter(f"{SVG}rect") if one.get("class") == name]
        for name in ("declared", "measured")
    }
    assert bars["declared"] == bars["measured"]
    assert bars["measured"][0] == pytest.approx(9 * bars["measured"][1])
