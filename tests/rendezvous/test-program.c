/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <gio/gio.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fixture.h"

/* The installed program itself: its one line, its end, and what it says when it cannot start. */

static const gchar *program;

typedef struct
{
  GPid pid;
  FILE *out;
  gchar line[512];
  PilotEndpoint registry;
} Child;

static gchar *
in_folder (const gchar *folder,
           const gchar *name)
{
  return g_build_filename (folder, name, NULL);
}

/* The program ends with the test, however that ends. */
static void
end_with_parent (gpointer user_data)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static void
child_start (Child *child,
             const gchar *store,
             const gchar *notify_socket,
             const gchar *extra)
{
  const gchar *argv[] = { program, "--registry-addr", "127.0.0.1:0", "--beacon-addr", "127.0.0.1:0", "--store", store, extra, NULL };
  g_auto (GStrv) env = g_get_environ ();
  g_autoptr (GError) error = NULL;
  g_autofree gchar *address = NULL;
  gint out;

  env = notify_socket != NULL ? g_environ_setenv (env, "NOTIFY_SOCKET", notify_socket, TRUE) : g_environ_unsetenv (env, "NOTIFY_SOCKET");
  g_spawn_async_with_pipes (NULL, (gchar **) argv, env, G_SPAWN_DO_NOT_REAP_CHILD, end_with_parent, NULL, &child->pid, NULL, &out, NULL, &error);
  g_assert_no_error (error);
  child->out = fdopen (out, "r");
  g_assert_nonnull (fgets (child->line, sizeof child->line, child->out));
  g_assert_true (g_str_has_prefix (child->line, "ready: registry 127.0.0.1:"));
  g_assert_nonnull (strstr (child->line, ", beacon 127.0.0.1:"));
  address = g_strndup (child->line + 16, strcspn (child->line + 16, ", "));
  g_assert_true (pilot_endpoint_parse (address, &child->registry, &error));
}

/* The exit status, as of waitpid(2). */
static int
child_end (Child *child,
           int signal)
{
  int status;

  g_assert_cmpint (kill (child->pid, signal), ==, 0);
  g_assert_cmpint (waitpid (child->pid, &status, 0), ==, child->pid);
  fclose (child->out);
  return status;
}

static gchar *
make_folder (void)
{
  g_autoptr (GError) error = NULL;
  gchar *folder = g_dir_make_tmp ("rendezvous-program-XXXXXX", &error);

  g_assert_no_error (error);
  return folder;
}

static void
remove_folder (const gchar *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const gchar *name;

  while ((name = g_dir_read_name (dir)) != NULL) {
    g_autofree gchar *path = in_folder (folder, name);

    g_assert_cmpint (g_unlink (path), ==, 0);
  }
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

/* 46: whatever was acknowledged survives kill -9. */
static void
test_kill (void)
{
  g_autofree gchar *folder = make_folder ();
  g_autofree gchar *store = in_folder (folder, "store.db");
  Person alice, bob, carol;
  JsonObject *response;
  Client client;
  Child child;
  int status;

  person_init (&alice, 'a');
  person_init (&bob, 'b');
  person_init (&carol, 'c');
  for (guint round = 0; round < 5; round++) {
    child_start (&child, store, NULL, NULL);
    client_open (&client, &child.registry, NULL);
    switch (round) {
    case 0:
      person_register (&alice, &client, 4001);
      person_register (&bob, &client, 4002);
      break;
    case 1:
      g_assert_false (check_trust (&client, alice.id, bob.id));
      person_report (&alice, &client, bob.id);
      person_request (&bob, &client, alice.id, "hello");
      break;
    case 2:
      g_assert_true (check_trust (&client, alice.id, bob.id));
      response = client_expect (&client, "respond_handshake_ok", "{\"type\":\"respond_handshake\",\"node_id\":1,\"peer_id\":2,"
                                                                 "\"accept\":true,\"signature\":\"%s\"}",
                                person_sign (&alice, "respond:1:2"));
      json_object_unref (response);
      break;
    case 3:
      response = person_poll (&bob, &client);
      g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "responses")), ==, 1);
      json_object_unref (response);
      response = client_expect (&client, "rotate_key_ok", "{\"type\":\"rotate_key\",\"node_id\":1,\"new_public_key\":\"%s\","
                                                          "\"signature\":\"%s\"}",
                                carol.key, person_sign (&alice, "rotate:1:%s", carol.key));
      json_object_unref (response);
      break;
    default:
      person_register (&carol, &client, 4001);
      g_assert_cmpuint (carol.id, ==, 1);
      g_assert_true (check_trust (&client, 1, 2));
      break;
    }
    status = child_end (&child, SIGKILL);
    g_assert_true (WIFSIGNALED (status));
    client_close (&client);
  }
  child_start (&child, store, NULL, NULL);
  status = child_end (&child, SIGTERM);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  remove_folder (folder);
}

static void
test_notify (void)
{
  g_autofree gchar *folder = make_folder ();
  g_autofree gchar *store = in_folder (folder, "store.db");
  g_autofree gchar *path = in_folder (folder, "notify");
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct timeval timeout = { .tv_sec = 20 };
  gchar text[64] = { 0 };
  Child child;
  int fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), ==, 0);
  child_start (&child, store, path, NULL);
  g_assert_cmpint (recv (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_cmpstr (text, ==, "READY=1");
  g_assert_cmpint (child_end (&child, SIGTERM), ==, 0);
  memset (text, 0, sizeof text);
  g_assert_cmpint (recv (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_cmpstr (text, ==, "STOPPING=1");
  close (fd);
  remove_folder (folder);
}

static void
expect_refusal (gint code,
                const gchar *text,
                ...)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  g_autofree gchar *out = NULL, *err = NULL;
  gint status;
  gchar *arg;
  va_list args;

  g_ptr_array_add (argv, (gchar *) program);
  va_start (args, text);
  while ((arg = va_arg (args, gchar *)) != NULL)
    g_ptr_array_add (argv, arg);
  va_end (args);
  g_ptr_array_add (argv, NULL);
  g_spawn_sync (NULL, (gchar **) argv->pdata, NULL, 0, NULL, NULL, &out, &err, &status, &error);
  g_assert_no_error (error);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, code);
  g_assert_cmpstr (out, ==, "");
  if (strstr (err, text) == NULL)
    g_error ("\"%s\" is not in \"%s\"", text, err);
}

static void
test_refusals (void)
{
  g_autofree gchar *folder = make_folder ();
  g_autofree gchar *store = in_folder (folder, "store.db");
  g_autofree gchar *missing = in_folder (folder, "missing/store.db");
  g_autofree gchar *left = NULL;
  g_autofree gchar *address = NULL;
  Child child;

  expect_refusal (2, "give --store FILE", NULL);
  expect_refusal (2, "Unknown option", "--fly", NULL);
  expect_refusal (2, "unexpected argument \"x\"", "x", NULL);
  expect_refusal (2, "invalid listening address", "--store", store, "--registry-addr", ":70000", NULL);
  expect_refusal (2, "invalid time \"soon\"", "--store", store, "--stale-threshold", "soon", NULL);
  expect_refusal (2, "needs both --tls-cert and --tls-key", "--store", store, "--tls-cert", "x", NULL);
  expect_refusal (2, "cannot read TLS file", "--store", store, "--tls-cert", missing, "--tls-key", missing, NULL);
  g_assert_false (g_file_test (store, G_FILE_TEST_EXISTS));
  expect_refusal (1, "cannot create", "--store", missing, NULL);

  g_assert_true (g_file_set_contents (store, "this is not a database, but somebody's notes", -1, NULL));
  expect_refusal (1, "not a database", "--store", store, "--registry-addr", "127.0.0.1:0", "--beacon-addr", "127.0.0.1:0", NULL);
  g_assert_true (g_file_get_contents (store, &left, NULL, NULL));
  g_assert_cmpstr (left, ==, "this is not a database, but somebody's notes");
  g_unlink (store);

  /* A second one on the same store, and one on the same port. */
  child_start (&child, store, NULL, NULL);
  expect_refusal (1, "in use by another process", "--store", store, "--registry-addr", "127.0.0.1:0", "--beacon-addr", "127.0.0.1:0", NULL);
  address = pilot_endpoint_to_string (&child.registry);
  {
    g_autofree gchar *other = in_folder (folder, "other.db");

    expect_refusal (1, "cannot listen on TCP", "--store", other, "--registry-addr", address, "--beacon-addr", "127.0.0.1:0", NULL);
  }
  g_assert_cmpint (child_end (&child, SIGTERM), ==, 0);
  remove_folder (folder);
}

/* The lowest descriptor that the process has not open. */
static rlim_t
lowest_free (GPid pid)
{
  for (rlim_t fd = 0;; fd++) {
    g_autofree gchar *path = g_strdup_printf ("/proc/%d/fd/%d", (int) pid, (int) fd);

    if (!g_file_test (path, G_FILE_TEST_IS_SYMLINK))
      return fd;
  }
}

/* Microseconds of processor time. */
static gint64
time_spent (GPid pid)
{
  struct timespec spent;
  clockid_t clock;

  g_assert_cmpint (clock_getcpuclockid (pid, &clock), ==, 0);
  g_assert_cmpint (clock_gettime (clock, &spent), ==, 0);
  return spent.tv_sec * G_USEC_PER_SEC + spent.tv_nsec / 1000;
}

/* Out of descriptors, and nobody there who could be sent away: it waits without spinning, and answers when there are some. */
static void
test_exhausted (void)
{
  g_autofree gchar *folder = make_folder ();
  g_autofree gchar *store = in_folder (folder, "store.db");
  struct rlimit before, none;
  Client client;
  gint64 spent;
  Child child;

  child_start (&child, store, NULL, NULL);
  g_assert_cmpint (prlimit (child.pid, RLIMIT_NOFILE, NULL, &before), ==, 0);
  none = (struct rlimit) { lowest_free (child.pid), before.rlim_max };
  g_assert_cmpint (prlimit (child.pid, RLIMIT_NOFILE, &none, NULL), ==, 0);
  client_open (&client, &child.registry, NULL);
  spent = time_spent (child.pid);
  g_usleep (G_USEC_PER_SEC / 2); /* what is measured, not a wait for something */
  g_assert_cmpint (time_spent (child.pid) - spent, <, G_USEC_PER_SEC / 20);
  g_assert_cmpint (prlimit (child.pid, RLIMIT_NOFILE, &before, NULL), ==, 0);
  expect_ok (client_call (&client, "{\"type\":\"beacon_list\"}"));
  client_close (&client);
  g_assert_cmpint (child_end (&child, SIGTERM), ==, 0);
  remove_folder (folder);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  if (argc != 2)
    g_error ("usage: %s PILOT-RENDEZVOUS", argv[0]);
  program = argv[1];
  g_test_add_func ("/rendezvous/program/kill", test_kill);
  g_test_add_func ("/rendezvous/program/exhausted", test_exhausted);
  g_test_add_func ("/rendezvous/program/notify", test_notify);
  g_test_add_func ("/rendezvous/program/refusals", test_refusals);
  return g_test_run ();
}
