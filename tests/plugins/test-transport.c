/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every transport owes the host, run against each; then what transport-udp promises besides. */
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

#include "host.h"
#include "mock-transport.h"
#include "pipe-beacon.h"
#include "transport-udp.h"
#include "transport-wss.h"

typedef struct
{
  const gchar *name;
  GType (*get_type) (void);
  const gchar *settings; /* NULL: a relay, that of pipe_beacon */
} Candidate;

static const Candidate candidates[] = {
  { "transport-udp", pilot_transport_udp_get_type, "{'listen': <'127.0.0.1:0'>}" },
  { "transport-udp-plain", pilot_transport_udp_get_type, "{'listen': <'127.0.0.1:0'>, 'offload': <'off'>}" },
  { "transport-udp-ipv6", pilot_transport_udp_get_type, "{'listen': <'[::1]:0'>}" },
  { "mock-transport", mock_transport_get_type, "{'listen': <'127.0.0.1:0'>}" },
  { "transport-wss", pilot_transport_wss_get_type, NULL },
};

/* What the relays of a test are connected to. */
static PipeBeacon *beacon;

/* One end of the wire and what came out of it. */
typedef struct
{
  PilotTransport *transport;
  PilotEndpoint endpoint;
  GPtrArray *received; /* GBytes, one per datagram */
  GArray *senders;
  guint writable;
  guint failed;
  gint last_failure;
  PilotEndpoint last_failed;
} End;

typedef struct
{
  const Candidate *candidate;
  End a;
  End b;
} Fixture;

static void
receive_cb (PilotTransport *transport,
            PilotReceivedDatagram *items,
            guint n_items,
            gpointer user_data)
{
  End *end = user_data;

  g_assert_cmpuint (n_items, >, 0);
  for (guint i = 0; i < n_items; i++) {
    const gsize segment = items[i].segment_size == 0 ? items[i].length : items[i].segment_size;

    g_assert_cmpuint (items[i].length, >, 0);
    g_assert_cmpuint (items[i].from.transport, ==, 0);
    for (gsize offset = 0; offset < items[i].length; offset += segment) {
      g_ptr_array_add (end->received, g_bytes_new (items[i].data + offset, MIN (segment, items[i].length - offset)));
      g_array_append_val (end->senders, items[i].from);
    }
    /* The host writes into it. */
    memset (items[i].data, 0xee, items[i].length);
  }
}

static void
writable_cb (PilotTransport *transport,
             End *end)
{
  end->writable++;
}

static void
send_failed_cb (PilotTransport *transport,
                const PilotEndpoint *to,
                gint number,
                End *end)
{
  end->failed++;
  end->last_failure = number;
  end->last_failed = *to;
}

static gboolean
set_flag (gpointer user_data)
{
  *(gboolean *) user_data = TRUE;
  return G_SOURCE_REMOVE;
}

/* A turn of the loop for transports with sources of their own. */
static gboolean
turn_context (gint timeout_ms)
{
  gboolean late = FALSE;
  guint timer = g_timeout_add ((guint) timeout_ms, set_flag, &late);
  gboolean done = g_main_context_iteration (NULL, TRUE);

  if (late)
    return FALSE;
  g_source_remove (timer);
  return done;
}

/* Until the transport has no trouble (or, with `wanted` FALSE, has some). */
static void
wait_trouble (PilotTransport *transport,
              gboolean wanted)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  while ((pilot_transport_get_trouble (transport) != NULL) != wanted) {
    turn_context (100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
}

/* (transfer full): settings of a transport-wss for the beacon. */
static gchar *
wss_settings (void)
{
  return g_strdup_printf ("{'url': <'%s'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}", pipe_beacon_get_url (beacon),
                          pipe_beacon_get_fingerprint (beacon));
}

/* Logged in. A relay's one endpoint is its beacon. */
static void
end_connect (End *end)
{
  pilot_transport_set_prover (end->transport, pipe_beacon_prove, NULL);
  pilot_transport_reconnect (end->transport);
  wait_trouble (end->transport, FALSE);
  g_assert_true (pilot_call_parse_endpoint (end->transport, pipe_beacon_get_url (beacon), &end->endpoint, NULL));
}

static void
end_start (End *end,
           const Candidate *candidate,
           const gchar *settings)
{
  g_autofree gchar *relay = NULL;
  g_autoptr (GArray) endpoints = NULL;
  g_autoptr (GError) error = NULL;

  if (settings == NULL)
    settings = relay = wss_settings ();
  end->transport = host_new (candidate->get_type (), candidate->name, NULL, host_settings (settings));
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (end->transport), ==, g_type_name (candidate->get_type ()));
  end->received = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  end->senders = g_array_new (FALSE, FALSE, sizeof (PilotEndpoint));
  pilot_transport_set_receiver (end->transport, receive_cb, end, NULL);
  g_signal_connect (end->transport, "writable", G_CALLBACK (writable_cb), end);
  g_signal_connect (end->transport, "send-failed", G_CALLBACK (send_failed_cb), end);
  host_enable (end->transport, &error);
  g_assert_no_error (error);
  endpoints = pilot_call_get_endpoints (end->transport);
  if (endpoints->len > 0)
    end->endpoint = g_array_index (endpoints, PilotEndpoint, 0);
  if (relay != NULL)
    end_connect (end);
}

static void
end_stop (End *end)
{
  g_assert_true (host_disable (end->transport, NULL));
  g_assert_finalize_object (end->transport);
  g_ptr_array_unref (end->received);
  g_array_unref (end->senders);
}

static void
set_up (Fixture *f,
        gconstpointer data)
{
  f->candidate = data;
  if (f->candidate->settings == NULL)
    beacon = pipe_beacon_new ();
  end_start (&f->a, f->candidate, f->candidate->settings);
  end_start (&f->b, f->candidate, f->candidate->settings);
  g_assert_cmpuint (f->a.endpoint.port, !=, 0);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  end_stop (&f->a);
  end_stop (&f->b);
  g_clear_pointer (&beacon, pipe_beacon_free);
}

/* One turn of the host's loop. FALSE when nothing happened in time. */
static gboolean
turn (Fixture *f,
      gint timeout_ms)
{
  End *ends[] = { &f->a, &f->b };
  struct pollfd fds[2];

  if (f->candidate != NULL && f->candidate->settings == NULL)
    return turn_context (timeout_ms);
  for (guint i = 0; i < 2; i++) {
    const GIOCondition events = pilot_transport_get_poll_events (ends[i]->transport);

    fds[i] = (struct pollfd) { .fd = pilot_transport_get_poll_fd (ends[i]->transport),
                              .events = (gshort) (((events & G_IO_IN) != 0 ? POLLIN : 0) |
                                                  ((events & G_IO_OUT) != 0 ? POLLOUT : 0)) };
  }
  if (poll (fds, 2, timeout_ms) <= 0)
    return FALSE;
  for (guint i = 0; i < 2; i++)
    if (fds[i].revents != 0)
      pilot_transport_dispatch (ends[i]->transport,
                                (GIOCondition) (((fds[i].revents & POLLIN) != 0 ? G_IO_IN : 0) |
                                                ((fds[i].revents & POLLOUT) != 0 ? G_IO_OUT : 0) |
                                                ((fds[i].revents & POLLERR) != 0 ? G_IO_ERR : 0)));
  return TRUE;
}

static void
wait_received (Fixture *f,
               End *end,
               guint n)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  while (end->received->len < n) {
    turn (f, 100);
    if (g_get_monotonic_time () > deadline)
      g_error ("%u of %u datagrams arrived", end->received->len, n);
  }
}

static guint8 *
pattern (gsize length,
         guint seed)
{
  guint8 *data = g_malloc (length);

  for (gsize i = 0; i < length; i++) {
    seed = seed * 1103515245u + 12345u;
    data[i] = (guint8) (seed >> 16);
  }
  return data;
}

static void
assert_received (End *end,
                 guint index,
                 const guint8 *data,
                 gsize length)
{
  GBytes *bytes = g_ptr_array_index (end->received, index);

  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), data, length);
}

/* Sends all, turning the loop whenever it is "not now". */
static void
send_all (Fixture *f,
          const PilotSendBatch *items,
          guint n)
{
  guint done = 0;

  while (done < n) {
    const guint writable = f->a.writable;
    g_autoptr (GError) error = NULL;
    guint sent;

    pilot_call_send (f->a.transport, items + done, n - done, &sent, &error);
    g_assert_no_error (error);
    done += sent;
    if (done < n) {
      const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

      if (pilot_transport_get_poll_fd (f->a.transport) >= 0)
        g_assert_true ((pilot_transport_get_poll_events (f->a.transport) & G_IO_OUT) != 0);
      while (f->a.writable == writable) {
        turn (f, 100);
        g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      }
    }
  }
}

static void
test_describes (Fixture *f,
                gconstpointer data)
{
  g_autofree gchar *text = pilot_call_format_endpoint (f->a.transport, &f->a.endpoint);
  g_autoptr (GVariant) stats = pilot_transport_get_stats (f->a.transport);
  g_autoptr (GError) error = NULL;
  PilotEndpoint back;

  g_assert_cmpstr (pilot_plugin_get_name (PILOT_PLUGIN (f->a.transport)), ==, f->candidate->name);
  g_assert_true (pilot_call_parse_endpoint (f->a.transport, text, &back, &error));
  g_assert_no_error (error);
  g_assert_true (pilot_endpoint_equal (&back, &f->a.endpoint));
  g_assert_false (pilot_call_parse_endpoint (f->a.transport, "rubbish", &back, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_assert_cmpuint (pilot_transport_get_mtu (f->a.transport), >=, 1200);
  g_assert_cmpuint (pilot_transport_get_mtu (f->a.transport), <=, PILOT_TRANSPORT_MAX_DATAGRAM);
  g_assert_true (g_variant_is_of_type (stats, G_VARIANT_TYPE_VARDICT));
  if (f->candidate->settings != NULL) {
    g_assert_cmpint (pilot_transport_get_poll_fd (f->a.transport), >=, 0);
    g_assert_cmpint (pilot_transport_get_kind (f->a.transport), ==, PILOT_TRANSPORT_DIRECT);
    g_assert_false (pilot_endpoint_equal (&f->a.endpoint, &f->b.endpoint));
  } else {
    g_assert_cmpint (pilot_transport_get_kind (f->a.transport), ==, PILOT_TRANSPORT_RELAY);
    g_assert_cmpstr (text, ==, pipe_beacon_get_url (beacon));
  }
}

static void
test_nothing (Fixture *f,
              gconstpointer data)
{
  guint sent = 77;

  g_assert_true (pilot_call_send (f->a.transport, NULL, 0, &sent, NULL));
  g_assert_cmpuint (sent, ==, 0);
  if (f->candidate->settings != NULL)
    g_assert_false (turn (f, 0));
}

static void
test_one (Fixture *f,
          gconstpointer data)
{
  const gsize lengths[] = { 1, 33, 1222, 4096, 20000 };

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    g_autofree guint8 *bytes = pattern (lengths[i], i);
    g_autofree guint8 *copy = g_memdup2 (bytes, lengths[i]);

    send_all (f, &(PilotSendBatch) { f->b.endpoint, bytes, lengths[i], i % 2 == 0 ? 0 : lengths[i] }, 1);
    wait_received (f, &f->b, i + 1);
    assert_received (&f->b, i, copy, lengths[i]);
    g_assert_true (pilot_endpoint_equal (&g_array_index (f->b.senders, PilotEndpoint, i), &f->a.endpoint));
    g_assert_cmpmem (bytes, lengths[i], copy, lengths[i]);
  }
}

static void
check_segments (Fixture *f,
                gsize length,
                gsize segment)
{
  g_autofree guint8 *bytes = pattern (length, 5);
  const guint n = (guint) ((length + segment - 1) / segment);

  g_ptr_array_set_size (f->b.received, 0);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, bytes, length, segment }, 1);
  wait_received (f, &f->b, n);
  for (guint i = 0; i < n; i++)
    assert_received (&f->b, i, bytes + i * segment, MIN (segment, length - i * segment));
  g_assert_cmpuint (f->b.received->len, ==, n);
}

static void
test_segments (Fixture *f,
               gconstpointer data)
{
  check_segments (f, 2 * 1222, 1222);
  check_segments (f, 2 * 1222 + 1, 1222);
  check_segments (f, 40 * 1222 - 1, 1222);
  /* More than the kernel takes in one piece. */
  check_segments (f, 64 * 500, 500);
  check_segments (f, 64 * 500 + 1, 500);
  check_segments (f, PILOT_TRANSPORT_MAX_DATAGRAM, 500);
  check_segments (f, 300, 1);
}

/* Many items at once, and far more bytes than fit into any buffer at once: nothing is lost that send did not say. */
static void
test_many (Fixture *f,
           gconstpointer data)
{
  enum { N = 300 };
  PilotSendBatch items[N];
  g_autofree guint8 *bytes = pattern (N * 100, 9);

  for (guint i = 0; i < N; i++) {
    bytes[i * 100] = (guint8) i;
    bytes[i * 100 + 1] = (guint8) (i >> 8);
    items[i] = (PilotSendBatch) { f->b.endpoint, bytes + i * 100, 100, 0 };
  }
  send_all (f, items, N);
  wait_received (f, &f->b, N);
  g_assert_cmpuint (f->b.received->len, ==, N);
  for (guint i = 0; i < N; i++)
    assert_received (&f->b, i, bytes + i * 100, 100);
}

static void
test_both_ways (Fixture *f,
                gconstpointer data)
{
  guint sent;

  for (guint i = 0; i < 10; i++) {
    g_assert_true (pilot_call_send (f->a.transport, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "ping", 4, 0 }, 1, &sent, NULL));
    g_assert_cmpuint (sent, ==, 1);
    wait_received (f, &f->b, i + 1);
    g_assert_true (pilot_call_send (f->b.transport,
                                    &(PilotSendBatch) { g_array_index (f->b.senders, PilotEndpoint, i), (const guint8 *) "pong", 4, 0 },
                                    1, &sent, NULL));
    wait_received (f, &f->a, i + 1);
    assert_received (&f->a, i, (const guint8 *) "pong", 4);
  }
}

/* A destination nobody is at is reported, and stops nothing else: not in the same batch, not later. */
static void
test_unreachable (Fixture *f,
                  gconstpointer data)
{
  End gone = { 0 };
  PilotSendBatch items[4];
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  end_start (&gone, f->candidate, f->candidate->settings);
  end_stop (&gone);
  for (guint i = 0; i < 4; i++)
    items[i] = (PilotSendBatch) { i % 2 == 0 ? gone.endpoint : f->b.endpoint, (const guint8 *) "data", 4, 0 };
  while (f->a.failed == 0) {
    send_all (f, items, 4);
    turn (f, 10);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_true (pilot_endpoint_equal (&f->a.last_failed, &gone.endpoint));
  g_assert_cmpint (f->a.last_failure, ==, ECONNREFUSED);
  g_ptr_array_set_size (f->b.received, 0);
  for (guint i = 0; i < 20; i++) {
    const guint before = f->b.received->len;

    send_all (f, items, 4);
    wait_received (f, &f->b, before + 2);
  }
}

static void
test_no_endpoint (Fixture *f,
                  gconstpointer data)
{
  const PilotSendBatch items[] = {
    { PILOT_ENDPOINT_INIT, (const guint8 *) "lost", 4, 0 },
    { f->b.endpoint, (const guint8 *) "here", 4, 0 },
  };

  send_all (f, items, 2);
  wait_received (f, &f->b, 1);
  assert_received (&f->b, 0, (const guint8 *) "here", 4);
  g_assert_cmpuint (f->a.failed, ==, 1);
}

static void
test_disabled (Fixture *f,
               gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) endpoints = NULL;
  guint sent = 77;

  g_assert_true (host_disable (f->a.transport, NULL));
  g_assert_false (pilot_call_send (f->a.transport, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "x", 1, 0 }, 1, &sent, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_assert_cmpuint (sent, ==, 0);
  g_assert_cmpint (pilot_transport_get_poll_fd (f->a.transport), ==, -1);
  endpoints = pilot_call_get_endpoints (f->a.transport);
  g_assert_cmpuint (endpoints->len, ==, 0);
  pilot_transport_dispatch (f->a.transport, G_IO_IN);
  g_assert_true (host_enable (f->a.transport, NULL));
  if (f->candidate->settings == NULL)
    end_connect (&f->a);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "again", 5, 0 }, 1);
  wait_received (f, &f->b, 1);
}

static void
test_no_receiver (Fixture *f,
                  gconstpointer data)
{
  pilot_transport_set_receiver (f->b.transport, NULL, NULL, NULL);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
  g_assert_true (turn (f, 5000));
  pilot_transport_set_receiver (f->b.transport, receive_cb, &f->b, NULL);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "here", 4, 0 }, 1);
  wait_received (f, &f->b, 1);
  assert_received (&f->b, 0, (const guint8 *) "here", 4);
}

static void
test_settings (Fixture *f,
               gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (f->candidate->get_type (), f->candidate->name, NULL, host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* transport-udp */

static guint64
get_stat (PilotTransport *transport,
          const gchar *key)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (transport);
  guint64 value;

  g_assert_true (g_variant_lookup (stats, key, "t", &value));
  return value;
}

/* A burst costs few calls: that is what the batches are for. */
static void
test_calls (Fixture *f,
            gconstpointer data)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (f->a.transport);
  gboolean gso;

  g_assert_true (g_variant_lookup (stats, "segmentation-offload", "b", &gso));
  if (!gso) {
    g_test_skip ("the kernel has no UDP_SEGMENT");
    return;
  }
  check_segments (f, 50 * 1222, 1222);
  g_assert_cmpuint (get_stat (f->a.transport, "send-calls"), ==, 1);
  g_assert_cmpuint (get_stat (f->a.transport, "datagrams-sent"), ==, 50);
  g_assert_cmpuint (get_stat (f->a.transport, "bytes-sent"), ==, 50 * 1222);
  g_assert_cmpuint (get_stat (f->b.transport, "datagrams-received"), ==, 50);
}

static void
test_stranger (Fixture *f,
               gconstpointer data)
{
  struct sockaddr_storage address;
  const socklen_t length = pilot_endpoint_to_sockaddr (&f->b.endpoint, FALSE, &address);
  gint fd = socket (address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (sendto (fd, "", 0, 0, (struct sockaddr *) &address, length), ==, 0);
  g_assert_cmpint (sendto (fd, "x", 1, 0, (struct sockaddr *) &address, length), ==, 1);
  wait_received (f, &f->b, 1);
  g_assert_cmpuint (f->b.received->len, ==, 1);
  close (fd);
}

static void
test_listen (Fixture *f,
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
test_any (Fixture *f,
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
  send_all (f, &(PilotSendBatch) { to, (const guint8 *) "hello", 5, 0 }, 1);
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
  Fixture f = { 0 };
  guint64 fallbacks;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  g_assert_true (set_up_loopback (1400));
  set_up (&f, &candidates[0]);
  check_segments (&f, 8 * 2000, 2000);
  fallbacks = get_stat (f.a.transport, "segmentation-fallbacks");
  g_assert_cmpuint (fallbacks, ==, 1);
  check_segments (&f, 8 * 2000, 2000);
  g_assert_cmpuint (get_stat (f.a.transport, "segmentation-fallbacks"), ==, fallbacks);
  /* Its sender was told to make smaller ones, and these go segmented again. */
  g_assert_cmpint (f.a.last_failure, ==, EMSGSIZE);
  check_segments (&f, 8 * 1300, 1300);
  g_assert_cmpuint (get_stat (f.a.transport, "segmentation-fallbacks"), ==, fallbacks);
  g_assert_cmpuint (get_stat (f.a.transport, "send-calls"), <=, 20);
  tear_down (&f, NULL);
}

/* What must not be cut is refused where it does not fit, and stops neither what may be cut nor what is small. */
static void
test_whole (void)
{
  static const guint8 data[2000] = { 0 };
  Fixture f = { 0 };
  guint failed;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  g_assert_true (set_up_loopback (1400));
  set_up (&f, &candidates[0]);
  for (guint round = 0; round < 2; round++) {
    const PilotSendBatch items[] = {
      { f.b.endpoint, data, 2000, 2000 },
      { f.b.endpoint, data, 2000, 0 },
      { f.b.endpoint, data, 1300, 1300 },
      { f.b.endpoint, data, 100, 0 },
    };

    failed = f.a.failed;
    g_ptr_array_set_size (f.b.received, 0);
    send_all (&f, items, G_N_ELEMENTS (items));
    wait_received (&f, &f.b, 3);
    g_assert_cmpuint (f.b.received->len, ==, 3);
    g_assert_cmpuint (g_bytes_get_size (f.b.received->pdata[0]), ==, 2000);
    g_assert_cmpuint (g_bytes_get_size (f.b.received->pdata[1]), ==, 1300);
    g_assert_cmpuint (f.a.failed, >, failed);
    g_assert_cmpint (f.a.last_failure, ==, EMSGSIZE);
  }
  tear_down (&f, NULL);
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
  const Candidate candidate = { "transport-udp", pilot_transport_udp_get_type, NULL };
  const gint64 deadline = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;
  const gint small = 4096;
  g_autofree guint8 *bytes = NULL;
  PilotSendBatch items[20];
  Fixture f = { 0 };
  guint sent;
  gint tap;

  if (!g_test_subprocess () && !run_in_namespace ())
    return;
  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  tap = open_silent_network ();
  end_start (&f.a, &candidate, "{'listen': <'198.51.100.1:0'>}");
  end_start (&f.b, &candidate, "{'listen': <'198.51.100.1:0'>}");
  g_assert_cmpint (setsockopt (pilot_transport_get_poll_fd (f.a.transport), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), ==, 0);
  bytes = pattern (1000, 3);
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
    turn (&f, 100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_cmpint (pilot_transport_get_poll_events (f.a.transport), ==, G_IO_IN);
  close (tap);
  tear_down (&f, NULL);
}

/* transport-wss */

/* More than may wait: "not now", then "writable", and nothing of it is lost or twice there. */
static void
test_wss_full (Fixture *f,
               gconstpointer data)
{
  enum { N = 40,
         LENGTH = 60000 };
  g_autofree guint8 *bytes = pattern (LENGTH, 3);
  PilotSendBatch items[N];
  guint sent;

  for (guint i = 0; i < N; i++)
    items[i] = (PilotSendBatch) { f->b.endpoint, bytes, LENGTH, 1000 };
  g_assert_true (pilot_call_send (f->a.transport, items, N, &sent, NULL));
  g_assert_cmpuint (sent, >, 0);
  g_assert_cmpuint (sent, <, N);
  send_all (f, items + sent, N - sent);
  wait_received (f, &f->b, N * LENGTH / 1000);
  for (guint i = 0; i < N * LENGTH / 1000; i++)
    assert_received (&f->b, i, bytes + i % 60 * 1000, 1000);
}

/* A connection that is cut is made again; what is sent meanwhile is lost without an error. */
static void
test_wss_lost (Fixture *f,
               gconstpointer data)
{
  pipe_beacon_drop_all (beacon);
  wait_trouble (f->a.transport, TRUE);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
  g_assert_cmpuint (get_stat (f->a.transport, "dropped"), ==, 1);
  wait_trouble (f->a.transport, FALSE);
  wait_trouble (f->b.transport, FALSE);
  g_assert_cmpuint (get_stat (f->a.transport, "logins"), ==, 2);
  send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "here", 4, 0 }, 1);
  wait_received (f, &f->b, 1);
  assert_received (&f->b, 0, (const guint8 *) "here", 4);
}

/* The beacon has said goodbye, and the connection is not gone yet: what is sent then is lost too, and no fault of anybody. */
static void
test_wss_goodbye (Fixture *f,
                  gconstpointer data)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  pipe_beacon_close_all (beacon);
  while (pilot_transport_get_trouble (f->a.transport) == NULL) {
    send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
    turn_context (100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_cmpuint (get_stat (f->a.transport, "dropped"), >, 0);
  g_assert_nonnull (strstr (pilot_transport_get_trouble (f->a.transport), "1001 \"the server stops\""));
  /* Both come back. The server's library waits for ever when it is closed in the middle of a handshake with a client of its own thread. */
  while (get_stat (f->a.transport, "logins") < 2 || get_stat (f->b.transport, "logins") < 2) {
    turn_context (100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
}

static void
expect_trouble (const gchar *settings,
                const gchar *text)
{
  g_autoptr (PilotTransport) transport = host_new (pilot_transport_wss_get_type (), "transport-wss", NULL, host_settings (settings));
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  g_assert_true (host_enable (transport, NULL));
  pilot_transport_set_prover (transport, pipe_beacon_prove, NULL);
  pilot_transport_reconnect (transport);
  while (strstr (pilot_transport_get_trouble (transport), text) == NULL) {
    turn_context (100);
    if (g_get_monotonic_time () > deadline)
      g_error ("\"%s\" without \"%s\"", pilot_transport_get_trouble (transport), text);
  }
  g_assert_true (host_disable (transport, NULL));
}

/* Each way in which there is no connection says why. */
static void
test_wss_trouble (Fixture *f,
                  gconstpointer data)
{
  static const gchar *const rubbish[] = {
    "hello",
    "[]",
    "{}",
    "{\"type\":{\"a\":1},\"nonce\":\"a\"}",
    "{\"type\":[\"auth_challenge\"],\"nonce\":\"a\"}",
    "{\"type\":\"auth_challenge\",\"nonce\":{\"a\":1}}",
    "{\"type\":\"auth_challenge\",\"nonce\":\"a\",\"ts\":[1]}",
    "{\"type\":\"auth_challenge\",\"nonce\":\"a\",\"ts\":\"1\"}",
    "{\"type\":\"auth_ok\"}",
  };
  const gchar *url = pipe_beacon_get_url (beacon);
  g_autofree gchar *good = wss_settings ();
  g_autofree gchar *zeros = g_strnfill (64, '0');
  g_autofree gchar *other = g_strdup_printf ("{'url': <'%s'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}", url, zeros);
  g_autofree gchar *system = g_strdup_printf ("{'url': <'%s'>}", url);
  g_autofree gchar *path = g_strdup_printf ("{'url': <'%.*s/nothing'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}",
                                            (gint) (strlen (url) - strlen ("/v1/compat")), url, pipe_beacon_get_fingerprint (beacon));

  expect_trouble (other, "its certificate is not the pinned one");
  expect_trouble (system, "its certificate is not one the system trusts");
  expect_trouble (path, "it answers 404");
  expect_trouble ("{'url': <'wss://127.0.0.1:9/v1/compat'>}", "onnect");
  for (guint i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    pipe_beacon_set_greeting (beacon, rubbish[i]);
    expect_trouble (good, "is no beacon");
  }
  pipe_beacon_set_greeting (beacon, NULL);
  pipe_beacon_set_refuse (beacon, TRUE);
  expect_trouble (good, "1008 \"auth failed\"");
}

/* A challenge without a time, and a change of mind in every state. */
static void
test_wss_restless (Fixture *f,
                   gconstpointer data)
{
  pipe_beacon_set_old (beacon, TRUE);
  for (guint i = 0; i < 60; i++) {
    pilot_transport_reconnect (f->a.transport);
    for (guint k = 0; k < i; k++)
      turn_context (1);
  }
  g_assert_true (host_disable (f->a.transport, NULL));
  turn_context (10);
  g_assert_true (host_enable (f->a.transport, NULL));
  end_connect (&f->a);
}

static void
test_wss_settings (void)
{
  static const gchar *const bad[] = {
    "{'trust': <'system'>}",
    "{'url': <'ws://x/'>}",
    "{'url': <'https://x/'>}",
    "{'url': <'wss:///v1/compat'>}",
    "{'url': <'wss://user:password@x/'>}",
    "{'url': <'wss://x/'>, 'trust': <'any'>}",
    "{'url': <'wss://x/'>, 'trust': <'pinned'>}",
    "{'url': <'wss://x/'>, 'trust': <'pinned'>, 'fingerprint': <'abc'>}",
    "{'url': <'wss://x/'>, 'proxy': <'socks4://user:password@x:1'>}",
    "{'url': <'wss://x/'>, 'proxy': <'password@x:1'>}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (PilotTransport) transport = host_new (pilot_transport_wss_get_type (), "transport-wss", NULL, host_settings (bad[i]));
    g_autoptr (GError) error = NULL;

    g_assert_false (host_enable (transport, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    if (strstr (bad[i], "proxy") != NULL)
      g_assert_null (strstr (error->message, "password@x"));
  }
}

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

static void
add (const Candidate *candidate,
     const gchar *name,
     void (*func) (Fixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, Fixture, candidate, set_up, func, tear_down);
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
    add (&candidates[i], "describes", test_describes);
    add (&candidates[i], "nothing", test_nothing);
    add (&candidates[i], "one", test_one);
    add (&candidates[i], "segments", test_segments);
    add (&candidates[i], "many", test_many);
    add (&candidates[i], "both-ways", test_both_ways);
    add (&candidates[i], "no-endpoint", test_no_endpoint);
    add (&candidates[i], "disabled", test_disabled);
    add (&candidates[i], "settings", test_settings);
    if (candidates[i].settings == NULL) /* a beacon hears everything, and says nothing of who is not there */
      continue;
    add (&candidates[i], "unreachable", test_unreachable);
    add (&candidates[i], "no-receiver", test_no_receiver);
  }
  add (&candidates[0], "calls", test_calls);
  add (&candidates[0], "stranger", test_stranger);
  add (&candidates[0], "listen", test_listen);
  add (&candidates[0], "any", test_any);
  add (&candidates[4], "full", test_wss_full);
  add (&candidates[4], "lost", test_wss_lost);
  add (&candidates[4], "goodbye", test_wss_goodbye);
  add (&candidates[4], "trouble", test_wss_trouble);
  add (&candidates[4], "restless", test_wss_restless);
  g_test_add_func ("/transport-wss/bad-settings", test_wss_settings);
  g_test_add_func ("/transport-udp/full", test_full);
  g_test_add_func ("/transport-udp/fallback", test_fallback);
  g_test_add_func ("/transport-udp/whole", test_whole);
  return g_test_run ();
}
