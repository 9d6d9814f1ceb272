/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib-unix.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "libpilot/pilot-service-manager.h"
#include "rendezvous/rendezvous.h"
#include "rendezvous/socket.h"

/* In the manual page too. */
enum {
  EXIT_OK = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
};

#define RESERVED_DESCRIPTORS 64
#define WANTED_CONNECTIONS 10000
#define MAX_TOKEN_FILE 4096

typedef struct
{
  gchar *registry_addr;
  gchar *registry_plain_addr;
  gchar *beacon_addr;
  gchar *compat_addr;
  gchar *compat_plain_addr;
  gchar *store;
  gchar *tls_cert;
  gchar *tls_key;
  gchar *advertise_beacon;
  gchar *admin_token_file;
  gchar *stale_threshold;
  gboolean tls_generate;
  gboolean reference_consent;
  gboolean relay_unverified;
  gboolean no_offload;
  gboolean beacon_open;
  gboolean version;
  gint relay_limit;
  gint registration_limit;
} Flags;

typedef struct
{
  GMainLoop *loop;
  gint exit_code;
} Run;

static void
flags_clear (Flags *flags)
{
  g_free (flags->registry_addr);
  g_free (flags->registry_plain_addr);
  g_free (flags->beacon_addr);
  g_free (flags->compat_addr);
  g_free (flags->compat_plain_addr);
  g_free (flags->store);
  g_free (flags->tls_cert);
  g_free (flags->tls_key);
  g_free (flags->advertise_beacon);
  g_free (flags->admin_token_file);
  g_free (flags->stale_threshold);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Flags, flags_clear)

static gboolean
parse_flags (Flags *flags,
             int *argc,
             char ***argv,
             GError **error)
{
  const GOptionEntry entries[] = {
    { "registry-addr", 0, 0, G_OPTION_ARG_STRING, &flags->registry_addr, "TCP address of the registry (default :9000)", "ADDRESS" },
    { "registry-plain-addr", 0, 0, G_OPTION_ARG_STRING, &flags->registry_plain_addr, "a second TCP address without TLS", "ADDRESS" },
    { "beacon-addr", 0, 0, G_OPTION_ARG_STRING, &flags->beacon_addr, "UDP address of the beacon (default :9001)", "ADDRESS" },
    { "compat-addr", 0, 0, G_OPTION_ARG_STRING, &flags->compat_addr, "TCP address, usually :443, for nodes that cannot use UDP; needs TLS", "ADDRESS" },
    { "compat-plain-addr", 0, 0, G_OPTION_ARG_STRING, &flags->compat_plain_addr, "the same in clear text, for a TLS front on this machine", "ADDRESS" },
    { "store", 0, 0, G_OPTION_ARG_FILENAME, &flags->store, "the database; made when it does not exist", "FILE" },
    { "tls-cert", 0, 0, G_OPTION_ARG_FILENAME, &flags->tls_cert, "serve the registry over TLS with this certificate (PEM)", "FILE" },
    { "tls-key", 0, 0, G_OPTION_ARG_FILENAME, &flags->tls_key, "the certificate's private key (PEM)", "FILE" },
    { "tls-generate", 0, 0, G_OPTION_ARG_NONE, &flags->tls_generate, "make the two files when neither exists", NULL },
    { "advertise-beacon", 0, 0, G_OPTION_ARG_STRING, &flags->advertise_beacon, "the beacon's address as nodes reach it", "HOST:PORT" },
    { "admin-token-file", 0, 0, G_OPTION_ARG_FILENAME, &flags->admin_token_file, "file with the token of the operator", "FILE" },
    { "stale-threshold", 0, 0, G_OPTION_ARG_STRING, &flags->stale_threshold, "silence after which a node is taken out (default 30m)", "TIME" },
    { "reference-consent", 0, 0, G_OPTION_ARG_NONE, &flags->reference_consent, "let one side's report of trust be enough", NULL },
    { "relay-limit", 0, 0, G_OPTION_ARG_INT, &flags->relay_limit, "relayed datagrams a second from one node, 0: no limit (default 200000)", "N" },
    { "no-offload", 0, 0, G_OPTION_ARG_NONE, &flags->no_offload, "send and receive every datagram on its own, for a network device that breaks larger ones", NULL },
    { "relay-unverified", 0, 0, G_OPTION_ARG_NONE, &flags->relay_unverified, "relay whatever sender a datagram names", NULL },
    { "registration-limit", 0, 0, G_OPTION_ARG_INT, &flags->registration_limit, "new nodes from one host at once (default 100)", "N" },
    { "beacon-open", 0, 0, G_OPTION_ARG_NONE, &flags->beacon_open, "serve nodes that this registry does not know", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &flags->version, "print the version and exit", NULL },
    { NULL }
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_set_summary (context, "Registry and beacon of a Pilot network.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unexpected argument \"%s\"", (*argv)[1]);
    return FALSE;
  }
  return TRUE;
}

/* "90", "90s", "30m", "2h" */
static gboolean
parse_duration (const gchar *text,
                guint *seconds,
                GError **error)
{
  gchar *end;
  guint64 value = g_ascii_strtoull (text, &end, 10);
  guint64 unit = strcmp (end, "h") == 0 ? 3600 : strcmp (end, "m") == 0               ? 60
                                             : *end == '\0' || strcmp (end, "s") == 0 ? 1
                                                                                      : 0;

  if (!g_ascii_isdigit (*text) || unit == 0 || value < 1 || value > 365 * 24 * 3600 || value * unit > 365 * 24 * 3600) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "invalid time \"%s\": give something like 90s, 30m or 2h", text);
    return FALSE;
  }
  *seconds = (guint) (value * unit);
  return TRUE;
}

static gboolean
load_token (const gchar *path,
            gchar **token,
            GError **error)
{
  if (!pilot_file_load (path, MAX_TOKEN_FILE, 077, token, NULL, error))
    return FALSE;
  g_strstrip (*token);
  if (**token != '\0')
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "admin token file \"%s\" is empty", path);
  return FALSE;
}

static gboolean
load_tls (const Flags *flags,
          PilotTls **tls,
          GError **error)
{
  if (flags->tls_cert == NULL && flags->tls_key == NULL && !flags->tls_generate)
    return TRUE;
  if (flags->tls_cert == NULL || flags->tls_key == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "TLS needs both --tls-cert and --tls-key");
    return FALSE;
  }
  if (flags->tls_generate && !g_file_test (flags->tls_cert, G_FILE_TEST_EXISTS) &&
      !g_file_test (flags->tls_key, G_FILE_TEST_EXISTS) && !pilot_tls_generate (flags->tls_cert, flags->tls_key, error))
    return FALSE;
  *tls = pilot_tls_new (flags->tls_cert, flags->tls_key, error);
  return *tls != NULL;
}

/* As many connections as the hard limit allows. */
static guint
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) != 0)
    return WANTED_CONNECTIONS;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit (RLIMIT_NOFILE, &limit) != 0)
    g_warning ("cannot raise the limit of open files: %s", g_strerror (errno));
  getrlimit (RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > G_MAXINT)
    return G_MAXINT;
  if (limit.rlim_cur < WANTED_CONNECTIONS + RESERVED_DESCRIPTORS)
    g_warning ("only %" G_GUINT64_FORMAT " files may be open: fewer than %d connections will hold; raise LimitNOFILE= or ulimit -n",
               (guint64) limit.rlim_cur, WANTED_CONNECTIONS);
  return (guint) MAX (limit.rlim_cur, RESERVED_DESCRIPTORS + 16) - RESERVED_DESCRIPTORS;
}

/* A connection takes one descriptor, whoever serves it. */
static void
share_descriptors (PilotRendezvousOptions *options,
                   guint available)
{
  options->server.max_connections = available;
  if (pilot_endpoint_is_none (&options->compat) && pilot_endpoint_is_none (&options->compat_plain))
    return;
  options->compat_limits.max_clients = MIN (options->compat_limits.max_clients, available / 2);
  options->compat_limits.max_strangers = MAX (MIN (options->compat_limits.max_strangers, available / 10), 4);
  options->server.max_connections = available - options->compat_limits.max_clients - options->compat_limits.max_strangers;
}

static gboolean
make_options (const Flags *flags,
              PilotRendezvousOptions *options,
              PilotTls **tls,
              GError **error)
{
  pilot_rendezvous_options_init (options);
  if (!pilot_socket_parse (flags->registry_addr != NULL ? flags->registry_addr : ":9000", &options->registry, error) ||
      !pilot_socket_parse (flags->beacon_addr != NULL ? flags->beacon_addr : ":9001", &options->beacon, error) ||
      (flags->registry_plain_addr != NULL && !pilot_socket_parse (flags->registry_plain_addr, &options->registry_plain, error)) ||
      (flags->compat_addr != NULL && !pilot_socket_parse (flags->compat_addr, &options->compat, error)) ||
      (flags->compat_plain_addr != NULL && !pilot_socket_parse (flags->compat_plain_addr, &options->compat_plain, error)) ||
      (flags->stale_threshold != NULL && !parse_duration (flags->stale_threshold, &options->stale_threshold, error)))
    return FALSE;
  if (flags->relay_limit < 0 || flags->registration_limit < 1) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "a limit must be a positive number");
    return FALSE;
  }
  if (flags->advertise_beacon != NULL && strchr (flags->advertise_beacon, ':') == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "invalid --advertise-beacon \"%s\": give HOST:PORT",
                 flags->advertise_beacon);
    return FALSE;
  }
  if (flags->admin_token_file != NULL && !load_token (flags->admin_token_file, &options->service.admin_token, error))
    return FALSE;
  if (!load_tls (flags, tls, error))
    return FALSE;
  if (flags->compat_addr != NULL && *tls == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "--compat-addr needs a certificate: give --tls-cert and --tls-key (and --tls-generate), or --compat-plain-addr behind a TLS front");
    return FALSE;
  }
  options->tls = *tls;
  options->service.advertised_beacon = flags->advertise_beacon;
  options->service.registration_burst = (guint) flags->registration_limit;
  options->beacon_limits.relay_limit = (guint) flags->relay_limit;
  options->beacon_limits.relay_unverified = flags->relay_unverified;
  options->beacon_limits.no_offload = flags->no_offload;
  options->beacon_open = flags->beacon_open;
  options->reference_consent = flags->reference_consent;
  share_descriptors (options, raise_descriptor_limit ());
  return TRUE;
}

static void
rendezvous_failed (const GError *error,
                   gpointer user_data)
{
  Run *run = user_data;

  g_printerr ("pilot-rendezvous: %s\n", error->message);
  run->exit_code = EXIT_FAILED;
  g_main_loop_quit (run->loop);
}

static gboolean
signal_received (gpointer user_data)
{
  g_main_loop_quit (((Run *) user_data)->loop);
  return G_SOURCE_CONTINUE;
}

static void
print_ready (PilotRendezvous *rendezvous,
             PilotTls *tls)
{
  g_autoptr (GString) line = g_string_new ("ready: registry ");
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];
  PilotEndpoint address;

  pilot_rendezvous_get_registry (rendezvous, &address);
  g_string_append (line, pilot_endpoint_format (&address, text));
  if (tls != NULL)
    g_string_append_printf (line, " (tls %s)", pilot_tls_get_fingerprint (tls));
  pilot_rendezvous_get_registry_plain (rendezvous, &address);
  if (!pilot_endpoint_is_none (&address))
    g_string_append_printf (line, " and %s (plain)", pilot_endpoint_format (&address, text));
  pilot_rendezvous_get_beacon (rendezvous, &address);
  g_string_append_printf (line, ", beacon %s", pilot_endpoint_format (&address, text));
  pilot_rendezvous_get_compat (rendezvous, &address);
  if (!pilot_endpoint_is_none (&address))
    g_string_append_printf (line, ", compat %s", pilot_endpoint_format (&address, text));
  pilot_rendezvous_get_compat_plain (rendezvous, &address);
  if (!pilot_endpoint_is_none (&address))
    g_string_append_printf (line, ", compat %s (plain)", pilot_endpoint_format (&address, text));
  g_string_append_c (line, '\n');
  fputs (line->str, stdout);
  fflush (stdout);
}

static gint
serve (PilotStore *store,
       const PilotRendezvousOptions *options,
       GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Run run = { loop, EXIT_OK };
  PilotRendezvous *rendezvous = pilot_rendezvous_new (store, options, rendezvous_failed, &run, error);

  if (rendezvous == NULL)
    return EXIT_FAILED;
  g_unix_signal_add (SIGTERM, signal_received, &run);
  g_unix_signal_add (SIGINT, signal_received, &run);
  print_ready (rendezvous, options->tls);
  pilot_service_manager_notify ("READY=1");
  g_main_loop_run (loop);
  pilot_service_manager_notify ("STOPPING=1");
  if (!pilot_rendezvous_close (rendezvous, error))
    return EXIT_FAILED;
  return run.exit_code;
}

int
main (int argc,
      char **argv)
{
  g_auto (Flags) flags = { .relay_limit = 200000, .registration_limit = 100 };
  PilotRendezvousOptions options = { 0 };
  g_autoptr (PilotStore) store = NULL;
  g_autoptr (PilotTls) tls = NULL;
  g_autoptr (GError) error = NULL;
  gint exit_code = EXIT_USAGE;

  setlocale (LC_ALL, "");
  if (!parse_flags (&flags, &argc, &argv, &error))
    ;
  else if (flags.version) {
    g_print ("pilot-rendezvous %s\n", PILOT_VERSION);
    return EXIT_OK;
  } else if (flags.store == NULL)
    g_set_error_literal (&error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "no store: give --store FILE");
  else if (make_options (&flags, &options, &tls, &error)) {
    exit_code = EXIT_FAILED;
    store = pilot_store_sqlite_new (flags.store, &error);
    if (store != NULL)
      exit_code = serve (store, &options, &error);
  }
  if (error != NULL)
    g_printerr ("pilot-rendezvous: %s\n", error->message);
  g_free (options.service.admin_token);
  return exit_code;
}
