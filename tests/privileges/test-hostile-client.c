/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pilot-helper and whoever may talk to it and means it ill, in a network namespace of the test's own. What root believes of the user's side stands in
 * docs/privileges.md; each line of its table about the helper has a test here, with a lie in it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/helper/host-network.h"
#include "daemon/helper/port-holder.h"
#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-private-bus.h"
#include "tests/gateway/helper-fixture.h"
#include "tests/gateway/namespace.h"

/* Generous: what is tested is that something happens, not when. */
#define PATIENCE_MS 30000
/* As in helper-service.c. */
#define PLACES_OF_USER 16

/* ---- clients ---- */

static GDBusConnection *
connect_as_root (Helper *helper)
{
  g_autoptr (GError) error = NULL;
  PilotPrivateBusPeer peer;
  g_autoptr (GSocketConnection) stream = pilot_private_bus_connect (helper->socket, &peer, &error);
  GDBusConnection *connection;

  g_assert_no_error (error);
  g_assert_cmpuint (peer.uid, ==, 0);
  connection = pilot_private_bus_authenticate (stream, PATIENCE_MS, &error);
  g_assert_no_error (error);
  return connection;
}

static GVariant *
call (GDBusConnection *connection, const char *method, GVariant *arguments, GError **error)
{
  return g_dbus_connection_call_sync (connection, NULL, PILOT_HELPER_PATH, PILOT_HELPER_NAME, method, arguments, NULL, G_DBUS_CALL_FLAGS_NONE, PATIENCE_MS, NULL, error);
}

static void
refused (GDBusConnection *connection, const char *method, GVariant *arguments, PilotError code)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = call (connection, method, arguments, &error);

  g_assert_null (reply);
  g_assert_error (error, PILOT_ERROR, (int) code);
}

/* A socket that is connected in the name of @uid, and says nothing yet. */
static int
connect_raw (Helper *helper, uid_t uid)
{
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (name.sun_path, helper->socket, sizeof name.sun_path);
  /* The saved id stays root's. */
  g_assert_cmpint (setresuid (uid, uid, 0), ==, 0);
  g_assert_cmpint (connect (fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (setresuid (0, 0, 0), ==, 0);
  return fd;
}

static gboolean
is_closed (int fd, int timeout_ms)
{
  struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
  char byte;

  return poll (&poll_fd, 1, timeout_ms) > 0 && recv (fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void
say (int fd, gconstpointer data, gsize length)
{
  g_assert_cmpint (send (fd, data, length, MSG_NOSIGNAL), ==, (gssize) length);
}

static char *
authentication_line (uid_t uid)
{
  g_autofree char *digits = g_strdup_printf ("%u", uid);
  GString *line = g_string_new ("AUTH EXTERNAL ");

  for (const char *p = digits; *p != '\0'; p++)
    g_string_append_printf (line, "%02x", *p);
  return g_string_free (g_string_append (line, "\r\n"), FALSE);
}

/* The handshake of D-Bus, by hand: what comes after it need not be read. FALSE: closed without an answer. */
static gboolean
authenticate_raw (int fd, uid_t uid)
{
  g_autofree char *line = authentication_line (uid);
  char answer[256] = "";

  /* Each may fail when the other end has closed: then there is no answer. */
  send (fd, "", 1, MSG_NOSIGNAL);
  send (fd, line, strlen (line), MSG_NOSIGNAL);
  if (recv (fd, answer, sizeof answer - 1, 0) <= 0)
    return FALSE;
  g_assert_true (g_str_has_prefix (answer, "OK "));
  say (fd, "BEGIN\r\n", 7);
  return TRUE;
}

static guint8 *
message_bytes (const char *method, GVariant *arguments, gsize *length)
{
  static guint32 serial = 0;
  g_autoptr (GDBusMessage) message = g_dbus_message_new_method_call (NULL, PILOT_HELPER_PATH, PILOT_HELPER_NAME, method);

  g_dbus_message_set_serial (message, ++serial);
  if (arguments != NULL)
    g_dbus_message_set_body (message, arguments);
  return g_dbus_message_to_blob (message, length, G_DBUS_CAPABILITY_FLAGS_NONE, NULL);
}

/* TRUE as long as it is taken. */
static gboolean
ask_raw (int fd, const char *method)
{
  gsize length;
  g_autofree guint8 *bytes = message_bytes (method, NULL, &length);
  struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

  return poll (&poll_fd, 1, PATIENCE_MS) > 0 && (poll_fd.revents & (POLLERR | POLLHUP)) == 0 && send (fd, bytes, length, MSG_NOSIGNAL) == (gssize) length;
}

static guint32
pid_of (Helper *helper)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) description = pilot_helper_describe (helper->socket, &error);
  guint32 pid = 0;

  g_assert_no_error (error);
  g_assert_true (g_variant_lookup (description, "pid", "u", &pid));
  return pid;
}

/* ---- arguments ---- */

static void
test_arguments (Helper *helper, gconstpointer data)
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
    /* A listener of root's that was not asked for before. */
    { "OpenListener", "('10.77.0.1\\n', uint16 80)" },
  };
  g_autofree char *before = helper_output ("ip addr");
  g_autofree char *after = NULL, *rules = NULL;
  g_autoptr (GDBusConnection) connection = connect_as_root (helper);

  for (guint i = 0; i < G_N_ELEMENTS (attacks); i++) {
    g_autoptr (GError) error = NULL;
    GVariant *arguments = g_variant_parse (NULL, attacks[i].arguments, NULL, NULL, &error);

    g_assert_no_error (error);
    refused (connection, attacks[i].method, arguments, PILOT_ERROR_INVALID_ARGUMENT);
  }
  after = helper_output ("ip addr");
  rules = helper_output ("nft list ruleset");
  g_assert_cmpstr (before, ==, after);
  g_assert_cmpstr (rules, ==, "");
}

/* Numbers beyond the bounds of a table; and the largest one within them, for which the limit of memory has room. */
static void
test_numbers (Helper *helper, gconstpointer data)
{
  g_autoptr (GDBusConnection) connection = connect_as_root (helper);
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree guint16 *ports = g_new0 (guint16, G_MAXUINT16 + 1);
  GVariantBuilder rules;

  g_variant_builder_init (&rules, G_VARIANT_TYPE ("a(sbbaq)"));
  for (guint i = 0; i <= PILOT_REDIRECTS_MAX; i++) {
    char address[PILOT_IPV4_TEXT_SIZE];

    g_variant_builder_add (&rules, "(sbb@aq)", pilot_ipv4_format (helper_ip ("10.77.1.1") + (i / 250 << 8) + i % 250, address), TRUE, FALSE, g_variant_new ("aq", NULL));
  }
  refused (connection, "SetRules", g_variant_new ("(a(sbbaq))", &rules), PILOT_ERROR_EXHAUSTED);

  for (guint i = 0; i <= G_MAXUINT16; i++)
    ports[i] = (guint16) MAX (i, 1);
  g_variant_builder_init (&rules, G_VARIANT_TYPE ("a(sbbaq)"));
  for (guint i = 1; i <= 2; i++)
    g_variant_builder_add (&rules, "(sbb@aq)", i == 1 ? "10.77.0.1" : "10.77.0.2", FALSE, FALSE, g_variant_new_fixed_array (G_VARIANT_TYPE_UINT16, ports, G_MAXUINT16, 2));
  refused (connection, "SetRules", g_variant_new ("(a(sbbaq))", &rules), PILOT_ERROR_EXHAUSTED);

  g_variant_builder_init (&rules, G_VARIANT_TYPE ("a(sbbaq)"));
  g_variant_builder_add (&rules, "(sbb@aq)", "10.77.0.1", FALSE, FALSE, g_variant_new_fixed_array (G_VARIANT_TYPE_UINT16, ports + 1, G_MAXUINT16, 2));
  reply = call (connection, "SetRules", g_variant_new ("(a(sbbaq))", &rules), &error);
  g_assert_no_error (error);
}

/* Who holds a port calls itself what is no text, and is named in an answer over D-Bus all the same. */
static void
test_holder (void)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (8081) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_autofree char *holder = NULL;
  char before[16];

  g_assert_cmpint (prctl (PR_GET_NAME, before), ==, 0);
  g_assert_cmpint (prctl (PR_SET_NAME, "\xff\033]0;x\n"), ==, 0);
  g_assert_cmpint (bind (fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (fd, 1), ==, 0);
  holder = pilot_port_holder_describe (helper_ip ("10.77.0.1"), 8081);
  g_assert_cmpint (prctl (PR_SET_NAME, before), ==, 0);
  g_assert_true (g_utf8_validate (holder, -1, NULL));
  g_assert_nonnull (strstr (holder, "\\x1b]0;x (pid "));
  close (fd);
}

/* ---- who, and how many of them ---- */

/* Another user gets nothing, even when the file's mode would let him in. */
static void
test_other_user (Helper *helper, gconstpointer data)
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
    if (setgid (HELPER_UID + 1) != 0 || setuid (HELPER_UID + 1) != 0 || connect (fd, (struct sockaddr *) &name, sizeof name) != 0)
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
test_privileges (Helper *helper, gconstpointer data)
{
  helper_assert_few_privileges (helper);
}

static void
test_folder (void)
{
  g_autofree char *folder = g_dir_make_tmp ("privileges-XXXXXX", NULL);
  Helper helper = { folder, g_build_filename (folder, "helper.sock", NULL) };
  g_autofree char *errors = NULL;

  g_assert_cmpint (chmod (folder, 0777), ==, 0);
  g_assert_cmpint (helper_start (&helper, HELPER_UID, HELPER_CIDR, &errors), ==, 64 + PILOT_ERROR_PERMISSION_DENIED);
  g_assert_nonnull (strstr (errors, "nobody else can write"));
  g_free (helper.socket);
  g_rmdir (folder);
}

/* A slip in --socket costs nobody a file. */
static void
test_no_socket (void)
{
  g_autofree char *folder = g_dir_make_tmp ("privileges-XXXXXX", NULL);
  Helper helper = { folder, g_build_filename (folder, "precious", NULL) };
  g_autofree char *lock = g_strconcat (helper.socket, ".lock", NULL), *text = NULL, *errors = NULL, *cleanup_errors = NULL;

  g_assert_true (g_file_set_contents (helper.socket, "precious", -1, NULL));
  g_assert_cmpint (helper_start (&helper, HELPER_UID, HELPER_CIDR, &errors), ==, 64 + PILOT_ERROR_ALREADY_EXISTS);
  g_assert_nonnull (strstr (errors, "is no socket"));
  g_assert_cmpint (helper_ask (&helper, "--cleanup", &cleanup_errors), ==, 64 + PILOT_ERROR_ALREADY_EXISTS);
  g_assert_true (g_file_get_contents (helper.socket, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "precious");
  g_unlink (helper.socket);
  g_unlink (lock);
  g_rmdir (folder);
  g_free (helper.socket);
}

/* The user has a number of places and root has others. A place that is left is free again. */
static void
test_places (Helper *helper, gconstpointer data)
{
  int fds[PLACES_OF_USER], more, tries = 0;

  for (guint i = 0; i < G_N_ELEMENTS (fds); i++) {
    fds[i] = connect_raw (helper, HELPER_UID);
    g_assert_true (authenticate_raw (fds[i], HELPER_UID));
  }
  more = connect_raw (helper, HELPER_UID);
  g_assert_false (authenticate_raw (more, HELPER_UID));
  close (more);
  g_assert_cmpuint (pid_of (helper), >, 0);
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    g_assert_false (is_closed (fds[i], 0));
  close (fds[0]);
  for (more = connect_raw (helper, HELPER_UID); !authenticate_raw (more, HELPER_UID); more = connect_raw (helper, HELPER_UID)) {
    g_assert_cmpint (++tries, <, PATIENCE_MS / 10);
    close (more);
    g_usleep (10000);
  }
  close (more);
  for (guint i = 1; i < G_N_ELEMENTS (fds); i++)
    close (fds[i]);
}

/* Who goes while he is let in gives his place back. Nothing tells when that is: one of many goes just then. */
static void
test_hasty (Helper *helper, gconstpointer data)
{
  g_autofree char *line = authentication_line (HELPER_UID), *all = g_strconcat (line, "BEGIN\r\n", NULL);
  char answer[256];

  for (guint i = 0; i < 500; i++) {
    int fd = connect_raw (helper, HELPER_UID);
    struct timeval patience = { PATIENCE_MS / 1000, 0 };

    g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), ==, 0);
    say (fd, "", 1);
    say (fd, all, strlen (all));
    shutdown (fd, SHUT_WR);
    g_assert_cmpint (recv (fd, answer, sizeof answer, 0), >, 0);
    /* Closed from there too. */
    g_assert_cmpint (recv (fd, answer, sizeof answer, 0), ==, 0);
    close (fd);
  }
}

/* Who connects and says nothing has a place for a bounded time. At the same time: a false helper that takes a connection and says nothing, which must not keep
 * root either. */
static void
test_silent (Helper *helper, gconstpointer data)
{
  Helper mute = { helper->folder, g_build_filename (helper->folder, "mute.sock", NULL) };
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  int fds[3], mute_fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    fds[i] = connect_raw (helper, HELPER_UID);
  g_strlcpy (name.sun_path, mute.socket, sizeof name.sun_path);
  g_assert_cmpint (bind (mute_fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (mute_fd, 4), ==, 0);
  g_assert_false (pilot_helper_quit (mute.socket, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT);
  close (mute_fd);
  g_unlink (mute.socket);
  g_free (mute.socket);

  for (guint i = 0; i < G_N_ELEMENTS (fds); i++) {
    g_assert_true (is_closed (fds[i], PATIENCE_MS));
    close (fds[i]);
  }
}

/* The kernel says who a client is: no cookie in a file, no anonymity. */
static void
test_mechanisms (Helper *helper, gconstpointer data)
{
  static const char *const ways[] = { "AUTH DBUS_COOKIE_SHA1 726f6f74\r\n", "AUTH ANONYMOUS\r\n", "AUTH EXTERNAL 3939\r\n" };

  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    int fd = connect_raw (helper, HELPER_UID);
    char answer[256] = "";

    say (fd, "", 1);
    say (fd, ways[i], strlen (ways[i]));
    g_assert_cmpint (recv (fd, answer, sizeof answer - 1, 0), >, 0);
    g_assert_cmpstr (answer, ==, "REJECTED EXTERNAL\r\n");
    close (fd);
  }
}

/* Asks and asks, and reads no answer: given up, and nobody else notices. */
static void
test_unread (Helper *helper, gconstpointer data)
{
  int fd = connect_raw (helper, 0), small = 1;
  guint asked = 0;

  setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  g_assert_true (authenticate_raw (fd, 0));
  while (asked < 100000 && ask_raw (fd, "Describe"))
    asked++;
  g_assert_cmpuint (asked, <, 100000);
  g_assert_cmpuint (pid_of (helper), >, 0);
  close (fd);
}

/* Wants the helper to end, and is not there to read that it does: it ends all the same. What somebody has had put up meanwhile goes with it. */
static void
test_unread_quit (Helper *helper, gconstpointer data)
{
  int fd = connect_raw (helper, 0), pid_fd = (int) syscall (SYS_pidfd_open, pid_of (helper), 0);
  struct pollfd poll_fd = { .fd = pid_fd, .events = POLLIN };
  g_autoptr (GDBusConnection) other = connect_as_root (helper);
  g_autoptr (GVariant) reply = NULL;
  guint i;

  /* At once: there is a limit of time for it. */
  g_assert_true (authenticate_raw (fd, 0));
  for (i = 0; i < 600; i++) {
    char address[PILOT_IPV4_TEXT_SIZE];
    g_autoptr (GVariant) added = call (other, "AddAddress", g_variant_new ("(s)", pilot_ipv4_format (helper_ip ("10.77.100.1") + (i / 200 << 8) + i % 200, address)), NULL);

    g_assert_nonnull (added);
  }
  /* Fewer than are given up for, and the answers are more than the kernel holds. */
  for (i = 0; i < 60; i++)
    g_assert_true (ask_raw (fd, "ListAddresses"));
  g_assert_true (ask_raw (fd, "Quit"));
  reply = call (other, "AddAddress", g_variant_new ("(s)", "10.77.0.9"), NULL);
  g_assert_cmpint (poll (&poll_fd, 1, PATIENCE_MS), ==, 1);
  helper_wait_gone (helper);
  close (pid_fd);
  close (fd);
}

#ifndef __SANITIZE_ADDRESS__ /* it wants more room for its shadow than there is: the helper sets no bound then */
/* A message that claims to be long costs memory up to a bound, and the bound is there before anybody connects. */
static void
test_memory (Helper *helper, gconstpointer data)
{
  g_autofree char *path = g_strdup_printf ("/proc/%u/limits", pid_of (helper)), *limits = NULL;

  g_assert_true (g_file_get_contents (path, &limits, NULL, NULL));
  g_assert_true (g_regex_match_simple ("Max data size +268435456 +268435456 ", limits, 0, 0));
}
#endif

/* What whoever calls sudo left open is not kept, and what he left in the environment is not looked at: with this variable GDBus would print all it says. */
static void
test_inherited (Helper *helper, gconstpointer data)
{
  g_autofree char *stop = g_strdup_printf ("sh -c 'G_DBUS_DEBUG=all exec %s --uid %u --stop --socket %s 2>&1'", helper_program, HELPER_UID, helper->socket);
  g_autofree char *start = g_strdup_printf ("sh -c 'exec %s --uid %u --subnet %s --socket %s 7</etc/passwd'", helper_program, HELPER_UID, HELPER_CIDR, helper->socket);
  g_autofree char *said = helper_output (stop), *folder = NULL;
  g_autoptr (GDir) descriptors = NULL;
  const char *name;
  guint n = 0;

  g_assert_cmpstr (said, ==, "");
  helper_wait_gone (helper);
  helper_run (start);
  folder = g_strdup_printf ("/proc/%u/fd", pid_of (helper));
  descriptors = g_dir_open (folder, 0, NULL);
  g_assert_nonnull (descriptors);
  for (; (name = g_dir_read_name (descriptors)) != NULL; n++) {
    g_autofree char *path = g_build_filename (folder, name, NULL), *target = g_file_read_link (path, NULL);

    g_assert_cmpstr (target, !=, "/etc/passwd");
  }
  g_assert_cmpuint (n, >, 3);
}

/* ---- false helpers ---- */

static GDBusMessage *
lie (GDBusConnection *connection, GDBusMessage *message, gboolean incoming, gpointer user_data)
{
  g_autoptr (GDBusMessage) reply = NULL;

  if (!incoming || g_dbus_message_get_message_type (message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL)
    return message;
  reply = g_dbus_message_new_method_reply (message);
  g_dbus_message_set_body (reply, g_variant_new ("(s)", "10.77.0.1; rm -rf /"));
  g_dbus_connection_send_message (connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL);
  g_object_unref (message);
  return NULL;
}

static gboolean
on_false_client (GDBusServer *server, GDBusConnection *connection, gpointer user_data)
{
  g_dbus_connection_add_filter (connection, lie, NULL, NULL);
  g_object_set_data_full (G_OBJECT (server), "client", g_object_ref (connection), g_object_unref);
  return TRUE;
}

typedef struct {
  GMainContext *context;
  const char *address;
  gboolean ready, over; /* atomic */
} Liar;

static gpointer
serve (gpointer data)
{
  Liar *liar = data;
  g_autofree char *guid = g_dbus_generate_guid ();
  g_autoptr (GDBusServer) server = NULL;
  g_autoptr (GError) error = NULL;

  g_main_context_push_thread_default (liar->context);
  server = g_dbus_server_new_sync (liar->address, G_DBUS_SERVER_FLAGS_NONE, guid, NULL, NULL, &error);
  g_assert_no_error (error);
  g_signal_connect (server, "new-connection", G_CALLBACK (on_false_client), NULL);
  g_dbus_server_start (server);
  g_atomic_int_set (&liar->ready, TRUE);
  while (!g_atomic_int_get (&liar->over))
    g_main_context_iteration (liar->context, TRUE);
  g_dbus_server_stop (server);
  g_main_context_pop_thread_default (liar->context);
  return NULL;
}

/* It answers each question with a text. */
static void
test_false_helper (void)
{
  g_autofree char *folder = g_dir_make_tmp ("privileges-XXXXXX", NULL), *socket = g_build_filename (folder, "helper.sock", NULL);
  g_autofree char *address = g_strconcat ("unix:path=", socket, NULL);
  PilotSubnet subnet = helper_subnet (HELPER_CIDR);
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GVariant) description = NULL;
  g_autoptr (PilotPrivileged) remote = NULL;
  g_autoptr (GError) error = NULL;
  Liar liar = { context, address, FALSE, FALSE };
  GThread *thread = g_thread_new ("liar", serve, &liar);

  while (!g_atomic_int_get (&liar.ready))
    g_usleep (1000);
  description = pilot_helper_describe (socket, &error);
  g_assert_null (description);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  remote = pilot_privileged_remote_new (socket, &subnet, &error);
  g_assert_null (remote);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (pilot_helper_quit (socket, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_atomic_int_set (&liar.over, TRUE);
  g_main_context_wakeup (context);
  g_thread_join (thread);
  g_unlink (socket);
  g_rmdir (folder);
}

/* ---- what is left when nobody is there any more ---- */

static void
map_something (Helper *helper)
{
  g_autoptr (PilotPrivileged) remote = helper_connect (helper);
  g_autoptr (PilotPrivilegedPlan) plan = pilot_privileged_plan_new ();
  PilotRedirect *redirect = pilot_redirect_new (helper_ip ("10.77.0.1"), TRUE);
  guint32 address = helper_ip ("10.77.0.1");
  g_autoptr (GError) error = NULL;

  g_array_append_val (plan->add, address);
  g_ptr_array_add (plan->redirects, redirect);
  plan->set_rules = plan->want_redirect = TRUE;
  g_assert_true (pilot_privileged_apply (remote, plan, &error));
  g_assert_no_error (error);
}

/* Helper and daemon were killed. What has our name goes; what looks like it, and another user's, stays. */
static void
test_leftovers (Helper *helper, gconstpointer data)
{
  g_autofree char *before = NULL, *after = NULL, *addresses = NULL, *rules = NULL;
  guint32 pid = pid_of (helper);
  int pid_fd = (int) syscall (SYS_pidfd_open, pid, 0);
  struct pollfd poll_fd = { .fd = pid_fd, .events = POLLIN };

  helper_run ("ip addr add 10.77.0.7/32 dev lo");
  helper_run ("ip addr add 10.77.0.8/32 dev lo label lo:pilot1234");
  helper_run ("nft add table ip pilot_1234");
  helper_run ("nft add table inet pilot_12345");
  before = helper_output ("sh -c 'ip addr; nft list ruleset'");
  map_something (helper);
  g_assert_cmpint (kill ((pid_t) pid, SIGKILL), ==, 0);
  g_assert_cmpint (poll (&poll_fd, 1, PATIENCE_MS), ==, 1);
  close (pid_fd);
  addresses = helper_output ("ip -4 addr show lo label lo:pilot12345");
  g_assert_nonnull (strstr (addresses, "10.77.0.1"));
  rules = helper_output ("nft list table ip pilot_12345");
  g_assert_nonnull (strstr (rules, "10.77.0.1"));

  /* "--stop" is for a helper that runs. */
  g_assert_cmpint (helper_ask (helper, "--cleanup", NULL), ==, 0);
  after = helper_output ("sh -c 'ip addr; nft list ruleset'");
  g_assert_cmpstr (after, ==, before);
  g_assert_false (g_file_test (helper->socket, G_FILE_TEST_EXISTS));
  g_assert_cmpint (helper_ask (helper, "--cleanup", NULL), ==, 64 + PILOT_ERROR_NOT_RUNNING);
  helper_run ("ip addr del 10.77.0.7/32 dev lo");
  helper_run ("ip addr del 10.77.0.8/32 dev lo");
  helper_run ("nft delete table ip pilot_1234");
  helper_run ("nft delete table inet pilot_12345");
}

/* One that runs is asked to end, whoever is connected. */
static void
test_cleanup_of_living (Helper *helper, gconstpointer data)
{
  int fd = connect_raw (helper, HELPER_UID);

  map_something (helper);
  g_assert_cmpint (helper_ask (helper, "--cleanup", NULL), ==, 0);
  helper_wait_gone (helper);
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 80), !=, 0);
  close (fd);
}

/* ---- "no nftables" is told from what hides them ---- */

/* As in a kernel that was built without. */
static void
forbid_netfilter (void)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, args[2])),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, NETLINK_NETFILTER, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { G_N_ELEMENTS (filter), filter };

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit (3);
}

static void
forbid_descriptors (void)
{
  const struct rlimit none = { 0, 0 };

  if (setrlimit (RLIMIT_NOFILE, &none) != 0)
    _exit (3);
}

static void
forbid_capabilities (void)
{
  if (setresuid (HELPER_UID, HELPER_UID, HELPER_UID) != 0)
    _exit (3);
}

static void
test_no_nftables (void)
{
  static const struct {
    void (*forbid) (void);
    gboolean good;
    PilotError code;
  } ways[] = {
    { forbid_netfilter, TRUE, 0 },
    { forbid_descriptors, FALSE, PILOT_ERROR_IO },
    { forbid_capabilities, FALSE, PILOT_ERROR_PERMISSION_DENIED },
  };
  gboolean found = FALSE;
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_nft_rules_clear (HELPER_UID, &found, &error));
  g_assert_false (found);
  helper_run ("nft add table ip pilot_12345");
  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    int status;
    pid_t child = fork ();

    if (child == 0) {
      GError *child_error = NULL;
      gboolean good;

      ways[i].forbid ();
      good = pilot_nft_rules_clear (HELPER_UID, NULL, &child_error);
      _exit (good == ways[i].good && (good || g_error_matches (child_error, PILOT_ERROR, (int) ways[i].code)) ? 0 : 1);
    }
    g_assert_cmpint (waitpid (child, &status, 0), ==, child);
    g_assert_cmpint (status, ==, 0);
  }
  g_assert_true (pilot_nft_rules_clear (HELPER_UID, &found, &error));
  g_assert_no_error (error);
  g_assert_true (found);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 2);
  helper_program = argv[1];
  enter_namespace ();
  pilot_error_quark ();
  /* Forks: before any thread is there. */
  g_test_add_func ("/privileges/nftables", test_no_nftables);
  g_test_add_func ("/privileges/folder", test_folder);
  g_test_add_func ("/privileges/no-socket", test_no_socket);
  g_test_add_func ("/privileges/false-helper", test_false_helper);
  g_test_add_func ("/privileges/holder", test_holder);
#define ADD(path, func) g_test_add (path, Helper, NULL, helper_set_up, func, helper_tear_down)
  ADD ("/privileges/arguments", test_arguments);
  ADD ("/privileges/numbers", test_numbers);
  ADD ("/privileges/other-user", test_other_user);
  ADD ("/privileges/capabilities", test_privileges);
  ADD ("/privileges/mechanisms", test_mechanisms);
  ADD ("/privileges/places", test_places);
  ADD ("/privileges/hasty", test_hasty);
  ADD ("/privileges/silent", test_silent);
  ADD ("/privileges/unread", test_unread);
  ADD ("/privileges/unread-quit", test_unread_quit);
#ifndef __SANITIZE_ADDRESS__
  ADD ("/privileges/memory", test_memory);
#endif
  ADD ("/privileges/inherited", test_inherited);
  ADD ("/privileges/leftovers", test_leftovers);
  ADD ("/privileges/cleanup-of-living", test_cleanup_of_living);
  return g_test_run ();
}
