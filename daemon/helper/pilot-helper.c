/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pilot-helper --uid UID --subnet CIDR [--socket PATH] [--foreground | --system]
 * pilot-helper --uid UID --stop | --cleanup [--socket PATH]
 *
 * Does for one unprivileged daemon what needs a privilege: see data/network.pilotprotocol.Pilot1.Helper.xml. Goes to the background when its
 * socket is ready. Ends on Quit (`pilotctl gateway stop`) or SIGTERM, and then leaves nothing behind. What it believes of whom: docs/privileges.md.
 *
 * Exit status: 0, or 64 + the PilotError of what went wrong, which pilotctl (command-gateway.c) passes on to the person.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <locale.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/helper/capability.h"
#include "daemon/helper/helper-service.h"
#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"

#define EXIT_ERROR_BASE 64
/* A report is cut there. */
#define REPORT_SIZE 1024
/* What a user can make the helper hold. GDBus takes messages of up to 128 MiB; the largest table of rules needs less. The shadow of AddressSanitizer is memory too. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_MAX RLIM_INFINITY
#else
#define MEMORY_MAX (256 * 1024 * 1024)
#endif
#define LOCK_TRIES 100
#define LOCK_TRY_US 50000

typedef struct {
  guint32 uid;
  PilotSubnet subnet;
  char *socket;
  gboolean foreground, system, stop, cleanup;
} Options;

typedef struct {
  GMainLoop *loop;
  PilotHostNetwork *network;
  gboolean failed;
} Program;

static gboolean
fail_errno (GError **error, const char *what, const char *path)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot %s \"%s\": %s", what, path, g_strerror (errno));
  return FALSE;
}

/* A number, or the name of a user: a unit does not know the number that sysusers gave. */
static gboolean
parse_user (const char *text, guint32 *uid, GError **error)
{
  const struct passwd *user;
  guint64 number;

  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32 - 1, &number, NULL)) {
    *uid = number;
    return TRUE;
  }
  /* A number out of range is no name. */
  user = g_ascii_isdigit (*text) || *text == '-' ? NULL : getpwnam (text);
  if (user == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "uid \"%s\" is neither a number from 0 to 4294967294 nor the name of a user", text);
    return FALSE;
  }
  *uid = user->pw_uid;
  return TRUE;
}

static gboolean
parse_options (int argc, char **argv, Options *options, GError **error)
{
  g_autofree char *uid_text = NULL, *subnet_text = NULL;
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  gboolean serves;
  const GOptionEntry entries[] = {
    { "uid", 0, 0, G_OPTION_ARG_STRING, &uid_text, "User to serve (number or name)", "UID" },
    { "subnet", 0, 0, G_OPTION_ARG_STRING, &subnet_text, "Subnet to stay inside", "CIDR" },
    { "socket", 0, 0, G_OPTION_ARG_FILENAME, &options->socket, "Socket (default: /run/pilot-helper/UID.sock)", "PATH" },
    { "foreground", 0, 0, G_OPTION_ARG_NONE, &options->foreground, "Stay in the foreground, log to stderr", NULL },
    { "system", 0, 0, G_OPTION_ARG_NONE, &options->system, "Serve on the system bus", NULL },
    { "stop", 0, 0, G_OPTION_ARG_NONE, &options->stop, "End the user's helper, unless addresses are mapped", NULL },
    { "cleanup", 0, 0, G_OPTION_ARG_NONE, &options->cleanup, "End the user's helper, and remove what one that was killed left behind", NULL },
    { NULL },
  };

  g_option_context_set_summary (context, "Adds loopback addresses, redirection rules and listeners for a user's pilotd.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, error))
    return FALSE;
  serves = !options->stop && !options->cleanup;
  if (argc > 1 || uid_text == NULL || (subnet_text != NULL) != serves || (options->stop && options->cleanup) || (!serves && (options->foreground || options->system))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "usage: pilot-helper --uid UID --subnet CIDR [--socket PATH] [--foreground | --system], or: pilot-helper --uid UID --stop | --cleanup [--socket PATH]");
    return FALSE;
  }
  if (!parse_user (uid_text, &options->uid, error))
    return FALSE;
  if (options->socket == NULL)
    options->socket = pilot_helper_socket_path (options->uid);
  return !serves || pilot_subnet_parse_text (subnet_text, &options->subnet, error);
}

/* The folder must be root's (or our own) and writable by nobody else: then no name in it can be swapped under our hands. */
static gboolean
prepare_folder (const char *socket, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (socket);
  struct stat info;

  if (mkdir (folder, 0755) == 0) {
    if (chmod (folder, 0755) != 0)
      return fail_errno (error, "set the mode of", folder);
  } else if (errno != EEXIST)
    return fail_errno (error, "make folder", folder);
  if (lstat (folder, &info) != 0)
    return fail_errno (error, "look at", folder);
  if (!S_ISDIR (info.st_mode) || (info.st_uid != 0 && info.st_uid != geteuid ()) || (info.st_mode & 022) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                 "\"%s\" must be a folder of root's that nobody else can write to", folder);
    return FALSE;
  }
  return TRUE;
}

/* One helper per socket: whoever holds the lock serves it. -1 with @busy set when another one does, also after a while (@wait). */
static int
take_lock (const char *socket, gboolean wait, gboolean *busy, GError **error)
{
  g_autofree char *path = g_strconcat (socket, ".lock", NULL);
  int fd = open (path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

  *busy = FALSE;
  if (fd < 0) {
    fail_errno (error, "open", path);
    return -1;
  }
  for (guint tries = wait ? LOCK_TRIES : 1; flock (fd, LOCK_EX | LOCK_NB) != 0; tries--) {
    if (errno != EWOULDBLOCK || tries <= 1) {
      *busy = errno == EWOULDBLOCK;
      fail_errno (error, "lock", path);
      close (fd);
      return -1;
    }
    g_usleep (LOCK_TRY_US);
  }
  return fd;
}

/* To connect to a file is refused as to a dead socket is: what is no socket was never ours. */
static gboolean
remove_stale_socket (const char *path, GError **error)
{
  struct stat status;

  if (lstat (path, &status) == 0 && !S_ISSOCK (status.st_mode)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "\"%s\" is there and is no socket: give another place with --socket", path);
    return FALSE;
  }
  return unlink (path) == 0 || errno == ENOENT || fail_errno (error, "remove the stale socket", path);
}

/* Of the user's, and of nobody else's from before the first connection on. */
static gboolean
listen_for_user (int fd, const struct sockaddr_un *name, guint32 uid)
{
  mode_t before = umask (0177);
  gboolean bound = bind (fd, (const struct sockaddr *) name, sizeof *name) == 0;

  umask (before);
  return bound && (uid == geteuid () || lchown (name->sun_path, uid, -1) == 0) && listen (fd, 16) == 0;
}

static int
open_socket (const Options *options, GError **error)
{
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  int fd;

  if (g_strlcpy (name.sun_path, options->socket, sizeof name.sun_path) >= sizeof name.sun_path) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "socket path \"%s\" is too long", options->socket);
    return -1;
  }
  if (!remove_stale_socket (options->socket, error))
    return -1;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && listen_for_user (fd, &name, options->uid))
    return fd;
  fail_errno (error, "listen on", options->socket);
  if (fd >= 0)
    close (fd);
  return -1;
}

static int
exit_status (const GError *error)
{
  return EXIT_ERROR_BASE + (int) pilot_error_code (error);
}

/* Tells the process at the other end: the exit status as a byte, and behind it a text. */
static void
tell (int pipe_fd, int status, const char *text)
{
  g_autofree char *report = g_strdup_printf ("%c%s", status, text);
  gsize length = 1 + strlen (text);

  if (write (pipe_fd, report, length) != (gssize) length)
    g_warning ("nobody waits for what there is to be told");
}

/* The parent waits for this; what is wrong is the text. */
static void
report (int *pipe_fd, const GError *error)
{
  g_autofree char *message = error != NULL ? pilot_error_dup_message (error) : g_strdup ("");

  if (*pipe_fd < 0)
    return;
  tell (*pipe_fd, error != NULL ? exit_status (error) : EXIT_SUCCESS, message);
  close (*pipe_fd);
  *pipe_fd = -1;
}

/* What tell() wrote, with a zero behind it. FALSE: that process ended without a word. */
static gboolean
read_report (int pipe_fd, char text[REPORT_SIZE])
{
  gsize length = 0;
  gssize got;

  while (length < REPORT_SIZE - 1 && (got = read (pipe_fd, text + length, REPORT_SIZE - 1 - length)) != 0) {
    if (got < 0 && errno != EINTR)
      break;
    length += MAX (got, 0);
  }
  text[length] = '\0';
  return length > 0;
}

/* Another helper serves the socket. TRUE with @done: it is the one wanted; TRUE without: it has made way. */
static gboolean
talk_to_other (const Options *options, gboolean *done, GError **error)
{
  g_autofree char *wanted = pilot_subnet_to_string (&options->subnet);
  g_autoptr (GVariant) description = pilot_helper_describe (options->socket, error);
  const char *served = "";
  guint32 addresses = 0, uid = G_MAXUINT32;

  *done = FALSE;
  if (description == NULL)
    return FALSE;
  g_variant_lookup (description, "subnet", "&s", &served);
  g_variant_lookup (description, "addresses", "u", &addresses);
  g_variant_lookup (description, "uid", "u", &uid);
  if (uid == options->uid && strcmp (served, wanted) == 0) {
    *done = TRUE;
    return TRUE;
  }
  if (uid != options->uid || addresses > 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT,
                 "a helper for uid %u serves subnet %s already with %u mapped addresses: run \"sudo pilotctl gateway stop\" first",
                 uid, served, addresses);
    return FALSE;
  }
  return pilot_helper_quit (options->socket, error);
}

/* talk_to_other() in a process of its own: the talk needs root to reach the user's socket, and a thread, which would keep root's capabilities for as long as we
 * live. */
static gboolean
deal_with_other (const Options *options, gboolean *done, GError **error)
{
  char text[REPORT_SIZE];
  gboolean told;
  int pipes[2];
  pid_t child;

  if (pipe2 (pipes, O_CLOEXEC) != 0)
    return fail_errno (error, "ask the helper at", options->socket);
  child = fork ();
  if (child == 0) {
    g_autoptr (GError) local = NULL;
    gboolean wanted = FALSE;

    if (talk_to_other (options, &wanted, &local))
      tell (pipes[1], EXIT_SUCCESS, wanted ? "wanted" : "");
    else
      report (&pipes[1], local);
    _exit (EXIT_SUCCESS);
  }
  close (pipes[1]);
  told = child > 0 && read_report (pipes[0], text);
  close (pipes[0]);
  if (child > 0)
    waitpid (child, NULL, 0);
  if (!told || text[0] != EXIT_SUCCESS) {
    g_set_error (error, PILOT_ERROR, told ? text[0] - EXIT_ERROR_BASE : PILOT_ERROR_FAILED, "%s", told ? text + 1 : "cannot ask the helper that runs");
    return FALSE;
  }
  *done = text[1] != '\0';
  return TRUE;
}

/* For a start that came to nothing: a helper with nothing to look after shall not stay, one in use shall. No helper is fine. */
static gboolean
stop_idle (const Options *options, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GVariant) description = pilot_helper_describe (options->socket, &local);
  guint32 addresses = 0;

  if (description == NULL) {
    if (pilot_error_code (local) == PILOT_ERROR_NOT_RUNNING)
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  if (!g_variant_lookup (description, "addresses", "u", &addresses) || addresses > 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, "the helper of uid %u looks after %u addresses: run \"sudo pilotctl gateway stop\"", options->uid, addresses);
    return FALSE;
  }
  return pilot_helper_quit (options->socket, error);
}

/* Nobody is left who could look after these: the helper that served the socket is asked to end, and what one left that was killed, or a daemon of the user's
 * with privileges of its own, goes by the name it has. The user is not asked what that is. */
static gboolean
clean_up_after (const Options *options, GError **error)
{
  g_autoptr (GError) local = NULL;
  gboolean found = pilot_helper_quit (options->socket, &local), busy, good;
  int lock;

  if (!found && pilot_error_code (local) != PILOT_ERROR_NOT_RUNNING) {
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  /* It has ended once the lock is free, and no other one begins as long as we have it. */
  lock = prepare_folder (options->socket, error) ? take_lock (options->socket, TRUE, &busy, error) : -1;
  if (lock < 0)
    return FALSE;
  good = pilot_host_network_remove_leftovers (options->uid, &found, error);
  good = good && remove_stale_socket (options->socket, error);
  close (lock);
  if (good && !found)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "no gateway of uid %u has left anything behind", options->uid);
  return good && found;
}

static void
end (Program *program)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_host_network_cleanup (program->network, &error)) {
    g_warning ("something is left behind: %s", error->message);
    program->failed = TRUE;
  }
  g_main_loop_quit (program->loop);
}

static gboolean
on_terminate (gpointer user_data)
{
  end (user_data);
  return G_SOURCE_REMOVE;
}

/* All has been taken away by then; but somebody may have had something put up again, while the one who wanted the end was told of it. */
static void
on_quit (PilotHelperService *service, gpointer user_data)
{
  end (user_data);
}

static void
on_name_lost (GDBusConnection *connection, const char *name, gpointer user_data)
{
  Program *program = user_data;

  g_warning ("cannot own \"%s\" on the system bus", name);
  program->failed = TRUE;
  g_main_loop_quit (program->loop);
}

static void
go_quiet (const Options *options)
{
  int null;

  if (options->foreground || options->system)
    return;
  null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0)
    return;
  for (int fd = 0; fd < 3; fd++)
    dup2 (null, fd);
  close (null);
}

static GLogWriterOutput
log_to_syslog (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  g_autofree char *text = g_log_writer_format_fields (level, fields, n_fields, FALSE);

  syslog (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING) ? LOG_WARNING : LOG_INFO, "%s", text);
  return G_LOG_WRITER_HANDLED;
}

static gboolean
serve_socket (PilotHelperService *service, const Options *options, int *lock, gboolean *done, GError **error)
{
  g_autoptr (GError) lock_error = NULL;
  gboolean busy;
  int fd;

  *done = FALSE;
  if (!prepare_folder (options->socket, error))
    return FALSE;
  *lock = take_lock (options->socket, FALSE, &busy, &lock_error);
  if (*lock < 0 && !busy) {
    g_propagate_error (error, g_steal_pointer (&lock_error));
    return FALSE;
  }
  if (*lock < 0) {
    if (!deal_with_other (options, done, error))
      return FALSE;
    if (*done)
      return TRUE;
    *lock = take_lock (options->socket, TRUE, &busy, error);
  }
  if (*lock < 0)
    return FALSE;
  fd = open_socket (options, error);
  if (fd < 0)
    return FALSE;
  /* The last that root is needed for. Before anything that makes a thread, as GTask does: a thread keeps what it was born with. */
  if (!pilot_capability_drop_others (error)) {
    close (fd);
    return FALSE;
  }
  return pilot_helper_service_listen (service, fd, error);
}

/* As a service the manager sets the limit (pilot-helper.service). */
static gboolean
limit_memory (GError **error)
{
  const struct rlimit limit = { MEMORY_MAX, MEMORY_MAX };

  if (setrlimit (RLIMIT_DATA, &limit) == 0)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "cannot limit the memory of pilot-helper: %s", g_strerror (errno));
  return FALSE;
}

static gboolean
serve_bus (PilotHelperService *service, Program *program, GError **error)
{
  g_autoptr (GDBusConnection) bus = g_bus_get_sync (G_BUS_TYPE_SYSTEM, NULL, error);

  if (bus == NULL || !pilot_helper_service_export (service, bus, error))
    return FALSE;
  g_bus_own_name_on_connection (bus, PILOT_HELPER_NAME, G_BUS_NAME_OWNER_FLAGS_NONE, NULL, on_name_lost, program, NULL);
  return TRUE;
}

static gboolean
run (const Options *options, int *pipe_fd, GError **error)
{
  g_autoptr (PilotHostNetwork) network = pilot_host_network_new (options->uid, &options->subnet);
  g_autoptr (PilotHelperService) service = pilot_helper_service_new (network);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Program program = { .loop = loop, .network = network };
  g_autofree char *subnet = pilot_subnet_to_string (&options->subnet);
  gboolean done = FALSE;
  int lock = -1;

  if ((!options->system && !limit_memory (error)) || !pilot_host_network_check_overlap (network, error))
    return FALSE;
  /* On a bus nothing more is needed of root; elsewhere the socket is. */
  if (options->system && !pilot_capability_drop_others (error))
    return FALSE;
  if (!(options->system ? serve_bus (service, &program, error) : serve_socket (service, options, &lock, &done, error)))
    return FALSE;
  if (done)
    return TRUE;
  g_signal_connect (service, "quit", G_CALLBACK (on_quit), &program);
  g_unix_signal_add (SIGTERM, on_terminate, &program);
  g_unix_signal_add (SIGINT, on_terminate, &program);
  g_message ("serving uid %u inside %s", options->uid, subnet);
  report (pipe_fd, NULL);
  go_quiet (options);
  g_main_loop_run (loop);

  if (!options->system)
    unlink (options->socket);
  if (lock >= 0)
    close (lock);
  if (program.failed)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "ended with an error");
  return !program.failed;
}

/* In the parent: passes on what the child reports. */
static int
wait_for_child (int pipe_fd)
{
  char text[REPORT_SIZE];

  if (!read_report (pipe_fd, text)) {
    g_printerr ("pilot-helper: ended before it was ready\n");
    return EXIT_FAILURE;
  }
  if (text[0] != EXIT_SUCCESS)
    g_printerr ("pilot-helper: %s\n", text + 1);
  return text[0];
}

/* Before any thread exists. Returns the write end of the report pipe in the child; the parent does not return. */
static int
go_to_background (void)
{
  int pipes[2];
  pid_t child;

  if (pipe2 (pipes, O_CLOEXEC) != 0 || (child = fork ()) < 0) {
    g_printerr ("pilot-helper: cannot go to the background: %s\n", g_strerror (errno));
    exit (EXIT_FAILURE);
  }
  if (child > 0) {
    close (pipes[1]);
    exit (wait_for_child (pipes[0]));
  }
  close (pipes[0]);
  setsid ();
  if (chdir ("/") != 0)
    g_printerr ("pilot-helper: cannot change to /: %s\n", g_strerror (errno));
  return pipes[1];
}

int
main (int argc, char **argv)
{
  Options options = { 0 };
  g_autoptr (GError) error = NULL;
  g_autofree char *message = NULL;
  int pipe_fd = -1;

  /* Nothing of the caller's is kept open in a program that stays. */
  closefrom (3);
  umask (077);
  /* Under sudo the environment is the caller's: nothing in it may lead GLib to a module or a bus. */
  clearenv ();
  setlocale (LC_CTYPE, "C.UTF-8");
  setenv ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv ("GIO_USE_VFS", "local", 1);
  setenv ("GIO_MODULE_DIR", "/nonexistent", 1);
  if (!parse_options (argc, argv, &options, &error)) {
    g_printerr ("pilot-helper: %s\n", error->message);
    return exit_status (error);
  }
  if (!pilot_capability_has_net_admin ()) {
    g_printerr ("pilot-helper: CAP_NET_ADMIN is missing: run it as root\n");
    return EXIT_ERROR_BASE + PILOT_ERROR_PERMISSION_DENIED;
  }
  if (options.stop || options.cleanup) {
    if (!(options.stop ? stop_idle (&options, &error) : clean_up_after (&options, &error)))
      g_printerr ("pilot-helper: %s\n", error->message);
    g_free (options.socket);
    return error == NULL ? EXIT_SUCCESS : exit_status (error);
  }
  if (!options.foreground && !options.system) {
    pipe_fd = go_to_background ();
    openlog ("pilot-helper", LOG_PID, LOG_DAEMON);
    g_log_set_writer_func (log_to_syslog, NULL, NULL);
  }
  if (run (&options, &pipe_fd, &error)) {
    report (&pipe_fd, NULL);
    g_free (options.socket);
    return EXIT_SUCCESS;
  }
  report (&pipe_fd, error);
  message = pilot_error_dup_message (error);
  if (options.foreground || options.system)
    g_printerr ("pilot-helper: %s\n", message);
  g_free (options.socket);
  return exit_status (error);
}
