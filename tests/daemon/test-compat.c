/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UDP or compat mode: what is configured, which proxy, and what "auto" makes of what it finds (beacon-and-nat.md section 8). */
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>

#include "daemon/core/config.h"
#include "daemon/core/proxy.h"
#include "daemon/core/transport-choice.h"
#include "libpilot/pilot-error.h"
#include "rendezvous/tls.h"

static const char *const environment[] = {
  "PILOT_TRANSPORT",
  "PILOT_TRANSPORT_DEFAULT",
  "PILOT_PROXY",
  "PILOT_PROXY_CMD",
  "HTTPS_PROXY",
  "https_proxy",
  "ALL_PROXY",
  "all_proxy",
  "NO_PROXY",
  "no_proxy",
};
static guint warnings;

/* Warnings are part of what is tested here, and would end the test. */
static GLogWriterOutput
count_warnings (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  warnings += (level & G_LOG_LEVEL_MASK) == G_LOG_LEVEL_WARNING;
  g_assert_false (level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR));
  return G_LOG_WRITER_HANDLED;
}

static void
clear_environment (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (environment); i++)
    g_unsetenv (environment[i]);
}

/* "KEY=VALUE" flags. */
static PilotConfig *
make_config (const char *const *flags)
{
  PilotConfig *config = pilot_config_new ();

  for (guint i = 0; flags != NULL && flags[i] != NULL; i++) {
    g_auto (GStrv) parts = g_strsplit (flags[i], "=", 2);

    pilot_config_set_flag (config, parts[0], parts[1]);
  }
  return config;
}

/* --- settings --- */

static void
test_precedence (void)
{
  g_autofree char *folder = g_dir_make_tmp ("pilot-compat-XXXXXX", NULL);
  g_autofree char *file = g_build_filename (folder, "config.json", NULL);
  g_autoptr (PilotConfig) config = make_config (NULL);

  g_assert_true (g_file_set_contents_full (file, "{\"transport\":\"compat\"}", -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "udp");
  g_assert_false (pilot_config_is_set (config, "transport"));
  g_setenv ("PILOT_TRANSPORT_DEFAULT", "auto", TRUE);
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "auto");
  g_assert_false (pilot_config_is_set (config, "transport"));
  g_assert_true (pilot_config_load (config, file, NULL));
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "compat");
  g_setenv ("PILOT_TRANSPORT", "auto", TRUE);
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "auto");
  pilot_config_set_flag (config, "transport", "udp");
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "udp");
  /* An environment that makes no sense does not count, and is told of. */
  pilot_config_set_flag (config, "transport", NULL);
  warnings = 0;
  g_setenv ("PILOT_TRANSPORT", "carrier pigeon", TRUE);
  g_assert_cmpstr (pilot_config_get (config, "transport"), ==, "compat");
  g_assert_cmpuint (warnings, ==, 1);
  g_unlink (file);
  g_rmdir (folder);
  clear_environment ();
}

/* Either transport, never both; and the one of compat mode knows where to go. */
static void
test_plugins (void)
{
  const char *const flags[] = { "compat-beacon=wss://beacon.example:8443/v1/compat", "registry-fingerprint=abc", "proxy=http://u:p@proxy.example:1", NULL };
  g_autoptr (PilotConfig) config = make_config (flags);
  g_autoptr (GVariant) settings = g_variant_ref_sink (pilot_config_get_plugin_settings (config, "transport-wss"));
  g_autofree char *address = pilot_config_get_compat_address (config);
  const char *value;

  g_assert_cmpstr (pilot_config_get_plugin_mode (config, "transport-udp"), ==, "required");
  g_assert_cmpstr (pilot_config_get_plugin_mode (config, "transport-wss"), ==, "disabled");
  pilot_config_set_compat (config, TRUE);
  g_assert_cmpstr (pilot_config_get_plugin_mode (config, "transport-udp"), ==, "disabled");
  g_assert_cmpstr (pilot_config_get_plugin_mode (config, "transport-wss"), ==, "required");
  g_assert_cmpstr (address, ==, "beacon.example:8443");
  g_assert_true (g_variant_lookup (settings, "url", "&s", &value));
  g_assert_cmpstr (value, ==, "wss://beacon.example:8443/v1/compat");
  g_assert_true (g_variant_lookup (settings, "trust", "&s", &value));
  g_assert_cmpstr (value, ==, "pinned"); /* there is something to pin */
  g_assert_true (g_variant_lookup (settings, "proxy", "&s", &value));
  g_assert_cmpstr (value, ==, "http://u:p@proxy.example:1");
  pilot_config_set_flag (config, "registry-fingerprint", NULL);
  g_assert_cmpstr (pilot_config_get_compat_trust (config), ==, "system");
  pilot_config_set_flag (config, "registry-trust", "pinned");
  g_assert_cmpstr (pilot_config_get_compat_trust (config), ==, "pinned");
  pilot_config_set_flag (config, "tls-trust", "system");
  g_assert_cmpstr (pilot_config_get_compat_trust (config), ==, "system");
  pilot_config_set_flag (config, "compat-beacon", "wss://[2001:db8::1]/v1/compat");
  g_free (address);
  address = pilot_config_get_compat_address (config);
  g_assert_cmpstr (address, ==, "[2001:db8::1]:443");
}

static void
expect_proxy (PilotConfig *config, const char *host, gboolean compat, const char *expected)
{
  g_autofree char *proxy = NULL;
  const char *command = "none";

  g_test_message ("%s", host);
  g_assert_cmpint (pilot_proxy_find (config, host, compat, &proxy, &command), ==, expected != NULL);
  g_assert_cmpstr (proxy, ==, expected);
  g_assert_null (command);
}

/* The command stands in for the URL, wherever there would be a proxy. */
static void
expect_command (PilotConfig *config, const char *host, gboolean compat, gboolean expected)
{
  g_autofree char *proxy = NULL;
  const char *command;

  g_test_message ("command: %s", host);
  g_assert_cmpint (pilot_proxy_find (config, host, compat, &proxy, &command), ==, expected);
  g_assert_cmpstr (command, ==, expected ? "cat url" : NULL);
}

/* A port behind an entry of NO_PROXY is the only one meant; an IPv6 address has brackets then. */
static void
test_exempted_ports (PilotConfig *config)
{
  g_setenv ("NO_PROXY", "example.org:443,10.0.0.7:8443,[2001:db8::1]:443,[2001:db8::2],2001:db8::3,*:9443,example.net:https", TRUE);
  expect_proxy (config, "example.org:443", TRUE, NULL);
  expect_proxy (config, "below.example.org:443", TRUE, NULL);
  expect_proxy (config, "example.org:9000", TRUE, "http://first:2");
  expect_proxy (config, "10.0.0.7:8443", TRUE, NULL);
  expect_proxy (config, "10.0.0.7:443", TRUE, "http://first:2");
  expect_proxy (config, "[2001:db8::1]:443", TRUE, NULL);
  expect_proxy (config, "[2001:db8::1]:444", TRUE, "http://first:2");
  expect_proxy (config, "[2001:db8::2]:444", TRUE, NULL);
  expect_proxy (config, "[2001:db8::3]:444", TRUE, NULL);
  expect_proxy (config, "host.example:9443", TRUE, NULL);
  expect_proxy (config, "host.example:443", TRUE, "http://first:2");
  expect_proxy (config, "example.net:443", TRUE, "http://first:2");
}

static void
test_proxy (void)
{
  g_autoptr (PilotConfig) config = make_config (NULL);
  static const char *const good[] = { "auto", "off", "http://proxy:3128", "http://user:pass@proxy:3128", "http://user:p%40ss@[2001:db8::1]:80",
                                      "https://proxy", "socks5://user:pass@proxy" };
  static const char *const bad[] = { "", "on", "proxy:3128", "ftp://proxy", "socks4://secret@proxy", "http://", "http:///x" };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    pilot_config_set_flag (config, "proxy", good[i]);
    g_assert_true (pilot_proxy_check (config, NULL));
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    pilot_config_set_flag (config, "proxy", bad[i]);
    g_assert_false (pilot_proxy_check (config, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_assert_null (strstr (error->message, "secret"));
  }

  pilot_config_set_flag (config, "proxy", NULL);
  expect_proxy (config, "host.example", TRUE, NULL);
  g_setenv ("all_proxy", "http://last:1", TRUE);
  expect_proxy (config, "host.example", TRUE, "http://last:1");
  g_setenv ("HTTPS_PROXY", "first:2", TRUE);
  expect_proxy (config, "host.example", TRUE, "http://first:2");
  expect_proxy (config, "host.example", FALSE, NULL); /* UDP nodes have to be told by name */
  expect_proxy (config, "localhost", TRUE, NULL);
  expect_proxy (config, "127.8.0.1", TRUE, NULL);
  expect_proxy (config, "::1", TRUE, NULL);
  g_setenv ("NO_PROXY", "example.org, .example.net,*.example.com,10.0.0.0/8,192.0.2.7", TRUE);
  expect_proxy (config, "example.org", TRUE, NULL);
  expect_proxy (config, "a.Example.ORG", TRUE, NULL);
  expect_proxy (config, "b.example.net", TRUE, NULL);
  expect_proxy (config, "c.example.com", TRUE, NULL);
  expect_proxy (config, "notexample.org", TRUE, "http://first:2");
  expect_proxy (config, "10.1.2.3", TRUE, NULL);
  expect_proxy (config, "192.0.2.7", TRUE, NULL);
  expect_proxy (config, "192.0.2.8", TRUE, "http://first:2");
  test_exempted_ports (config);
  g_setenv ("NO_PROXY", "*", TRUE);
  expect_proxy (config, "192.0.2.8", TRUE, NULL);
  /* One that is named is for everything but this machine. */
  pilot_config_set_flag (config, "proxy", "http://named:3");
  expect_proxy (config, "example.org", FALSE, "http://named:3");
  expect_proxy (config, "localhost", FALSE, NULL);
  pilot_config_set_flag (config, "proxy", "off");
  expect_proxy (config, "192.0.2.8", TRUE, NULL);
  g_unsetenv ("NO_PROXY");
  g_setenv ("HTTPS_PROXY", "socks4://proxy:4", TRUE);
  pilot_config_set_flag (config, "proxy", NULL);
  warnings = 0;
  expect_proxy (config, "192.0.2.8", TRUE, NULL);
  g_assert_cmpuint (warnings, ==, 1);
  g_setenv ("HTTPS_PROXY", "socks5h://proxy:4", TRUE);
  expect_proxy (config, "192.0.2.8", TRUE, "socks5h://proxy:4");

  clear_environment ();
  g_setenv ("PILOT_PROXY_CMD", "cat url", TRUE);
  g_setenv ("NO_PROXY", "example.org", TRUE);
  expect_command (config, "host.example", TRUE, TRUE);
  expect_command (config, "host.example", FALSE, FALSE);
  expect_command (config, "example.org", TRUE, FALSE);
  expect_command (config, "localhost", TRUE, FALSE);
  pilot_config_set_flag (config, "proxy", "http://named:3");
  expect_command (config, "example.org", FALSE, TRUE);
  pilot_config_set_flag (config, "proxy", "off");
  expect_command (config, "host.example", TRUE, FALSE);
  pilot_config_set_flag (config, "proxy", NULL);
  g_setenv ("PILOT_PROXY_CMD", "", TRUE);
  expect_proxy (config, "host.example", TRUE, NULL);
  clear_environment ();
}

static void
test_redact (void)
{
  static const char *const cases[][2] = {
    { "http://proxy:1", "http://proxy:1" },
    { "http://user:pass@proxy:1", "http://***@proxy:1" },
    { "http://us@er:p@ss@proxy:1", "http://***@proxy:1" },
    { "user:pass@proxy", "***@proxy" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *shown = pilot_proxy_redact (cases[i][0]);

    g_assert_cmpstr (shown, ==, cases[i][1]);
  }
}

/* --- auto --- */

/* A beacon's socket that answers every datagram with this. */
typedef struct {
  GSocket *socket;
  GSource *source;
  GBytes *reply;
  char *address;
} Responder;

static gboolean
on_datagram (GSocket *socket, GIOCondition condition, gpointer user_data)
{
  Responder *responder = user_data;
  g_autoptr (GSocketAddress) from = NULL;
  char data[64];
  gssize length = g_socket_receive_from (socket, &from, data, sizeof data, NULL, NULL);

  g_assert_cmpmem (data, length, "\1\0\0\0\0", 5);
  if (responder->reply != NULL)
    g_socket_send_to (socket, from, g_bytes_get_data (responder->reply, NULL), g_bytes_get_size (responder->reply), NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static void
responder_start (Responder *responder, const char *reply, gsize length)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);
  g_autoptr (GSocketAddress) bound = NULL;

  responder->socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_assert_true (g_socket_bind (responder->socket, any, FALSE, NULL));
  bound = g_socket_get_local_address (responder->socket, NULL);
  responder->address = g_strdup_printf ("127.0.0.1:%u", g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound)));
  responder->reply = reply != NULL ? g_bytes_new (reply, length) : NULL;
  responder->source = g_socket_create_source (responder->socket, G_IO_IN, NULL);
  g_source_set_callback (responder->source, G_SOURCE_FUNC (on_datagram), responder, NULL);
  g_source_attach (responder->source, NULL);
}

static void
responder_stop (Responder *responder)
{
  g_source_destroy (responder->source);
  g_source_unref (responder->source);
  g_object_unref (responder->socket);
  g_clear_pointer (&responder->reply, g_bytes_unref);
  g_free (responder->address);
}

static void
on_request (SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query, gpointer user_data)
{
  g_assert_cmpstr (soup_message_headers_get_one (soup_server_message_get_request_headers (message), "User-Agent"), ==, "pilot-daemon/transport-auto");
  soup_server_message_set_status (message, GPOINTER_TO_UINT (user_data), NULL);
}

/* Over TLS, with a certificate nobody knows: /426 and /502 answer that. */
static SoupServer *
https_start (guint *port)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("pilot-compat-XXXXXX", &error);
  g_autofree char *crt = g_build_filename (folder, "cert.pem", NULL);
  g_autofree char *key = g_build_filename (folder, "key.pem", NULL);
  g_autoptr (GTlsCertificate) certificate = NULL;
  SoupServer *server;
  GSList *uris;

  g_assert_true (pilot_tls_generate (crt, key, &error));
  certificate = g_tls_certificate_new_from_files (crt, key, &error);
  g_assert_no_error (error);
  g_unlink (crt);
  g_unlink (key);
  g_rmdir (folder);
  server = g_object_new (SOUP_TYPE_SERVER, "tls-certificate", certificate, NULL);
  soup_server_add_handler (server, "/426", on_request, GUINT_TO_POINTER (426), NULL);
  soup_server_add_handler (server, "/502", on_request, GUINT_TO_POINTER (502), NULL);
  soup_server_listen_local (server, 0, SOUP_SERVER_LISTEN_HTTPS | SOUP_SERVER_LISTEN_IPV4_ONLY, &error);
  g_assert_no_error (error);
  uris = soup_server_get_uris (server);
  *port = (guint) g_uri_get_port (uris->data);
  g_slist_free_full (uris, (GDestroyNotify) g_uri_unref);
  return server;
}

/* A proxy that wants credentials it never gets. */
static gboolean
on_proxy_client (GSocketService *service, GSocketConnection *connection, GObject *source, gpointer user_data)
{
  static const char reply[] = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";

  g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (connection)), reply, strlen (reply), NULL, NULL, NULL);
  return FALSE;
}

typedef struct {
  const char *what;
  const char *beacon;
  char *compat_beacon;
  const char *more; /* another flag */
  gboolean compat;

  PilotConfig *config;
  gboolean done, ok;
} Case;

static void
on_chosen (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Case *c = user_data;

  c->ok = pilot_transport_choose_finish (PILOT_CONFIG (source), result, NULL);
  c->done = TRUE;
}

static void
run_case (Case *c)
{
  c->config = make_config (NULL);
  pilot_config_set_flag (c->config, "transport", "auto");
  if (c->beacon != NULL)
    pilot_config_set_flag (c->config, "beacon", c->beacon);
  if (c->compat_beacon != NULL)
    pilot_config_set_flag (c->config, "compat_beacon", c->compat_beacon);
  if (c->more != NULL) {
    g_auto (GStrv) parts = g_strsplit (c->more, "=", 2);

    pilot_config_set_flag (c->config, parts[0], parts[1]);
  }
  pilot_transport_choose_async (c->config, NULL, on_chosen, c);
}

/* All of them at one time: each waits 1.5 s for a beacon that says nothing. */
static void
test_auto (void)
{
  Responder beacon = { 0 }, mute = { 0 }, rubbish = { 0 };
  g_autoptr (GSocketService) proxy = g_socket_service_new ();
  guint16 proxy_port = g_socket_listener_add_any_inet_port (G_SOCKET_LISTENER (proxy), NULL, NULL);
  g_autofree char *proxy_flag = g_strdup_printf ("proxy=http://user:pass@127.0.0.1:%u", proxy_port);
  guint port;
  g_autoptr (SoupServer) https = https_start (&port);
  gint64 deadline = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;

  g_signal_connect (proxy, "incoming", G_CALLBACK (on_proxy_client), NULL);
  responder_start (&beacon, "\x02\x04\x7f\0\0\1\x10\x00", 8);
  responder_start (&mute, NULL, 0);
  responder_start (&rubbish, "\x04\x04\x7f\0\0\1\x10\x00", 8);
  {
    Case cases[] = {
      { "the beacon answers", beacon.address, g_strdup_printf ("wss://127.0.0.1:%u/426", port), NULL, FALSE },
      { "silence, and 426", mute.address, g_strdup_printf ("wss://127.0.0.1:%u/426", port), NULL, TRUE },
      { "silence, and 502", mute.address, g_strdup_printf ("wss://127.0.0.1:%u/502", port), NULL, FALSE },
      { "silence, and 404", mute.address, g_strdup_printf ("wss://127.0.0.1:%u/404", port), NULL, FALSE },
      { "silence, and nobody there", mute.address, g_strdup ("wss://127.0.0.1:9/426"), NULL, FALSE },
      { "silence, and a proxy that says 407", mute.address, g_strdup ("wss://beacon.example/v1/compat"), proxy_flag, TRUE },
      { "another message is no answer", rubbish.address, g_strdup_printf ("wss://127.0.0.1:%u/426", port), NULL, TRUE },
      { "no beacon, and 426", NULL, g_strdup_printf ("wss://127.0.0.1:%u/426", port), NULL, TRUE },
      { "a beacon whose name cannot be found, and 426", "no-such-host.invalid:9001", g_strdup_printf ("wss://127.0.0.1:%u/426", port), NULL, TRUE },
      { "no compat beacon", mute.address, NULL, NULL, FALSE },
      { "a registry without TLS, by wish", mute.address, g_strdup_printf ("wss://127.0.0.1:%u/426", port), "registry-tls=false", FALSE },
    };

    for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
      run_case (&cases[i]);
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
      Case *c = &cases[i];

      g_test_message ("%s", c->what);
      while (!c->done) {
        g_main_context_iteration (NULL, TRUE);
        g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      }
      g_assert_true (c->ok);
      g_assert_cmpint (pilot_config_is_compat (c->config), ==, c->compat);
      g_object_unref (c->config);
      g_free (c->compat_beacon);
    }
  }
  responder_stop (&beacon);
  responder_stop (&mute);
  responder_stop (&rubbish);
}

static void
on_not_chosen (GObject *source, GAsyncResult *result, gpointer user_data)
{
  pilot_transport_choose_finish (PILOT_CONFIG (source), result, user_data);
}

static gboolean
cancel (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

/* A stop does not wait for a beacon that says nothing: neither at once, nor while it is being asked, nor while the compat beacon is. */
static void
test_cancelled (void)
{
  static const guint after[] = { 0, 300, 1700 };
  Responder mute = { 0 };

  responder_start (&mute, NULL, 0);
  for (guint i = 0; i < G_N_ELEMENTS (after); i++) {
    g_autoptr (PilotConfig) config = make_config (NULL);
    g_autoptr (GSocketListener) silent = g_socket_listener_new (); /* the kernel answers, and nobody else */
    g_autofree char *url = g_strdup_printf ("wss://127.0.0.1:%u/426", g_socket_listener_add_any_inet_port (silent, NULL, NULL));
    g_autoptr (GCancellable) cancellable = g_cancellable_new ();
    g_autoptr (GError) error = NULL;

    pilot_config_set_flag (config, "transport", "auto");
    pilot_config_set_flag (config, "beacon", mute.address);
    pilot_config_set_flag (config, "compat_beacon", url);
    pilot_transport_choose_async (config, cancellable, on_not_chosen, &error);
    g_timeout_add (after[i], cancel, cancellable);
    while (error == NULL)
      g_main_context_iteration (NULL, TRUE);
    g_assert_true (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CANCELLED) || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    while (g_main_context_iteration (NULL, FALSE))
      ;
  }
  responder_stop (&mute);
}

static void
expect_invalid (const char *const *flags, const char *text)
{
  g_autoptr (PilotConfig) config = make_config (flags);
  Case c = { .what = text, .done = FALSE };

  pilot_transport_choose_async (config, NULL, on_chosen, &c);
  while (!c.done)
    g_main_context_iteration (NULL, TRUE);
  g_test_message ("%s", text);
  g_assert_false (c.ok);
}

static void
test_invalid (void)
{
  const char *const cases[][4] = {
    { "transport=tcp", NULL },
    { "transport=compat", NULL },
    { "transport=compat", "compat-beacon=https://x/", NULL },
    { "transport=compat", "compat-beacon=wss://", NULL },
    { "transport=auto", "compat-beacon=rubbish", NULL },
    { "transport=udp", "tls-trust=no", NULL },
    { "transport=udp", "proxy=x", NULL },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    expect_invalid (cases[i], cases[i][0]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  clear_environment ();
  g_log_set_writer_func (count_warnings, NULL, NULL);
  g_test_add_func ("/daemon/compat/precedence", test_precedence);
  g_test_add_func ("/daemon/compat/plugins", test_plugins);
  g_test_add_func ("/daemon/compat/proxy", test_proxy);
  g_test_add_func ("/daemon/compat/redact", test_redact);
  g_test_add_func ("/daemon/compat/auto", test_auto);
  g_test_add_func ("/daemon/compat/cancelled", test_cancelled);
  g_test_add_func ("/daemon/compat/invalid", test_invalid);
  return g_test_run ();
}
