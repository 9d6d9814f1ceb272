/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/privileged-local.h"

#include "daemon/helper/host-network.h"

struct _PilotPrivilegedLocal {
  GObject parent_instance;
  PilotHostNetwork *network;
};

static void pilot_privileged_local_interface_init (PilotPrivilegedInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (PilotPrivilegedLocal, pilot_privileged_local, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (PILOT_TYPE_PRIVILEGED, pilot_privileged_local_interface_init))

static PilotHostNetwork *
network_of (PilotPrivileged *self)
{
  return PILOT_PRIVILEGED_LOCAL (self)->network;
}

static gboolean
local_check_overlap (PilotPrivileged *self, GError **error)
{
  return pilot_host_network_check_overlap (network_of (self), error);
}

static gboolean
local_add_address (PilotPrivileged *self, guint32 address, GError **error)
{
  return pilot_host_network_add_address (network_of (self), address, error);
}

static gboolean
local_remove_address (PilotPrivileged *self, guint32 address, GError **error)
{
  return pilot_host_network_remove_address (network_of (self), address, error);
}

static GArray *
local_list_addresses (PilotPrivileged *self, GError **error)
{
  return pilot_host_network_list_addresses (network_of (self), error);
}

static gboolean
local_set_rules (PilotPrivileged *self, const GPtrArray *redirects, GError **error)
{
  return pilot_host_network_set_rules (network_of (self), redirects, error);
}

static int
local_open_listener (PilotPrivileged *self, guint32 address, guint16 port, GError **error)
{
  return pilot_host_network_open_listener (network_of (self), address, port, error);
}

static int
local_open_redirect_listener (PilotPrivileged *self, guint16 *port, GError **error)
{
  return pilot_host_network_open_redirect_listener (network_of (self), port, error);
}

static gboolean
local_cleanup (PilotPrivileged *self, gboolean quit, GError **error)
{
  return pilot_host_network_cleanup (network_of (self), error);
}

static gboolean
local_is_alive (PilotPrivileged *self)
{
  return TRUE;
}

static void
pilot_privileged_local_interface_init (PilotPrivilegedInterface *iface)
{
  iface->check_overlap = local_check_overlap;
  iface->add_address = local_add_address;
  iface->remove_address = local_remove_address;
  iface->list_addresses = local_list_addresses;
  iface->set_rules = local_set_rules;
  iface->open_listener = local_open_listener;
  iface->open_redirect_listener = local_open_redirect_listener;
  iface->cleanup = local_cleanup;
  iface->is_alive = local_is_alive;
}

static void
pilot_privileged_local_init (PilotPrivilegedLocal *local)
{
}

static void
pilot_privileged_local_finalize (GObject *object)
{
  g_clear_object (&PILOT_PRIVILEGED_LOCAL (object)->network);
  G_OBJECT_CLASS (pilot_privileged_local_parent_class)->finalize (object);
}

static void
pilot_privileged_local_class_init (PilotPrivilegedLocalClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_privileged_local_finalize;
}

PilotPrivileged *
pilot_privileged_local_new (guint32 uid, const PilotSubnet *subnet)
{
  PilotPrivilegedLocal *local = g_object_new (PILOT_TYPE_PRIVILEGED_LOCAL, NULL);

  local->network = pilot_host_network_new (uid, subnet);
  return PILOT_PRIVILEGED (local);
}
