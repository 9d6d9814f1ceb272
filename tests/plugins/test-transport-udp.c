/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What transport-udp promises besides what every transport does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/plugin-check/transport-ends.h"
#include "transport-udp.h"

static const CheckCandidate udp = { .name = "transport-udp", .get_type = pilot_transport_udp_get_type, .settings = "{'listen': <'127.0.0.1:0'>}" };

/* A burst costs few calls: that is what the batches are for. */
static void
test_calls (Ends *f,
            gconstpointer data)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (f->a.transport);
  gboolean gso;

  g_assert_true (g_variant_lookup (stats, "segmentation-offload", "b", &gso));
  if (!gso) {
    g_test_skip ("the kernel has no UDP_SEGMENT");
    return;
  }
  ends_check_segments (f, 50 * 1222, 1222);
  g_assert_cmpuint (ends_get_stat (f->a.transport, "send-calls"), ==, 1);
  g_assert_cmpuint (ends_get_stat (f->a.transport, "datagrams-sent"), ==, 50);
  g_assert_cmpuint (ends_get_stat (f->a.transport, "bytes-sent"), ==, 50 * 1222);
  g_assert_cmpuint (ends_get_stat (f->b.transport, "datagrams-received"), ==, 50);
}

static void
test_stranger (Ends *f,
               gconstpointer data)
{
  struct sockaddr_storage address;
  const socklen_t length = pilot_endpoint_to_sockaddr (&f->b.endpoint, FALSE, &address);
  gint fd = socket (address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (sendto (fd, "", 0, 0, (struct sockaddr *) &address, length), ==, 0);
  g_assert_cmpint (sendto (fd, "x", 1, 0, (struct sockaddr *) &address, length), ==, 1);
  ends_wait_received (f, &f->b, 1);
  g_assert_cmpuint (f->b.received->len, ==, 1);
  close (fd);
}

static void
test_listen (Ends *f,
             gconstpointer data)
{
  const gchar *bad[] = { "", "localhost:1", "127.0.0.1", "127.0.0.1:99999", "192.0.2.77:0" };
  g_autofree gchar *taken = pilot_endpoint_to_string (&f->a.endpoint);
  g_autofree gchar *again = g_strdup_printf ("{'listen': <'%s'>}", taken);
  g_autoptr (PilotTransport) second = host_new (f->candidate->get_type (), f->candidate->name, NULL, host_settings (again));
  g_autoptr (PilotTransport) offload = host_new (f->candidate->get_type (), f->candidate->name, NULL, host_settings ("{'offload': <'on'>}"));
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree gchar *text = g_strdup_printf ("{'listen': <'%s'>}", bad[i]);
    g_autoptr (PilotTransport) transport = host_new (f->candidate->get_type (), f->candidate->name, NULL, host_settings (text));

    g_assert_false (host_enable (transport, &error));
    g_assert_nonnull (error);
    g_clear_error (&error);
  }
  g_assert_false (host_enable (second, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_nonnull (strstr (error->message, taken));
  g_clear_error (&error);
  g_assert_false (host_enable (offload, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* One socket for both families; its endpoints are this host's, with its port. */
static void
test_any (Ends *f,
          gconstpointer data)
{
  g_autoptr (GArray) endpoints = NULL;
  End any = { 0 };
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  PilotEndpoint to;

  end_start (&any, f->candidate, "{'listen': <':0'>}");
  g_assert_cmpint (getsockname (pilot_transport_get_poll_fd (any.transport), (struct sockaddr *) &address, &length), ==, 0);
  endpoints = pilot_call_get_endpoints (any.transport);
  for (guint i = 0; i < endpoints->len; i++) {
    const PilotEndpoint *e = &g_array_index (endpoints, PilotEndpoint, i);

    g_assert_false (pilot_endpoint_is_loopback (e) || pilot_endpoint_is_link_local (e) || pilot_endpoint_is_any (e));
    g_assert_cmpuint (e->port, ==, g_ntohs (((struct sockaddr_in *) &address)->sin_port));
  }
  to = f->a.endpoint;
  to.port = g_ntohs (((struct sockaddr_in *) &address)->sin_port);
  ends_send_all (f, &(PilotSendBatch) { to, (const guint8 *) "hello", 5, 0 }, 1);
  while (any.received->len == 0) {
    struct pollfd fd = { .fd = pilot_transport_get_poll_fd (any.transport), .events = POLLIN };

    g_assert_cmpint (poll (&fd, 1, 5000), ==, 1);
    pilot_transport_dispatch (any.transport, G_IO_IN);
  }
  g_assert_true (pilot_endpoint_equal (&g_array_index (any.senders, PilotEndpoint, 0), &f->a.endpoint));
  end_stop (&any);
}

static gboolean
run_in_namespace (void)
{
  if (geteuid () != 0) {
    g_test_skip ("only root can make the network this needs");
    return FALSE;
  }
  g_test_trap_subprocess (NULL, 60 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();
  return FALSE;
}

static gboolean
set_up_loopback (gint mtu)
{
  struct ifreq request = { .ifr_name = "lo" };
  gint fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gboolean good;

  request.ifr_mtu = mtu;
  good = ioctl (fd, SIOCSIFMTU, &request) == 0;
  request.ifr_flags = IFF_UP;
  good = good && ioctl (fd, SIOCSIFFLAGS, &request) == 0;
  close (fd);
  return good;
}

/* A path whose MTU is smaller than a segment refuses segmented sends: the same bytes arrive all the same, and the next burst
 * there does not try again. In a network namespace of its own, where loopback has that MTU. */
static void
test_fallback (void)
{
  Ends f = { 0 };
  guint64 fallbacks;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  g_assert_true (set_up_loopback (1400));
  ends_set_up (&f, &udp);
  ends_check_segments (&f, 8 * 2000, 2000);
  fallbacks = ends_get_stat (f.a.transport, "segmentation-fallbacks");
  g_assert_cmpuint (fallbacks, ==, 1);
  ends_check_segments (&f, 8 * 2000, 2000);
  g_assert_cmpuint (ends_get_stat (f.a.transport, "segmentation-fallbacks"), ==, fallbacks);
  /* Its sender was told to make smaller ones, and these go segmented again. */
  g_assert_cmpint (f.a.last_failure, ==, EMSGSIZE);
  ends_check_segments (&f, 8 * 1300, 1300);
  g_assert_cmpuint (ends_get_stat (f.a.transport, "segmentation-fallbacks"), ==, fallbacks);
  g_assert_cmpuint (ends_get_stat (f.a.transport, "send-calls"), <=, 20);
  ends_tear_down (&f, NULL);
}

/* What must not be cut is refused where it does not fit, and stops neither what may be cut nor what is small. */
static void
test_whole (void)
{
  static const guint8 data[2000] = { 0 };
  Ends f = { 0 };
  guint failed;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  g_assert_true (set_up_loopback (1400));
  ends_set_up (&f, &udp);
  for (guint round = 0; round < 2; round++) {
    const PilotSendBatch items[] = {
      { f.b.endpoint, data, 2000, 2000 },
      { f.b.endpoint, data, 2000, 0 },
      { f.b.endpoint, data, 1300, 1300 },
      { f.b.endpoint, data, 100, 0 },
    };

    failed = f.a.failed;
    g_ptr_array_set_size (f.b.received, 0);
    ends_send_all (&f, items, G_N_ELEMENTS (items));
    ends_wait_received (&f, &f.b, 3);
    g_assert_cmpuint (f.b.received->len, ==, 3);
    g_assert_cmpuint (g_bytes_get_size (f.b.received->pdata[0]), ==, 2000);
    g_assert_cmpuint (g_bytes_get_size (f.b.received->pdata[1]), ==, 1300);
    g_assert_cmpuint (f.a.failed, >, failed);
    g_assert_cmpint (f.a.last_failure, ==, EMSGSIZE);
  }
  ends_tear_down (&f, NULL);
}

/* A tap device nobody answers at: what is sent there waits for ARP and is charged to the sender meanwhile. */
static gint
open_silent_network (void)
{
  struct ifreq request = { .ifr_name = "silent0", .ifr_flags = IFF_TAP | IFF_NO_PI };
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = g_htonl (0xc6336401) };
  gint tap = open ("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  gint fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (ioctl (tap, TUNSETIFF, &request), ==, 0);
  memcpy (&request.ifr_addr, &address, sizeof address);
  g_assert_cmpint (ioctl (fd, SIOCSIFADDR, &request), ==, 0);
  request.ifr_flags = IFF_UP;
  g_assert_cmpint (ioctl (fd, SIOCSIFFLAGS, &request), ==, 0);
  close (fd);
  return tap;
}

/* A socket whose send buffer is full says "not now", and "writable" once it has drained. */
static void
test_full (void)
{
  const CheckCandidate candidate = { .name = "transport-udp", .get_type = pilot_transport_udp_get_type };
  const gint64 deadline = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;
  const gint small = 4096;
  g_autofree guint8 *bytes = NULL;
  PilotSendBatch items[20];
  Ends f = { 0 };
  guint sent;
  gint tap;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  tap = open_silent_network ();
  end_start (&f.a, &candidate, "{'listen': <'198.51.100.1:0'>}");
  end_start (&f.b, &candidate, "{'listen': <'198.51.100.1:0'>}");
  g_assert_cmpint (setsockopt (pilot_transport_get_poll_fd (f.a.transport), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), ==, 0);
  bytes = ends_pattern (1000, 3);
  for (guint i = 0; i < G_N_ELEMENTS (items); i++) {
    items[i] = (PilotSendBatch) { f.b.endpoint, bytes, 1000, 0 };
    items[i].to.address[3] = 2;
  }
  g_assert_true (pilot_call_send (f.a.transport, items, G_N_ELEMENTS (items), &sent, NULL));
  g_assert_cmpuint (sent, >, 0);
  g_assert_cmpuint (sent, <, G_N_ELEMENTS (items));
  g_assert_cmpint (pilot_transport_get_poll_events (f.a.transport), ==, G_IO_IN | G_IO_OUT);
  g_assert_cmpuint (f.a.writable, ==, 0);
  while (f.a.writable == 0) {
    ends_turn (&f, 100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_cmpint (pilot_transport_get_poll_events (f.a.transport), ==, G_IO_IN);
  close (tap);
  ends_tear_down (&f, NULL);
}

/* A smaller buffer is always given, and the kernel counts twice of it. */
static void
test_buffer (void)
{
  const gchar *bad[] = { "", "many", "-1", "1000", "99999999999" };
  g_autoptr (PilotTransport) transport = host_new (pilot_transport_udp_get_type (), "transport-udp", NULL, host_settings ("{'listen': <'127.0.0.1:0'>, 'buffer': <'131072'>}"));
  g_autoptr (GVariant) stats = NULL;
  g_autoptr (GError) error = NULL;
  guint received, sent;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree gchar *text = g_strdup_printf ("{'buffer': <'%s'>}", bad[i]);
    g_autoptr (PilotTransport) refused = host_new (pilot_transport_udp_get_type (), "transport-udp", NULL, host_settings (text));

    g_assert_false (host_enable (refused, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_clear_error (&error);
  }
  host_enable (transport, &error);
  g_assert_no_error (error);
  stats = pilot_transport_get_stats (transport);
  g_assert_true (g_variant_lookup (stats, "receive-buffer", "u", &received));
  g_assert_true (g_variant_lookup (stats, "send-buffer", "u", &sent));
  g_assert_cmpuint (received, ==, 2 * 131072);
  g_assert_cmpuint (sent, ==, 2 * 131072);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  ends_add (&udp, "calls", test_calls);
  ends_add (&udp, "stranger", test_stranger);
  ends_add (&udp, "listen", test_listen);
  ends_add (&udp, "any", test_any);
  g_test_add_func ("/transport-udp/full", test_full);
  g_test_add_func ("/transport-udp/fallback", test_fallback);
  g_test_add_func ("/transport-udp/whole", test_whole);
  g_test_add_func ("/transport-udp/buffer", test_buffer);
  return g_test_run ();
}
