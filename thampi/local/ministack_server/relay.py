"""Runs in a container beside an engine that has a machine of its own: its loopback leads to this machine's.

`docker push localhost:4566/…` is done by the engine, and on Docker Desktop its localhost is not ours.
"""

import asyncio
import contextlib
import sys


async def relay(port: int, host: str, host_port: int) -> None:
    """Pass what comes to a port of loopback on to another address, until cancelled."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        with contextlib.suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection(host, host_port)
            ends.append(there_writer)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        for end in ends:
            end.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
