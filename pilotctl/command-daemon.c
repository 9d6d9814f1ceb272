/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/config-file.h"
#include "pilotctl/daemon-log.h"
#include "pilotctl/duration.h"
#include "pilotctl/output.h"
#include "pilotctl/process.h"
#include "pilotctl/sudo.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 50000
#define STOP_SECONDS 10
#define START_SECONDS 15
#define COMPAT_SECONDS 30
/* How long a start waits for the registry once the daemon itself is up: it goes on connecting without us. */
#define ONLINE_SECONDS 5

static char *
find_daemon (void)
{
  const char *given = sudo_getenv ("PILOT_DAEMON_BIN");
  char self[4096];
  gssize length = readlink ("/proc/self/exe", self, sizeof self - 1);

  if (given != NULL)
    return g_strdup (given);
  if (length > 0) {
    g_autofree char *folder = NULL, *beside = NULL;

    self[length] = '\0';
    folder = g_path_get_dirname (self);
    beside = g_build_filename (folder, "pilotd", NULL);
    if (g_file_test (beside, G_FILE_TEST_IS_EXECUTABLE))
      return g_steal_pointer (&beside);
  }
  return g_find_program_in_path ("pilotd");
}

static pid_t
spawn (const char *program, char **arguments, const char *log_path)
{
  pid_t pid;
  int log_fd = open (log_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  int null_fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  if (log_fd < 0 || null_fd < 0)
    return -1;
  pid = fork ();
  if (pid == 0) {
    /* Between fork and exec only what is safe after fork. */
    setsid ();
    dup2 (null_fd, STDIN_FILENO);
    dup2 (log_fd, STDOUT_FILENO);
    dup2 (log_fd, STDERR_FILENO);
    /* A descriptor of the caller's kept open in a daemon keeps the caller's reader waiting. */
    closefrom (3);
    execv (program, arguments);
    _exit (127);
  }
  close (log_fd);
  close (null_fd);
  return pid;
}

typedef struct {
  char *folder, *log_path, *pid_path;
  pid_t pid;
} Start;

static void
start_clear (Start *start)
{
  g_free (start->folder);
  g_free (start->log_path);
  g_free (start->pid_path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Start, start_clear)

/* Until the daemon answers, or has ended, or the time is over. */
static Client *
wait_until_up (Invocation *invocation, Start *start, double seconds, GError **error)
{
  gint64 end = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);

  while (TRUE) {
    g_autoptr (GError) local = NULL;
    Client *client;
    int status;

    if (waitpid (start->pid, &status, WNOHANG) == start->pid) {
      g_autofree char *hint = NULL;
      g_autofree char *line = daemon_log_last_line (start->log_path, &hint);

      g_unlink (start->pid_path);
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon did not start: %s"), line);
      if (hint != NULL)
        pilot_error_set_hint (*error, "%s", hint);
      else
        pilot_error_set_hint (*error, _("its log: %s"), start->log_path);
      return NULL;
    }
    client = client_new (invocation, &local);
    if (client != NULL)
      return client;
    if (!g_error_matches (local, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING)) {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
    if (g_get_monotonic_time () > end) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT, _("daemon started (pid %d) but did not become ready within %gs"), (int) start->pid, seconds);
      pilot_error_set_hint (*error, _("check logs: tail -f %s"), start->log_path);
      return NULL;
    }
    g_usleep (POLL_US);
  }
}

static char *
node_property (Client *client, const char *name)
{
  g_autoptr (GVariant) value = client_get_property (client, "Node", name, NULL);

  return value != NULL ? g_variant_dup_string (value, NULL) : g_strdup ("");
}

static void
wait_until_online (Client *client)
{
  gint64 end = g_get_monotonic_time () + ONLINE_SECONDS * G_USEC_PER_SEC;

  while (g_get_monotonic_time () < end) {
    g_autofree char *state = node_property (client, "State");

    if (g_str_equal (state, "online"))
      return;
    g_usleep (POLL_US);
  }
}

static int
report_start (Invocation *invocation, Start *start, Client *client)
{
  g_autofree char *address = node_property (client, "Address"), *hostname = node_property (client, "Hostname");
  g_autofree char *state = node_property (client, "State"), *detail = node_property (client, "StateDetail");
  g_autofree char *shown = output_clean (detail);
  g_autofree char *transport = node_property (client, "Transport");
  g_autoptr (GVariant) node = client_get_property (client, "Node", "NodeId", NULL);
  g_auto (GStrv) warnings = daemon_log_list_warnings (start->log_path);
  GVariantDict data;

  /* What is still so stands beside the state. */
  for (guint i = 0; !invocation->json && warnings[i] != NULL; i++)
    if (!g_str_equal (warnings[i], shown))
      g_printerr (_("warning: %s\n"), warnings[i]);
  if (!invocation->json) {
    g_print (_("Daemon running (pid %d)\n"), (int) start->pid);
    g_print (_("  Address:   %s\n  Hostname:  %s\n"), *address != '\0' ? address : _("(not registered yet)"), *hostname != '\0' ? hostname : "-");
    g_print (_("  State:     %s%s%s\n"), state, *shown != '\0' ? " — " : "", shown);
    g_print (_("  Transport: %s\n"), transport);
    g_print (_("  Socket:    %s\n  Logs:      %s\n"), client_get_place (client), start->log_path);
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "pid", "i", (gint32) start->pid);
  if (node != NULL)
    g_variant_dict_insert_value (&data, "node_id", node);
  g_variant_dict_insert (&data, "address", "s", address);
  g_variant_dict_insert (&data, "hostname", "s", hostname);
  g_variant_dict_insert (&data, "state", "s", state);
  g_variant_dict_insert (&data, "state_detail", "s", detail);
  g_variant_dict_insert (&data, "transport", "s", transport);
  g_variant_dict_insert (&data, "socket", "s", client_get_place (client));
  g_variant_dict_insert (&data, "log_file", "s", start->log_path);
  if (warnings[0] != NULL)
    g_variant_dict_insert (&data, "warnings", "^as", warnings);
  return output_ok (invocation, g_variant_dict_end (&data));
}

/* The value of an option that stands at *@i, as the next argument or behind "="; NULL = another option. *@i is where it ends. */
static const char *
option_value (Invocation *invocation, int *i, const char *option)
{
  const char *argument = invocation->argv[*i];
  gsize length = strlen (option);

  if (g_str_equal (argument, option) && *i + 1 < invocation->argc)
    return invocation->argv[++*i];
  return g_str_has_prefix (argument, option) && argument[length] == '=' ? argument + length + 1 : NULL;
}

/* Compat mode has a proxy and TLS on its way, and "auto" waits for a beacon first. */
static double
default_wait (Invocation *invocation)
{
  const char *transport = g_getenv ("PILOT_TRANSPORT");

  for (int i = 1; i < invocation->argc; i++) {
    const char *value = option_value (invocation, &i, "--transport");

    if (value != NULL)
      transport = value;
  }
  return transport != NULL && (g_str_equal (transport, "compat") || g_str_equal (transport, "auto")) ? COMPAT_SECONDS : START_SECONDS;
}

/* The socket that was asked for is where the daemon listens and where it is looked for. A message bus it finds by itself, and would take its name for a path. */
static void
add_socket (Invocation *invocation, GPtrArray *arguments)
{
  const char *given = client_get_given_place (invocation), *path = given != NULL ? client_place_to_path (given) : NULL;

  if (path != NULL) {
    g_ptr_array_add (arguments, g_strdup ("--bus"));
    g_ptr_array_add (arguments, g_strdup (path));
  } else if (given != NULL) {
    if (invocation->bus == NULL)
      invocation->bus = g_strdup (given);
    g_unsetenv ("PILOT_BUS");
  }
}

/* Everything but --json, --bus, --wait and --foreground is the daemon's to understand. */
static char **
daemon_arguments (Invocation *invocation, const char *program, gboolean *foreground, double *wait_seconds, gboolean *help)
{
  GPtrArray *arguments = g_ptr_array_new ();

  g_ptr_array_add (arguments, g_strdup (program));
  for (int i = 1; i < invocation->argc; i++) {
    const char *argument = invocation->argv[i], *value;

    if ((value = option_value (invocation, &i, "--wait")) != NULL)
      *wait_seconds = duration_parse (value);
    else if ((value = option_value (invocation, &i, "--bus")) != NULL) {
      g_free (invocation->bus);
      invocation->bus = g_strdup (value);
    } else if ((value = option_value (invocation, &i, "--proxy")) != NULL)
      g_setenv ("PILOT_PROXY", value, TRUE); /* arguments can be read by everybody, and there may be a password in it */
    else if ((value = option_value (invocation, &i, "--proxy-cmd")) != NULL)
      g_setenv ("PILOT_PROXY_CMD", value, TRUE);
    else if (g_str_equal (argument, "--json"))
      invocation->json = TRUE;
    else if (g_str_equal (argument, "--foreground"))
      *foreground = TRUE;
    else if (g_str_equal (argument, "--help") || g_str_equal (argument, "-h"))
      *help = TRUE;
    else
      g_ptr_array_add (arguments, g_strdup (argument));
  }
  add_socket (invocation, arguments);
  g_ptr_array_add (arguments, NULL);
  return (char **) g_ptr_array_free (arguments, FALSE);
}

int
command_daemon_start (Invocation *invocation)
{
  g_auto (Start) start = { 0 };
  g_auto (GStrv) arguments = NULL;
  g_autofree char *program = find_daemon (), *first_log = NULL, *pid_text = NULL;
  g_autoptr (Client) running = NULL, client = NULL;
  gboolean foreground = FALSE, help = FALSE;
  double wait_seconds = default_wait (invocation);
  GError *error = NULL;

  arguments = daemon_arguments (invocation, program != NULL ? program : "pilotd", &foreground, &wait_seconds, &help);
  if (program == NULL)
    return output_fail (invocation, PILOT_ERROR_NOT_FOUND, _("set PILOT_DAEMON_BIN to its path"), _("pilotd not found beside pilotctl or in PATH"));
  if (help) {
    char *const help_arguments[] = { program, (char *) "--help", NULL };

    g_printerr (_("pilotctl daemon start [--foreground] [--wait D] and the options of pilotd:\n"));
    execv (program, help_arguments);
    return EXIT_FAILED;
  }
  if (!(wait_seconds > 0))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--wait needs a time such as 500ms, 15s or 2m"));
  running = client_new (invocation, NULL);
  if (running != NULL) {
    g_autoptr (GVariant) pid = client_get_property (running, "Node", "Pid", NULL);

    return output_fail (invocation, PILOT_ERROR_ALREADY_EXISTS, _("stop it first with: pilotctl daemon stop"),
                        _("daemon is already running (pid %u)"), pid != NULL ? g_variant_get_uint32 (pid) : 0);
  }

  start.folder = config_file_folder ();
  start.pid_path = g_build_filename (start.folder, "pilot.pid", NULL);
  first_log = g_build_filename (start.folder, "pilot-starting.log", NULL);
  if (!sudo_check_folder (start.folder, &error))
    return output_error (invocation, error);
  if (g_mkdir_with_parents (start.folder, 0700) != 0)
    return output_fail (invocation, PILOT_ERROR_IO, NULL, _("cannot make the folder \"%s\": %s"), start.folder, g_strerror (errno));
  if (foreground) {
    execv (program, arguments);
    return output_fail (invocation, PILOT_ERROR_IO, NULL, _("cannot run \"%s\": %s"), program, g_strerror (errno));
  }
  start.pid = spawn (program, arguments, first_log);
  if (start.pid < 0)
    return output_fail (invocation, PILOT_ERROR_IO, NULL, _("cannot start \"%s\" with its log in \"%s\": %s"), program, start.folder, g_strerror (errno));
  start.log_path = daemon_log_adopt (start.folder, first_log, start.pid);
  pid_text = g_strdup_printf ("%d", (int) start.pid);
  if (!g_file_set_contents_full (start.pid_path, pid_text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error)) {
    g_printerr (_("warning: %s\n"), error->message);
    g_clear_error (&error);
  }
  client = wait_until_up (invocation, &start, wait_seconds, &error);
  if (client == NULL)
    return output_error (invocation, error);
  wait_until_online (client);
  return report_start (invocation, &start, client);
}

/* The process of the daemon that answers, or else of the one that the file of the last start names. FALSE: there is none, or @error says what is wrong. */
static gboolean
find_process (Invocation *invocation, Process *process, GError **error)
{
  g_autoptr (Client) client = client_new (invocation, NULL);
  g_autofree char *folder = config_file_folder ();
  g_autofree char *path = g_build_filename (folder, "pilot.pid", NULL);
  guint32 uid;

  if (client == NULL)
    return process_open_file (process, path, "pilotd");
  return client_get_uid (client, &uid, error) && process_open (process, client_get_pid (client, NULL), uid, error);
}

int
command_daemon_stop (Invocation *invocation)
{
  g_autofree char *folder = config_file_folder ();
  g_autofree char *path = g_build_filename (folder, "pilot.pid", NULL);
  g_auto (Process) process = PROCESS_NONE;
  gboolean forced = FALSE;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  if (!command_parse (invocation, NULL, 0, 0, &exit_code))
    return exit_code;
  if (!find_process (invocation, &process, &error))
    return error != NULL ? output_error (invocation, error) : output_fail (invocation, PILOT_ERROR_NOT_RUNNING, NULL, _("daemon is not running"));
  if (!process_signal (&process, SIGTERM, &error))
    return output_error (invocation, error);
  if (!process_wait (&process, STOP_SECONDS)) {
    forced = process_signal (&process, SIGKILL, NULL);
    process_wait (&process, STOP_SECONDS);
  }
  if (g_unlink (path) != 0 && errno != ENOENT)
    g_debug ("cannot remove \"%s\": %s", path, g_strerror (errno));
  if (!invocation->json)
    g_print (forced ? _("daemon force-stopped (pid %d)\n") : _("daemon stopped (pid %d)\n"), (int) process.pid);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "pid", "x", (gint64) process.pid);
  if (forced)
    g_variant_dict_insert (&data, "forced", "b", TRUE);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_daemon_status (Invocation *invocation)
{
  gboolean check = FALSE;
  const GOptionEntry entries[] = {
    { "check", 0, 0, G_OPTION_ARG_NONE, &check, N_("Say nothing; exit 0 if it runs, else 1"), NULL },
    { NULL }
  };
  g_autofree char *folder = config_file_folder ();
  g_autofree char *path = g_build_filename (folder, "pilot.pid", NULL);
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) statistics = NULL, node = NULL;
  g_auto (Process) process = PROCESS_NONE;
  GVariantDict data;
  gint64 pid;
  int exit_code;

  if (!command_parse (invocation, entries, 0, 0, &exit_code))
    return exit_code;
  client = client_new (invocation, NULL);
  if (client != NULL)
    pid = client_get_pid (client, NULL);
  else
    pid = process_open_file (&process, path, "pilotd") ? process.pid : 0;
  if (check)
    return client != NULL ? EXIT_OK : EXIT_FAILED;

  statistics = client != NULL ? client_list (client, "Node", "GetStatistics", NULL) : NULL;
  g_variant_dict_init (&data, statistics);
  g_variant_dict_insert (&data, "running", "b", client != NULL || pid != 0);
  g_variant_dict_insert (&data, "responsive", "b", client != NULL);
  g_variant_dict_insert (&data, "pid", "x", pid);
  g_variant_dict_insert (&data, "pid_file", "s", path);
  if (client != NULL) {
    g_autofree char *address = node_property (client, "Address"), *hostname = node_property (client, "Hostname");
    g_autofree char *state = node_property (client, "State"), *detail = node_property (client, "StateDetail");
    g_autofree char *shown = output_clean (detail), *transport = node_property (client, "Transport");

    node = client_get_property (client, "Node", "NodeId", NULL);
    if (node != NULL)
      g_variant_dict_insert_value (&data, "node_id", node);
    g_variant_dict_insert (&data, "socket", "s", client_get_place (client));
    g_variant_dict_insert (&data, "address", "s", address);
    g_variant_dict_insert (&data, "hostname", "s", hostname);
    g_variant_dict_insert (&data, "state", "s", state);
    g_variant_dict_insert (&data, "state_detail", "s", detail);
    g_variant_dict_insert (&data, "transport", "s", transport);
    if (!invocation->json)
      g_print (_("● pilotd running\n  pid %d, %s, %s over %s, %s%s%s\n"), (int) pid, *address != '\0' ? address : "-", state, transport,
               client_get_place (client), *shown != '\0' ? "\n  " : "", shown);
  } else if (!invocation->json) {
    if (pid != 0)
      g_print (_("● pilotd unresponsive (pid %d)\n"), (int) pid);
    else
      g_print (_("● pilotd stopped\n"));
  }
  return output_ok (invocation, g_variant_dict_end (&data));
}
