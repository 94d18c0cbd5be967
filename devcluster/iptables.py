"""iptables, for the interception rules of the sample pods: the machine's own, else Debian's, unpacked in the cache.

Unpacked, not installed: apt works on its own folders in the cache, so nothing of the system changes and no root is
needed.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devcluster import artefacts
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
_APT_SECONDS = 180


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
        step: Shows what is at hand.

    Raises:
        ToolError: There is no apt, or the packages can't be had.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
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
    return cache / f"iptables-{artefacts.digest(os_release, *_PACKAGES)}"


def _fetch(folder: Path, target: Path, step: Step) -> None:
    apt = folder / "apt"
    options = {
        "Dir::State": apt / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": apt / "cache",
        # Without this apt, as root, hands the download to a user that can't enter the cache folder.
        "APT::Sandbox::User": "",
        "Acquire::Retries": "2",
    }
    flags = [f"-o{key}={value}" for key, value in options.items()]
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    step.update("(apt: package lists)")
    _apt(["apt-get", *flags, "-qq", "update"], apt)
    step.update("(apt: packages)")
    _apt(["apt-get", *flags, "-qq", "download", *_PACKAGES], apt)
    root = folder / "root"
    for package in sorted(apt.glob("*.deb")):
        _apt(["dpkg-deb", "-x", str(package), str(root)], apt)
    shutil.rmtree(apt)
    found = next(root.glob("usr/lib/*/xtables"), None)
    if found is None or not (root / "usr/sbin/xtables-nft-multi").is_file():
        raise ToolError("Debian's iptables package is not laid out as expected. Install iptables by hand.")
    final = target / "root"
    (folder / "bin").mkdir()
    for name in names():
        script = folder / "bin" / name
        script.write_text(wrapper(final, final / found.parent.relative_to(root), name))
        script.chmod(0o755)


def _apt(argv: list[str], cwd: Path) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=_APT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{argv[0]} gave no answer in {_APT_SECONDS} s. Install iptables by hand.") from None
    if done.returncode != 0:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-3:])
        raise ToolError(
            f"iptables is not on this machine and apt could not fetch it:\n{said}\nInstall iptables by hand."
        )
