# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of the relay: a stream through the beacon beside the direct way, and how evenly a hundred pairs share one beacon."""

import json
import subprocess

from labkit.namespace import LabError
from labkit.player import wait_listening
from turns import in_turn

PAIRS, SEGMENT, SEGMENTS = 100, 1222, 40
REGISTRY, BEACON = "192.0.2.1:9100", "192.0.2.1:9101"

# Both ends of the pairs speak the beacon's messages over plain UDP, without a node: 1 "here I am", 5 "for him", 6 "from her". Each pair has four messages of 40 datagrams
# on the way; the kernel cuts and joins them. The receiver tells the sender, past the beacon, the number of the last message that came: what was sent before it came too or is
# lost, as any transport finds out within a round trip. Together they want more under way than the beacon's socket holds.
COMMON = r"""
import json, selectors, socket, struct, sys, time
PAIRS, SEGMENT, SEGMENTS = map(int, sys.argv[1:4]); beacon = (sys.argv[4].split(":")[0], int(sys.argv[4].split(":")[1]))
def open_at(node):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0)); s.settimeout(5)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)  # SO_RCVBUFFORCE
    s.sendto(struct.pack(">BI", 1, node), beacon); assert s.recv(64)[0] == 2
    s.setblocking(False); return s
"""

# What comes in the first second is not counted: not all have begun.
RECEIVER = COMMON + r"""
wait = selectors.DefaultSelector(); seconds = float(sys.argv[5]); counts = [0] * PAIRS; buffer = bytearray(65536); started = counted = None
for i in range(PAIRS):
    s = open_at(2 * i + 2); s.setsockopt(17, 104, 1); wait.register(s, selectors.EVENT_READ, i)  # UDP_GRO
print("ready", flush=True)
while counted is None or time.monotonic() - counted < seconds:
    for key, _ in wait.select(5):
        try: n = key.fileobj.recv_into(buffer)
        except OSError: continue
        if started is None: started = time.monotonic()
        counts[key.data] += n; last = (n - 1) // (SEGMENT - 4) * (SEGMENT - 4)
        host, port, number = struct.unpack(">4sH4s", buffer[last + 5:last + 15])
        key.fileobj.sendto(number, (socket.inet_ntoa(host), port))
    if counted is None and started is not None and time.monotonic() - started >= 1: counts, counted = [0] * PAIRS, time.monotonic()
print(json.dumps({"counts": counts, "seconds": time.monotonic() - counted}), flush=True)
"""

SENDER = COMMON + r"""
wait = selectors.DefaultSelector(); mine = socket.inet_aton(sys.argv[5]); seconds = float(sys.argv[6]); body = bytes(SEGMENT - 19)
class Pair: next = first = 0; sent = 0.0  # numbers of the next message, and of the first that is on the way
pairs = []
for i in range(PAIRS):
    pair = Pair(); s = pair.socket = open_at(2 * i + 1); s.setsockopt(17, 103, SEGMENT)  # UDP_SEGMENT
    pair.head = struct.pack(">BII", 5, 2 * i + 1, 2 * i + 2) + mine + struct.pack(">H", s.getsockname()[1])
    pairs.append(pair); wait.register(s, selectors.EVENT_READ, pair)
def fill(pair):
    while pair.next - pair.first < 4:
        try: pair.socket.sendmsg([pair.head + struct.pack(">I", pair.next), body] * SEGMENTS, [], 0, beacon)
        except OSError: return
        pair.next += 1; pair.sent = now
started = time.monotonic(); turn = 0
while (now := time.monotonic()) - started < seconds:
    turn = (turn + 37) % PAIRS  # not from the same one each time: that one would always be ahead
    for pair in pairs[turn:] + pairs[:turn]:
        if now - pair.sent > 0.2: pair.first = pair.next  # all of them lost
        fill(pair)
    for key, _ in wait.select(0.05):
        try:
            while True: key.data.first = max(key.data.first, struct.unpack(">I", key.fileobj.recv(64))[0] + 1)
        except OSError: pass
"""


def stream(paths):
    """One stream through the beacon beside the direct way, on the same wires: as fast as the machine is, and on a line of 400 Mbit/s."""
    port = paths.port

    def speeds(arguments):
        paths.configure(*arguments)
        ip = paths.bench.ways("beta", port)["pilot"][0]
        found = [paths.timed(ip, port, 3, skip=0.7)]
        paths.set_wire({"delay": 1})
        try:
            return [*found, paths.timed(ip, port, 3, skip=0.7)]
        finally:
            paths.clear_wire()

    direct, relayed = in_turn(((), ("--relay-only",)), speeds, times=3).values()
    for name, value, against in zip(("bulk-relay", "wire-relay"), relayed, direct):
        yield {"name": name, "value": round(value, 1), "unit": "Mbit/s", "against": "direct", "ratio": round(value / against, 3), "against_value": round(against, 1)}


def pairs(paths, seconds=4):
    """A hundred pairs that send as fast as their datagrams arrive: what the beacon forwards in all, and Jain's index of the shares."""
    world = paths.world
    pid = world.background("net", "pairs.log", "pilot-rendezvous", "--registry-addr", REGISTRY, "--beacon-addr", BEACON, "--beacon-open", "--relay-limit", "0",
                           "--store", "/home/user/pairs.db")
    try:
        wait_listening(world, "net", int(REGISTRY.rpartition(":")[2]))
        words = [str(PAIRS), str(SEGMENT), str(SEGMENTS), BEACON]
        with world.spawn("beta", "python3", "-c", RECEIVER, *words, str(seconds), user="root", stdout=subprocess.PIPE) as receiver:
            if receiver.stdout.readline() != b"ready\n":
                raise LabError("the receivers of the pairs do not come up")
            own = world.run("alpha", "hostname", "-I").stdout.split()[0]
            world.run("alpha", "python3", "-c", SENDER, *words, own, str(seconds + 2), user="root", timeout=60)
            found = json.loads(receiver.communicate(timeout=30)[0])
    finally:
        world.run("net", "kill", str(pid), check=False)
    counts = found["counts"]
    yield {"name": "relay-100-pairs", "value": round(sum(counts) * 8e-6 / found["seconds"], 1), "unit": "Mbit/s", "against": None, "ratio": None,
           "fairness": round(sum(counts) ** 2 / (len(counts) * sum(n * n for n in counts)), 4) if sum(counts) else 0.0}
