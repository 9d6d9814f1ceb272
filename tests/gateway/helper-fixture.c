/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/gateway/helper-fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"

const char *helper_program;

guint32
helper_ip (const char *text)
{
  guint32 address = 0;

  g_assert_true (pilot_ipv4_parse (text, &address, NULL));
  return address;
}

PilotSubnet
helper_subnet (const char *cidr)
{
  PilotSubnet value;
  g_autoptr (GError) error = NULL;

  pilot_subnet_parse_text (cidr, &value, &error);
  g_assert_no_error (error);
  return value;
}

void
helper_run (const char *command)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *output = NULL, *errors = NULL;
  int status;

  g_spawn_command_line_sync (command, &output, &errors, &status, &error);
  g_assert_no_error (error);
  if (status != 0)
    g_error ("%s: %s%s", command, output, errors);
}

char *
helper_output (const char *command)
{
  char *output = NULL;

  g_spawn_command_line_sync (command, &output, NULL, NULL, NULL);
  return output;
}

int
helper_try_connect (const char *address, guint16 port)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (helper_ip (address)) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = { 3, 0 };
  int code;

  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  code = connect (fd, (struct sockaddr *) &name, sizeof name) == 0 ? 0 : errno;
  close (fd);
  return code;
}

static int
run_program (Helper *helper, guint uid, const char *option, const char *value, char **errors)
{
  g_autofree char *uid_text = g_strdup_printf ("%u", uid);
  const char *argv[] = { helper_program, "--uid", uid_text, "--socket", helper->socket, option, value, NULL };
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **) argv, NULL, errors == NULL && value == NULL ? G_SPAWN_STDERR_TO_DEV_NULL : G_SPAWN_DEFAULT, NULL, NULL, NULL, errors, &status, &error);
  g_assert_no_error (error);
  return WEXITSTATUS (status);
}

int
helper_start (Helper *helper, guint uid, const char *cidr, char **errors)
{
  return run_program (helper, uid, "--subnet", cidr, errors);
}

int
helper_ask (Helper *helper, const char *option, char **errors)
{
  return run_program (helper, HELPER_UID, option, NULL, errors);
}

void
helper_wait_gone (Helper *helper)
{
  for (guint tries = 0; g_file_test (helper->socket, G_FILE_TEST_EXISTS) && tries < 2000; tries++)
    g_usleep (10000);
  g_assert_false (g_file_test (helper->socket, G_FILE_TEST_EXISTS));
}

/* A child that waits for a word, or for the end of this process, and is the helper's "--stop" then. Only what is safe after fork. */
static int
start_watcher (const char *socket)
{
  char *const argv[] = { (char *) helper_program, (char *) "--uid", (char *) G_STRINGIFY (HELPER_UID), (char *) "--socket", (char *) socket, (char *) "--stop", NULL };
  int pipes[2];
  char word;
  pid_t child;

  g_assert_cmpint (pipe2 (pipes, O_CLOEXEC), ==, 0);
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0) {
    /* Of what it has from the test nothing stays open that others wait for. */
    if (dup2 (pipes[0], STDIN_FILENO) < 0 || dup2 (open ("/dev/null", O_RDWR), STDOUT_FILENO) < 0 || dup2 (STDOUT_FILENO, STDERR_FILENO) < 0)
      _exit (1);
    closefrom (STDERR_FILENO + 1);
    if (read (STDIN_FILENO, &word, 1) == 0)
      execv (helper_program, argv);
    _exit (0);
  }
  close (pipes[0]);
  return pipes[1];
}

static void
dismiss_watcher (Helper *helper)
{
  g_assert_cmpint (write (helper->watcher, "x", 1), ==, 1);
  close (helper->watcher);
}

void
helper_set_up (Helper *helper, gconstpointer data)
{
  helper->folder = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chmod (helper->folder, 0755), ==, 0);
  helper->socket = g_build_filename (helper->folder, "helper.sock", NULL);
  helper->watcher = start_watcher (helper->socket);
  g_assert_cmpint (helper_start (helper, HELPER_UID, HELPER_CIDR, NULL), ==, 0);
}

/* It may be gone already. On a machine that is busy its answer may take longer than is waited for it. */
static void
quit (Helper *helper)
{
  for (guint tries = 0; tries < 10; tries++) {
    g_autoptr (GError) error = NULL;

    if (pilot_helper_quit (helper->socket, &error) || g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING))
      return;
    g_test_message ("cannot end the helper: %s", error->message);
    g_usleep (100000);
  }
}

void
helper_tear_down (Helper *helper, gconstpointer data)
{
  g_autofree char *lock = g_strconcat (helper->socket, ".lock", NULL);
  g_autofree char *rules = NULL, *addresses = NULL;

  quit (helper);
  helper_wait_gone (helper);
  dismiss_watcher (helper);
  rules = helper_output ("nft list ruleset");
  g_assert_cmpstr (rules, ==, "");
  addresses = helper_output ("ip -4 addr show lo label lo:pilot*");
  g_assert_cmpstr (addresses, ==, "");
  g_unlink (lock);
  g_rmdir (helper->folder);
  g_free (helper->folder);
  g_free (helper->socket);
}

PilotPrivileged *
helper_connect (Helper *helper)
{
  PilotSubnet value = helper_subnet (HELPER_CIDR);
  g_autoptr (GError) error = NULL;
  PilotPrivileged *remote = pilot_privileged_remote_new (helper->socket, &value, &error);

  g_assert_no_error (error);
  return remote;
}

void
helper_assert_few_privileges (Helper *helper)
{
  g_autoptr (GVariant) description = pilot_helper_describe (helper->socket, NULL);
  g_autofree char *tasks = NULL;
  g_autoptr (GDir) folder = NULL;
  const char *task;
  guint32 pid = 0, n = 0;

  g_assert_nonnull (description);
  g_assert_true (g_variant_lookup (description, "pid", "u", &pid));
  tasks = g_strdup_printf ("/proc/%u/task", pid);
  folder = g_dir_open (tasks, 0, NULL);
  g_assert_nonnull (folder);
  while ((task = g_dir_read_name (folder)) != NULL) {
    g_autofree char *path = g_build_filename (tasks, task, "status", NULL), *status = NULL;

    if (!g_file_get_contents (path, &status, NULL, NULL))
      continue; /* a thread that has ended meanwhile */
    /* CAP_NET_BIND_SERVICE (10) and CAP_NET_ADMIN (12). */
    g_assert_nonnull (strstr (status, "CapEff:\t0000000000001400"));
    g_assert_nonnull (strstr (status, "CapPrm:\t0000000000001400"));
    g_assert_nonnull (strstr (status, "CapBnd:\t0000000000001400"));
    g_assert_nonnull (strstr (status, "NoNewPrivs:\t1"));
    n++;
  }
  /* That of GDBus beside the first, since it has been asked. */
  g_assert_cmpuint (n, >=, 2);
}
