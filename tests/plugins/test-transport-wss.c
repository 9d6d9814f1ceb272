/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What transport-wss promises besides what every transport does. */
#include <string.h>

#include "daemon/plugin-check/transport-ends.h"
#include "pipe-beacon.h"
#include "transport-wss.h"

static const CheckCandidate relay = { .name = "transport-wss", .get_type = pilot_transport_wss_get_type, .relay = &pipe_beacon_relay };

/* More than may wait: "not now", then "writable", and nothing of it is lost or twice there. */
static void
test_full (Ends *f,
           gconstpointer data)
{
  enum { N = 40,
         LENGTH = 60000 };
  g_autofree guint8 *bytes = ends_pattern (LENGTH, 3);
  PilotSendBatch items[N];
  guint sent;

  for (guint i = 0; i < N; i++)
    items[i] = (PilotSendBatch) { f->b.endpoint, bytes, LENGTH, 1000 };
  g_assert_true (pilot_call_send (f->a.transport, items, N, &sent, NULL));
  g_assert_cmpuint (sent, >, 0);
  g_assert_cmpuint (sent, <, N);
  ends_send_all (f, items + sent, N - sent);
  ends_wait_received (f, &f->b, N * LENGTH / 1000);
  for (guint i = 0; i < N * LENGTH / 1000; i++)
    ends_assert_received (&f->b, i, bytes + i % 60 * 1000, 1000);
}

/* A connection that is cut is made again; what is sent meanwhile is lost without an error. */
static void
test_lost (Ends *f,
           gconstpointer data)
{
  pipe_beacon_drop_all (pipe_beacon);
  ends_wait_trouble (f->a.transport, TRUE);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
  g_assert_cmpuint (ends_get_stat (f->a.transport, "dropped"), ==, 1);
  ends_wait_trouble (f->a.transport, FALSE);
  ends_wait_trouble (f->b.transport, FALSE);
  g_assert_cmpuint (ends_get_stat (f->a.transport, "logins"), ==, 2);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "here", 4, 0 }, 1);
  ends_wait_received (f, &f->b, 1);
  ends_assert_received (&f->b, 0, (const guint8 *) "here", 4);
}

/* The beacon has said goodbye, and the connection is not gone yet: what is sent then is lost too, and no fault of anybody. */
static void
test_goodbye (Ends *f,
              gconstpointer data)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  pipe_beacon_close_all (pipe_beacon);
  while (pilot_transport_get_trouble (f->a.transport) == NULL) {
    ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, (const guint8 *) "lost", 4, 0 }, 1);
    ends_turn_context (100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_cmpuint (ends_get_stat (f->a.transport, "dropped"), >, 0);
  g_assert_nonnull (strstr (pilot_transport_get_trouble (f->a.transport), "1001 \"the server stops\""));
  /* Both come back. The server's library waits for ever when it is closed in the middle of a handshake with a client of its own thread. */
  while (ends_get_stat (f->a.transport, "logins") < 2 || ends_get_stat (f->b.transport, "logins") < 2) {
    ends_turn_context (100);
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
    ends_turn_context (100);
    if (g_get_monotonic_time () > deadline)
      g_error ("\"%s\" without \"%s\"", pilot_transport_get_trouble (transport), text);
  }
  g_assert_true (host_disable (transport, NULL));
}

/* Each way in which there is no connection says why. */
static void
test_trouble (Ends *f,
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
  const gchar *url = pipe_beacon_get_url (pipe_beacon);
  g_autofree gchar *good = pipe_beacon_relay.make_settings ();
  g_autofree gchar *zeros = g_strnfill (64, '0');
  g_autofree gchar *other = g_strdup_printf ("{'url': <'%s'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}", url, zeros);
  g_autofree gchar *system = g_strdup_printf ("{'url': <'%s'>}", url);
  g_autofree gchar *path = g_strdup_printf ("{'url': <'%.*s/nothing'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}",
                                            (gint) (strlen (url) - strlen ("/v1/compat")), url, pipe_beacon_get_fingerprint (pipe_beacon));

  expect_trouble (other, "its certificate is not the pinned one");
  expect_trouble (system, "its certificate is not one the system trusts");
  expect_trouble (path, "it answers 404");
  expect_trouble ("{'url': <'wss://127.0.0.1:9/v1/compat'>}", "onnect");
  for (guint i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    pipe_beacon_set_greeting (pipe_beacon, rubbish[i]);
    expect_trouble (good, "is no beacon");
  }
  pipe_beacon_set_greeting (pipe_beacon, NULL);
  pipe_beacon_set_refuse (pipe_beacon, TRUE);
  expect_trouble (good, "1008 \"auth failed\"");
}

/* A challenge without a time, and a change of mind in every state. */
static void
test_restless (Ends *f,
               gconstpointer data)
{
  pipe_beacon_set_old (pipe_beacon, TRUE);
  for (guint i = 0; i < 60; i++) {
    pilot_transport_reconnect (f->a.transport);
    for (guint k = 0; k < i; k++)
      ends_turn_context (1);
  }
  g_assert_true (host_disable (f->a.transport, NULL));
  ends_turn_context (10);
  g_assert_true (host_enable (f->a.transport, NULL));
  end_connect (&f->a);
}

static void
test_settings (void)
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

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  ends_add (&relay, "full", test_full);
  ends_add (&relay, "lost", test_lost);
  ends_add (&relay, "goodbye", test_goodbye);
  ends_add (&relay, "trouble", test_trouble);
  ends_add (&relay, "restless", test_restless);
  g_test_add_func ("/transport-wss/bad-settings", test_settings);
  return g_test_run ();
}
