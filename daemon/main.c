/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gio/gio.h>
#include <glib-unix.h>

#include "daemon/core/config.h"
#include "daemon/core/core.h"
#include "daemon/core/lock.h"
#include "daemon/core/log.h"
#include "daemon/core/plugin/loader.h"
#include "daemon/core/poller.h"
#include "daemon/parts.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-service-manager.h"

#define STEP_DEADLINE 25000 /* milliseconds; plugins have 20 s of their own to start in */

typedef enum {
  EXIT_STATUS_OK = 0,
  EXIT_STATUS_FAILED = 1,
  EXIT_STATUS_USAGE = 2,
} ExitStatus;

typedef struct {
  GMainLoop *loop;
  PilotCore *core;
  gboolean stopping;
  gint64 stopping_since;
  ExitStatus status;
} Daemon;

/* --- options: each is a configuration key, by name --- */

static gboolean
on_option (const char *name, const char *value, gpointer user_data, GError **error)
{
  pilot_config_set_flag (user_data, name + strspn (name, "-"), value != NULL ? value : "true");
  return TRUE;
}

#define TEXT(name, help, argument)                               \
  {                                                              \
    name, 0, 0, G_OPTION_ARG_CALLBACK, on_option, help, argument \
  }
#define SWITCH(name, help)                                                      \
  {                                                                             \
    name, 0, G_OPTION_FLAG_NO_ARG, G_OPTION_ARG_CALLBACK, on_option, help, NULL \
  }

static const GOptionEntry entries[] = {
  TEXT ("registry", "The registry to use", "HOST:PORT"),
  TEXT ("beacon", "The beacon to use", "HOST:PORT"),
  TEXT ("hostname", "Host name of this node (a-z, 0-9, -)", "NAME"),
  TEXT ("listen", "UDP address to listen on", "[ADDRESS]:PORT"),
  TEXT ("endpoint", "Where this node is reached, if it cannot find out", "HOST:PORT"),
  TEXT ("identity", "The identity file", "FILE"),
  TEXT ("email", "A label for this node's owner", "TEXT"),
  SWITCH ("public", "Let everybody find this node"),
  SWITCH ("relay-only", "Never tell peers this node's own address"),
  TEXT ("config", "The configuration file", "FILE"),
  TEXT ("state-dir", "Where state is kept", "DIRECTORY"),
  TEXT ("bus", "The private bus socket", "FILE"),
  TEXT ("socket", "The socket of the Go tools; none = no such socket", "FILE"),
  SWITCH ("system", "Run as the machine's service"),
  TEXT ("log-level", "debug, info, warn or error", "LEVEL"),
  TEXT ("log-format", "text or json", "FORMAT"),
  TEXT ("expose-default", "What approving opens: all, network or none", "PORTS"),
  TEXT ("keepalive", "Seconds between heartbeats", "SECONDS"),
  SWITCH ("registry-tls", "Use TLS to the registry"),
  TEXT ("registry-trust", "How its certificate is checked: pinned or system", "MODE"),
  TEXT ("registry-fingerprint", "SHA-256 of the pinned certificate", "HEX"),
  TEXT ("transport", "udp, compat (WebSocket over TLS, where UDP is blocked) or auto", "WAY"),
  TEXT ("compat-beacon", "The beacon of compat mode", "wss://HOST/v1/compat"),
  TEXT ("tls-trust", "How its certificate is checked: system or pinned", "MODE"),
  TEXT ("proxy", "auto, off or http://[USER:PASSWORD@]HOST:PORT (better in PILOT_PROXY); also https:// and socks5://", "PROXY"),
  TEXT ("proxy-cmd", "A shell command that prints the URL of the proxy", "COMMAND"),
  SWITCH ("trust-auto-approve", "Trust everybody who asks"),
  SWITCH ("no-echo", "Do not answer on pilot port 7"),
  SWITCH ("no-dataexchange", "Take no messages and files (pilot port 1001)"),
  SWITCH ("dataexchange-b64", "Keep every message as base64"),
  SWITCH ("no-eventstream", "Offer no event stream on pilot port 1002"),
  G_OPTION_ENTRY_NULL
};

static gboolean
parse_options (PilotConfig *config, int *argc, char ***argv, GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- a node of the Pilot overlay network");
  GOptionGroup *group = g_option_group_new (NULL, NULL, NULL, config, NULL);
  static gboolean version;
  const GOptionEntry version_entry[] = { { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", NULL }, G_OPTION_ENTRY_NULL };

  g_option_group_add_entries (group, entries);
  g_option_group_add_entries (group, version_entry);
  g_option_context_set_main_group (context, group);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unexpected argument \"%s\"", (*argv)[1]);
    return FALSE;
  }
  if (version) {
    g_print ("pilotd %s\n", PILOT_VERSION);
    exit (EXIT_STATUS_OK);
  }
  return TRUE;
}

static gboolean
load_config (PilotConfig *config, GError **error)
{
  const char *given = pilot_config_get (config, "config");
  g_autofree char *path = NULL;

  /* The usual place may be empty; one that was named is a promise, and what it would have said is not to be guessed. */
  if (given != NULL && access (given, F_OK) != 0) {
    g_autofree char *quoted = pilot_error_quote (given, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "cannot read the configuration \"%s\": %s", quoted, g_strerror (errno));
    pilot_error_set_hint (*error, "an empty one is {}, and without --config it is config.json in the state directory");
    return FALSE;
  }
  if (given != NULL)
    path = g_strdup (given);
  else if (pilot_config_get_boolean (config, "system"))
    path = g_build_filename (PILOT_SYSCONFDIR, "pilot", "config.json", NULL);
  else
    path = g_build_filename (pilot_config_get_state_directory (config), "config.json", NULL);
  return pilot_config_load (config, path, error);
}

/* --- life --- */

static void
on_stopped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Daemon *daemon = user_data;

  pilot_core_stop_finish (daemon->core, result, NULL);
  g_main_loop_quit (daemon->loop);
}

static gboolean
on_signal (gpointer user_data)
{
  Daemon *daemon = user_data;

  if (daemon->stopping) {
    /* Some senders signal the process and its group: only somebody who has waited means it. */
    if (g_get_monotonic_time () - daemon->stopping_since < G_USEC_PER_SEC)
      return G_SOURCE_CONTINUE;
    g_warning ("stopped at once");
    _exit (EXIT_STATUS_FAILED);
  }
  daemon->stopping = TRUE;
  daemon->stopping_since = g_get_monotonic_time ();
  g_message ("stopping");
  pilot_service_manager_notify ("STOPPING=1");
  pilot_core_stop_async (daemon->core, on_stopped, daemon);
  return G_SOURCE_CONTINUE;
}

static void
print_error (const GError *error)
{
  g_autofree char *message = pilot_error_dup_message (error);
  const char *hint = pilot_error_get_hint (error);

  g_printerr ("pilotd: %s\n", message);
  if (hint != NULL)
    g_printerr ("hint: %s\n", hint);
}

static void
on_started (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Daemon *daemon = user_data;
  g_autoptr (GError) error = NULL;

  if (pilot_core_start_finish (daemon->core, result, &error)) {
    pilot_service_manager_notify ("READY=1");
    g_message ("running");
    return;
  }
  if (daemon->stopping)
    return; /* on_stopped() follows */
  print_error (error);
  daemon->status = EXIT_STATUS_FAILED;
  g_main_loop_quit (daemon->loop);
}

static gboolean
set_busy_poll (PilotPoller *poller, PilotConfig *config, GError **error)
{
  const char *value = pilot_config_get (config, "busy_poll");

  pilot_poller_set_busy_poll (poller, g_str_equal (value, "auto"));
  return g_str_equal (value, "auto") || g_str_equal (value, "off") || pilot_config_refuse ("busy_poll", value, "auto or off", error);
}

static ExitStatus
run (PilotConfig *config, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (PilotCore) core = pilot_core_new (STEP_DEADLINE);
  Daemon daemon = { .loop = loop, .core = core };
  PilotPoller *poller = pilot_poller_new (NULL, error);
  PilotParts *parts;
  guint sources[2];

  if (poller == NULL)
    return EXIT_STATUS_FAILED;
  if (!set_busy_poll (poller, config, error)) {
    pilot_poller_free (poller);
    return EXIT_STATUS_FAILED;
  }
  parts = pilot_parts_new (config, poller, core);
  sources[0] = g_unix_signal_add (SIGTERM, on_signal, &daemon);
  sources[1] = g_unix_signal_add (SIGINT, on_signal, &daemon);
  pilot_core_start_async (core, on_started, &daemon);
  g_main_loop_run (loop);
  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    g_source_remove (sources[i]);
  pilot_parts_free (parts);
  pilot_poller_free (poller);
  return daemon.status;
}

/* Every bridged connection takes a descriptor; the usual soft limit is for programs that use select(). */
static void
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit (RLIMIT_NOFILE, &limit) == 0)
      return;
    g_warning ("cannot raise the limit of open files to %" G_GUINT64_FORMAT ": %s", (guint64) limit.rlim_max, g_strerror (errno));
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (PilotConfig) config = pilot_config_new ();
  g_autoptr (GError) error = NULL;
  ExitStatus status;
  int lock;

  setlocale (LC_ALL, "");
  umask (077);
  signal (SIGPIPE, SIG_IGN);
  signal (SIGHUP, SIG_IGN);
  if (!parse_options (config, &argc, &argv, &error)) {
    print_error (error);
    return EXIT_STATUS_USAGE;
  }
  if (!load_config (config, &error) ||
      !pilot_log_init (pilot_config_get (config, "log_level"), pilot_config_get (config, "log_format"), &error) ||
      (lock = pilot_lock_claim (pilot_config_get_state_directory (config), &error)) < 0) {
    print_error (error);
    return EXIT_STATUS_FAILED;
  }
  pilot_config_warn_of_unknown (config);
  raise_descriptor_limit ();
  status = run (config, &error);
  if (error != NULL)
    print_error (error);
  close (lock);
  return status;
}
