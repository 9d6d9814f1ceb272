/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/node/access.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "protocol/json.h"

#define ACCESS_FILE_MAX (1024 * 1024)
#define ACCESS_RULES_MAX 64

/* A set of ports as sorted, disjoint, closed ranges; "all" and "network" are one range and a flag. */
typedef struct {
  guint16 first, last;
} PortRange;

typedef struct {
  gboolean network; /* only servers bound to more than loopback */
  GArray *ranges;   /* PortRange */
} PortSet;

typedef struct {
  guint32 node;
  gboolean has_key;
  guint8 key[32];
  PortSet *ports;
} Entry;

struct _PilotAccess {
  GObject parent_instance;
  char *path;
  char *expose_default;
  GHashTable *entries;  /* node id -> Entry */
  JsonObject *document; /* as read: keys we do not know are written back */
};

G_DEFINE_FINAL_TYPE (PilotAccess, pilot_access, G_TYPE_OBJECT)

static guint signal_changed;

static void
port_set_free (PortSet *set)
{
  g_array_unref (set->ranges);
  g_free (set);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PortSet, port_set_free)

static PortSet *
port_set_new (void)
{
  PortSet *set = g_new0 (PortSet, 1);

  set->ranges = g_array_new (FALSE, FALSE, sizeof (PortRange));
  return set;
}

static void
entry_free (Entry *entry)
{
  port_set_free (entry->ports);
  g_free (entry);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Entry, entry_free)

static int
compare_ranges (gconstpointer a, gconstpointer b)
{
  return (int) ((const PortRange *) a)->first - (int) ((const PortRange *) b)->first;
}

static void
port_set_normalise (PortSet *set)
{
  guint kept = 0;

  g_array_sort (set->ranges, compare_ranges);
  for (guint i = 0; i < set->ranges->len; i++) {
    PortRange range = g_array_index (set->ranges, PortRange, i);
    PortRange *last = kept > 0 ? &g_array_index (set->ranges, PortRange, kept - 1) : NULL;

    if (last != NULL && range.first <= (guint) last->last + 1)
      last->last = MAX (last->last, range.last);
    else
      g_array_index (set->ranges, PortRange, kept++) = range;
  }
  g_array_set_size (set->ranges, kept);
}

static gboolean
parse_port (const char *text, guint16 *port, GError **error)
{
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, 1, 65535, &value, NULL)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "invalid port \"%s\": give a number from 1 to 65535", text);
    return FALSE;
  }
  *port = (guint16) value;
  return TRUE;
}

static gboolean
parse_range (const char *text, PortRange *range, GError **error)
{
  g_auto (GStrv) ends = g_strsplit (text, "-", 2);

  /* The parts of an empty text are none at all. */
  if (!parse_port (ends[0] != NULL ? g_strstrip (ends[0]) : "", &range->first, error))
    return FALSE;
  range->last = range->first;
  if (ends[1] != NULL && !parse_port (g_strstrip (ends[1]), &range->last, error))
    return FALSE;
  if (range->last < range->first) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "invalid port range \"%s\": it ends before it begins", text);
    return FALSE;
  }
  return TRUE;
}

static PortSet *
port_set_parse (const char *text, GError **error)
{
  g_autoptr (PortSet) set = port_set_new ();
  g_auto (GStrv) parts = NULL;
  const PortRange every = { 1, 65535 };

  if (g_str_equal (text, "none"))
    return g_steal_pointer (&set);
  if (g_str_equal (text, "all") || g_str_equal (text, "network")) {
    set->network = g_str_equal (text, "network");
    g_array_append_val (set->ranges, every);
    return g_steal_pointer (&set);
  }

  parts = g_strsplit (text, ",", ACCESS_RULES_MAX + 1);
  if (g_strv_length (parts) == 0 || g_strv_length (parts) > ACCESS_RULES_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "invalid ports \"%s\": give \"all\", \"network\", \"none\" or up to %d ports such as \"22,80,8000-8100\"",
                 text, ACCESS_RULES_MAX);
    return NULL;
  }
  for (guint i = 0; parts[i] != NULL; i++) {
    PortRange range;

    if (!parse_range (g_strstrip (parts[i]), &range, error))
      return NULL;
    g_array_append_val (set->ranges, range);
  }
  port_set_normalise (set);
  return g_steal_pointer (&set);
}

static gboolean
port_set_is_every (PortSet *set)
{
  PortRange *first = set->ranges->len == 1 ? &g_array_index (set->ranges, PortRange, 0) : NULL;

  return first != NULL && first->first == 1 && first->last == 65535;
}

static char *
port_set_format (PortSet *set)
{
  g_autoptr (GString) text = NULL;

  if (set->ranges->len == 0)
    return g_strdup ("none");
  if (port_set_is_every (set))
    return g_strdup (set->network ? "network" : "all");

  text = g_string_new (NULL);
  for (guint i = 0; i < set->ranges->len; i++) {
    PortRange *range = &g_array_index (set->ranges, PortRange, i);

    g_string_append_printf (text, "%s%u", i > 0 ? "," : "", range->first);
    if (range->last != range->first)
      g_string_append_printf (text, "-%u", range->last);
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static gboolean
port_set_contains (PortSet *set, guint16 port)
{
  for (guint i = 0; i < set->ranges->len; i++) {
    PortRange *range = &g_array_index (set->ranges, PortRange, i);

    if (port >= range->first && port <= range->last)
      return TRUE;
  }
  return FALSE;
}

static PortSet *
port_set_copy (PortSet *set)
{
  PortSet *copy = port_set_new ();

  copy->network = set->network;
  g_array_append_vals (copy->ranges, set->ranges->data, set->ranges->len);
  return copy;
}

/* What was granted and what is granted now: ports named one by one are open to any server, so they win over "network". */
static PortSet *
port_set_union (PortSet *old, PortSet *added)
{
  PortSet *set;

  if (port_set_is_every (added) || old->ranges->len == 0)
    return port_set_copy (added);
  if (added->ranges->len == 0 || (port_set_is_every (old) && !old->network))
    return port_set_copy (old);
  set = port_set_copy (added);
  if (!old->network)
    g_array_append_vals (set->ranges, old->ranges->data, old->ranges->len);
  port_set_normalise (set);
  return set;
}

static PortSet *
port_set_subtract (PortSet *from, PortSet *removed)
{
  PortSet *set = port_set_new ();

  set->network = from->network;
  for (guint i = 0; i < from->ranges->len; i++) {
    PortRange range = g_array_index (from->ranges, PortRange, i);
    guint first = range.first;

    for (guint j = 0; j < removed->ranges->len && first <= range.last; j++) {
      PortRange *cut = &g_array_index (removed->ranges, PortRange, j);

      if (cut->last < first || cut->first > range.last)
        continue;
      if (cut->first > first) {
        PortRange left = { (guint16) first, (guint16) (cut->first - 1) };

        g_array_append_val (set->ranges, left);
      }
      first = (guint) cut->last + 1;
    }
    if (first <= range.last) {
      PortRange rest = { (guint16) first, range.last };

      g_array_append_val (set->ranges, rest);
    }
  }
  return set;
}

/* --- the file: { "peers": [ { "node_id", "public_key", "ports", "network_only" } ] } --- */

static gboolean
read_peer (PilotAccess *access, GHashTable *entries, JsonNode *node, guint index, GError **error)
{
  g_autoptr (Entry) entry = g_new0 (Entry, 1);
  g_autoptr (GError) local = NULL;
  JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *ports;

  entry->ports = port_set_new ();
  if (object == NULL || (entry->node = pilot_json_get_uint32 (object, "node_id")) == 0 ||
      !pilot_json_read_string (object, "ports", &ports)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                 "\"%s\": entry %u of \"peers\" has no \"node_id\" or no \"ports\": correct it or move the file away", access->path, index);
    return FALSE;
  }
  g_clear_pointer (&entry->ports, port_set_free);
  entry->ports = port_set_parse (ports, &local);
  if (entry->ports == NULL) {
    entry->ports = port_set_new ();
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\": entry %u of \"peers\": %s", access->path, index, local->message);
    return FALSE;
  }
  if (pilot_json_get_boolean (object, "network_only"))
    entry->ports->network = TRUE;
  if (*pilot_json_get_string (object, "public_key") != '\0') {
    if (!pilot_json_read_base64 (object, "public_key", entry->key, sizeof entry->key)) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                   "\"%s\": entry %u of \"peers\": \"public_key\" is no key: correct it or move the file away", access->path, index);
      return FALSE;
    }
    entry->has_key = TRUE;
  }
  g_hash_table_replace (entries, GUINT_TO_POINTER (entry->node), entry);
  g_steal_pointer (&entry);
  return TRUE;
}

gboolean
pilot_access_load (PilotAccess *access, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonObject) document = NULL;
  g_autoptr (GHashTable) entries = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) entry_free);
  JsonNode *peers;

  if (!pilot_file_load (access->path, ACCESS_FILE_MAX, 0022, &text, &length, &local)) {
    if (g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  document = pilot_json_parse_object (text, length, ACCESS_FILE_MAX, &local);
  if (document == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                 "\"%s\" is corrupt (%s): correct it or move it away", access->path, local->message);
    return FALSE;
  }
  peers = json_object_get_member (document, "peers");
  if (peers != NULL && !JSON_NODE_HOLDS_NULL (peers)) {
    JsonArray *array = JSON_NODE_HOLDS_ARRAY (peers) ? json_node_get_array (peers) : NULL;

    if (array == NULL) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                   "\"%s\": \"peers\" is no list: correct it or move the file away", access->path);
      return FALSE;
    }
    for (guint i = 0; i < json_array_get_length (array); i++)
      if (!read_peer (access, entries, json_array_get_element (array, i), i, error))
        return FALSE;
  }
  g_clear_pointer (&access->document, json_object_unref);
  access->document = g_steal_pointer (&document);
  g_clear_pointer (&access->entries, g_hash_table_unref);
  access->entries = g_steal_pointer (&entries);
  return TRUE;
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  const Entry *x = *(Entry *const *) a, *y = *(Entry *const *) b;

  return x->node < y->node ? -1 : x->node > y->node;
}

static gboolean
save (PilotAccess *access, GError **error)
{
  g_autoptr (GPtrArray) sorted = g_ptr_array_new ();
  g_autofree char *text = NULL;
  g_autoptr (JsonNode) root = json_node_alloc ();
  JsonArray *peers = json_array_new ();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, access->entries);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (sorted, value);
  g_ptr_array_sort (sorted, compare_entries);
  for (guint i = 0; i < sorted->len; i++) {
    Entry *entry = sorted->pdata[i];
    JsonObject *object = json_object_new ();
    g_autofree char *key = entry->has_key ? g_base64_encode (entry->key, sizeof entry->key) : NULL;
    g_autofree char *ports = port_set_format (entry->ports);

    json_object_set_int_member (object, "node_id", entry->node);
    if (key != NULL)
      json_object_set_string_member (object, "public_key", key);
    json_object_set_string_member (object, "ports", ports);
    if (entry->ports->network && !port_set_is_every (entry->ports))
      json_object_set_boolean_member (object, "network_only", TRUE);
    json_array_add_object_element (peers, object);
  }
  json_object_set_array_member (access->document, "peers", peers);
  json_node_init_object (root, access->document);
  text = json_to_string (root, TRUE);
  return pilot_file_replace (access->path, text, strlen (text), 0600, error);
}

/* Puts @entry in place, or takes the node out when NULL; what was there before comes back if it cannot be saved. */
static gboolean
change (PilotAccess *access, guint32 node, Entry *entry, GError **error)
{
  gpointer stolen_value = NULL;

  /* What is written must be taken when it is read. */
  if (entry != NULL && entry->ports->ranges->len > ACCESS_RULES_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "node %u would have more than %d ranges of ports: give fewer, or larger ones", node, ACCESS_RULES_MAX);
    entry_free (entry);
    return FALSE;
  }
  g_hash_table_steal_extended (access->entries, GUINT_TO_POINTER (node), NULL, &stolen_value);
  if (entry != NULL)
    g_hash_table_insert (access->entries, GUINT_TO_POINTER (node), entry);
  if (save (access, error)) {
    g_clear_pointer ((Entry **) &stolen_value, entry_free);
    g_signal_emit (access, signal_changed, 0, node);
    return TRUE;
  }
  g_hash_table_remove (access->entries, GUINT_TO_POINTER (node));
  if (stolen_value != NULL)
    g_hash_table_insert (access->entries, GUINT_TO_POINTER (node), stolen_value);
  return FALSE;
}

gboolean
pilot_access_grant (PilotAccess *access, guint32 node, const guint8 *key, const char *ports, char **opened, GError **error)
{
  g_autoptr (PortSet) added = port_set_parse (ports != NULL && *ports != '\0' ? ports : access->expose_default, error);
  g_autofree char *text = NULL;
  Entry *old, *entry;
  gboolean same_key;

  if (added == NULL)
    return FALSE;
  old = g_hash_table_lookup (access->entries, GUINT_TO_POINTER (node));
  /* A node id may have been given to somebody else: what the former holder was granted does not pass on. */
  same_key = old != NULL && (key == NULL || !old->has_key || memcmp (key, old->key, sizeof old->key) == 0);
  entry = g_new0 (Entry, 1);
  entry->node = node;
  entry->ports = same_key ? port_set_union (old->ports, added) : port_set_copy (added);
  if (key != NULL || (same_key && old->has_key)) {
    entry->has_key = TRUE;
    memcpy (entry->key, key != NULL ? key : old->key, sizeof entry->key);
  }
  text = port_set_format (entry->ports);
  if (!change (access, node, entry, error))
    return FALSE;
  if (opened != NULL)
    *opened = g_steal_pointer (&text);
  return TRUE;
}

gboolean
pilot_access_revoke (PilotAccess *access, guint32 node, const char *ports, GError **error)
{
  Entry *old = g_hash_table_lookup (access->entries, GUINT_TO_POINTER (node));
  g_autoptr (PortSet) removed = NULL;
  Entry *entry;

  if (ports != NULL && *ports != '\0') {
    removed = port_set_parse (ports, error);
    if (removed == NULL)
      return FALSE;
  }
  if (old == NULL)
    return TRUE;
  if (removed == NULL)
    return change (access, node, NULL, error);

  entry = g_new0 (Entry, 1);
  entry->node = node;
  entry->has_key = old->has_key;
  memcpy (entry->key, old->key, sizeof entry->key);
  entry->ports = port_set_subtract (old->ports, removed);
  if (entry->ports->ranges->len == 0)
    g_clear_pointer (&entry, entry_free);
  return change (access, node, entry, error);
}

PilotAccessVerdict
pilot_access_check (PilotAccess *access, guint32 node, const guint8 key[32], guint16 port)
{
  Entry *entry = g_hash_table_lookup (access->entries, GUINT_TO_POINTER (node));

  if (entry == NULL || !port_set_contains (entry->ports, port))
    return PILOT_ACCESS_DENIED;
  /* Granted before its key was known: the trust record's key is what the tunnel was checked against. */
  if (entry->has_key && memcmp (entry->key, key, sizeof entry->key) != 0)
    return PILOT_ACCESS_DENIED;
  return entry->ports->network ? PILOT_ACCESS_NETWORK_ONLY : PILOT_ACCESS_ALLOWED;
}

char *
pilot_access_describe (PilotAccess *access, guint32 node)
{
  Entry *entry = g_hash_table_lookup (access->entries, GUINT_TO_POINTER (node));

  g_autofree char *ports = entry != NULL ? port_set_format (entry->ports) : g_strdup ("none");

  if (entry != NULL && entry->ports->network && !port_set_is_every (entry->ports))
    return g_strconcat (ports, " (network)", NULL);
  return g_steal_pointer (&ports);
}

gboolean
pilot_access_parse_ports (const char *ports, GError **error)
{
  g_autoptr (PortSet) set = port_set_parse (ports, error);

  return set != NULL;
}

static void
pilot_access_finalize (GObject *object)
{
  PilotAccess *access = PILOT_ACCESS (object);

  g_free (access->path);
  g_free (access->expose_default);
  g_hash_table_unref (access->entries);
  json_object_unref (access->document);
  G_OBJECT_CLASS (pilot_access_parent_class)->finalize (object);
}

static void
pilot_access_class_init (PilotAccessClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_access_finalize;
  signal_changed = g_signal_new ("changed", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
}

static void
pilot_access_init (PilotAccess *access)
{
  access->entries = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) entry_free);
  access->document = json_object_new ();
}

PilotAccess *
pilot_access_new (const char *path, const char *expose_default)
{
  PilotAccess *access = g_object_new (PILOT_TYPE_ACCESS, NULL);

  access->path = g_strdup (path);
  access->expose_default = g_strdup (expose_default);
  return access;
}
