# SPDX-License-Identifier: LGPL-2.1-or-later
"""NAT routers as nftables rules: the kinds of RFC 4787 (tests/lab/README.md), each tried with two addresses and two ports of a peer
(test_lab.py)."""

KINDS = ("none", "full-cone", "restricted", "port-restricted", "symmetric", "udp-blocked", "hairpin")

# Without the input rule a plain masquerade turns symmetric when the peer's packet comes first, because conntrack keeps its entry.
_COMMON = """
  chain input {
    type filter hook input priority 0;
    iifname "out0" ct state new meta l4proto udp drop
  }
"""

_MAPPINGS = """
  map mappings {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 5m
    size 65535
  }
"""

_SEEN = """
  set seen {
    type ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 5m
    size 65535
  }
"""


def _masquerade(how=""):
    return f"""
  chain postrouting {{
    type nat hook postrouting priority 100;
    oifname "out0" masquerade {how}
  }}
"""


# What a host of the LAN sends to the outside address of another comes back in, from the outside address of the first (RFC 4787, REQ-9).
_HAIRPIN = """
  chain hairpin {{
    type nat hook postrouting priority 90;
    oifname "lan0" ct status dnat ip saddr 192.168.0.0/16 meta l4proto udp snat to {outside}
  }}
"""


def _remember(seen, to='iifname "out0"'):
    fill = 'oifname "out0" meta l4proto udp update @seen { ip daddr . udp sport }' if seen else ""
    guard = "ip saddr . udp dport @seen " if seen else ""
    return f"""
  chain remember {{
    type filter hook postrouting priority 300;
    oifname "out0" ct direction original meta l4proto udp update @mappings {{ udp sport : ct original ip saddr . ct original proto-src }}
    {fill}
  }}
  chain inward {{
    type nat hook prerouting priority -100;
    {to} {guard}meta l4proto udp dnat ip to udp dport map @mappings
  }}
"""


def rules(kind, outside):
    """The nftables script of a router of this kind, between lan0 and out0, which has this address."""
    if kind == "none":
        return ""
    body = _COMMON
    if kind == "symmetric":
        body += _masquerade("fully-random")
    else:
        body += _masquerade()
    if kind == "full-cone":
        body += _MAPPINGS + _remember(seen=False)
    elif kind == "hairpin":
        body += _MAPPINGS + _remember(seen=False, to=f"ip daddr {outside}") + _HAIRPIN.format(outside=outside)
    elif kind == "restricted":
        body += _MAPPINGS + _SEEN + _remember(seen=True)
    elif kind == "udp-blocked":
        body += """
  chain forward {
    type filter hook forward priority 0;
    meta l4proto udp drop
  }
"""
    # Nobody outside opens a connection inward, whatever the kind does for UDP.
    body += """
  chain guard {
    type filter hook forward priority 10;
    iifname "out0" ct state new meta l4proto != udp drop
  }
"""
    return f"table ip lab {{{body}}}\n"


def rebind_rules(inside):
    """What makes the router forget which outside ports it gave to a host, and give others: to be followed by a flush of its connections."""
    return (f'insert rule ip lab postrouting oifname "out0" ip saddr {inside} meta l4proto udp masquerade to :2000-30000\n')
