/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/helper/netlink-address.h"

/* A network namespace of the test's own: nothing here touches the machine. First thing in main(), before any thread. */
static inline void
enter_namespace (void)
{
  g_autoptr (GError) error = NULL;

  if (geteuid () != 0 || unshare (CLONE_NEWNET) != 0) {
    g_print ("1..0 # SKIP needs root, for a network namespace of its own\n");
    exit (77);
  }
  pilot_netlink_set_loopback_up (&error);
  g_assert_no_error (error);
}
