/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every transport owes the host, run against each. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/plugin-check/check.h"
#include "mock-transport.h"
#include "pipe-beacon.h"
#include "transport-udp.h"
#include "transport-wss.h"

static const CheckCandidate candidates[] = {
  { .name = "transport-udp", .get_type = pilot_transport_udp_get_type, .settings = "{'listen': <'127.0.0.1:0'>}", .strict = TRUE },
  { .name = "transport-udp-plain", .get_type = pilot_transport_udp_get_type, .settings = "{'listen': <'127.0.0.1:0'>, 'offload': <'off'>}", .strict = TRUE },
  { .name = "transport-udp-ipv6", .get_type = pilot_transport_udp_get_type, .settings = "{'listen': <'[::1]:0'>}", .strict = TRUE },
  { .name = "mock-transport", .get_type = mock_transport_get_type, .settings = "{'listen': <'127.0.0.1:0'>}", .strict = TRUE },
  { .name = "transport-wss", .get_type = pilot_transport_wss_get_type, .relay = &pipe_beacon_relay },
};

static gboolean
has_ipv6 (void)
{
  struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
  gint fd = socket (AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gboolean good = fd >= 0 && bind (fd, (struct sockaddr *) &address, sizeof address) == 0;

  if (fd >= 0)
    close (fd);
  return good;
}

static void
skip_ipv6 (void)
{
  g_test_skip ("no IPv6 on this machine");
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++) {
    if (strstr (candidates[i].name, "ipv6") != NULL && !has_ipv6 ()) {
      g_test_add_func ("/transport-udp-ipv6", skip_ipv6);
      continue;
    }
    check_add_transport (&candidates[i]);
  }
  return g_test_run ();
}
