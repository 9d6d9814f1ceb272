/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/plugin-check/host.h"
#include "plugins/transport-udp/transport-udp.h"

/*
 * transport-udp with a kernel that refuses. The transport is linked into this program, so the sendmmsg() it calls is the one below: it
 * refuses what the case asks for and leaves the rest to the real one.
 */

#define SEGMENTS 40
#define SEGMENT 1000

static gint refuse_segmented; /* errno; 0 = take them */
static gsize whole_limit;     /* what is longer is refused while the socket says not to cut it; 0 = take it */
static guint n_segmented, n_refused, n_calls;

static gboolean
is_too_long (int fd,
             const struct msghdr *message)
{
  gint discover = IP_PMTUDISC_WANT;
  socklen_t length = sizeof discover;

  return whole_limit > 0 && message->msg_iov->iov_len > whole_limit &&
         getsockopt (fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, &length) == 0 && discover == IP_PMTUDISC_DO;
}

int
sendmmsg (int fd,
          struct mmsghdr *headers,
          unsigned n,
          int flags)
{
  unsigned good = 0;

  /* Whoever tries for ever is caught. */
  g_assert_cmpuint (++n_calls, <, 1000);
  while (good < n && headers[good].msg_hdr.msg_controllen == 0 && !is_too_long (fd, &headers[good].msg_hdr))
    good++;
  if (good < n && is_too_long (fd, &headers[good].msg_hdr)) {
    if (good == 0) {
      errno = EMSGSIZE;
      return -1;
    }
    return (int) syscall (SYS_sendmmsg, fd, headers, good, flags);
  }
  /* As the kernel does: what stands before the refused message is taken, and the error comes with the next call. */
  if (good < n && refuse_segmented != 0) {
    if (good == 0) {
      n_refused++;
      errno = refuse_segmented;
      return -1;
    }
    n = good;
  }
  n_segmented += good < n;
  return (int) syscall (SYS_sendmmsg, fd, headers, n, flags);
}

typedef struct
{
  PilotTransport *transport;
  PilotEndpoint endpoint;
  GByteArray *received;
  guint n_received, failed;
} End;

static void
on_received (PilotTransport *transport,
             PilotReceivedDatagram *items,
             guint n_items,
             gpointer user_data)
{
  End *end = user_data;

  for (guint i = 0; i < n_items; i++) {
    const gsize segment = items[i].segment_size == 0 ? items[i].length : items[i].segment_size;

    g_byte_array_append (end->received, items[i].data, (guint) items[i].length);
    end->n_received += (guint) ((items[i].length + segment - 1) / segment);
  }
}

static void
on_failed (PilotTransport *transport,
           const PilotEndpoint *to,
           gint number,
           End *end)
{
  end->failed++;
}

static void
end_start (End *end,
           const gchar *settings)
{
  g_autoptr (GArray) endpoints = NULL;
  g_autoptr (GError) error = NULL;

  *end = (End) { .received = g_byte_array_new () };
  end->transport = host_new (pilot_transport_udp_get_type (), "transport-udp", NULL, host_settings (settings));
  pilot_transport_set_receiver (end->transport, on_received, end, NULL);
  g_signal_connect (end->transport, "send-failed", G_CALLBACK (on_failed), end);
  host_enable (end->transport, &error);
  g_assert_no_error (error);
  endpoints = pilot_call_get_endpoints (end->transport);
  g_assert_cmpuint (endpoints->len, ==, 1);
  end->endpoint = g_array_index (endpoints, PilotEndpoint, 0);
}

static void
end_stop (End *end)
{
  g_assert_true (host_disable (end->transport, NULL));
  g_assert_finalize_object (end->transport);
  g_byte_array_unref (end->received);
}

static guint64
stat_of (End *end,
         const gchar *name)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (end->transport);
  guint64 value = 0;

  g_assert_true (g_variant_lookup (stats, name, "t", &value));
  return value;
}

static gboolean
is_on (End *end,
       const gchar *name)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (end->transport);
  gboolean value = FALSE;

  g_assert_true (g_variant_lookup (stats, name, "b", &value));
  return value;
}

static gboolean
change (End *end,
        const gchar *key,
        const gchar *value,
        GError **error)
{
  return pilot_call_change_setting (PILOT_PLUGIN (end->transport), key, g_variant_new_string (value), error);
}

/* One burst of equal segments: every byte arrives, in order, in as many datagrams. With `offload` the receiver's setting changes when they wait for it. */
static void
burst_then (End *from,
            End *to,
            const gchar *offload)
{
  g_autofree guint8 *data = g_malloc (SEGMENTS * SEGMENT);
  const PilotSendBatch item = { to->endpoint, data, SEGMENTS * SEGMENT, SEGMENT };
  g_autoptr (GError) error = NULL;
  guint n_sent = 0;

  for (guint i = 0; i < SEGMENTS * SEGMENT; i++)
    data[i] = (guint8) (i * 31 + i / 251);
  g_byte_array_set_size (to->received, 0);
  to->n_received = 0;
  g_assert_true (pilot_transport_send (from->transport, &item, 1, &n_sent, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n_sent, ==, 1);
  if (offload != NULL) {
    g_assert_true (change (to, "offload", offload, &error));
    g_assert_cmpuint (to->received->len, ==, SEGMENTS * SEGMENT);
  }
  while (to->received->len < SEGMENTS * SEGMENT) {
    struct pollfd fd = { .fd = pilot_transport_get_poll_fd (to->transport), .events = POLLIN };

    g_assert_cmpint (poll (&fd, 1, 20000), ==, 1);
    pilot_transport_dispatch (to->transport, G_IO_IN);
  }
  g_assert_cmpmem (to->received->data, to->received->len, data, SEGMENTS * SEGMENT);
  g_assert_cmpuint (to->n_received, ==, SEGMENTS);
}

static void
burst (End *from,
       End *to)
{
  burst_then (from, to, NULL);
}

static void
reset (gint number)
{
  refuse_segmented = number;
  n_segmented = n_refused = n_calls = 0;
}

/* The first refusal is answered at once with the same data in pieces; what it concerns decides what is tried again. */
static void
test_refusal (gconstpointer data)
{
  const gint number = GPOINTER_TO_INT (data);
  End a, b, c;

  end_start (&a, "{'listen': <'127.0.0.1:0'>}");
  end_start (&b, "{'listen': <'127.0.0.1:0'>}");
  end_start (&c, "{'listen': <'127.0.0.1:0'>}");
  if (!is_on (&a, "segmentation-offload")) {
    g_test_skip ("this kernel has no UDP_SEGMENT");
    end_stop (&a);
    end_stop (&b);
    end_stop (&c);
    return;
  }
  reset (number);
  burst (&a, &b);
  g_assert_cmpuint (n_refused, ==, 1);
  g_assert_cmpuint (stat_of (&a, "segmentation-fallbacks"), ==, 1);
  /* The same destination again: not even tried. */
  burst (&a, &b);
  g_assert_cmpuint (n_refused, ==, 1);
  /* Another: EIO is the device's and so everybody's, the others are the path's. */
  burst (&a, &c);
  g_assert_cmpuint (n_refused, ==, number == EIO ? 1 : 2);
  g_assert_cmpint (is_on (&a, "segmentation-offload"), ==, number != EIO);
  g_assert_cmpuint (a.failed > 0, ==, number == EMSGSIZE);
  g_assert_cmpuint (stat_of (&a, "dropped"), ==, 0);
  end_stop (&a);
  end_stop (&b);
  end_stop (&c);
}

/* Large segments on a path that has shrunk, and behind them what must not be cut: they arrive, it does not, and neither stands in the other's way. */
static void
test_too_long (void)
{
  g_autofree guint8 *data = g_malloc0 (3 * 5000);
  g_autoptr (GError) error = NULL;
  guint n_sent = 0;
  End a, b;

  end_start (&a, "{'listen': <'127.0.0.1:0'>, 'offload': <'off'>}");
  end_start (&b, "{'listen': <'127.0.0.1:0'>}");
  for (guint round = 0; round < 2; round++) {
    const PilotSendBatch items[] = { { b.endpoint, data, 3 * 5000, 5000 }, { b.endpoint, data, 5000, 5000 }, { b.endpoint, data, 3 * 5000, 5000 } };

    reset (0);
    whole_limit = 1472;
    g_byte_array_set_size (b.received, 0);
    g_assert_true (pilot_transport_send (a.transport, items, G_N_ELEMENTS (items), &n_sent, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (n_sent, ==, G_N_ELEMENTS (items));
    whole_limit = 0;
    while (b.received->len < 6 * 5000) {
      struct pollfd fd = { .fd = pilot_transport_get_poll_fd (b.transport), .events = POLLIN };

      g_assert_cmpint (poll (&fd, 1, 20000), ==, 1);
      pilot_transport_dispatch (b.transport, G_IO_IN);
    }
    g_assert_cmpuint (b.received->len, ==, 6 * 5000);
    g_assert_cmpuint (stat_of (&a, "dropped"), ==, round + 1);
    g_assert_cmpuint (a.failed, >, round);
  }
  end_stop (&a);
  end_stop (&b);
}

static void
test_auto (void)
{
  End a, b;

  end_start (&a, "{'listen': <'127.0.0.1:0'>}");
  end_start (&b, "{'listen': <'127.0.0.1:0'>}");
  reset (0);
  burst (&a, &b);
  /* Probed when it was opened: used where the kernel has it. */
  g_assert_cmpuint (n_segmented, ==, is_on (&a, "segmentation-offload") ? 1 : 0);
  end_stop (&a);
  end_stop (&b);
}

/* Switched off neither is used, and 64 datagrams are taken by one call all the same. */
static void
test_off (void)
{
  End a, b;
  guint64 calls;

  end_start (&a, "{'listen': <'127.0.0.1:0'>, 'offload': <'off'>}");
  end_start (&b, "{'listen': <'127.0.0.1:0'>, 'offload': <'off'>}");
  g_assert_false (is_on (&a, "segmentation-offload"));
  g_assert_false (is_on (&a, "receive-offload"));
  reset (EIO);
  calls = stat_of (&b, "receive-calls");
  burst (&a, &b);
  g_assert_cmpuint (n_segmented, ==, 0);
  g_assert_cmpuint (n_refused, ==, 0);
  g_assert_cmpuint (n_calls, ==, 1);
  g_assert_cmpuint (stat_of (&b, "receive-calls"), ==, calls + 1);
  end_stop (&a);
  end_stop (&b);
}

/* While it runs: off, and auto again, which also forgets what was refused. */
static void
test_changed (void)
{
  g_autoptr (GError) error = NULL;
  const gchar *value;
  gboolean gso;
  End a, b;

  end_start (&a, "{'listen': <'127.0.0.1:0'>}");
  end_start (&b, "{'listen': <'127.0.0.1:0'>}");
  gso = is_on (&a, "segmentation-offload");
  reset (EIO);
  burst (&a, &b);
  g_assert_false (is_on (&a, "segmentation-offload"));
  reset (0);
  g_assert_true (change (&a, "offload", "auto", &error));
  g_assert_cmpint (is_on (&a, "segmentation-offload"), ==, gso);
  burst (&a, &b);
  g_assert_cmpuint (n_segmented, ==, gso ? 1 : 0);

  g_assert_true (change (&a, "offload", "off", &error));
  g_assert_true (change (&b, "offload", "off", &error));
  g_assert_false (is_on (&a, "segmentation-offload"));
  g_assert_false (is_on (&b, "receive-offload"));
  reset (0);
  burst (&a, &b);
  g_assert_cmpuint (n_segmented, ==, 0);
  g_assert_true (pilot_plugin_lookup_setting (PILOT_PLUGIN (a.transport), "offload", "&s", &value));
  g_assert_cmpstr (value, ==, "off");

  g_assert_false (change (&a, "offload", "on", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (change (&a, "listen", ":7", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED);
  g_assert_true (pilot_plugin_lookup_setting (PILOT_PLUGIN (a.transport), "offload", "&s", &value));
  g_assert_cmpstr (value, ==, "off");

  /* What came joined before is delivered before it cannot be told apart any more. */
  g_clear_error (&error);
  g_assert_true (change (&a, "offload", "auto", &error));
  g_assert_true (change (&b, "offload", "auto", &error));
  burst_then (&a, &b, "off");
  g_assert_false (is_on (&b, "receive-offload"));
  end_stop (&a);
  end_stop (&b);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/udp-refusals/auto", test_auto);
  g_test_add_func ("/udp-refusals/too-long", test_too_long);
  g_test_add_func ("/udp-refusals/off", test_off);
  g_test_add_func ("/udp-refusals/changed", test_changed);
  g_test_add_data_func ("/udp-refusals/eio", GINT_TO_POINTER (EIO), test_refusal);
  g_test_add_data_func ("/udp-refusals/einval", GINT_TO_POINTER (EINVAL), test_refusal);
  g_test_add_data_func ("/udp-refusals/emsgsize", GINT_TO_POINTER (EMSGSIZE), test_refusal);
  return g_test_run ();
}
