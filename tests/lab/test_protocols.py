#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Protocols that are not a web page: half-close, ssh, WebSocket, a server that speaks first, on ports alpha uses itself."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import BETA, address, curl, gateway_start, make_trust, serve, wait_listening, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402

suite = tap.Suite("protocols")

# Reads the whole request up to the end of the stream before it answers, so that only a half-close gets an answer.
HALF_CLOSE_SERVER = r"""
import hashlib, socket
server = socket.create_server(("0.0.0.0", 9100))
while True:
    s, _ = server.accept()
    h, n = hashlib.sha256(), 0
    while data := s.recv(65536):
        h.update(data); n += len(data)
    s.sendall(f"{n} {h.hexdigest()}\n".encode() + b"x" * 3000000)
    s.close()
"""
HALF_CLOSE_CLIENT = r"""
import hashlib, os, socket
sent = os.urandom(1000000)
s = socket.create_connection(("10.4.0.1", 9100)); s.settimeout(30)
s.sendall(sent); s.shutdown(socket.SHUT_WR)
got = b""
while data := s.recv(65536):
    got += data
line, _, rest = got.partition(b"\n")
print(line.decode() == f"{len(sent)} {hashlib.sha256(sent).hexdigest()}", len(rest))
"""
SPEAKS_FIRST = r"""
import socket
server = socket.create_server(("0.0.0.0", 2525))
while True:
    s, peer = server.accept()
    s.sendall(f"220 {peer[0]} welcome\r\n".encode()); s.recv(100); s.sendall(b"221 bye\r\n"); s.close()
"""
GREETED = r"""
import socket
s = socket.create_connection(("10.4.0.1", 2525)); s.settimeout(10)
f = s.makefile("rwb"); hello = f.readline(); f.write(b"QUIT\r\n"); f.flush(); print(hello.decode().strip(), "/", f.readline().decode().strip())
"""
# RFC 6455: the handshake of section 4.2.2 and unfragmented text frames; the server answers each in upper case.
WEBSOCKET_SERVER = r"""
import base64, hashlib, socket, struct
def exactly(f, n):
    data = f.read(n)
    if len(data) != n: raise EOFError
    return data
server = socket.create_server(("0.0.0.0", 8765))
while True:
    s, _ = server.accept(); f = s.makefile("rwb")
    key = ""
    while (line := f.readline().decode().strip()):
        if line.lower().startswith("sec-websocket-key:"): key = line.split(":", 1)[1].strip()
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    f.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()); f.flush()
    while True:
        head = exactly(f, 2)
        if head[0] & 15 == 8: break
        size = head[1] & 127
        if size == 126: size = struct.unpack(">H", exactly(f, 2))[0]
        mask = exactly(f, 4)
        text = bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(f, size))).upper()
        f.write(bytes([0x81]) + (bytes([len(text)]) if len(text) < 126 else b"\x7e" + struct.pack(">H", len(text))) + text); f.flush()
    f.close(); s.close()
"""
WEBSOCKET_CLIENT = r"""
import base64, os, socket, struct
s = socket.create_connection(("10.4.0.1", 8765)); s.settimeout(10); f = s.makefile("rwb")
key = base64.b64encode(os.urandom(16)).decode()
f.write(f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()); f.flush()
status = f.readline().decode().split()[1]
while f.readline().strip(): pass
good = 0
for n in list(range(1, 200)) + [5000, 60000]:
    text = (b"abc" * n)[:n]; mask = os.urandom(4)
    head = bytes([0x81]) + (bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n))
    f.write(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))); f.flush()
    h = f.read(2); size = h[1] if h[1] < 126 else struct.unpack(">H", f.read(2))[0]
    good += f.read(size) == text.upper()
print(status, good)
"""


@suite.first("every port is mapped, beside servers of alpha's own on 0.0.0.0")
def beside(world):
    make_trust(world)
    for host in ("alpha", "beta"):
        serve(world, host, 8080)
        write_file(world, host, "www/index.html", host)
    gateway_start(world, address(BETA))
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, "beta", "the page through the gateway")
    expect_equal(curl(world, "alpha", "http://127.0.0.1:8080/").stdout, "alpha", "alpha's own page")


@suite.case("half-close: a request to its end, then the whole answer")
def half_close(world):
    world.background("beta", "half.log", "python3", "-c", HALF_CLOSE_SERVER)
    wait_listening(world, "beta", 9100)
    expect_equal(world.run("alpha", "python3", "-c", HALF_CLOSE_CLIENT).stdout.split(), ["True", "3000000"], "digest and length of the answer")


@suite.case("a server that speaks first")
def speaks_first(world):
    for host in ("alpha", "beta"):
        world.background(host, "first.log", "python3", "-c", SPEAKS_FIRST)
        wait_listening(world, host, 2525)
    hello = world.run("alpha", "python3", "-c", GREETED).stdout.strip()
    expect(hello.startswith("220 127.83.0.") and hello.endswith("/ 221 bye"), f"the greeting: {hello!r} (a peer comes from an address of its own)")


@suite.case("a WebSocket")
def websocket(world):
    world.background("beta", "ws.log", "python3", "-c", WEBSOCKET_SERVER)
    wait_listening(world, "beta", 8765)
    expect_equal(world.run("alpha", "python3", "-c", WEBSOCKET_CLIENT).stdout.split(), ["101", "201"], "status and echoes")


@suite.case("ssh on port 22, which sshd of alpha has too")
def ssh(world):
    world.run("alpha", "sh", "-c", "mkdir -p -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
    key = world.run("alpha", "cat", ".ssh/id_ed25519.pub").stdout
    for host in ("alpha", "beta"):
        world.run(host, "sh", "-c", "mkdir -p -m 700 ~/.ssh && cat >>~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys", stdin=key)
        world.run(host, "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /root/host_key && /usr/sbin/sshd -f /dev/null -h /root/host_key "
                  "-o UsePAM=no -o PidFile=none -o ListenAddress=0.0.0.0", user="root")
        wait_listening(world, host, 22)
    options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes")
    expect_equal(world.run("alpha", "ssh", *options, "user@10.4.0.1", "hostname").stdout, "beta\n", "the host name over ssh")
    expect_equal(world.run("alpha", "ssh", *options, "user@127.0.0.1", "hostname").stdout, "alpha\n", "alpha's own sshd")
    got = world.run("alpha", "sh", "-c", "head -c 5000000 /dev/urandom >f; ssh " + " ".join(options) + " user@10.4.0.1 sha256sum <f; sha256sum <f")
    expect_equal(len(set(got.stdout.splitlines())), 1, "different digests of 5 MB over ssh")


suite.main()
