/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The privileged work, in a network namespace of the test's own: in process, and through the real pilot-helper. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/helper/privileged-local.h"
#include "daemon/helper/privileged-remote.h"
#include "daemon/helper/subnet.h"
#include "libpilot/pilot-error.h"
#include "tests/gateway/namespace.h"

#define UID 12345
#define CIDR "10.77.0.0/16"

static char *helper_program;

static guint32
ip (const char *text)
{
  guint32 address = 0;

  g_assert_true (pilot_ipv4_parse (text, &address, NULL));
  return address;
}

static PilotSubnet
subnet (const char *cidr)
{
  PilotSubnet value;
  g_autoptr (GError) error = NULL;

  pilot_subnet_parse_text (cidr, &value, &error);
  g_assert_no_error (error);
  return value;
}

static void
run (const char *command)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *output = NULL, *errors = NULL;
  int status;

  g_spawn_command_line_sync (command, &output, &errors, &status, &error);
  g_assert_no_error (error);
  if (status != 0)
    g_error ("%s: %s%s", command, output, errors);
}

static char *
output_of (const char *command)
{
  char *output = NULL;

  g_spawn_command_line_sync (command, &output, NULL, NULL, NULL);
  return output;
}

/* 0 = connected, else the errno. */
static int
try_connect (const char *address, guint16 port)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (ip (address)) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = { 3, 0 };
  int code;

  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  code = connect (fd, (struct sockaddr *) &name, sizeof name) == 0 ? 0 : errno;
  close (fd);
  return code;
}

static void
test_subnet (void)
{
  static const char *const bad[] = { "", "10.4.0.0", "10.4.0.1/16", "10.4.0.0/7", "10.4.0.0/31", "10.4.0.0/016x", "10.4/16", "0.0.0.0/8",
                                     "224.0.0.0/8", "10.4.0.0/-1", "10.4.0.0/16 ", " 10.4.0.0/16", "10.4.0.0/99999999999999999999" };
  static const char *const bad_hosts[] = { "10.77.0.0", "10.77.255.255", "10.77.3.0", "10.77.3.255", "10.78.0.1", "127.0.0.1" };
  PilotSubnet value = subnet (CIDR), loopback = subnet ("127.0.0.0/8");

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    PilotSubnet unused;

    g_assert_false (pilot_subnet_parse_text (bad[i], &unused, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_hosts); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pilot_subnet_check_host (&value, ip (bad_hosts[i]), &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
  g_assert_true (pilot_subnet_check_host (&value, ip ("10.77.3.4"), NULL));
  g_assert_false (pilot_subnet_check_host (&loopback, ip ("127.0.0.1"), NULL));
  g_assert_true (pilot_subnet_overlaps (&value, ip ("10.0.0.0"), 8));
  g_assert_true (pilot_subnet_overlaps (&value, ip ("10.77.9.0"), 24));
  g_assert_false (pilot_subnet_overlaps (&value, ip ("10.78.0.0"), 16));
}

static void
test_label (void)
{
  char label[PILOT_LABEL_SIZE];

  g_assert_cmpstr (pilot_netlink_label (1000, label), ==, "lo:pilot1000");
  g_assert_cmpuint (strlen (pilot_netlink_label (9999999, label)), <=, 15);
  g_assert_cmpuint (strlen (pilot_netlink_label (G_MAXUINT32, label)), <=, 15);
}

static void
test_foreign_address (void)
{
  PilotSubnet value = subnet (CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (UID, &value);
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (local);
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) list = NULL;
  g_autofree char *before = NULL, *after = NULL;

  run ("ip addr add 10.77.0.9/32 dev lo");
  before = output_of ("ip -4 addr show lo");
  g_assert_false (iface->add_address (local, ip ("10.77.0.9"), &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_false (iface->remove_address (local, ip ("10.77.0.9"), &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (iface->check_overlap (local, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.77.0.9"));
  g_clear_error (&error);

  g_assert_true (iface->add_address (local, ip ("10.77.0.1"), &error));
  g_assert_true (iface->add_address (local, ip ("10.77.0.1"), &error));
  list = iface->list_addresses (local, &error);
  g_assert_cmpuint (list->len, ==, 1);
  g_assert_true (iface->add_route (local, &error));
  g_assert_true (iface->add_route (local, &error));
  g_assert_true (iface->cleanup (local, TRUE, &error));
  g_assert_no_error (error);
  after = output_of ("ip -4 addr show lo");
  g_assert_cmpstr (before, ==, after);
  run ("ip addr del 10.77.0.9/32 dev lo");
  g_assert_true (iface->check_overlap (local, &error));
  g_assert_no_error (error);
}

static void
test_overlapping_route (void)
{
  PilotSubnet value = subnet (CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (UID, &value);
  g_autoptr (GError) error = NULL;

  run ("ip route add blackhole 10.77.8.0/24");
  g_assert_false (PILOT_PRIVILEGED_GET_IFACE (local)->check_overlap (local, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.77.8.0/24"));
  run ("ip route del blackhole 10.77.8.0/24");
}

static PilotPrivilegedPlan *
redirect_plan (const char *address, gboolean every, guint16 port)
{
  PilotPrivilegedPlan *plan = pilot_privileged_plan_new ();
  PilotRedirect *redirect = pilot_redirect_new (ip (address), every);
  guint32 local = ip (address);

  g_array_append_val (plan->add, local);
  if (port != 0)
    g_array_append_val (redirect->ports, port);
  g_ptr_array_add (plan->redirects, redirect);
  plan->set_rules = plan->want_redirect = TRUE;
  return plan;
}

static void
test_plan_is_undone (void)
{
  PilotSubnet value = subnet (CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (UID, &value);
  g_autoptr (PilotPrivilegedPlan) plan = redirect_plan ("10.77.0.1", FALSE, 80);
  g_autoptr (GArray) list = NULL;
  g_autoptr (GError) error = NULL;
  guint32 outside = ip ("10.78.0.1");

  /* The second address fails: the first goes again. */
  g_array_append_val (plan->add, outside);
  g_assert_false (pilot_privileged_apply (local, plan, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  list = PILOT_PRIVILEGED_GET_IFACE (local)->list_addresses (local, NULL);
  g_assert_cmpuint (list->len, ==, 0);
}

static void
test_held_port (void)
{
  PilotSubnet value = subnet (CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (UID, &value);
  g_autoptr (PilotPrivilegedPlan) plan = pilot_privileged_plan_new ();
  g_autoptr (PilotPrivilegedPlan) second = pilot_privileged_plan_new ();
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (8080) };
  int held = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  guint32 address = ip ("10.77.0.1");
  g_autofree char *pid = g_strdup_printf ("(pid %d, user root)", getpid ());
  g_autoptr (GError) error = NULL;
  PilotListenRequest *request;

  g_assert_cmpint (bind (held, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (held, 1), ==, 0);
  g_array_append_val (plan->add, address);
  g_array_append_val (plan->require, address);
  pilot_privileged_plan_add_listener (plan, address, 80);
  pilot_privileged_plan_add_listener (plan, address, 8080);
  g_assert_true (pilot_privileged_apply (local, plan, &error));
  g_assert_no_error (error);
  request = g_ptr_array_index (plan->listeners, 0);
  g_assert_cmpint (request->fd, >=, 0);
  g_assert_cmpint (try_connect ("10.77.0.1", 80), ==, 0);
  request = g_ptr_array_index (plan->listeners, 1);
  g_assert_cmpint (request->fd, ==, -1);
  g_assert_error (request->error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_nonnull (strstr (request->error->message, pid));

  /* No port at all: the whole is refused. */
  address = ip ("10.77.0.2");
  g_array_append_val (second->add, address);
  g_array_append_val (second->require, address);
  pilot_privileged_plan_add_listener (second, address, 8080);
  g_assert_false (pilot_privileged_apply (local, second, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_cmpint (PILOT_PRIVILEGED_GET_IFACE (local)->cleanup (local, TRUE, NULL), ==, TRUE);
  close (held);
}

/* ---- the program ---- */

typedef struct {
  char *folder, *socket;
} Helper;

static int
start_helper (Helper *helper, guint uid, const char *cidr, char **errors)
{
  g_autofree char *uid_text = g_strdup_printf ("%u", uid);
  const char *argv[] = { helper_program, "--uid", uid_text, "--subnet", cidr, "--socket", helper->socket, NULL };
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, errors, &status, &error);
  g_assert_no_error (error);
  return WEXITSTATUS (status);
}

static int
stop_helper (Helper *helper)
{
  g_autofree char *uid_text = g_strdup_printf ("%u", UID);
  const char *argv[] = { helper_program, "--uid", uid_text, "--stop", "--socket", helper->socket, NULL };
  g_autoptr (GError) error = NULL;
  int status;

  g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  return WEXITSTATUS (status);
}

static void
helper_set_up (Helper *helper, gconstpointer data)
{
  helper->folder = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chmod (helper->folder, 0755), ==, 0);
  helper->socket = g_build_filename (helper->folder, "helper.sock", NULL);
  g_assert_cmpint (start_helper (helper, UID, CIDR, NULL), ==, 0);
}

static void
helper_tear_down (Helper *helper, gconstpointer data)
{
  g_autofree char *lock = g_strconcat (helper->socket, ".lock", NULL);
  g_autofree char *rules = NULL, *addresses = NULL;

  pilot_helper_quit (helper->socket, NULL);
  for (guint tries = 0; g_file_test (helper->socket, G_FILE_TEST_EXISTS) && tries < 500; tries++)
    g_usleep (10000);
  g_assert_false (g_file_test (helper->socket, G_FILE_TEST_EXISTS));
  rules = output_of ("nft list ruleset");
  g_assert_cmpstr (rules, ==, "");
  addresses = output_of ("ip -4 addr show lo label lo:pilot*");
  g_assert_cmpstr (addresses, ==, "");
  g_unlink (lock);
  g_rmdir (helper->folder);
  g_free (helper->folder);
  g_free (helper->socket);
}

static PilotPrivileged *
connect_helper (Helper *helper)
{
  PilotSubnet value = subnet (CIDR);
  g_autoptr (GError) error = NULL;
  PilotPrivileged *remote = pilot_privileged_remote_new (helper->socket, &value, &error);

  g_assert_no_error (error);
  return remote;
}

/* One in use stays; one with nothing to do goes, and one that is not there is no error. */
static void
test_helper_stop (Helper *helper, gconstpointer data)
{
  g_autoptr (PilotPrivileged) remote = connect_helper (helper);
  g_autoptr (PilotPrivilegedPlan) plan = redirect_plan ("10.77.0.1", FALSE, 80);
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_privileged_apply (remote, plan, &error));
  g_assert_no_error (error);
  g_assert_cmpint (stop_helper (helper), ==, 64 + PILOT_ERROR_CONFLICT);
  g_assert_cmpint (try_connect ("10.77.0.1", 81), ==, ECONNREFUSED);
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->cleanup (remote, FALSE, &error));
  g_assert_no_error (error);
  g_assert_cmpint (stop_helper (helper), ==, 0);
  for (guint tries = 0; g_file_test (helper->socket, G_FILE_TEST_EXISTS) && tries < 500; tries++)
    g_usleep (10000);
  g_assert_cmpint (stop_helper (helper), ==, 0);
}

static void
test_helper_redirects (Helper *helper, gconstpointer data)
{
  g_autoptr (PilotPrivileged) remote = connect_helper (helper);
  g_autoptr (PilotPrivilegedPlan) plan = redirect_plan ("10.77.0.1", FALSE, 80);
  g_autoptr (PilotPrivilegedPlan) again = redirect_plan ("10.77.0.1", FALSE, 80);
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  g_autoptr (GError) error = NULL;
  guint16 port;
  int client, server;

  g_assert_true (pilot_privileged_apply (remote, plan, &error));
  g_assert_no_error (error);
  g_assert_cmpint (plan->redirect_fd, >=, 0);
  g_assert_cmpuint (plan->redirect_port, <, 1024);
  port = plan->redirect_port;

  /* The mapped port leads to our listener, which learns what was meant; others are refused at once. */
  g_assert_cmpint (try_connect ("10.77.0.1", 80), ==, 0);
  server = -1;
  for (guint tries = 0; server < 0 && tries < 500; tries++) {
    server = accept (plan->redirect_fd, NULL, NULL);
    if (server < 0)
      g_usleep (10000);
  }
  g_assert_cmpint (getsockopt (server, SOL_IP, 80, &name, &length), ==, 0);
  g_assert_cmpuint (ntohl (name.sin_addr.s_addr), ==, ip ("10.77.0.1"));
  g_assert_cmpuint (ntohs (name.sin_port), ==, 80);
  close (server);
  g_assert_cmpint (try_connect ("10.77.0.1", 81), ==, ECONNREFUSED);

  /* The daemon dies, with a connection waiting in the queue: refused and reset, not left hanging. */
  client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  name.sin_port = htons (80);
  g_assert_cmpint (connect (client, (struct sockaddr *) &name, sizeof name), ==, 0);
  /* What it has done to the socket that both have must not stop the helper. */
  g_assert_cmpint (fcntl (plan->redirect_fd, F_SETFL, 0), ==, 0);
  close (plan->redirect_fd);
  plan->redirect_fd = -1;
  g_clear_object (&remote);
  {
    char byte;
    struct timeval limit = { 5, 0 };

    setsockopt (client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    g_assert_cmpint (recv (client, &byte, 1, 0), ==, -1);
    g_assert_cmpint (errno, ==, ECONNRESET);
    close (client);
  }
  g_assert_cmpint (try_connect ("10.77.0.1", 80), ==, ECONNREFUSED);

  /* The next one gets the same socket back, and all is as before. */
  remote = connect_helper (helper);
  g_assert_true (pilot_privileged_apply (remote, again, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (again->redirect_port, ==, port);
  g_assert_cmpint (try_connect ("10.77.0.1", 80), ==, 0);
}

/* Of every thread: capabilities are a thread's own, and what one was born with it keeps. */
static void
assert_few_privileges (Helper *helper)
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

static void
test_helper_starts_again (Helper *helper, gconstpointer data)
{
  g_autofree char *errors = NULL;
  g_autoptr (PilotPrivileged) remote = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (start_helper (helper, UID, CIDR, NULL), ==, 0);
  remote = connect_helper (helper);
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->add_address (remote, ip ("10.77.0.1"), &error));
  g_assert_cmpint (start_helper (helper, UID, "10.78.0.0/16", &errors), ==, 64 + PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (errors, CIDR));
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->remove_address (remote, ip ("10.77.0.1"), &error));
  g_assert_no_error (error);
  /* Nothing is mapped: it makes way. The new one has talked to it, and has no more privileges for that. */
  g_assert_cmpint (start_helper (helper, UID, "10.78.0.0/16", NULL), ==, 0);
  assert_few_privileges (helper);
}

static void
test_helper_attacks (Helper *helper, gconstpointer data)
{
  static const struct {
    const char *method, *arguments;
  } attacks[] = {
    { "AddAddress", "('10.78.0.1',)" },
    { "AddAddress", "('10.77.0.0',)" },
    { "AddAddress", "('10.77.1.255',)" },
    { "AddAddress", "('10.77.255.255',)" },
    { "AddAddress", "('127.0.0.1',)" },
    { "AddAddress", "('',)" },
    { "AddAddress", "('10.77.0.1 dev eth0',)" },
    { "AddAddress", "('10.77.0.01',)" },
    { "AddAddress", "('::1',)" },
    { "RemoveAddress", "('127.0.0.1',)" },
    { "SetRules", "([('10.78.0.1', false, false, [uint16 80])],)" },
    { "SetRules", "([('10.77.0.1; flush ruleset', false, false, [uint16 80])],)" },
    { "SetRules", "([('10.77.0.1', false, false, [uint16 0])],)" },
    { "SetRules", "([('10.77.0.1', true, false, @aq []), ('10.77.0.1', true, false, @aq [])],)" },
    { "OpenListener", "('10.78.0.1', uint16 80)" },
    { "OpenListener", "('127.0.0.1', uint16 22)" },
    { "OpenListener", "('0.0.0.0', uint16 22)" },
    { "OpenListener", "('10.77.0.1', uint16 0)" },
  };
  g_autofree char *before = output_of ("ip addr");
  g_autofree char *after = NULL, *rules = NULL;
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (helper->socket);
  g_autoptr (GSocketConnection) stream = NULL;
  g_autoptr (GDBusConnection) connection = NULL;
  g_autoptr (GError) error = NULL;

  stream = g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, &error);
  g_assert_no_error (error);
  connection = g_dbus_connection_new_sync (G_IO_STREAM (stream), NULL, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (attacks); i++) {
    GVariant *arguments = g_variant_parse (NULL, attacks[i].arguments, NULL, NULL, &error);
    g_autoptr (GVariant) reply = NULL;

    g_assert_no_error (error);
    reply = g_dbus_connection_call_sync (connection, NULL, PILOT_HELPER_PATH, PILOT_HELPER_NAME, attacks[i].method, arguments, NULL,
                                         G_DBUS_CALL_FLAGS_NONE, 5000, NULL, &error);
    g_assert_null (reply);
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_clear_error (&error);
  }
  after = output_of ("ip addr");
  rules = output_of ("nft list ruleset");
  g_assert_cmpstr (before, ==, after);
  g_assert_cmpstr (rules, ==, "");
}

/* Another user gets nothing, even when the file's mode would let him in. */
static void
test_helper_other_user (Helper *helper, gconstpointer data)
{
  int status;
  pid_t child;

  g_assert_cmpint (chmod (helper->socket, 0666), ==, 0);
  child = fork ();
  if (child == 0) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    char buffer[64];
    int fd = socket (AF_UNIX, SOCK_STREAM, 0);
    gssize got;

    strcpy (name.sun_path, helper->socket);
    if (setgid (UID + 1) != 0 || setuid (UID + 1) != 0 || connect (fd, (struct sockaddr *) &name, sizeof name) != 0)
      _exit (2);
    /* Closed without a word; what we said may make that a reset. */
    if (send (fd, "\0AUTH EXTERNAL\r\n", 16, MSG_NOSIGNAL) < 0 && errno != EPIPE)
      _exit (3);
    got = recv (fd, buffer, sizeof buffer, 0);
    _exit (got == 0 || (got < 0 && errno == ECONNRESET) ? 0 : 1);
  }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
}

static void
test_helper_privileges (Helper *helper, gconstpointer data)
{
  assert_few_privileges (helper);
}

static void
test_helper_refuses_bad_folder (void)
{
  g_autofree char *folder = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  Helper helper = { folder, g_build_filename (folder, "helper.sock", NULL) };
  g_autofree char *errors = NULL;

  g_assert_cmpint (chmod (folder, 0777), ==, 0);
  g_assert_cmpint (start_helper (&helper, UID, CIDR, &errors), ==, 64 + PILOT_ERROR_PERMISSION_DENIED);
  g_assert_nonnull (strstr (errors, "nobody else can write"));
  g_free (helper.socket);
  g_rmdir (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 2);
  helper_program = argv[1];
  enter_namespace ();
  pilot_error_quark ();
  g_test_add_func ("/helper/subnet", test_subnet);
  g_test_add_func ("/helper/label", test_label);
  g_test_add_func ("/helper/foreign-address", test_foreign_address);
  g_test_add_func ("/helper/overlapping-route", test_overlapping_route);
  g_test_add_func ("/helper/plan-is-undone", test_plan_is_undone);
  g_test_add_func ("/helper/held-port", test_held_port);
  g_test_add_func ("/helper/program/bad-folder", test_helper_refuses_bad_folder);
#define ADD(path, func) g_test_add (path, Helper, NULL, helper_set_up, func, helper_tear_down)
  ADD ("/helper/program/stop", test_helper_stop);
  ADD ("/helper/program/redirects", test_helper_redirects);
  ADD ("/helper/program/starts-again", test_helper_starts_again);
  ADD ("/helper/program/attacks", test_helper_attacks);
  ADD ("/helper/program/other-user", test_helper_other_user);
  ADD ("/helper/program/privileges", test_helper_privileges);
  return g_test_run ();
}
