"""iptables, for the interception rules of the sample pods: the machine's own, else Debian's, unpacked in the cache."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from devcluster import artefacts, debian
from devcluster.artefacts import ToolError
from devcluster.progress import Step

# The administrator's folders are not on every user's PATH.
_ADMIN_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
_FAMILIES = ("iptables", "ip6tables")
_ROLES = ("", "-save", "-restore")
# The libraries that Debian's iptables 1.8 links to, besides libc.
_PACKAGES = (
    "iptables",
    "libxtables12",
    "libip4tc2",
    "libip6tc2",
    "libnftnl11",
    "libmnl0",
    "libnfnetlink0",
    "libnetfilter-conntrack3",
)


def names() -> list[str]:
    """Return the commands that pilot-agent may ask for: both families, plain and nft, each with -save and -restore."""
    return [f"{family}{kind}{role}" for family in _FAMILIES for kind in ("", "-nft") for role in _ROLES]


def on_machine(environ: Mapping[str, str]) -> dict[str, Path]:
    """Return the machine's own iptables commands by name; empty when it has none."""
    search = f"{environ.get('PATH', '')}:{_ADMIN_FOLDERS}"
    found = {name: shutil.which(name, path=search) for name in [*names(), "iptables-legacy", "iptables-legacy-save"]}
    return {name: Path(path) for name, path in found.items() if path} if found["iptables"] else {}


def kept(cache: Path, os_release: str) -> dict[str, Path]:
    """Return the commands that an earlier `fetched` left in the cache; empty when there are none."""
    target = _target(cache, os_release)
    return {name: target / "bin" / name for name in names()} if target.is_dir() else {}


def fetched(cache: Path, os_release: str, step: Step) -> dict[str, Path]:
    """Return Debian's iptables commands from the cache, fetched there by apt if need be.

    Args:
        cache: The folder that keeps it.
        os_release: The text of /etc/os-release: packages differ from release to release.
        step: Shows what apt does now.

    Raises:
        ToolError: There is no apt, or the packages can't be had.
    """
    if not debian.can_fetch():
        raise ToolError("iptables is not on this machine, and there is no apt-get to fetch it with. Install iptables.")
    target = _target(cache, os_release)
    artefacts.ensure(target, lambda folder: _fetch(folder, target, step), step=step)
    return kept(cache, os_release)


def wrapper(root: Path, libraries: Path, name: str) -> str:
    """Return the script that runs an unpacked command: the loader and iptables are told where the rest is."""
    applet = name.replace("-nft", "")
    return (
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH='{libraries}' XTABLES_LIBDIR='{libraries}/xtables'\n"
        f"exec '{root}/usr/sbin/xtables-nft-multi' {applet} \"$@\"\n"
    )


def _target(cache: Path, os_release: str) -> Path:
    return debian.target(cache, "iptables", os_release, _PACKAGES)


def _fetch(folder: Path, target: Path, step: Step) -> None:
    try:
        root = debian.fetch(_PACKAGES, folder, step)
    except ToolError as error:
        raise ToolError(f"iptables is not on this machine, and {error}\nInstall iptables by hand.") from None
    found = next(root.glob("usr/lib/*/xtables"), None)
    if found is None or not (root / "usr/sbin/xtables-nft-multi").is_file():
        raise ToolError("Debian's iptables package is not laid out as expected. Install iptables by hand.")
    final = target / "root"
    (folder / "bin").mkdir()
    for name in names():
        script = folder / "bin" / name
        script.write_text(wrapper(final, final / found.parent.relative_to(root), name))
        script.chmod(0o755)
