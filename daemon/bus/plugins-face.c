/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"
#include "daemon/core/plugin/call.h"

static const char *
kind_name (PilotPluginKind kind)
{
  switch (kind) {
  case PILOT_PLUGIN_KIND_TRANSPORT:
    return "transport";
  case PILOT_PLUGIN_KIND_ALLOCATOR:
    return "allocator";
  case PILOT_PLUGIN_KIND_TRUST_STORE:
    return "trust-store";
  default:
    return "";
  }
}

static gboolean
on_list (PilotDBusPlugins *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  g_autoptr (GPtrArray) plugins = pilot_plugin_loader_list (bus->loader);
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < plugins->len; i++) {
    const PilotPluginInfo *info = plugins->pdata[i];
    const char *mode = info->required ? "required" : info->state == PILOT_PLUGIN_STATE_DISABLED ? "disabled"
                                                                                                : "optional";
    GVariantDict dict;

    g_variant_dict_init (&dict, NULL);
    g_variant_dict_insert (&dict, "name", "s", info->name);
    g_variant_dict_insert (&dict, "kind", "s", kind_name (info->kind));
    g_variant_dict_insert (&dict, "description", "s", info->description != NULL ? info->description : "");
    g_variant_dict_insert (&dict, "file", "s", info->file != NULL ? info->file : "");
    g_variant_dict_insert (&dict, "state", "s", pilot_plugin_state_to_string (info->state));
    g_variant_dict_insert (&dict, "mode", "s", mode);
    g_variant_dict_insert (&dict, "error", "s", info->error != NULL ? info->error : "");
    g_variant_builder_add_value (&list, g_variant_dict_end (&dict));
  }
  pilot_dbus_plugins_complete_list (face, invocation, g_variant_builder_end (&list));
  return TRUE;
}

static PilotPlugin *
find_enabled (PilotBus *bus, const char *name, GError **error)
{
  const PilotPluginInfo *info = pilot_plugin_loader_lookup (bus->loader, name);
  g_autofree char *quoted = pilot_error_quote (name, -1);

  if (info == NULL)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "there is no plugin \"%s\"", quoted);
  else if (info->state != PILOT_PLUGIN_STATE_ENABLED)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the plugin \"%s\" is not enabled", quoted);
  else
    return info->plugin;
  return NULL;
}

static gboolean
on_set (PilotDBusPlugins *face, GDBusMethodInvocation *invocation, const char *name, const char *key, const char *value, PilotBus *bus)
{
  g_autofree char *stored = g_strconcat (name, ".", key, NULL);
  GError *error = NULL;
  PilotPlugin *plugin = find_enabled (bus, name, &error);

  if (plugin == NULL || !pilot_call_change_setting (plugin, key, g_variant_new_string (value), &error) ||
      !pilot_config_store (pilot_node_get_config (bus->node), stored, value, &error)) {
    g_dbus_method_invocation_take_error (invocation, error);
    return TRUE;
  }
  g_message ("%s: the setting \"%s\" was changed", name, key);
  pilot_dbus_plugins_complete_set (face, invocation);
  return TRUE;
}

PilotDBusPlugins *
pilot_plugins_face_new (PilotBus *bus)
{
  PilotDBusPlugins *face = pilot_dbus_plugins_skeleton_new ();

  g_signal_connect (face, "handle-list", G_CALLBACK (on_list), bus);
  g_signal_connect (face, "handle-set", G_CALLBACK (on_set), bus);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
  return face;
}
