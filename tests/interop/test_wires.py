#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bulk between our node and Go nodes over wires that lose and reorder, both ways at once; one direction that ends before the other; a peer that is
killed and started again in the middle of it all."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.player import gateway_start, mappings  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("wires", hosts=("alpha", "beta", "gamma"), daemons=False, nats={"alpha": "none", "beta": "none", "gamma": "none"})
nodes = {}
MIB = 64
STORE, LATE = 4001, 4002
GATEWAY = {"beta": "10.4.0.1", "gamma": "10.4.0.2"}
# What the uplink of each Go node does to every packet, in either direction.
WIRES = {"beta": {"loss": 2, "seed": 1}, "gamma": {"delay": 1, "jitter": 2, "reorder": 5, "seed": 2}}


@suite.first("ours and two Go nodes trust each other and go direct")
def register(world):
    world.start_rendezvous()
    ours = Ours(world, "alpha").start()
    for host in WIRES:
        nodes[host] = Go(world, host).start()
        ask_and_approve(ours, nodes[host])
        ours.ctl("expose", str(nodes[host].id))
        nodes[host].serve(STORE, "serve", str(STORE))
        nodes[host].serve(LATE, "serve", str(LATE), "3")
    nodes["ours"] = ours
    ours.serve(STORE, "serve", str(STORE))
    gateway_start(world, "--ports", f"7,{STORE},{LATE}", *[nodes[host].address for host in WIRES])
    for host, at in GATEWAY.items():
        wait_until(lambda at=at: mappings(world)[at]["path"] == "direct", 20, f"the path to {host} is direct", every=0.5)


@suite.case(f"{MIB} MiB each way, ours to Go and Go to ours at once: one wire loses 2 %, another reorders 5 %")
def bulk(world):
    for host, settings in WIRES.items():
        world.wire(host, settings)
    ours = nodes["ours"]
    with ThreadPoolExecutor() as pool:
        running = {}
        for host, at in GATEWAY.items():
            running[f"ours to Go, {host}"] = pool.submit(ours.stream, "put", at, str(STORE), str(MIB), timeout=200)
            running[f"Go to ours, {host}"] = pool.submit(nodes[host].stream, "put", ours.address, str(STORE), str(MIB), timeout=200)
    failed = {}
    for what, future in running.items():
        try:
            seen = future.result()
            expect_equal(seen["received"], seen["sent"], "the digest that the server saw")
            print(f"# figure: {what}: {MIB * 1.048576 / seen['seconds']:.1f} MB/s", flush=True)
        except (node.LabError, AssertionError) as error:
            failed[what] = error
    for host in WIRES:
        print(f"# wire of {host}: {world.wire(host, {})}", flush=True)
    for host in WIRES:
        world.wire(host, {}, clear=True)
    expect(not failed, f"{failed}")


@suite.case("ours ends its direction toward Go and still gets an answer that comes 3 s later")
def half_close(_world):
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(nodes["ours"].stream, "half", at, str(LATE), "4") for at in GATEWAY.values()]
    for future in running:
        seen = future.result()
        expect_equal(seen["received"], seen["sent"], "the digest that the server saw")
        expect(seen["seconds"] > 3, f"the answer came before its time: {seen}")
    for host in GATEWAY:
        wait_until(lambda at=host: "closed by the peer" in nodes[at].said(f"stream-{LATE}.log"), 10, f"the server on {host} sees the end")


@suite.case("Go is killed in the middle of a transfer from ours: the client is told, and new traffic flows within 5 s of its return")
def killed_in_transfer(_world):
    ours, go = nodes["ours"], nodes["beta"]

    def streams():
        return ours.ctl("connections")["connections"]

    former = {stream["id"] for stream in streams()}
    with ThreadPoolExecutor() as pool:
        # More than can be through before the kill.
        transfer = pool.submit(ours.stream, "put", GATEWAY["beta"], str(STORE), "2000", timeout=60)
        wait_until(lambda: any(stream["bytes_sent"] > 4 << 20 and stream["id"] not in former for stream in streams()), 20, "the transfer is under way")
        go.kill()
        go.start()
        go.serve(STORE, "serve", str(STORE))
        back = time.monotonic()
        while True:
            try:
                seen = ours.stream("put", GATEWAY["beta"], str(STORE), "1", timeout=30)
                break
            except node.LabError as error:
                expect(time.monotonic() - back < 5, f"no traffic {time.monotonic() - back:.1f} s after Go came back: {error}")
        took = time.monotonic() - back
        expect_equal(seen["received"], seen["sent"], "the digest after the restart")
        print(f"# figure: ours to Go after its restart in a transfer: traffic back after {took:.1f} s", flush=True)
        expect(took < 5, f"traffic back after {took:.1f} s")
        try:
            raise AssertionError(f"the transfer to a process that is gone ended well: {transfer.result()}")
        except node.LabError as error:
            expect("reset" in str(error) or "Broken pipe" in str(error), f"what the client of the killed transfer hears: {error}")


node.main(suite)
