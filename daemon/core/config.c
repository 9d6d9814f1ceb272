/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/config.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "daemon/core/proxy.h"
#include "libpilot/pilot-config-key.h"
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
  gboolean compat;
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
  { "no_dataexchange", "false" },
  { "dataexchange_b64", "false" },
  { "dataexchange_max_frame", "67108864" },
  { "no_eventstream", "false" },
  { "relay_only", "false" },
  { "extensions", "true" },
  { "congestion", "bbr" },
  { "busy_poll", "auto" },
  { "system", "false" },
  { "transport", "udp" },
  { "proxy", "auto" },
  { "trust_auto_approve", "false" },
};

/* What a key may be whose default is "true" or "false". */
static const char *const truths[] = { "true", "1", "yes", "", NULL };
static const char *const untruths[] = { "false", "0", "no", NULL };

static const char *const transports[] = { "udp", "compat", "auto", NULL };

/* @values: those that count; NULL = all. Another one in the environment is as good as none (a flag or the file with one is an error, later). */
typedef struct {
  const char *key, *variable;
  const char *const *values;
} Variable;

static const Variable variables[] = {
  { "registry", "PILOT_REGISTRY", NULL },
  { "beacon", "PILOT_BEACON", NULL },
  { "registry_trust", "PILOT_REGISTRY_TRUST", NULL },
  { "registry_fingerprint", "PILOT_REGISTRY_FINGERPRINT", NULL },
  { "dataexchange_max_frame", "PILOT_DATAEXCHANGE_MAX_FRAME", NULL },
  { "bus", "PILOT_BUS", NULL },
  { "socket", "PILOT_SOCKET", NULL },
  { "transport", "PILOT_TRANSPORT", transports },
  { "proxy", "PILOT_PROXY", NULL },
  { "proxy_cmd", "PILOT_PROXY_CMD", NULL },
};

/* Behind the file: what an image or an administrator presets. */
static const Variable preset_variables[] = {
  { "transport", "PILOT_TRANSPORT_DEFAULT", transports },
};

static const struct {
  const char *plugin, *mode;
} plugin_modes[] = {
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
pilot_config_refuse (const char *key, const char *value, const char *expected, GError **error)
{
  g_autofree char *quoted = pilot_error_quote (value, -1);

  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "%s is \"%s\" (expected %s)", key, quoted, expected);
  return FALSE;
}

/* A slip of the pen would count as "false": whoever wrote "no_echo": "ture" has something running that he believes is not. */
static gboolean
check_booleans (PilotConfig *config, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (defaults); i++) {
    const gboolean is_boolean = g_str_equal (defaults[i].value, "true") || g_str_equal (defaults[i].value, "false");
    const char *value = pilot_config_get (config, defaults[i].key);

    if (is_boolean && !g_strv_contains (truths, value) && !g_strv_contains (untruths, value))
      return pilot_config_refuse (defaults[i].key, value, "true or false", error);
  }
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
  /* The file may be in the usual place, and say that state is elsewhere. */
  g_clear_pointer (&config->state_directory, g_free);
  if (!pilot_config_get_boolean (config, "system"))
    return check_booleans (config, error);
  g_free (config->changes_path);
  config->changes_path = g_build_filename (pilot_config_get_state_directory (config), "settings.json", NULL);
  if (!load_document (config->changes_path, &config->changes, error))
    return FALSE;
  g_hash_table_remove_all (config->strings);
  return check_booleans (config, error);
}

/* No error: an older version shares the file with a newer one, and both with the Go daemon. */
void
pilot_config_warn_of_unknown (PilotConfig *config)
{
  g_autoptr (GList) members = json_object_get_members (config->document);

  for (GList *link = members; link != NULL; link = link->next) {
    const char *key = link->data, *nearest;
    g_autofree char *quoted = NULL;

    if (pilot_config_key_is_known (key))
      continue;
    quoted = pilot_error_quote (key, -1);
    nearest = pilot_config_key_find_nearest (key);
    if (nearest != NULL)
      g_warning ("%s: unknown key \"%s\" is ignored: did you mean \"%s\"?", config->path, quoted, nearest);
    else
      g_warning ("%s: unknown key \"%s\" is ignored", config->path, quoted);
  }
}

void
pilot_config_set_flag (PilotConfig *config, const char *key, const char *value)
{
  g_autofree char *name = canonical (key);

  if (value == NULL)
    g_hash_table_remove (config->flags, name);
  else
    g_hash_table_replace (config->flags, g_steal_pointer (&name), g_strdup (value));
}

static const char *
get_from_environment (const Variable *table, guint n, const char *key)
{
  for (guint i = 0; i < n; i++)
    if (g_str_equal (table[i].key, key)) {
      const char *value = g_getenv (table[i].variable);

      if (value == NULL || *value == '\0')
        return NULL;
      if (table[i].values == NULL || g_strv_contains (table[i].values, value))
        return value;
      g_warning_once ("%s is set to what it cannot be and does not count", table[i].variable);
      return NULL;
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

/* NULL = said nowhere. @name is canonical. */
static const char *
get_said (PilotConfig *config, const char *name)
{
  const char *value = g_hash_table_lookup (config->flags, name);

  if (value == NULL)
    value = get_from_environment (variables, G_N_ELEMENTS (variables), name);
  return value != NULL ? value : get_from_file (config, name);
}

const char *
pilot_config_get (PilotConfig *config, const char *key)
{
  g_autofree char *name = canonical (key);
  const char *value = get_said (config, name);

  if (value == NULL)
    value = get_from_environment (preset_variables, G_N_ELEMENTS (preset_variables), name);
  for (guint i = 0; value == NULL && i < G_N_ELEMENTS (defaults); i++)
    if (g_str_equal (defaults[i].key, name))
      value = defaults[i].value;
  return value;
}

gboolean
pilot_config_is_set (PilotConfig *config, const char *key)
{
  g_autofree char *name = canonical (key);

  return get_said (config, name) != NULL;
}

/* --- compat mode --- */

void
pilot_config_set_compat (PilotConfig *config, gboolean compat)
{
  config->compat = compat;
}

gboolean
pilot_config_is_compat (PilotConfig *config)
{
  return config->compat;
}

char *
pilot_config_get_compat_address (PilotConfig *config)
{
  const char *text = pilot_config_get (config, "compat_beacon");
  g_autoptr (GUri) url = text != NULL ? g_uri_parse (text, G_URI_FLAGS_NONE, NULL) : NULL;
  const char *host = url != NULL ? g_uri_get_host (url) : NULL;
  int port = url != NULL && g_uri_get_port (url) > 0 ? g_uri_get_port (url) : 443;

  if (host == NULL || *host == '\0')
    return NULL;
  return g_strdup_printf (strchr (host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
}

/* Said for it, or for the registry, which has the same certificate on our own rendezvous; else by whether there is something to pin. */
const char *
pilot_config_get_compat_trust (PilotConfig *config)
{
  const char *fingerprint = pilot_config_get (config, "registry_fingerprint"), *said = pilot_config_get (config, "tls_trust");

  if (said != NULL && *said != '\0')
    return said;
  if (pilot_config_is_set (config, "registry_trust"))
    return pilot_config_get (config, "registry_trust");
  return fingerprint != NULL && *fingerprint != '\0' ? "pinned" : "system";
}

/* --- values --- */

gboolean
pilot_config_get_boolean (PilotConfig *config, const char *key)
{
  const char *value = pilot_config_get (config, key);

  return value != NULL && g_strv_contains (truths, value);
}

gint64
pilot_config_get_int (PilotConfig *config, const char *key)
{
  const char *value = pilot_config_get (config, key);

  return value != NULL ? g_ascii_strtoll (value, NULL, 10) : 0;
}

/* (nullable): */
static JsonObject *
get_object (PilotConfig *config, const char *key)
{
  JsonNode *node = find_member (config, key);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

const char *
pilot_config_get_plugin_mode (PilotConfig *config, const char *plugin)
{
  JsonObject *plugins = get_object (config, "plugins");
  const char *mode = plugins != NULL ? pilot_json_get_string (plugins, plugin) : "";

  if (g_str_equal (mode, "required") || g_str_equal (mode, "optional") || g_str_equal (mode, "disabled"))
    return mode;
  /* One or the other: a node in compat mode does not open a UDP socket at all. */
  if (g_str_equal (plugin, "transport-udp"))
    return config->compat ? "disabled" : "required";
  if (g_str_equal (plugin, "transport-wss"))
    return config->compat ? "required" : "disabled";
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

static void
add_compat_settings (GVariantDict *dict, PilotConfig *config)
{
  const char *url = pilot_config_get (config, "compat_beacon"), *fingerprint = pilot_config_get (config, "registry_fingerprint");
  g_autofree char *address = pilot_config_get_compat_address (config);
  g_autofree char *proxy = NULL;
  const char *command;

  if (address == NULL)
    return;
  pilot_proxy_find (config, address, TRUE, &proxy, &command);
  g_variant_dict_insert (dict, "url", "s", url);
  g_variant_dict_insert (dict, "trust", "s", pilot_config_get_compat_trust (config));
  if (fingerprint != NULL)
    g_variant_dict_insert (dict, "fingerprint", "s", fingerprint);
  if (proxy != NULL)
    g_variant_dict_insert (dict, "proxy", "s", proxy);
  if (command != NULL)
    g_variant_dict_insert (dict, "proxy-command", "s", command);
}

/* "PLUGIN.SETTING" as a key of its own, wherever keys come from: a flag, the file, what was changed at run time. */
static void
add_dotted_settings (GVariantDict *dict, PilotConfig *config, const char *plugin)
{
  g_autofree char *name = canonical (plugin);
  g_autofree char *prefix = g_strconcat (name, ".", NULL);
  g_autoptr (GPtrArray) keys = g_ptr_array_new_with_free_func (g_free);
  JsonObject *documents[] = { config->document, config->changes };
  GHashTableIter iter;
  const char *flag;

  for (guint i = 0; i < G_N_ELEMENTS (documents); i++) {
    g_autoptr (GList) members = json_object_get_members (documents[i]);

    for (GList *item = members; item != NULL; item = item->next)
      g_ptr_array_add (keys, canonical (item->data));
  }
  g_hash_table_iter_init (&iter, config->flags);
  while (g_hash_table_iter_next (&iter, (gpointer *) &flag, NULL))
    g_ptr_array_add (keys, g_strdup (flag));
  for (guint i = 0; i < keys->len; i++) {
    const char *key = keys->pdata[i];
    const char *value = g_str_has_prefix (key, prefix) ? pilot_config_get (config, key) : NULL;

    if (value != NULL) {
      g_autofree char *setting = g_strdelimit (g_strdup (key + strlen (prefix)), "_", '-');

      g_variant_dict_insert (dict, setting, "s", value);
    }
  }
}

GVariant *
pilot_config_get_plugin_settings (PilotConfig *config, const char *plugin)
{
  g_autoptr (GVariantDict) dict = g_variant_dict_new (NULL);
  JsonObject *all = get_object (config, "plugin_settings");
  JsonObject *own = all != NULL ? pilot_json_get_object (all, plugin) : NULL;

  /* Keys of the Go daemon that concern a plugin. */
  if (g_str_equal (plugin, "transport-udp"))
    g_variant_dict_insert (dict, "listen", "s", pilot_config_get (config, "listen"));
  if (g_str_equal (plugin, "transport-wss"))
    add_compat_settings (dict, config);
  if (g_str_equal (plugin, "trust-file")) {
    g_autofree char *path = g_build_filename (pilot_config_get_state_directory (config), "trust.json", NULL);

    g_variant_dict_insert (dict, "path", "s", path);
  }
  if (own != NULL)
    add_settings (dict, own);
  add_dotted_settings (dict, config, plugin);
  return g_variant_dict_end (dict);
}

/* As it is spelt there already, so that it stands there once. */
static void
set_member (JsonObject *document, const char *name, const char *value)
{
  g_autofree char *dashed = g_strdelimit (g_strdup (name), "_", '-');
  const char *written = json_object_has_member (document, dashed) && !json_object_has_member (document, name) ? dashed : name;

  if (value != NULL)
    json_object_set_string_member (document, written, value);
  else if (json_object_has_member (document, written))
    json_object_remove_member (document, written);
}

/* The file may have changed since it was read (pilotctl init, an editor): all that is there now stays, but for this one key. */
static gboolean
replace_member (const char *path, const char *name, const char *value, GError **error)
{
  g_autoptr (JsonObject) current = json_object_new ();
  g_autoptr (JsonNode) root = json_node_alloc ();
  g_autofree char *text = NULL;

  if (!load_document (path, &current, error))
    return FALSE;
  set_member (current, name, value);
  json_node_init_object (root, current);
  text = json_to_string (root, TRUE);
  return pilot_file_replace (path, text, strlen (text), 0600, error);
}

gboolean
pilot_config_store (PilotConfig *config, const char *key, const char *value, GError **error)
{
  g_autofree char *name = canonical (key);
  gboolean system = config->changes_path != NULL;
  const char *path = system ? config->changes_path : config->path;

  if (path == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "there is no configuration file to store to: give one with --config");
    return FALSE;
  }
  if (!replace_member (path, name, value, error))
    return FALSE;
  set_member (system ? config->changes : config->document, name, value);
  g_hash_table_remove (config->strings, name);
  return TRUE;
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
