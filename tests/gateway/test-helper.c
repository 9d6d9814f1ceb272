/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The privileged work, in a network namespace of the test's own: in process, and through the real pilot-helper. Its enemies: tests/privileges. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/helper/privileged-local.h"
#include "daemon/helper/privileged-remote.h"
#include "daemon/helper/subnet.h"
#include "libpilot/pilot-error.h"
#include "tests/gateway/helper-fixture.h"
#include "tests/gateway/namespace.h"

static void
test_subnet (void)
{
  static const char *const bad[] = { "", "10.4.0.0", "10.4.0.1/16", "10.4.0.0/7", "10.4.0.0/31", "10.4.0.0/016x", "10.4/16", "0.0.0.0/8",
                                     "224.0.0.0/8", "10.4.0.0/-1", "10.4.0.0/16 ", " 10.4.0.0/16", "10.4.0.0/99999999999999999999" };
  static const char *const bad_hosts[] = { "10.77.0.0", "10.77.255.255", "10.77.3.0", "10.77.3.255", "10.78.0.1", "127.0.0.1" };
  PilotSubnet value = helper_subnet (HELPER_CIDR), loopback = helper_subnet ("127.0.0.0/8");

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    PilotSubnet unused;

    g_assert_false (pilot_subnet_parse_text (bad[i], &unused, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_hosts); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pilot_subnet_check_host (&value, helper_ip (bad_hosts[i]), &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
  g_assert_true (pilot_subnet_check_host (&value, helper_ip ("10.77.3.4"), NULL));
  g_assert_false (pilot_subnet_check_host (&loopback, helper_ip ("127.0.0.1"), NULL));
  g_assert_true (pilot_subnet_overlaps (&value, helper_ip ("10.0.0.0"), 8));
  g_assert_true (pilot_subnet_overlaps (&value, helper_ip ("10.77.9.0"), 24));
  g_assert_false (pilot_subnet_overlaps (&value, helper_ip ("10.78.0.0"), 16));
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
  PilotSubnet value = helper_subnet (HELPER_CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (HELPER_UID, &value);
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (local);
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) list = NULL;
  g_autofree char *before = NULL, *after = NULL;

  helper_run ("ip addr add 10.77.0.9/32 dev lo");
  before = helper_output ("ip -4 addr show lo");
  g_assert_false (iface->add_address (local, helper_ip ("10.77.0.9"), &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_false (iface->remove_address (local, helper_ip ("10.77.0.9"), &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (iface->check_overlap (local, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.77.0.9"));
  g_clear_error (&error);

  g_assert_true (iface->add_address (local, helper_ip ("10.77.0.1"), &error));
  g_assert_true (iface->add_address (local, helper_ip ("10.77.0.1"), &error));
  list = iface->list_addresses (local, &error);
  g_assert_cmpuint (list->len, ==, 1);
  g_assert_true (iface->cleanup (local, TRUE, &error));
  g_assert_no_error (error);
  after = helper_output ("ip -4 addr show lo");
  g_assert_cmpstr (before, ==, after);
  helper_run ("ip addr del 10.77.0.9/32 dev lo");
  g_assert_true (iface->check_overlap (local, &error));
  g_assert_no_error (error);
}

static void
test_overlapping_route (void)
{
  PilotSubnet value = helper_subnet (HELPER_CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (HELPER_UID, &value);
  g_autoptr (GError) error = NULL;

  helper_run ("ip route add blackhole 10.77.8.0/24");
  g_assert_false (PILOT_PRIVILEGED_GET_IFACE (local)->check_overlap (local, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.77.8.0/24"));
  helper_run ("ip route del blackhole 10.77.8.0/24");
}

static PilotPrivilegedPlan *
redirect_plan (const char *address, gboolean every, guint16 port)
{
  PilotPrivilegedPlan *plan = pilot_privileged_plan_new ();
  PilotRedirect *redirect = pilot_redirect_new (helper_ip (address), every);
  guint32 local = helper_ip (address);

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
  PilotSubnet value = helper_subnet (HELPER_CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (HELPER_UID, &value);
  g_autoptr (PilotPrivilegedPlan) plan = redirect_plan ("10.77.0.1", FALSE, 80);
  g_autoptr (GArray) list = NULL;
  g_autoptr (GError) error = NULL;
  guint32 outside = helper_ip ("10.78.0.1");

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
  PilotSubnet value = helper_subnet (HELPER_CIDR);
  g_autoptr (PilotPrivileged) local = pilot_privileged_local_new (HELPER_UID, &value);
  g_autoptr (PilotPrivilegedPlan) plan = pilot_privileged_plan_new ();
  g_autoptr (PilotPrivilegedPlan) second = pilot_privileged_plan_new ();
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (8080) };
  int held = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  guint32 address = helper_ip ("10.77.0.1");
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
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 80), ==, 0);
  request = g_ptr_array_index (plan->listeners, 1);
  g_assert_cmpint (request->fd, ==, -1);
  g_assert_error (request->error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_nonnull (strstr (request->error->message, pid));

  /* No port at all: the whole is refused. */
  address = helper_ip ("10.77.0.2");
  g_array_append_val (second->add, address);
  g_array_append_val (second->require, address);
  pilot_privileged_plan_add_listener (second, address, 8080);
  g_assert_false (pilot_privileged_apply (local, second, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_cmpint (PILOT_PRIVILEGED_GET_IFACE (local)->cleanup (local, TRUE, NULL), ==, TRUE);
  close (held);
}

/* One in use stays; one with nothing to do goes, and one that is not there is no error. */
static void
test_helper_stop (Helper *helper, gconstpointer data)
{
  g_autoptr (PilotPrivileged) remote = helper_connect (helper);
  g_autoptr (PilotPrivilegedPlan) plan = redirect_plan ("10.77.0.1", FALSE, 80);
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_privileged_apply (remote, plan, &error));
  g_assert_no_error (error);
  g_assert_cmpint (helper_ask (helper, "--stop", NULL), ==, 64 + PILOT_ERROR_CONFLICT);
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 81), ==, ECONNREFUSED);
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->cleanup (remote, FALSE, &error));
  g_assert_no_error (error);
  g_assert_cmpint (helper_ask (helper, "--stop", NULL), ==, 0);
  helper_wait_gone (helper);
  g_assert_cmpint (helper_ask (helper, "--stop", NULL), ==, 0);
}

static void
test_helper_redirects (Helper *helper, gconstpointer data)
{
  g_autoptr (PilotPrivileged) remote = helper_connect (helper);
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
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 80), ==, 0);
  server = -1;
  for (guint tries = 0; server < 0 && tries < 500; tries++) {
    server = accept (plan->redirect_fd, NULL, NULL);
    if (server < 0)
      g_usleep (10000);
  }
  g_assert_cmpint (getsockopt (server, SOL_IP, 80, &name, &length), ==, 0);
  g_assert_cmpuint (ntohl (name.sin_addr.s_addr), ==, helper_ip ("10.77.0.1"));
  g_assert_cmpuint (ntohs (name.sin_port), ==, 80);
  close (server);
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 81), ==, ECONNREFUSED);

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
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 80), ==, ECONNREFUSED);

  /* The next one gets the same socket back, and all is as before. */
  remote = helper_connect (helper);
  g_assert_true (pilot_privileged_apply (remote, again, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (again->redirect_port, ==, port);
  g_assert_cmpint (helper_try_connect ("10.77.0.1", 80), ==, 0);
}

static void
test_helper_starts_again (Helper *helper, gconstpointer data)
{
  g_autofree char *errors = NULL;
  g_autoptr (PilotPrivileged) remote = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (helper_start (helper, HELPER_UID, HELPER_CIDR, NULL), ==, 0);
  remote = helper_connect (helper);
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->add_address (remote, helper_ip ("10.77.0.1"), &error));
  g_assert_cmpint (helper_start (helper, HELPER_UID, "10.78.0.0/16", &errors), ==, 64 + PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (errors, HELPER_CIDR));
  g_assert_true (PILOT_PRIVILEGED_GET_IFACE (remote)->remove_address (remote, helper_ip ("10.77.0.1"), &error));
  g_assert_no_error (error);
  /* Nothing is mapped: it makes way. The new one has talked to it, and has no more privileges for that. */
  g_assert_cmpint (helper_start (helper, HELPER_UID, "10.78.0.0/16", NULL), ==, 0);
  helper_assert_few_privileges (helper);
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
#define ADD(path, func) g_test_add (path, Helper, NULL, helper_set_up, func, helper_tear_down)
  ADD ("/helper/program/stop", test_helper_stop);
  ADD ("/helper/program/redirects", test_helper_redirects);
  ADD ("/helper/program/starts-again", test_helper_starts_again);
  return g_test_run ();
}
