/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/config.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "protocol/json.h"

#define CONFIG_FILE_MAX (1024 * 1024)

struct _PilotConfig {
  GObject parent_instance;
  GHashTable *flags;    /* canonical key -> value */
  GHashTable *strings;  /* values of the file as text, made when first asked for */
  JsonObject *document; /* the file, unknown keys included */
  char *path;
  /* The service: /etc is the administrator's and read-only to the daemon, so what the daemon itself changes is kept beside its other state. */
  JsonObject *changes;
  char *changes_path; /* NULL: changes go to the file */
  char *state_directory;
  char *bus_path;
};

G_DEFINE_FINAL_TYPE (PilotConfig, pilot_config, G_TYPE_OBJECT)

/* Everything that has a default. A registry address has none on purpose: nobody is contacted unasked. */
static const struct {
  const char *key, *value;
} defaults[] = {
  { "listen", ":0" },
  { "keepalive", "60" },
  { "log_level", "info" },
  { "log_format", "text" },
  { "public", "false" },
  { "registry_tls", "false" },
  { "registry_trust", "pinned" },
  { "expose_default", "all" },
  { "no_echo", "false" },
  { "relay_only", "false" },
  { "extensions", "true" },
  { "congestion", "bbr" },
  { "system", "false" },
};

static const struct {
  const char *key, *variable;
} variables[] = {
  { "registry", "PILOT_REGISTRY" },
  { "beacon", "PILOT_BEACON" },
  { "registry_trust", "PILOT_REGISTRY_TRUST" },
  { "registry_fingerprint", "PILOT_REGISTRY_FINGERPRINT" },
  { "bus", "PILOT_BUS" },
  { "socket", "PILOT_SOCKET" },
};

static const struct {
  const char *plugin, *mode;
} plugin_modes[] = {
  { "transport-udp", "required" },
  { "allocator-sequential", "required" },
  { "trust-file", "required" },
};

/* '-' and '_' are one and the same in a key, as in the Go daemon. */
static char *
canonical (const char *key)
{
  return g_strdelimit (g_strdup (key), "-", '_');
}

/* The member of the file for a canonical key, under either spelling. */
static JsonNode *
find_member (PilotConfig *config, const char *key)
{
  g_autofree char *dashed = g_strdelimit (g_strdup (key), "_", '-');
  JsonNode *node = json_object_get_member (config->changes, key);

  if (node == NULL)
    node = json_object_get_member (config->document, key);
  return node != NULL ? node : json_object_get_member (config->document, dashed);
}

static char *
node_to_text (JsonNode *node)
{
  if (!JSON_NODE_HOLDS_VALUE (node))
    return NULL;
  switch (json_node_get_value_type (node)) {
  case G_TYPE_STRING:
    return g_strdup (json_node_get_string (node));
  case G_TYPE_BOOLEAN:
    return g_strdup (json_node_get_boolean (node) ? "true" : "false");
  case G_TYPE_INT64:
    return g_strdup_printf ("%" G_GINT64_FORMAT, json_node_get_int (node));
  default:
    return NULL;
  }
}

/* Replaces *@document by the object in the file; a missing file leaves it as it is. */
static gboolean
load_document (const char *path, JsonObject **document, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr (GError) local = NULL;
  JsonObject *loaded;

  if (!pilot_file_load (path, CONFIG_FILE_MAX, 0022, &text, &length, &local)) {
    if (g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  loaded = pilot_json_parse_object (text, length, CONFIG_FILE_MAX, &local);
  if (loaded == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                 "\"%s\" is corrupt (%s): correct it or move it away", path, local->message);
    return FALSE;
  }
  json_object_unref (*document);
  *document = loaded;
  return TRUE;
}

gboolean
pilot_config_load (PilotConfig *config, const char *path, GError **error)
{
  g_free (config->path);
  config->path = g_strdup (path);
  if (!load_document (path, &config->document, error))
    return FALSE;
  g_hash_table_remove_all (config->strings);
  if (!pilot_config_get_boolean (config, "system"))
    return TRUE;
  g_free (config->changes_path);
  config->changes_path = g_build_filename (pilot_config_get_state_directory (config), "settings.json", NULL);
  if (!load_document (config->changes_path, &config->changes, error))
    return FALSE;
  g_hash_table_remove_all (config->strings);
  return TRUE;
}

void
pilot_config_set_flag (PilotConfig *config, const char *key, const char *value)
{
  if (value == NULL)
    g_hash_table_remove (config->flags, key);
  else
    g_hash_table_replace (config->flags, canonical (key), g_strdup (value));
}

static const char *
get_from_environment (const char *key)
{
  for (guint i = 0; i < G_N_ELEMENTS (variables); i++)
    if (g_str_equal (variables[i].key, key)) {
      const char *value = g_getenv (variables[i].variable);

      return value != NULL && *value != '\0' ? value : NULL;
    }
  return NULL;
}

static const char *
get_from_file (PilotConfig *config, const char *key)
{
  const char *text = g_hash_table_lookup (config->strings, key);
  JsonNode *node;
  char *made;

  if (text != NULL)
    return text;
  node = find_member (config, key);
  made = node != NULL ? node_to_text (node) : NULL;
  if (made != NULL)
    g_hash_table_replace (config->strings, g_strdup (key), made);
  return made;
}

const char *
pilot_config_get (PilotConfig *config, const char *key)
{
  g_autofree char *name = canonical (key);
  const char *value = g_hash_table_lookup (config->flags, name);

  if (value == NULL)
    value = get_from_environment (name);
  if (value == NULL)
    value = get_from_file (config, name);
  for (guint i = 0; value == NULL && i < G_N_ELEMENTS (defaults); i++)
    if (g_str_equal (defaults[i].key, name))
      value = defaults[i].value;
  return value;
}

gboolean
pilot_config_get_boolean (PilotConfig *config, const char *key)
{
  const char *value = pilot_config_get (config, key);

  return value != NULL && (g_str_equal (value, "true") || g_str_equal (value, "1") ||
                           g_str_equal (value, "yes") || *value == '\0');
}

gint64
pilot_config_get_int (PilotConfig *config, const char *key)
{
  const char *value = pilot_config_get (config, key);

  return value != NULL ? g_ascii_strtoll (value, NULL, 10) : 0;
}

const char *
pilot_config_get_plugin_mode (PilotConfig *config, const char *plugin)
{
  JsonObject *plugins = pilot_json_get_object (config->document, "plugins");
  const char *mode = plugins != NULL ? pilot_json_get_string (plugins, plugin) : "";

  if (g_str_equal (mode, "required") || g_str_equal (mode, "optional") || g_str_equal (mode, "disabled"))
    return mode;
  for (guint i = 0; i < G_N_ELEMENTS (plugin_modes); i++)
    if (g_str_equal (plugin_modes[i].plugin, plugin))
      return plugin_modes[i].mode;
  return "optional";
}

static void
add_settings (GVariantDict *dict, JsonObject *settings)
{
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  json_object_iter_init (&iter, settings);
  while (json_object_iter_next (&iter, &name, &node)) {
    if (!JSON_NODE_HOLDS_VALUE (node))
      continue;
    switch (json_node_get_value_type (node)) {
    case G_TYPE_STRING:
      g_variant_dict_insert (dict, name, "s", json_node_get_string (node));
      break;
    case G_TYPE_BOOLEAN:
      g_variant_dict_insert (dict, name, "b", json_node_get_boolean (node));
      break;
    case G_TYPE_INT64:
      g_variant_dict_insert (dict, name, "x", json_node_get_int (node));
      break;
    default:
      break;
    }
  }
}

GVariant *
pilot_config_get_plugin_settings (PilotConfig *config, const char *plugin)
{
  g_autoptr (GVariantDict) dict = g_variant_dict_new (NULL);
  JsonObject *all = pilot_json_get_object (config->document, "plugin-settings");
  JsonObject *own = all != NULL ? pilot_json_get_object (all, plugin) : NULL;

  /* Keys of the Go daemon that concern a plugin. */
  if (g_str_equal (plugin, "transport-udp"))
    g_variant_dict_insert (dict, "listen", "s", pilot_config_get (config, "listen"));
  if (g_str_equal (plugin, "trust-file")) {
    g_autofree char *path = g_build_filename (pilot_config_get_state_directory (config), "trust.json", NULL);

    g_variant_dict_insert (dict, "path", "s", path);
  }
  if (own != NULL)
    add_settings (dict, own);
  return g_variant_dict_end (dict);
}

gboolean
pilot_config_store (PilotConfig *config, const char *key, const char *value, GError **error)
{
  g_autofree char *name = canonical (key);
  g_autoptr (JsonNode) root = json_node_alloc ();
  g_autoptr (JsonNode) old = NULL;
  g_autofree char *text = NULL;
  JsonObject *document = config->changes_path != NULL ? config->changes : config->document;
  const char *path = config->changes_path != NULL ? config->changes_path : config->path;
  JsonNode *member;

  if (path == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "there is no configuration file to store to: give one with --config");
    return FALSE;
  }
  member = json_object_get_member (document, name);
  old = member != NULL ? json_node_copy (member) : NULL;
  if (value != NULL)
    json_object_set_string_member (document, name, value);
  else if (old != NULL)
    json_object_remove_member (document, name);
  json_node_init_object (root, document);
  text = json_to_string (root, TRUE);
  g_hash_table_remove (config->strings, name);
  if (pilot_file_replace (path, text, strlen (text), 0600, error))
    return TRUE;

  if (old != NULL)
    json_object_set_member (document, name, g_steal_pointer (&old));
  else if (value != NULL)
    json_object_remove_member (document, name);
  return FALSE;
}

const char *
pilot_config_get_state_directory (PilotConfig *config)
{
  if (config->state_directory == NULL) {
    const char *given = pilot_config_get (config, "state_dir");
    const char *service = g_getenv ("STATE_DIRECTORY");
    const char *home = g_getenv ("PILOT_HOME");

    if (given != NULL)
      config->state_directory = g_strdup (given);
    else if (pilot_config_get_boolean (config, "system") && service != NULL)
      config->state_directory = g_strdup (service);
    else
      config->state_directory = g_build_filename (home != NULL ? home : g_get_home_dir (), ".pilot", NULL);
  }
  return config->state_directory;
}

const char *
pilot_config_get_bus_path (PilotConfig *config)
{
  if (config->bus_path == NULL) {
    const char *runtime = g_getenv ("XDG_RUNTIME_DIR");
    const char *given = pilot_config_get (config, "bus");

    if (given != NULL)
      config->bus_path = g_strdup (given);
    else if (pilot_config_get_boolean (config, "system"))
      config->bus_path = g_strdup ("/run/pilot/bus");
    else if (runtime != NULL && *runtime != '\0')
      config->bus_path = g_build_filename (runtime, "pilot", "bus", NULL);
    else
      config->bus_path = g_build_filename (pilot_config_get_state_directory (config), "bus", NULL);
  }
  return config->bus_path;
}

static void
pilot_config_finalize (GObject *object)
{
  PilotConfig *config = PILOT_CONFIG (object);

  g_hash_table_unref (config->flags);
  g_hash_table_unref (config->strings);
  json_object_unref (config->document);
  json_object_unref (config->changes);
  g_free (config->path);
  g_free (config->changes_path);
  g_free (config->state_directory);
  g_free (config->bus_path);
  G_OBJECT_CLASS (pilot_config_parent_class)->finalize (object);
}

static void
pilot_config_class_init (PilotConfigClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_config_finalize;
}

static void
pilot_config_init (PilotConfig *config)
{
  config->flags = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  config->strings = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  config->document = json_object_new ();
  config->changes = json_object_new ();
}

PilotConfig *
pilot_config_new (void)
{
  return g_object_new (PILOT_TYPE_CONFIG, NULL);
}
