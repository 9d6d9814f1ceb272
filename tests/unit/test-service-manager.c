/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpilot/pilot-service-manager.h"
#include "tests/unit/count-warnings.h"

/* A datagram socket at @name, whose first byte may be '@': the abstract name space. */
static int
listen_at (const char *name)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpuint (strlen (name), <, sizeof address.sun_path);
  memcpy (address.sun_path, name, strlen (name));
  if (name[0] == '@')
    address.sun_path[0] = '\0';
  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, (socklen_t) (offsetof (struct sockaddr_un, sun_path) + strlen (name))), ==, 0);
  return fd;
}

static void
check_told (const char *name)
{
  int fd = listen_at (name);
  char got[32] = { 0 };

  g_setenv ("NOTIFY_SOCKET", name, TRUE);
  pilot_service_manager_notify ("READY=1");
  g_assert_cmpint (recv (fd, got, sizeof got - 1, MSG_DONTWAIT), ==, 7);
  g_assert_cmpstr (got, ==, "READY=1");
  close (fd);
}

static void
test_told (void)
{
  g_autofree char *folder = g_dir_make_tmp ("service-manager-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "notify", NULL);
  g_autofree char *name = g_strdup_printf ("@pilot-test-service-manager-%d", (int) getpid ());

  n_warnings = 0;
  check_told (path);
  check_told (name);
  g_assert_cmpuint (n_warnings, ==, 0);
  g_assert_cmpint (g_unlink (path), ==, 0);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

static void
test_not_told (void)
{
  g_autofree char *too_long = g_strnfill (200, '/');
  const char *const wrong[] = { "relative", "@", "/", too_long, "/nonexistent/notify" };

  n_warnings = 0;
  g_unsetenv ("NOTIFY_SOCKET");
  pilot_service_manager_notify ("READY=1");
  g_setenv ("NOTIFY_SOCKET", "", TRUE);
  pilot_service_manager_notify ("READY=1");
  g_assert_cmpuint (n_warnings, ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_setenv ("NOTIFY_SOCKET", wrong[i], TRUE);
    pilot_service_manager_notify ("READY=1");
    g_assert_cmpuint (n_warnings, ==, i + 1);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  count_warnings_begin ();
  g_test_add_func ("/service-manager/told", test_told);
  g_test_add_func ("/service-manager/not-told", test_not_told);
  return g_test_run ();
}
