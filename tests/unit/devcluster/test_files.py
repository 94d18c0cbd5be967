import contextlib
import socket
from pathlib import Path

from devcluster import files


def test_a_file_is_written_as_a_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_certificates_are_made_once_and_a_half_made_set_is_made_anew(tmp_path: Path) -> None:
    partial = tmp_path / ".pki.partial"
    partial.mkdir()
    (partial / "ca.crt").write_text("half")
    files.write_pki(tmp_path / "pki", "dev")
    first = (tmp_path / "pki" / "ca.crt").read_bytes()
    files.write_pki(tmp_path / "pki", "dev")
    assert (tmp_path / "pki" / "ca.crt").read_bytes() == first
    assert not partial.exists()
    keys = [path for path in (tmp_path / "pki").iterdir() if path.suffix == ".key"]
    assert keys
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)


def test_free_ports_are_distinct_and_below_those_of_outgoing_connections() -> None:
    ports = files.free_ports(["a", "b", "c"])
    assert set(ports) == {"a", "b", "c"}
    assert len(set(ports.values())) == 3
    assert all(20000 <= port < 32000 for port in ports.values())


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert not files.is_free(server.getsockname()[1])


def test_mounts_below_a_folder_are_found_with_blanks_in_their_names() -> None:
    mountinfo = (
        "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
        "23 22 0:21 / /state/dev/pods/a rw - tmpfs tmpfs rw\n"
        "24 22 0:22 / /state/dev/pods/a\\040b rw shared:1 - tmpfs tmpfs rw\n"
        "25 22 0:23 / /state/dev2 rw - tmpfs tmpfs rw\n"
    )
    assert files.mounts_below(mountinfo, Path("/state/dev")) == ["/state/dev/pods/a", "/state/dev/pods/a b"]
