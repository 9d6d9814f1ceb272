/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smallest useful plugin: an allocator that gives node 0x0000AABB the address 10.5.170.187, the same on every machine. */
#include <pilot.h>

#define PILOT_TYPE_TEMPLATE (pilot_template_get_type ())
G_DECLARE_FINAL_TYPE (PilotTemplate, pilot_template, PILOT, TEMPLATE, PilotAllocator)

struct _PilotTemplate {
  PilotAllocator parent_instance;

  guint8 second; /* 10.SECOND.0.0/16 */
  gchar *subnet;
  GHashTable *given; /* set of node ids */
};

G_DEFINE_FINAL_TYPE (PilotTemplate, pilot_template, PILOT_TYPE_ALLOCATOR)

static const PilotPluginSetting settings[] = {
  { "second", "x", "the subnet is 10.SECOND.0.0/16; default 5" },
  { NULL }
};

static GInetAddress *
pilot_template_allocate (PilotAllocator *allocator,
                         const PilotAddress *address,
                         GInetAddress *wanted,
                         GError **error)
{
  PilotTemplate *self = PILOT_TEMPLATE (allocator);
  const guint8 bytes[4] = { 10, self->second, (guint8) (address->node >> 8), (guint8) address->node };
  g_autoptr (GInetAddress) local = g_inet_address_new_from_bytes (bytes, G_SOCKET_FAMILY_IPV4);

  /* TRUE (here: not NULL) if and only if no error is set. */
  if (address->network != 0 || address->node > G_MAXUINT16 || bytes[3] == 0 || bytes[3] == 255) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "node %u has no place in %s", address->node, self->subnet);
    return NULL;
  }
  if (wanted != NULL && !g_inet_address_equal (wanted, local)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "node %u always has another address", address->node);
    return NULL;
  }
  g_hash_table_add (self->given, GUINT_TO_POINTER (address->node));
  return g_steal_pointer (&local);
}

static gboolean
pilot_template_release (PilotAllocator *allocator,
                        const PilotAddress *address,
                        GError **error)
{
  if (g_hash_table_remove (PILOT_TEMPLATE (allocator)->given, GUINT_TO_POINTER (address->node)))
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u has no address", address->node);
  return FALSE;
}

static const gchar *
pilot_template_get_subnet (PilotAllocator *allocator)
{
  return PILOT_TEMPLATE (allocator)->subnet;
}

static gboolean
pilot_template_enable (PilotPlugin *plugin,
                       GError **error)
{
  PilotTemplate *self = PILOT_TEMPLATE (plugin);
  gint64 second = 5;

  if (!pilot_plugin_check_settings (plugin, settings, error))
    return FALSE;
  pilot_plugin_lookup_setting (plugin, "second", "x", &second);
  if (second < 0 || second > 255) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"second\" is not from 0 to 255");
    return FALSE;
  }
  self->second = (guint8) second;
  g_free (self->subnet);
  self->subnet = g_strdup_printf ("10.%u.0.0/16", self->second);
  return TRUE;
}

static void
pilot_template_finalize (GObject *object)
{
  g_hash_table_unref (PILOT_TEMPLATE (object)->given);
  g_free (PILOT_TEMPLATE (object)->subnet);
  G_OBJECT_CLASS (pilot_template_parent_class)->finalize (object);
}

static void
pilot_template_class_init (PilotTemplateClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = pilot_template_finalize;
  PILOT_PLUGIN_CLASS (klass)->enable = pilot_template_enable;
  PILOT_ALLOCATOR_CLASS (klass)->allocate = pilot_template_allocate;
  PILOT_ALLOCATOR_CLASS (klass)->release = pilot_template_release;
  PILOT_ALLOCATOR_CLASS (klass)->get_subnet = pilot_template_get_subnet;
}

static void
pilot_template_init (PilotTemplate *self)
{
  self->given = g_hash_table_new (NULL, NULL);
  self->subnet = g_strdup ("10.5.0.0/16");
}

PILOT_PLUGIN_DEFINE (PILOT_PLUGIN_KIND_ALLOCATOR, "template", "an address made of the node id", pilot_template_get_type)
