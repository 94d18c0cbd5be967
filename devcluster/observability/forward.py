"""A port of an embedded cluster on this machine's loopback, where a client needs no network namespace.

A socket stays in the network namespace that it was made in. So the process that runs this module inside the cluster
inherits a socket that listens outside, and connects each caller to an address inside.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Generator

from devcluster import paths
from devcluster.cluster import Cluster

_LOOPBACK = "127.0.0.1"
_CHUNK = 65536


@contextlib.contextmanager
def forwarded(cluster: Cluster, address: str, port: int, local: int = 0) -> Generator[str]:
    """Forward a port of this machine while the body of the `with` statement runs.

    Args:
        cluster: The cluster, which is up.
        address: Where to connect inside of it.
        port: The port there.
        local: The port here; 0 for any that is free.

    Yields:
        The URL, `http://127.0.0.1:PORT`.

    Raises:
        OSError: The port here is taken.
    """
    with socket.create_server((_LOOPBACK, local)) as listening:
        number = listening.fileno()
        command = [sys.executable, "-m", "devcluster.observability.forward", str(number), address, str(port)]
        process = subprocess.Popen(
            cluster.exec_argv(command), cwd=paths.repository(), pass_fds=[number], stdin=subprocess.DEVNULL
        )
        try:
            yield f"http://{_LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait()


async def _serve(number: int, address: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(address, port)
            await asyncio.gather(_copied(reader, back), _copied(there, writer))
        writer.close()

    server = await asyncio.start_server(connected, sock=socket.socket(fileno=number))
    await server.serve_forever()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
