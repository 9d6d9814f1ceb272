#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs inside a host: one end of a stream, over TCP (our gateway and inbound bridge carry it) or by the Python SDK of a Go daemon.

    stream.py [--sdk SOCKET] serve PORT [SECONDS]    the other end of put: answers the digest, so many seconds later, and waits for the end
    stream.py [--sdk SOCKET] greet PORT MIB          speaks first: sends the blob to whoever connects, and closes first
    stream.py [--sdk SOCKET] put ADDRESS PORT MIB    sends the blob, reads its digest, closes first
    stream.py half ADDRESS PORT MIB                  the same, but ends its own direction before it reads the digest
    stream.py [--sdk SOCKET] get ADDRESS PORT        reads to the end, without a word
    stream.py [--sdk SOCKET] echo ADDRESS PORT MIB   sends the blob and reads it back at the same time
    stream.py [--sdk SOCKET] many ADDRESS PORT N     so many connections to an echo at once, with data of its own on each
    stream.py [--sdk SOCKET] hold ADDRESS PORT       a byte to an echo and back for every line of its input, over one connection
    stream.py digest MIB                             the digest of the blob

A client prints a line of JSON about what it saw. The blob of so many MiB is the same everywhere."""

import argparse
import hashlib
import json
import random
import socket
import sys
import threading
import time

MIB = 1 << 20
STUCK_SECONDS = 30  # --stuck


def blob(mib):
    """Bytes that do not repeat, a MiB at a time."""
    generator = random.Random(mib)
    for _ in range(mib):
        yield generator.randbytes(MIB)


class Tcp:
    def __init__(self, connected):
        self.socket = connected
        connected.settimeout(STUCK_SECONDS)

    @classmethod
    def dial(cls, address, port):
        return cls(socket.create_connection((address, port), STUCK_SECONDS))

    @staticmethod
    def accept(port):
        with socket.create_server(("0.0.0.0", port)) as listener:
            print("ready", flush=True)
            while True:
                yield Tcp(listener.accept()[0])

    def read(self):
        return self.socket.recv(1 << 18)

    def write(self, data):
        self.socket.sendall(data)

    def finish(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()


class Sdk:
    driver = None

    def __init__(self, connection):
        self.connection = connection

    @classmethod
    def dial(cls, address, port):
        return cls(cls.driver.dial(f"{address}:{port}", timeout=STUCK_SECONDS))

    @classmethod
    def accept(cls, port):
        with cls.driver.listen(port) as listener:
            print("ready", flush=True)
            while True:
                yield cls(listener.accept())

    def read(self):
        from pilotprotocol.client import PilotError  # pylint: disable=import-outside-toplevel,import-error  -- only where there is a Go node
        self.connection.set_read_deadline(time.time() + STUCK_SECONDS)
        try:
            return self.connection.read(1 << 18)
        except PilotError as error:
            if "EOF" in str(error):
                return b""
            raise

    def write(self, data):
        while data:
            data = data[self.connection.write(data[:1 << 16]):]

    def close(self):
        self.connection.close()


def send_blob(stream, mib):
    sent = hashlib.sha256()
    for piece in blob(mib):
        stream.write(piece)
        sent.update(piece)
    return sent.hexdigest()


def read_to_end(stream, size=None):
    """The digest and the number of bytes that came, up to a size or the end of the stream."""
    digest, got = hashlib.sha256(), 0
    while size is None or got < size:
        data = stream.read()
        if not data:
            break
        digest.update(data)
        got += len(data)
    return digest.hexdigest(), got


def take(stream, pause):
    """The server's part of put: eight bytes of length, the bytes, a pause, the digest back, and then the other side closes."""
    head = b""
    while len(head) < 8:
        data = stream.read()
        if not data:
            raise EOFError("the stream ended in its head")
        head += data
    size = int.from_bytes(head[:8], "big")
    digest, got = hashlib.sha256(head[8:]), len(head) - 8
    while got < size:
        data = stream.read()
        if not data:
            raise EOFError(f"the stream ended after {got} of {size} bytes")
        digest.update(data)
        got += len(data)
    time.sleep(pause)
    stream.write(digest.hexdigest().encode())
    rest = stream.read()
    print("closed by the peer" if rest == b"" else f"unexpected {len(rest)} bytes", flush=True)


def serve(kind, port, serve_one):
    def one(stream):
        try:
            serve_one(stream)
        except Exception as error:  # pylint: disable=broad-except  -- of one connection; it goes into the log the test reads
            print(f"failed: {error!r}", flush=True)
        finally:
            stream.close()

    for stream in kind.accept(port):
        threading.Thread(target=one, args=(stream,), daemon=True).start()


def put(stream, mib, finish=False):
    stream.write((mib * MIB).to_bytes(8, "big"))
    sent = send_blob(stream, mib)
    if finish:
        stream.finish()
    answer = b""
    while len(answer) < 64:
        data = stream.read()
        if not data:
            break
        answer += data
    return {"sent": sent, "received": answer.decode()}


def echo(stream, mib):
    sent = []
    sender = threading.Thread(target=lambda: sent.append(send_blob(stream, mib)), daemon=True)
    sender.start()
    received, got = read_to_end(stream, mib * MIB)
    sender.join(STUCK_SECONDS)
    return {"sent": sent[0] if sent else None, "received": received, "bytes": got}


def many(kind, address, port, count):
    """Every connection is open before the first one sends, so that they are there at the same time."""
    ready, right, errors = threading.Barrier(count), [], []

    def one(number):
        try:
            stream = kind.dial(address, port)
            ready.wait(STUCK_SECONDS)
            text, answer = f"connection {number} ".encode() * 500, b""
            stream.write(text)
            while len(answer) < len(text):
                data = stream.read()
                if not data:
                    break
                answer += data
            stream.close()
            right.append(answer == text)
        except Exception as error:  # pylint: disable=broad-except  -- the test is told of it
            ready.abort()
            errors.append(repr(error))

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * STUCK_SECONDS)
    return {"right": sum(right), "errors": errors}


def hold(stream):
    for line in sys.stdin:
        started = time.monotonic()
        stream.write(line.encode())
        answer = b""
        while len(answer) < len(line):
            data = stream.read()
            if not data:
                raise EOFError("the stream ended")
            answer += data
        print(json.dumps({"received": answer.decode(), "seconds": time.monotonic() - started}), flush=True)
    return {}


def main():
    global STUCK_SECONDS  # pylint: disable=global-statement  -- an option of the whole program
    parser = argparse.ArgumentParser()
    parser.add_argument("--sdk", metavar="SOCKET")
    parser.add_argument("--stuck", type=int, default=STUCK_SECONDS, help="seconds without a byte that it waits before it gives up")
    parser.add_argument("what", choices=("serve", "greet", "put", "half", "get", "echo", "many", "hold", "digest"))
    parser.add_argument("rest", nargs="+")
    options = parser.parse_args()
    STUCK_SECONDS = options.stuck
    kind = Tcp
    if options.sdk:
        from pilotprotocol.client import Driver  # pylint: disable=import-outside-toplevel,import-error  -- only where there is a Go node
        kind, Sdk.driver = Sdk, Driver(options.sdk)
    rest = options.rest
    if options.what == "many":
        print(json.dumps(many(kind, rest[0], int(rest[1]), int(rest[2]))))
        return
    if options.what == "digest":
        digest = hashlib.sha256()
        for piece in blob(int(rest[0])):
            digest.update(piece)
        print(json.dumps(digest.hexdigest()))
        return
    if options.what == "serve":
        serve(kind, int(rest[0]), lambda stream: take(stream, float(rest[1]) if rest[1:] else 0))
        return
    if options.what == "greet":
        serve(kind, int(rest[0]), lambda stream: send_blob(stream, int(rest[1])))
        return
    started = time.monotonic()
    stream = kind.dial(rest[0], int(rest[1]))
    if options.what == "get":
        received, got = read_to_end(stream)
        said = {"received": received, "bytes": got}
    else:
        said = {"put": lambda: put(stream, int(rest[2])), "half": lambda: put(stream, int(rest[2]), finish=True),
                "echo": lambda: echo(stream, int(rest[2])), "hold": lambda: hold(stream)}[options.what]()
    said["seconds"] = time.monotonic() - started
    stream.close()
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
