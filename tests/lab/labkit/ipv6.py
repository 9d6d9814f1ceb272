# SPDX-License-Identifier: LGPL-2.1-or-later
"""IPv6 for a world that is up: every LAN gets a /64 of its own, the routers route and translate nothing, unless told to; a firewall may stand in them.

    net 2001:db8::1 ── 2001:db8::b router 2001:db8:0:47::1 ── alpha 2001:db8:0:47::2
"""

import os

NET = "2001:db8::1"
REGISTRY, BEACON = f"[{NET}]:9000", f"[{NET}]:9001"

# Who is inside may talk to anybody, and whom he talks to may answer: what routers at home do (RFC 6092). Of UDP nothing at all, if so told.
# ICMPv6 by its number: its name is in /etc/protocols, which a small system does not have.
_FIREWALL = """
table ip6 lab {{
  chain forward {{
    type filter hook forward priority 0;
    {blocked}
    iifname "out0" meta l4proto 58 accept
    iifname "out0" ct state established,related accept
    iifname "out0" drop
  }}
}}
"""

# The LAN has unique local addresses. A prefix for a prefix, the rest stays, and no state decides who gets in: NPTv6 (RFC 6296), but for the two bytes
# that keep checksums, which the kernel mends instead. Or one address for all of them, as with IPv4: NAT66. The input rule: see nat.py.
_TRANSLATION = {
    "prefix": """
table ip6 translation {{
  chain outward {{ type nat hook postrouting priority 100; oifname "out0" ip6 saddr {inside}::/64 snat ip6 prefix to {outside}::/64; }}
  chain inward {{ type nat hook prerouting priority -100; iifname "out0" ip6 daddr {outside}::/64 dnat ip6 prefix to {inside}::/64; }}
}}
""",
    "masquerade": """
table ip6 translation {{
  chain outward {{ type nat hook postrouting priority 100; oifname "out0" ip6 saddr {inside}::/64 masquerade; }}
  chain input {{ type filter hook input priority 0; iifname "out0" ct state new meta l4proto udp drop; }}
}}
""",
}


def is_supported():
    return os.path.exists("/proc/sys/net/ipv6/conf/all/disable_ipv6")


def _switch_on(namespace, *devices):
    """Addresses are given by hand, and used at once."""
    namespace.shell("".join(f"cd /proc/sys/net/ipv6/conf/{name}\necho 0 >accept_ra\necho 0 >accept_dad\necho 0 >disable_ipv6\n" for name in ("all", *devices)))


class Network:
    """The IPv6 side of a world."""

    def __init__(self, world):
        self.world = world
        self.owners = []
        self.translated = {}
        net = world.namespace("net")
        _switch_on(net, "eth0")
        net.ip(f"addr add {NET}/64 dev eth0 nodad\n")

    def _number(self, host):
        return 11 + self.world.state["hosts"].index(host)

    def _outside_prefix(self, owner):
        return f"2001:db8:0:{60 + self._number(owner):x}"

    def _prefix(self, owner):
        return f"fd00:db8:0:{60 + self._number(owner):x}" if self.translated.get(owner) else self._outside_prefix(owner)

    def address(self, host, number=2):
        """Of a host, with this number in the LAN behind its router."""
        return f"{self._prefix(host)}::{number:x}"

    def outside_address(self, host):
        """Where others see a host."""
        if self.translated.get(host) == "masquerade":
            return f"2001:db8::{self._number(host):x}"
        return f"{self._outside_prefix(host)}::2"

    def add(self, host, only=False, firewall=None, mtu=1500, translate=None):
        """Gives a host IPv6 beside IPv4, or instead of it. `firewall` of its router: None, "stateful", or "udp-blocked"; `mtu`: of the way
        from there on; `translate`: None, "prefix" or "masquerade"."""
        self.translated[host] = translate
        self._add_router(host, firewall, mtu)
        namespace = self.world.namespace(host)
        _switch_on(namespace, "eth0")
        namespace.ip("addr flush dev eth0\n" if only else "")
        namespace.ip(f"addr add {self.address(host)}/64 dev eth0 nodad\nroute add default via {self._prefix(host)}::1\n")

    def renumber(self, host, number):
        """The host has the address with this number instead of its first."""
        self.world.namespace(host).ip(f"addr add {self.address(host, number)}/64 dev eth0 nodad\naddr del {self.address(host)}/64 dev eth0\n")

    def cut(self, host):
        """Nothing of IPv6 passes the router any more, and nobody is told."""
        self.world.namespace(f"router-{host}").nft("table ip6 cut { chain forward { type filter hook forward priority -1; drop; }; }")

    def _add_router(self, host, firewall, mtu):
        outside, router = f"2001:db8::{self._number(host):x}", self.world.namespace(f"router-{host}")
        _switch_on(router, "out0", "lan0")
        router.shell("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n")
        router.ip(f"addr add {outside}/64 dev out0 nodad\naddr add {self._prefix(host)}::1/64 dev lan0 nodad\nlink set out0 mtu {mtu}\n")
        if firewall:
            router.nft(_FIREWALL.format(blocked="meta l4proto udp drop" if firewall == "udp-blocked" else ""))
        if self.translated[host]:
            router.nft(_TRANSLATION[self.translated[host]].format(inside=self._prefix(host), outside=self._outside_prefix(host)))
        self.world.namespace("net").ip(f"route add {self._outside_prefix(host)}::/64 via {outside}\n")
        for other in self.owners:
            router.ip(f"route add {self._outside_prefix(other)}::/64 via 2001:db8::{self._number(other):x}\n")
            self.world.namespace(f"router-{other}").ip(f"route add {self._outside_prefix(host)}::/64 via {outside}\n")
        self.owners.append(host)
