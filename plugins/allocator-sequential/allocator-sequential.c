/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "allocator-sequential.h"

#define DEFAULT_SUBNET "10.4.0.0/16"

struct _PilotAllocatorSequential {
  PilotAllocator parent_instance;

  gchar *subnet;
  guint32 base;           /* the subnet's first address; host byte order as all here */
  guint32 size;           /* how many addresses it has, the first and last included */
  guint32 cursor;         /* offset of the last address that was given in turn; 0: none yet */
  GHashTable *by_local;   /* IP → PilotAddress, owned by by_address */
  GHashTable *by_address; /* PilotAddress → IP */
};

G_DEFINE_FINAL_TYPE (PilotAllocatorSequential, pilot_allocator_sequential, PILOT_TYPE_ALLOCATOR)

static const PilotPluginSetting settings[] = {
  { "subnet", "s", "IPv4 subnet the addresses are from; default \"" DEFAULT_SUBNET "\"" },
  { NULL }
};

static gboolean
get_ipv4 (GInetAddress *address,
          guint32 *value)
{
  const guint8 *bytes = g_inet_address_to_bytes (address);

  if (g_inet_address_get_family (address) != G_SOCKET_FAMILY_IPV4)
    return FALSE;
  *value = (guint32) bytes[0] << 24 | (guint32) bytes[1] << 16 | (guint32) bytes[2] << 8 | bytes[3];
  return TRUE;
}

static GInetAddress *
new_ipv4 (guint32 value)
{
  const guint8 bytes[4] = { (guint8) (value >> 24), (guint8) (value >> 16), (guint8) (value >> 8), (guint8) value };

  return g_inet_address_new_from_bytes (bytes, G_SOCKET_FAMILY_IPV4);
}

static gboolean
is_inside (PilotAllocatorSequential *self,
           guint32 local)
{
  return local - self->base < self->size;
}

/* Addresses that old software takes for a network's or a broadcast address are never given. */
static gboolean
is_usable (PilotAllocatorSequential *self,
           guint32 local)
{
  const guint32 last = self->base + self->size - 1;

  return is_inside (self, local) && local != self->base && local != last && (local & 0xff) != 0 && (local & 0xff) != 0xff;
}

static void
take (PilotAllocatorSequential *self,
      const PilotAddress *address,
      guint32 local)
{
  PilotAddress *key = g_memdup2 (address, sizeof *address);

  g_hash_table_insert (self->by_address, key, GUINT_TO_POINTER (local));
  g_hash_table_insert (self->by_local, GUINT_TO_POINTER (local), key);
}

static gboolean
check_wanted (PilotAllocatorSequential *self,
              const PilotAddress *address,
              GInetAddress *wanted,
              guint32 *local,
              GError **error)
{
  g_autofree gchar *text = g_inet_address_to_string (wanted);
  gchar name[PILOT_ADDRESS_TEXT_SIZE];
  const PilotAddress *holder;
  gpointer current;

  if (!get_ipv4 (wanted, local) || !is_inside (self, *local)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is outside the subnet %s", text, self->subnet);
    return FALSE;
  }
  if (!is_usable (self, *local)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "\"%s\" is reserved: addresses ending in .0 or .255 and the last of the subnet are never given", text);
    return FALSE;
  }
  holder = g_hash_table_lookup (self->by_local, GUINT_TO_POINTER (*local));
  if (holder != NULL && !pilot_address_equal (holder, address)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "\"%s\" is in use by %s", text,
                 pilot_address_format (holder, name));
    return FALSE;
  }
  current = g_hash_table_lookup (self->by_address, address);
  if (current != NULL && GPOINTER_TO_UINT (current) != *local) {
    g_autoptr (GInetAddress) other = new_ipv4 (GPOINTER_TO_UINT (current));
    g_autofree gchar *other_text = g_inet_address_to_string (other);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "%s already has \"%s\"",
                 pilot_address_format (address, name), other_text);
    return FALSE;
  }
  return TRUE;
}

/* Forward from the last one given, around once: an address that was just released is the last to come again. */
static gboolean
find_next (PilotAllocatorSequential *self,
           guint32 *local)
{
  guint32 offset = self->cursor;

  for (guint32 tries = 0; tries < self->size; tries++) {
    offset = offset + 1 < self->size ? offset + 1 : 0;
    *local = self->base + offset;
    if (is_usable (self, *local) && !g_hash_table_contains (self->by_local, GUINT_TO_POINTER (*local))) {
      self->cursor = offset;
      return TRUE;
    }
  }
  return FALSE;
}

static GInetAddress *
pilot_allocator_sequential_allocate (PilotAllocator *allocator,
                                     const PilotAddress *address,
                                     GInetAddress *wanted,
                                     GError **error)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (allocator);
  gpointer current = g_hash_table_lookup (self->by_address, address);
  guint32 local;

  if (wanted != NULL) {
    if (!check_wanted (self, address, wanted, &local, error))
      return NULL;
  } else if (current != NULL) {
    local = GPOINTER_TO_UINT (current);
  } else if (!find_next (self, &local)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "every address of the subnet %s is in use, unmap one first",
                 self->subnet);
    return NULL;
  }
  if (current == NULL)
    take (self, address, local);
  return new_ipv4 (local);
}

static gboolean
pilot_allocator_sequential_release (PilotAllocator *allocator,
                                    const PilotAddress *address,
                                    GError **error)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (allocator);
  gpointer current = g_hash_table_lookup (self->by_address, address);
  gchar name[PILOT_ADDRESS_TEXT_SIZE];

  if (current == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "%s has no local address", pilot_address_format (address, name));
    return FALSE;
  }
  g_hash_table_remove (self->by_local, current);
  g_hash_table_remove (self->by_address, address);
  return TRUE;
}

static gboolean
pilot_allocator_sequential_restore (PilotAllocator *allocator,
                                    const PilotAddress *address,
                                    GInetAddress *local,
                                    GError **error)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (allocator);
  g_autoptr (GInetAddress) given = pilot_allocator_sequential_allocate (allocator, address, local, error);
  guint32 value;

  if (given == NULL)
    return FALSE;
  /* The cursor of the run before is not known; behind the highest address seen is the nearest to it. */
  if (get_ipv4 (local, &value))
    self->cursor = MAX (self->cursor, value - self->base);
  return TRUE;
}

static gboolean
check_given_out (PilotAllocatorSequential *self,
                 guint32 base,
                 guint32 size,
                 GInetAddressMask *subnet,
                 GError **error)
{
  GHashTableIter iter;
  gpointer local;

  g_hash_table_iter_init (&iter, self->by_local);
  while (g_hash_table_iter_next (&iter, &local, NULL)) {
    const guint32 offset = GPOINTER_TO_UINT (local) - base;

    if (offset == 0 || offset >= size - 1) {
      g_autoptr (GInetAddress) address = new_ipv4 (GPOINTER_TO_UINT (local));
      g_autofree gchar *text = g_inet_address_to_string (address);
      g_autofree gchar *cidr = g_inet_address_mask_to_string (subnet);

      g_set_error (error, PILOT_ERROR, PILOT_ERROR_BUSY, "\"%s\" is in use and outside \"%s\", unmap it first", text, cidr);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
pilot_allocator_sequential_set_subnet (PilotAllocator *allocator,
                                       GInetAddressMask *subnet,
                                       GError **error)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (allocator);
  const guint length = g_inet_address_mask_get_length (subnet);
  guint32 base, size;

  if (!get_ipv4 (g_inet_address_mask_get_address (subnet), &base) || length < 8 || length > 30) {
    g_autofree gchar *text = g_inet_address_mask_to_string (subnet);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "the subnet \"%s\" does not suit (expected IPv4 with a length from 8 to 30)", text);
    return FALSE;
  }
  size = 1u << (32 - length);
  if (!check_given_out (self, base, size, subnet, error))
    return FALSE;
  /* With nothing given out it is a fresh beginning: the first address is the first one again. */
  if (base != self->base || size != self->size || g_hash_table_size (self->by_local) == 0)
    self->cursor = 0;
  self->base = base;
  self->size = size;
  g_free (self->subnet);
  self->subnet = g_strdup_printf ("%u.%u.%u.%u/%u", base >> 24, base >> 16 & 0xff, base >> 8 & 0xff, base & 0xff, length);
  return TRUE;
}

static const gchar *
pilot_allocator_sequential_get_subnet (PilotAllocator *allocator)
{
  return PILOT_ALLOCATOR_SEQUENTIAL (allocator)->subnet;
}

static gboolean
pilot_allocator_sequential_enable (PilotPlugin *plugin,
                                   GError **error)
{
  const gchar *subnet;

  if (!pilot_plugin_check_settings (plugin, settings, error))
    return FALSE;
  if (pilot_plugin_lookup_setting (plugin, "subnet", "&s", &subnet))
    return pilot_allocator_set_subnet (PILOT_ALLOCATOR (plugin), subnet, error);
  return TRUE;
}

static gboolean
pilot_allocator_sequential_disable (PilotPlugin *plugin,
                                    GError **error)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (plugin);

  g_hash_table_remove_all (self->by_local);
  g_hash_table_remove_all (self->by_address);
  self->cursor = 0;
  return TRUE;
}

static void
pilot_allocator_sequential_finalize (GObject *object)
{
  PilotAllocatorSequential *self = PILOT_ALLOCATOR_SEQUENTIAL (object);

  g_hash_table_unref (self->by_local);
  g_hash_table_unref (self->by_address);
  g_free (self->subnet);
  G_OBJECT_CLASS (pilot_allocator_sequential_parent_class)->finalize (object);
}

static void
pilot_allocator_sequential_class_init (PilotAllocatorSequentialClass *klass)
{
  PilotPluginClass *plugin_class = PILOT_PLUGIN_CLASS (klass);
  PilotAllocatorClass *allocator_class = PILOT_ALLOCATOR_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_allocator_sequential_finalize;
  plugin_class->enable = pilot_allocator_sequential_enable;
  plugin_class->disable = pilot_allocator_sequential_disable;
  allocator_class->allocate = pilot_allocator_sequential_allocate;
  allocator_class->release = pilot_allocator_sequential_release;
  allocator_class->restore = pilot_allocator_sequential_restore;
  allocator_class->set_subnet = pilot_allocator_sequential_set_subnet;
  allocator_class->get_subnet = pilot_allocator_sequential_get_subnet;
}

static void
pilot_allocator_sequential_init (PilotAllocatorSequential *self)
{
  self->by_local = g_hash_table_new (NULL, NULL);
  self->by_address = g_hash_table_new_full (pilot_address_hash, pilot_address_equal_func, g_free, NULL);
  self->base = 10u << 24 | 4u << 16;
  self->size = 1u << 16;
  self->subnet = g_strdup (DEFAULT_SUBNET);
}
