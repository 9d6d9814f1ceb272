/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mock-allocator.h"

#define SLOTS 200

struct _MockAllocator {
  PilotAllocator parent_instance;

  PilotAddress slots[SLOTS]; /* zero: free */
};

G_DEFINE_FINAL_TYPE (MockAllocator, mock_allocator, PILOT_TYPE_ALLOCATOR)

static GInetAddress *
slot_address (guint slot)
{
  const guint8 bytes[4] = { 192, 0, 2, (guint8) (slot + 1) };

  return g_inet_address_new_from_bytes (bytes, G_SOCKET_FAMILY_IPV4);
}

static gint
find (MockAllocator *self,
      const PilotAddress *address)
{
  for (gint i = 0; i < SLOTS; i++)
    if (pilot_address_equal (&self->slots[i], address))
      return i;
  return -1;
}

static GInetAddress *
allocate (PilotAllocator *allocator,
          const PilotAddress *address,
          GInetAddress *wanted,
          GError **error)
{
  MockAllocator *self = MOCK_ALLOCATOR (allocator);
  gint slot = find (self, address);
  gint target = slot;

  if (wanted != NULL) {
    const guint8 *b = g_inet_address_to_bytes (wanted);

    if (g_inet_address_get_family (wanted) != G_SOCKET_FAMILY_IPV4 || b[0] != 192 || b[1] != 0 || b[2] != 2 || b[3] == 0 ||
        b[3] > SLOTS) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "outside");
      return NULL;
    }
    target = b[3] - 1;
    if ((slot >= 0 && slot != target) ||
        (!pilot_address_is_zero (&self->slots[target]) && !pilot_address_equal (&self->slots[target], address))) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "in use");
      return NULL;
    }
  }
  if (target < 0)
    target = find (self, &(PilotAddress) PILOT_ADDRESS_INIT);
  if (target < 0) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "full");
    return NULL;
  }
  self->slots[target] = *address;
  return slot_address ((guint) target);
}

static gboolean
release (PilotAllocator *allocator,
         const PilotAddress *address,
         GError **error)
{
  MockAllocator *self = MOCK_ALLOCATOR (allocator);
  gint slot = find (self, address);

  if (slot < 0) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "has none");
    return FALSE;
  }
  self->slots[slot] = (PilotAddress) PILOT_ADDRESS_INIT;
  return TRUE;
}

static const gchar *
get_subnet (PilotAllocator *allocator)
{
  return "192.0.2.0/24";
}

static gboolean
enable (PilotPlugin *plugin,
        GError **error)
{
  static const PilotPluginSetting none[] = { { NULL } };

  return pilot_plugin_check_settings (plugin, none, error);
}

static void
mock_allocator_class_init (MockAllocatorClass *klass)
{
  PILOT_PLUGIN_CLASS (klass)->enable = enable;
  PILOT_ALLOCATOR_CLASS (klass)->allocate = allocate;
  PILOT_ALLOCATOR_CLASS (klass)->release = release;
  PILOT_ALLOCATOR_CLASS (klass)->get_subnet = get_subnet;
}

static void
mock_allocator_init (MockAllocator *self)
{
}
