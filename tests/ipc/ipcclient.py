# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of the Go tools' local socket, down to the bytes: frames as they are, nothing retried, nothing hidden."""

import json
import socket
import struct
import time

(BIND, BIND_OK, DIAL, DIAL_OK, ACCEPT, SEND, RECV, CLOSE, CLOSE_OK, ERROR, SEND_TO, RECV_FROM, INFO, INFO_OK, HANDSHAKE, HANDSHAKE_OK, RESOLVE, RESOLVE_OK,
 SET_HOSTNAME, SET_HOSTNAME_OK, SET_VISIBILITY, SET_VISIBILITY_OK, DEREGISTER, _, SET_TAGS, SET_TAGS_OK, SET_WEBHOOK, SET_WEBHOOK_OK) = range(0x01, 0x1D)
NETWORK, HEALTH, HEALTH_OK, MANAGED, MANAGED_OK, ROTATE_KEY, BROADCAST, CANCEL, PREFER_DIRECT = 0x1F, 0x21, 0x22, 0x23, 0x24, 0x25, 0x29, 0x2B, 0x2D
SUBMIT_BADGE, ENROLL, SIGN, SIGN_OK, VERIFY, VERIFY_OK, UNBIND, UNBIND_OK, CONFIRM, CONFIRM_OK = 0x2F, 0x31, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A
SECONDS = 20


def frame(opcode, payload=b""):
    return struct.pack(">IB", 1 + len(payload), opcode) + payload


def target(node, port):
    return struct.pack(">HIH", 0, node, port)


class Closed(Exception):
    """The daemon closed the connection."""


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(SECONDS)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def put(self, opcode, payload=b""):
        self.socket.sendall(frame(opcode, payload))

    def get(self, seconds=SECONDS):
        """The next frame, (opcode, payload); Closed at the end, TimeoutError when none comes."""
        end = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 4:
                length = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) >= 4 + length:
                    whole, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
                    return whole[0], whole[1:]
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed()
            self.buffer += data

    def expect(self, opcode, seconds=SECONDS):
        """The payload of the next frame, which must be this one."""
        got, payload = self.get(seconds)
        if got != opcode:
            raise AssertionError(f"opcode 0x{got:02x} {payload[:80]!r} instead of 0x{opcode:02x}")
        return payload

    def ask(self, opcode, payload=b"", seconds=SECONDS):
        """The object a request is answered with."""
        self.put(opcode, payload)
        return json.loads(self.expect(opcode + 1, seconds))

    def error(self, opcode, payload=b""):
        """The text of the error a request is answered with."""
        self.put(opcode, payload)
        answer = self.expect(ERROR)
        assert answer[:2] == b"\0\1", answer
        return answer[2:].decode()

    def nothing(self, seconds=0.3):
        """No frame is there: the next is the answer to what is asked now."""
        self.put(HEALTH)
        return json.loads(self.expect(HEALTH_OK, SECONDS))["status"] == "ok" and self.quiet(seconds)

    def quiet(self, seconds):
        try:
            raise AssertionError(f"an unexpected frame {self.get(seconds)!r}")
        except TimeoutError:
            return True

    def dial(self, node, port, seconds=40):
        self.put(DIAL, target(node, port))
        return struct.unpack(">I", self.expect(DIAL_OK, seconds))[0]

    def send(self, conn, data):
        self.put(SEND, struct.pack(">I", conn) + data)

    def close(self, conn):
        self.put(CLOSE, struct.pack(">I", conn))

    def recv(self, conn, size, seconds=SECONDS):
        """So many bytes of one stream; frames of others are an error."""
        data = b""
        while len(data) < size:
            payload = self.expect(RECV, seconds)
            assert struct.unpack(">I", payload[:4])[0] == conn and len(payload) > 4, payload[:8]
            data += payload[4:]
        return data

    def bind(self, port):
        self.put(BIND, struct.pack(">H", port))
        return struct.unpack(">H", self.expect(BIND_OK))[0]

    def accept(self):
        local, conn, network, node, port = struct.unpack(">HIHIH", self.expect(ACCEPT))
        return local, conn, network, node, port

    def handshake(self, sub, payload=b"", seconds=SECONDS):
        return self.ask(HANDSHAKE, bytes([sub]) + payload, seconds)
