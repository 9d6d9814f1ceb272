/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

/* Straight from the kernel's interface (capabilities(7)): two masks and one call are not worth a library. */
static gboolean
capability_get (struct __user_cap_data_struct data[2])
{
  struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

  return syscall (SYS_capget, &header, data) == 0;
}

gboolean
pilot_capability_has_net_admin (void)
{
  struct __user_cap_data_struct data[2] = { 0 };

  return capability_get (data) && (data[0].effective & (1u << CAP_NET_ADMIN)) != 0;
}

gboolean
pilot_capability_drop_others (GError **error)
{
  struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
  struct __user_cap_data_struct data[2] = { 0 };
  guint32 wanted = 1u << CAP_NET_ADMIN | 1u << CAP_NET_BIND_SERVICE;

  for (int capability = 0; prctl (PR_CAPBSET_READ, capability) >= 0; capability++)
    if (capability != CAP_NET_ADMIN && capability != CAP_NET_BIND_SERVICE)
      /* Needs CAP_SETPCAP; without it there is nothing a later execve() could bring but what is kept anyway. */
      prctl (PR_CAPBSET_DROP, capability);
  if (!capability_get (data))
    wanted = 0;
  data[0].permitted &= wanted;
  data[0].effective = data[0].permitted;
  data[0].inheritable = 0;
  data[1] = (struct __user_cap_data_struct) { 0 };
  if (wanted == 0 || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall (SYS_capset, &header, data) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "cannot drop privileges: %s", g_strerror (errno));
    return FALSE;
  }
  return TRUE;
}
