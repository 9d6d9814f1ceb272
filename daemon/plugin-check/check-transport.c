/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every transport owes the host. */
#include "daemon/plugin-check/transport-ends.h"

#include <errno.h>
#include <string.h>

static void
test_describes (Ends *f,
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
  if (f->candidate->relay == NULL) {
    g_assert_cmpint (pilot_transport_get_kind (f->a.transport), ==, PILOT_TRANSPORT_DIRECT);
    g_assert_false (pilot_endpoint_equal (&f->a.endpoint, &f->b.endpoint));
  } else {
    g_assert_cmpint (pilot_transport_get_kind (f->a.transport), ==, PILOT_TRANSPORT_RELAY);
    g_assert_cmpstr (text, ==, f->candidate->relay->get_address ());
  }
}

static void
test_nothing (Ends *f,
              gconstpointer data)
{
  guint sent = 77;

  g_assert_true (pilot_call_send (f->a.transport, NULL, 0, &sent, NULL));
  g_assert_cmpuint (sent, ==, 0);
  if (f->candidate->relay == NULL)
    g_assert_false (ends_turn (f, 0));
}

static void
test_one (Ends *f,
          gconstpointer data)
{
  const gsize lengths[] = { 1, 33, 1222, 4096, 20000 };

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    g_autofree guint8 *bytes = ends_pattern (lengths[i], i);
    g_autofree guint8 *copy = g_memdup2 (bytes, lengths[i]);

    ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, bytes, lengths[i], i % 2 == 0 ? 0 : lengths[i] }, 1);
    ends_wait_received (f, &f->b, i + 1);
    ends_assert_received (&f->b, i, copy, lengths[i]);
    g_assert_true (pilot_endpoint_equal (&g_array_index (f->b.senders, PilotEndpoint, i), &f->a.endpoint));
    g_assert_cmpmem (bytes, lengths[i], copy, lengths[i]);
  }
}

static void
test_segments (Ends *f,
               gconstpointer data)
{
  ends_check_segments (f, 2 * 1222, 1222);
  ends_check_segments (f, 2 * 1222 + 1, 1222);
  ends_check_segments (f, 40 * 1222 - 1, 1222);
  /* More than the kernel takes in one piece. */
  ends_check_segments (f, 64 * 500, 500);
  ends_check_segments (f, 64 * 500 + 1, 500);
  ends_check_segments (f, PILOT_TRANSPORT_MAX_DATAGRAM, 500);
  ends_check_segments (f, 300, 1);
}

/* Many items at once, and far more bytes than fit into any buffer at once: nothing is lost that send did not say. */
static void
test_many (Ends *f,
           gconstpointer data)
{
  enum { N = 300 };
  PilotSendBatch items[N];
  g_autofree guint8 *bytes = ends_pattern (N * 100, 9);

  for (guint i = 0; i < N; i++) {
    bytes[i * 100] = (guint8) i;
    bytes[i * 100 + 1] = (guint8) (i >> 8);
    items[i] = (PilotSendBatch) { f->b.endpoint, bytes + i * 100, 100, 0 };
  }
  ends_send_all (f, items, N);
  ends_wait_received (f, &f->b, N);
  g_assert_cmpuint (f->b.received->len, ==, N);
  for (guint i = 0; i < N; i++)
    ends_assert_received (&f->b, i, bytes + i * 100, 100);
}

static void
test_both_ways (Ends *f,
                gconstpointer data)
{
  guint sent;

  for (guint i = 0; i < 10; i++) {
    g_assert_true (pilot_call_send (f->a.transport, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "ping", 4, 0 }, 1, &sent, NULL));
    g_assert_cmpuint (sent, ==, 1);
    ends_wait_received (f, &f->b, i + 1);
    g_assert_true (pilot_call_send (f->b.transport,
                                    &(PilotSendBatch) { g_array_index (f->b.senders, PilotEndpoint, i), (const guint8 *) "pong", 4, 0 },
                                    1, &sent, NULL));
    ends_wait_received (f, &f->a, i + 1);
    ends_assert_received (&f->a, i, (const guint8 *) "pong", 4);
  }
}

/* A destination nobody is at is reported, and stops nothing else: not in the same batch, not later. */
static void
test_unreachable (Ends *f,
                  gconstpointer data)
{
  End gone = { 0 };
  PilotSendBatch items[4];
  const gboolean strict = f->candidate->strict;
  const gint64 deadline = g_get_monotonic_time () + (strict ? 20 : 3) * G_USEC_PER_SEC;

  end_start (&gone, f->candidate, f->candidate->settings);
  end_stop (&gone);
  for (guint i = 0; i < 4; i++)
    items[i] = (PilotSendBatch) { i % 2 == 0 ? gone.endpoint : f->b.endpoint, (const guint8 *) "data", 4, 0 };
  while (f->a.failed == 0 && g_get_monotonic_time () < deadline) {
    ends_send_all (f, items, 4);
    ends_turn (f, 10);
  }
  /* Not every network says so. */
  if (strict || f->a.failed > 0) {
    g_assert_true (pilot_endpoint_equal (&f->a.last_failed, &gone.endpoint));
    g_assert_cmpint (f->a.last_failure, >, 0);
  }
  if (strict)
    g_assert_cmpint (f->a.last_failure, ==, ECONNREFUSED);
  g_ptr_array_set_size (f->b.received, 0);
  for (guint i = 0; i < 20; i++) {
    const guint before = f->b.received->len;

    ends_send_all (f, items, 4);
    ends_wait_received (f, &f->b, before + 2);
  }
}

static void
test_no_endpoint (Ends *f,
                  gconstpointer data)
{
  const PilotSendBatch items[] = {
    { PILOT_ENDPOINT_INIT, (const guint8 *) "lost", 4, 0 },
    { f->b.endpoint, (const guint8 *) "here", 4, 0 },
  };

  ends_send_all (f, items, 2);
  ends_wait_received (f, &f->b, 1);
  ends_assert_received (&f->b, 0, (const guint8 *) "here", 4);
  g_assert_cmpuint (f->a.failed, ==, 1);
}

static void
test_disabled (Ends *f,
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
  if (f->candidate->relay != NULL)
    end_connect (&f->a);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "again", 5, 0 }, 1);
  ends_wait_received (f, &f->b, 1);
}

static void
test_no_receiver (Ends *f,
                  gconstpointer data)
{
  pilot_transport_set_receiver (f->b.transport, NULL, NULL, NULL);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
  g_assert_true (ends_turn (f, 5000));
  pilot_transport_set_receiver (f->b.transport, ends_receive, &f->b, NULL);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "here", 4, 0 }, 1);
  ends_wait_received (f, &f->b, 1);
  ends_assert_received (&f->b, 0, (const guint8 *) "here", 4);
}

static void
test_settings (Ends *f,
               gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (f->candidate->get_type (), f->candidate->name, NULL, host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

const CheckCase check_transport_cases[] = {
  { "describes", "its endpoints are formatted and parsed again to the same, rubbish is refused, the MTU is from 1200 to 65507",
    G_CALLBACK (test_describes) },
  { "nothing", "sending nothing is no error, and wakes nobody",
    G_CALLBACK (test_nothing) },
  { "one", "datagrams of 1 to 20000 bytes arrive whole, once and from the right endpoint; what was handed in is not changed",
    G_CALLBACK (test_one) },
  { "segments", "a buffer of many segments arrives as that many datagrams",
    G_CALLBACK (test_segments) },
  { "many", "of 300 datagrams none is lost that send said it took",
    G_CALLBACK (test_many) },
  { "both-ways", "the endpoint that a datagram came from can be answered",
    G_CALLBACK (test_both_ways) },
  { "unreachable", "a destination nobody is at stops nothing else, and the right one is reported if any (send-failed)",
    G_CALLBACK (test_unreachable), .not_of_relays = TRUE },
  { "no-endpoint", "no endpoint is taken and reported, and stops nothing else in the batch",
    G_CALLBACK (test_no_endpoint) },
  { "disabled", "a disabled one sends nothing (NOT_RUNNING), has no descriptor and no endpoints, and can be enabled again",
    G_CALLBACK (test_disabled) },
  { "no-receiver", "without a receiver what arrives is dropped",
    G_CALLBACK (test_no_receiver), .not_of_relays = TRUE },
  { "settings", "a key that it does not know is refused by enable (pilot_plugin_check_settings)",
    G_CALLBACK (test_settings) },
  { NULL }
};

void
check_add_transport (const CheckCandidate *candidate)
{
  for (const CheckCase *one = check_transport_cases; one->name != NULL; one++)
    if (candidate->relay == NULL || !one->not_of_relays)
      ends_add (candidate, one->name, (void (*) (Ends *, gconstpointer)) one->func);
}
