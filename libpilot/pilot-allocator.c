/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-allocator.h"

#include <string.h>

#include "pilot-error.h"

enum {
  PROP_SUBNET = 1,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_ABSTRACT_TYPE (PilotAllocator, pilot_allocator, PILOT_TYPE_PLUGIN)

static GInetAddress *
pilot_allocator_real_allocate (PilotAllocator *self,
                               const PilotAddress *address,
                               GInetAddress *wanted,
                               GError **error)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "this allocator gives no addresses");
  return NULL;
}

static gboolean
pilot_allocator_real_release (PilotAllocator *self,
                              const PilotAddress *address,
                              GError **error)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no address was given out");
  return FALSE;
}

static gboolean
pilot_allocator_real_restore (PilotAllocator *self,
                              const PilotAddress *address,
                              GInetAddress *local,
                              GError **error)
{
  g_autoptr (GInetAddress) given = PILOT_ALLOCATOR_GET_CLASS (self)->allocate (self, address, local, error);

  return given != NULL;
}

static gboolean
pilot_allocator_real_set_subnet (PilotAllocator *self,
                                 GInetAddressMask *subnet,
                                 GError **error)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "the subnet is \"%s\" and cannot be changed",
               pilot_allocator_get_subnet (self));
  return FALSE;
}

static const gchar *
pilot_allocator_real_get_subnet (PilotAllocator *self)
{
  return "";
}

static void
pilot_allocator_get_property (GObject *object,
                              guint id,
                              GValue *value,
                              GParamSpec *pspec)
{
  switch (id) {
  case PROP_SUBNET:
    g_value_set_string (value, pilot_allocator_get_subnet (PILOT_ALLOCATOR (object)));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
pilot_allocator_class_init (PilotAllocatorClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = pilot_allocator_get_property;
  klass->allocate = pilot_allocator_real_allocate;
  klass->release = pilot_allocator_real_release;
  klass->restore = pilot_allocator_real_restore;
  klass->set_subnet = pilot_allocator_real_set_subnet;
  klass->get_subnet = pilot_allocator_real_get_subnet;

  properties[PROP_SUBNET] = g_param_spec_string ("subnet", NULL, NULL, NULL,
                                                 G_PARAM_READABLE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
pilot_allocator_init (PilotAllocator *self)
{
}

GInetAddress *
pilot_allocator_allocate (PilotAllocator *self,
                          const PilotAddress *address,
                          GInetAddress *wanted,
                          GError **error)
{
  g_return_val_if_fail (PILOT_IS_ALLOCATOR (self), NULL);
  g_return_val_if_fail (address != NULL, NULL);

  return PILOT_ALLOCATOR_GET_CLASS (self)->allocate (self, address, wanted, error);
}

gboolean
pilot_allocator_release (PilotAllocator *self,
                         const PilotAddress *address,
                         GError **error)
{
  g_return_val_if_fail (PILOT_IS_ALLOCATOR (self), FALSE);
  g_return_val_if_fail (address != NULL, FALSE);

  return PILOT_ALLOCATOR_GET_CLASS (self)->release (self, address, error);
}

gboolean
pilot_allocator_restore (PilotAllocator *self,
                         const PilotAddress *address,
                         GInetAddress *local,
                         GError **error)
{
  g_return_val_if_fail (PILOT_IS_ALLOCATOR (self), FALSE);
  g_return_val_if_fail (address != NULL && G_IS_INET_ADDRESS (local), FALSE);

  return PILOT_ALLOCATOR_GET_CLASS (self)->restore (self, address, local, error);
}

GInetAddressMask *
pilot_subnet_parse (const gchar *cidr,
                    GError **error)
{
  g_autoptr (GInetAddressMask) mask = NULL;
  g_autofree gchar *quoted = NULL;
  const gchar *slash;

  g_return_val_if_fail (cidr != NULL, NULL);

  /* GLib also takes an address alone, and leading zeros and signs in the length; a subnet says its length plainly. */
  slash = strchr (cidr, '/');
  if (slash != NULL && g_ascii_isdigit (slash[1]) && (slash[1] != '0' || slash[2] == '\0'))
    mask = g_inet_address_mask_new_from_string (cidr, NULL);
  if (mask != NULL)
    return g_steal_pointer (&mask);
  quoted = pilot_error_quote (cidr, -1);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
               "invalid subnet: \"%s\" (expected ADDRESS/LENGTH without host bits, as 10.4.0.0/16)", quoted);
  return NULL;
}

gboolean
pilot_allocator_set_subnet (PilotAllocator *self,
                            const gchar *cidr,
                            GError **error)
{
  g_autoptr (GInetAddressMask) mask = NULL;

  g_return_val_if_fail (PILOT_IS_ALLOCATOR (self), FALSE);

  mask = pilot_subnet_parse (cidr, error);
  if (mask == NULL || !PILOT_ALLOCATOR_GET_CLASS (self)->set_subnet (self, mask, error))
    return FALSE;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_SUBNET]);
  return TRUE;
}

const gchar *
pilot_allocator_get_subnet (PilotAllocator *self)
{
  g_return_val_if_fail (PILOT_IS_ALLOCATOR (self), NULL);

  return PILOT_ALLOCATOR_GET_CLASS (self)->get_subnet (self);
}
