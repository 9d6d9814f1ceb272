# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab: hosts in namespaces, NAT routers between them, and what tests need to play in them."""
