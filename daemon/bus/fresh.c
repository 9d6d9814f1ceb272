/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/fresh.h"

/* Generated skeletons answer reads with what was last set on them; a subclass that is made here asks first. */

typedef struct {
  PilotFreshFunc refresh;
  gpointer user_data;
  GDestroyNotify free_user_data;
} Fresh;

static GQuark
fresh_quark (void)
{
  return g_quark_from_static_string ("pilot-fresh");
}

static void
fresh_free (gpointer data)
{
  Fresh *fresh = data;

  if (fresh->free_user_data != NULL)
    fresh->free_user_data (fresh->user_data);
  g_free (fresh);
}

static void
refresh (GDBusInterfaceSkeleton *skeleton)
{
  Fresh *fresh = g_object_get_qdata (G_OBJECT (skeleton), fresh_quark ());

  fresh->refresh (skeleton, fresh->user_data);
}

static GDBusInterfaceSkeletonClass *
generated_class (GDBusInterfaceSkeleton *skeleton)
{
  return g_type_class_peek_parent (G_DBUS_INTERFACE_SKELETON_GET_CLASS (skeleton));
}

static GVariant *
get_property (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *property,
              GError **error, gpointer user_data)
{
  GDBusInterfaceSkeleton *skeleton = user_data;

  refresh (skeleton);
  return generated_class (skeleton)->get_vtable (skeleton)->get_property (connection, sender, path, interface, property, error, user_data);
}

static GVariant *
get_properties (GDBusInterfaceSkeleton *skeleton)
{
  refresh (skeleton);
  return generated_class (skeleton)->get_properties (skeleton);
}

static GDBusInterfaceVTable *
get_vtable (GDBusInterfaceSkeleton *skeleton)
{
  GType type = G_OBJECT_TYPE (skeleton);
  GDBusInterfaceVTable *vtable = g_type_get_qdata (type, fresh_quark ());

  if (vtable == NULL) {
    vtable = g_memdup2 (generated_class (skeleton)->get_vtable (skeleton), sizeof *vtable);
    vtable->get_property = get_property;
    g_type_set_qdata (type, fresh_quark (), vtable); /* for as long as the type: for ever */
  }
  return vtable;
}

static void
class_init (gpointer class, gpointer data)
{
  GDBusInterfaceSkeletonClass *skeleton_class = class;

  skeleton_class->get_vtable = get_vtable;
  skeleton_class->get_properties = get_properties;
}

static GType
fresh_type (GType skeleton_type)
{
  g_autofree char *name = g_strconcat ("Fresh", g_type_name (skeleton_type), NULL);
  GType type = g_type_from_name (name);
  GTypeQuery query;

  if (type != 0)
    return type;
  g_type_query (skeleton_type, &query);
  return g_type_register_static_simple (skeleton_type, name, query.class_size, class_init, query.instance_size, NULL, 0);
}

gpointer
pilot_fresh_new (GType skeleton_type, PilotFreshFunc func, gpointer user_data, GDestroyNotify free_user_data)
{
  Fresh *fresh = g_new (Fresh, 1);
  GObject *skeleton = g_object_new (fresh_type (skeleton_type), NULL);

  *fresh = (Fresh) { func, user_data, free_user_data };
  g_object_set_qdata_full (skeleton, fresh_quark (), fresh, fresh_free);
  return skeleton;
}
