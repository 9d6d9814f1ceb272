#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An HTTP proxy that knows CONNECT and nothing else: proxy.py PORT USER:PASSWORD LOG NAME=ADDRESS…

Each request is a line of the log: the status, the target as it was asked for. Names are those of the command line."""

import asyncio
import base64
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


def serve(credentials, log, names):
    wanted = "Basic " + base64.b64encode(credentials.encode()).decode()

    def note(status, target):
        with open(log, "a", encoding="utf-8") as out:
            out.write(f"{status} {target}\n")

    async def answer(writer, status, reason, extra=""):
        writer.write(f"HTTP/1.1 {status} {reason}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def connected(reader, writer):
        try:
            lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, OSError):
            writer.close()
            return
        method, target = lines[0].split(" ")[:2]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        if method != "CONNECT":
            note(405, target)
            await answer(writer, 405, "Method Not Allowed")
        elif fields.get("proxy-authorization") != wanted:
            note(407, target)
            await answer(writer, 407, "Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="lab"\r\n')
        else:
            host, _, port = target.rpartition(":")
            try:
                there_reader, there_writer = await asyncio.open_connection(names.get(host, host), int(port))
            except OSError:
                note(502, target)
                await answer(writer, 502, "Bad Gateway")
                return
            note(200, target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
            there_writer.close()
            writer.close()

    return connected


async def main():
    port, credentials, log, *names = sys.argv[1:]
    server = await asyncio.start_server(serve(credentials, log, dict(name.split("=") for name in names)), "0.0.0.0", int(port))
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
