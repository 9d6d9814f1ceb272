/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registry and beacon through proxies: HTTP CONNECT, the same over TLS, SOCKS 5; credentials that a command renews (beacon-and-nat.md section 8.3). */

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/node/registry-client.h"
#include "fake-proxy.h"
#include "daemon/plugin-check/host.h"
#include "libpilot/pilot-error.h"
#include "pipe-beacon.h"
#include "protocol/json.h"
#include "protocol/registry-message.h"
#include "rendezvous/tls.h"
#include "transport-wss.h"

#define SECONDS 60
#define REGISTRY "registry.example"
#define ANSWER "{\"type\":\"lookup_ok\",\"node_id\":7}"

typedef struct {
  gchar *folder;
  GTlsCertificate *certificate;
  FakeProxy *plain, *tls;
  GSocketService *registry;
  guint16 registry_port;
  guint n_registry; /* connections */
  gboolean done;
  gchar *outcome; /* the answer's type, or the error */
} Fixture;

/* --- a registry with one answer --- */

typedef struct {
  GIOStream *stream;
  guint8 buffer[1024];
} Peer;

static void
on_read (GObject *source,
         GAsyncResult *result,
         gpointer user_data)
{
  Peer *peer = user_data;

  if (g_input_stream_read_finish (G_INPUT_STREAM (source), result, NULL) > 0) {
    g_autoptr (GBytes) frame = pilot_registry_frame_text (ANSWER);

    g_output_stream_write_all (g_io_stream_get_output_stream (peer->stream), g_bytes_get_data (frame, NULL), g_bytes_get_size (frame), NULL, NULL, NULL);
    g_input_stream_read_async (G_INPUT_STREAM (source), peer->buffer, sizeof peer->buffer, G_PRIORITY_DEFAULT, NULL, on_read, peer);
    return;
  }
  g_object_unref (peer->stream);
  g_free (peer);
}

static gboolean
on_incoming (GSocketService *service,
             GSocketConnection *connection,
             GObject *source,
             gpointer user_data)
{
  Fixture *f = user_data;
  Peer *peer = g_new0 (Peer, 1);

  f->n_registry++;
  peer->stream = G_IO_STREAM (g_object_ref (connection));
  g_input_stream_read_async (g_io_stream_get_input_stream (peer->stream), peer->buffer, sizeof peer->buffer, G_PRIORITY_DEFAULT, NULL, on_read, peer);
  return TRUE;
}

/* --- the fixture --- */

static gchar *
path_of (Fixture *f,
         const gchar *name)
{
  return g_build_filename (f->folder, name, NULL);
}

static void
write_file (Fixture *f,
            const gchar *name,
            const gchar *text)
{
  g_autofree gchar *path = path_of (f, name);

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

static void
set_up (Fixture *f,
        gconstpointer data)
{
  g_autofree gchar *crt = NULL;
  g_autofree gchar *key = NULL;
  g_autoptr (GTlsDatabase) trusted = NULL;
  g_autoptr (GError) error = NULL;

  f->folder = g_dir_make_tmp ("pilot-proxy-XXXXXX", &error);
  crt = path_of (f, "cert.pem");
  key = path_of (f, "key.pem");
  g_assert_true (pilot_tls_generate (crt, key, &error)); /* for "localhost" */
  f->certificate = g_tls_certificate_new_from_files (crt, key, &error);
  g_assert_no_error (error);
  trusted = g_tls_file_database_new (crt, &error);
  g_assert_no_error (error);
  g_tls_backend_set_default_database (g_tls_backend_get_default (), trusted);
  f->plain = fake_proxy_new (NULL);
  f->tls = fake_proxy_new (f->certificate);
  fake_proxy_set_password (f->plain, "s3cret!");
  fake_proxy_set_password (f->tls, "s3cret!");
  f->registry = g_socket_service_new ();
  f->registry_port = g_socket_listener_add_any_inet_port (G_SOCKET_LISTENER (f->registry), NULL, NULL);
  g_signal_connect (f->registry, "incoming", G_CALLBACK (on_incoming), f);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  static const gchar *const files[] = { "cert.pem", "key.pem", "old", "new", "asked" };

  fake_proxy_free (f->plain);
  fake_proxy_free (f->tls);
  g_socket_service_stop (f->registry);
  g_socket_listener_close (G_SOCKET_LISTENER (f->registry));
  g_object_unref (f->registry);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree gchar *path = path_of (f, files[i]);

    g_unlink (path);
  }
  g_rmdir (f->folder);
  g_tls_backend_set_default_database (g_tls_backend_get_default (), NULL);
  g_object_unref (f->certificate);
  g_free (f->folder);
  g_free (f->outcome);
}

/* A command that prints the proxy with the password "old" first, and with the right one from then on. */
static gchar *
make_command (Fixture *f)
{
  g_autofree gchar *old = g_strdup_printf ("http://user:old@localhost:%u\n", fake_proxy_get_port (f->plain));
  g_autofree gchar *new = g_strdup_printf ("http://user:s3cret%%21@localhost:%u\n", fake_proxy_get_port (f->plain));

  write_file (f, "old", old);
  write_file (f, "new", new);
  return g_strdup_printf ("cd '%s' && if [ -e asked ]; then cat new; else : >asked; cat old; fi; echo s3cret >&2", f->folder);
}

/* --- the registry --- */

static void
on_result (GObject *source,
           GAsyncResult *result,
           gpointer user_data)
{
  Fixture *f = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  g_free (f->outcome);
  f->outcome = g_strdup (answer != NULL ? pilot_json_get_string (answer, "type") : error->message);
  f->done = TRUE;
}

/* What comes of a lookup through that proxy; none of it tells a password. */
static const gchar *
ask (Fixture *f,
     const gchar *url,
     const gchar *command)
{
  g_autofree gchar *address = g_strdup_printf (REGISTRY ":%u", f->registry_port);
  g_autoptr (PilotProxyResolver) proxy = pilot_proxy_resolver_new (url, command);
  PilotRegistryClient *client = pilot_registry_client_new (address, PILOT_REGISTRY_TLS_NONE, NULL, NULL);
  gint64 deadline = g_get_monotonic_time () + SECONDS * G_USEC_PER_SEC;

  f->done = FALSE;
  pilot_registry_client_set_proxy (client, proxy);
  pilot_registry_client_call_async (client, pilot_registry_request_lookup (7), "lookup", NULL, on_result, f);
  while (!f->done) {
    g_main_context_iteration (NULL, TRUE);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  pilot_registry_client_close (client);
  g_object_unref (client);
  g_assert_null (strstr (f->outcome, "s3cret"));
  g_assert_null (strstr (f->outcome, "secret of the proxy"));
  return f->outcome;
}

static void
expect_log (Fixture *f,
            FakeProxy *proxy,
            const gchar *pattern)
{
  g_autofree gchar *log = fake_proxy_take_log (proxy);
  g_autofree gchar *target = g_strdup_printf (REGISTRY ":%u", f->registry_port);
  g_auto (GStrv) parts = g_strsplit (pattern, "@", -1);
  g_autofree gchar *expected = g_strjoinv (target, parts);

  g_assert_cmpstr (log, ==, expected);
}

static void
test_kinds (Fixture *f,
            gconstpointer data)
{
  guint plain = fake_proxy_get_port (f->plain), tls = fake_proxy_get_port (f->tls);
  g_autofree gchar *http = g_strdup_printf ("http://user:s3cret%%21@localhost:%u", plain);
  g_autofree gchar *https = g_strdup_printf ("https://user:s3cret%%21@localhost:%u", tls);
  g_autofree gchar *socks = g_strdup_printf ("socks5://user:s3cret%%21@localhost:%u", plain);
  g_autofree gchar *socks_wrong = g_strdup_printf ("socks5h://user:old@localhost:%u", plain);
  g_autofree gchar *other_name = g_strdup_printf ("https://user:s3cret%%21@127.0.0.1:%u", tls);
  g_autofree gchar *no_tls = g_strdup_printf ("https://user:s3cret%%21@localhost:%u", f->registry_port);

  g_assert_cmpstr (ask (f, http, NULL), ==, "lookup_ok");
  expect_log (f, f->plain, "200:@");
  g_assert_cmpstr (ask (f, https, NULL), ==, "lookup_ok");
  expect_log (f, f->tls, "200:@");
  g_assert_cmpstr (ask (f, socks, NULL), ==, "lookup_ok");
  expect_log (f, f->plain, "200:@");
  g_assert_cmpuint (f->n_registry, ==, 3);
  /* The name in the URL is what the certificate must have. */
  g_assert_nonnull (strstr (ask (f, other_name, NULL), "the proxy's certificate is not one this system trusts for its name"));
  expect_log (f, f->tls, "");
  g_assert_nonnull (strstr (ask (f, no_tls, NULL), "no TLS with the proxy"));
  g_assert_null (strstr (ask (f, socks_wrong, NULL), "lookup_ok"));
  expect_log (f, f->plain, "407:?");
}

/* Rejected credentials: the command is asked for others, once, and a new connection made with them. */
static void
test_command (Fixture *f,
              gconstpointer data)
{
  g_autofree gchar *command = make_command (f);
  static const gchar *const unparsable[] = { "rubbish\r\n\r\n", "HTTP/1.1 407 no\r\n\r\n" };

  g_assert_cmpstr (ask (f, "http://localhost:1", command), ==, "lookup_ok"); /* what it prints goes before the URL */
  expect_log (f, f->plain, "407:@ 200:@");
  /* Never more than twice. */
  fake_proxy_set_password (f->plain, "another");
  g_assert_cmpstr (ask (f, NULL, command), !=, "lookup_ok");
  expect_log (f, f->plain, "407:@ 407:@");
  for (guint i = 0; i < G_N_ELEMENTS (unparsable); i++) {
    fake_proxy_set_answer (f->plain, unparsable[i]);
    g_assert_cmpstr (ask (f, NULL, command), !=, "lookup_ok");
    expect_log (f, f->plain, "0:@ 0:@");
  }
  g_assert_cmpuint (f->n_registry, ==, 1);
}

/* Without a command there is nobody to ask, and nothing goes past the proxy. */
static void
test_refused (Fixture *f,
              gconstpointer data)
{
  g_autofree gchar *wrong = g_strdup_printf ("http://user:old@localhost:%u", fake_proxy_get_port (f->plain));
  static const struct {
    const gchar *command, *says;
  } cases[] = {
    { "echo s3cret; echo s3cret >&2; exit 3", "the proxy command failed: Child process exited with code 3" },
    { "kill -9 $$", "the proxy command failed: Child process killed by signal 9" },
    { ":", "the proxy command does not print the URL of a proxy" },
    { "echo user:s3cret@proxy", "the proxy command does not print the URL of a proxy" },
    { "yes http://s3cret@proxy:1", "the proxy command does not print the URL of a proxy" },
  };

  g_assert_nonnull (strstr (ask (f, wrong, NULL), "proxy"));
  expect_log (f, f->plain, "407:@");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_nonnull (strstr (ask (f, wrong, cases[i].command), cases[i].says));
  expect_log (f, f->plain, "");
  g_assert_cmpuint (f->n_registry, ==, 0);
}

static void
on_lookup (GObject *source,
           GAsyncResult *result,
           gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

/* A FIFO that has somebody writing to it as long as anybody of those is there whom the command has started. */
static gint
open_fifo (const gchar *path)
{
  gint fd;

  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  fd = g_open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

/* The loop runs until there is something to read, or (0) everybody who could write has gone. */
static gssize
read_fifo (gint fd,
           gint64 deadline)
{
  gchar byte;
  gssize n;

  while ((n = read (fd, &byte, 1)) < 0) {
    g_assert_cmpint (errno, ==, EAGAIN);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_main_context_iteration (NULL, FALSE);
    g_usleep (1000);
  }
  return n;
}

/* A command that does not end is ended, and what it has started with it, when its time is over and when nobody wants to know any more. */
static void
test_ended_command (gconstpointer data)
{
  gboolean cancel = GPOINTER_TO_INT (data);
  g_autofree gchar *folder = g_dir_make_tmp ("pilot-proxy-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "alive", NULL);
  g_autofree gchar *command = g_strdup_printf ("exec 3>'%s'; sleep 1000 & echo >&3; wait", path);
  g_autoptr (PilotProxyResolver) proxy = pilot_proxy_resolver_new (NULL, command);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  gint64 deadline = g_get_monotonic_time () + SECONDS * G_USEC_PER_SEC;
  gint fd = open_fifo (path);

  g_proxy_resolver_lookup_async (G_PROXY_RESOLVER (proxy), "none://registry.example", cancellable, on_lookup, &result);
  /* Before anybody has opened it for writing it reads as ended. */
  while (read_fifo (fd, deadline) == 0) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_main_context_iteration (NULL, FALSE);
  }
  if (cancel)
    g_cancellable_cancel (cancellable);
  while (result == NULL) {
    g_main_context_iteration (NULL, TRUE);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  g_assert_null (g_proxy_resolver_lookup_finish (G_PROXY_RESOLVER (proxy), result, &error));
  if (cancel)
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  else
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT);
  g_assert_cmpint (read_fifo (fd, deadline), ==, 0);
  close (fd);
  g_unlink (path);
  g_rmdir (folder);
}

/* --- the beacon --- */

/* The transport's trouble when it is over, or has the text. */
static void
expect_beacon (const gchar *url,
               const gchar *proxy,
               const gchar *command,
               const gchar *fingerprint,
               const gchar *trouble)
{
  g_autoptr (GVariant) settings = g_variant_ref_sink (
      g_variant_new_parsed ("{'url': <%s>, 'trust': <'pinned'>, 'fingerprint': <%s>, 'proxy': <%s>, 'proxy-command': <%s>}", url, fingerprint, proxy, command));
  g_autoptr (PilotTransport) transport = host_new (pilot_transport_wss_get_type (), "transport-wss", NULL, settings);
  g_autoptr (GError) error = NULL;
  gint64 deadline = g_get_monotonic_time () + SECONDS * G_USEC_PER_SEC;
  const gchar *text;

  g_assert_true (host_enable (transport, &error));
  pilot_transport_set_prover (transport, pipe_beacon_prove, NULL);
  pilot_transport_reconnect (transport);
  while ((text = pilot_transport_get_trouble (transport)) != NULL && (trouble == NULL || strstr (text, trouble) == NULL)) {
    g_main_context_iteration (NULL, TRUE);
    if (g_get_monotonic_time () > deadline)
      g_error ("\"%s\" through \"%s\"", text, *command != 0 ? command : proxy);
  }
  g_assert_true ((trouble == NULL) == (text == NULL));
  g_assert_true (host_disable (transport, NULL));
}

static void
expect_beacon_log (FakeProxy *proxy,
                   const gchar *url,
                   gboolean refused_first)
{
  g_autofree gchar *log = fake_proxy_take_log (proxy);
  g_autoptr (GUri) parsed = g_uri_parse (url, G_URI_FLAGS_NONE, NULL);
  g_autofree gchar *target = g_strdup_printf ("%s:%d", g_uri_get_host (parsed), g_uri_get_port (parsed));
  g_autofree gchar *expected = refused_first ? g_strdup_printf ("407:%s 200:%s", target, target) : g_strdup_printf ("200:%s", target);

  g_assert_cmpstr (log, ==, expected);
}

static void
test_beacon (Fixture *f,
             gconstpointer data)
{
  PipeBeacon *beacon = pipe_beacon_new ();
  const gchar *url = pipe_beacon_get_url (beacon), *fingerprint = pipe_beacon_get_fingerprint (beacon);
  guint plain = fake_proxy_get_port (f->plain), tls = fake_proxy_get_port (f->tls);
  g_autofree gchar *https = g_strdup_printf ("https://user:s3cret%%21@localhost:%u", tls);
  g_autofree gchar *socks = g_strdup_printf ("socks5://user:s3cret%%21@localhost:%u", plain);
  g_autofree gchar *wrong = g_strdup_printf ("http://user:old@localhost:%u", plain);
  g_autofree gchar *command = make_command (f);

  expect_beacon (url, https, "", fingerprint, NULL);
  expect_beacon_log (f->tls, url, FALSE);
  expect_beacon (url, socks, "", fingerprint, NULL);
  expect_beacon_log (f->plain, url, FALSE);
  expect_beacon (url, "", command, fingerprint, NULL);
  expect_beacon_log (f->plain, url, TRUE);
  expect_beacon (url, wrong, "", fingerprint, "the proxy does not take the credentials");
  expect_beacon (url, "", "exit 3", fingerprint, "the proxy command failed");
  pipe_beacon_free (beacon);
}

/* --- URLs --- */

static void
test_urls (void)
{
  static const gchar *const cases[][2] = {
    { "http://proxy", "http://proxy:80" },
    { "http://proxy/", "http://proxy:80" },
    { "https://u:p%40@proxy", "https://u:p%40@proxy:443" },
    { "socks5h://[2001:db8::1]", "socks5://[2001:db8::1]:1080" },
    { "socks5://proxy:9/path", "socks5://proxy:9" },
    { "socks4://proxy:9", NULL },
    { "ftp://proxy:9", NULL },
    { "proxy:9", NULL },
    { "http://", NULL },
    { "http:///x", NULL },
    { "", NULL },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *url = pilot_proxy_normalize (cases[i][0]);

    g_assert_cmpstr (url, ==, cases[i][1]);
  }
}

static GLogWriterOutput
quiet (GLogLevelFlags level,
       const GLogField *fields,
       gsize n_fields,
       gpointer user_data)
{
  return level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR) ? g_log_writer_default (level, fields, n_fields, user_data) : G_LOG_WRITER_HANDLED;
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (quiet, NULL, NULL);
  g_test_add_func ("/proxy/urls", test_urls);
  g_test_add_data_func ("/proxy/slow-command", GINT_TO_POINTER (FALSE), test_ended_command);
  g_test_add_data_func ("/proxy/cancelled-command", GINT_TO_POINTER (TRUE), test_ended_command);
#define ADD(name, func) g_test_add ("/proxy/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("kinds", test_kinds);
  ADD ("command", test_command);
  ADD ("refused", test_refused);
  ADD ("beacon", test_beacon);
  return g_test_run ();
}
