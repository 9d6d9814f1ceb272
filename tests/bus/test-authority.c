/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every method of the stated interface has an entry in the table of who may call it; what has none is denied. */
#include <gio/gio.h>

#include "daemon/bus/authority.h"

static GDBusNodeInfo *
load_interface (void)
{
  g_autofree char *xml = NULL;
  g_autoptr (GError) error = NULL;
  GDBusNodeInfo *info;

  g_file_get_contents (PILOT_INTERFACE_XML, &xml, NULL, &error);
  g_assert_no_error (error);
  info = g_dbus_node_info_new_for_xml (xml, &error);
  g_assert_no_error (error);
  return info;
}

static void
test_every_method (void)
{
  g_autoptr (GDBusNodeInfo) info = load_interface ();
  guint n_methods = 0;

  g_assert_nonnull (info->interfaces);
  for (GDBusInterfaceInfo **interface = info->interfaces; *interface != NULL; interface++)
    for (GDBusMethodInfo **method = (*interface)->methods; method != NULL && *method != NULL; method++) {
      if (pilot_authority_lookup ((*interface)->name, (*method)->name) == PILOT_AUTHORITY_DENIED)
        g_error ("%s.%s has no entry in the table of authorities", (*interface)->name, (*method)->name);
      n_methods++;
    }
  g_assert_cmpuint (n_methods, >, 20);
}

/* A method that changes something is never open to everybody. */
static void
test_anyone_only_reads (void)
{
  static const char *const reading[] = { "GetStatistics", "ListPeers", "ListMappings", "List", NULL };
  g_autoptr (GDBusNodeInfo) info = load_interface ();

  for (GDBusInterfaceInfo **interface = info->interfaces; *interface != NULL; interface++)
    for (GDBusMethodInfo **method = (*interface)->methods; method != NULL && *method != NULL; method++)
      if (pilot_authority_lookup ((*interface)->name, (*method)->name) == PILOT_AUTHORITY_ANYONE &&
          !g_strv_contains (reading, (*method)->name))
        g_error ("everybody may call %s.%s", (*interface)->name, (*method)->name);
}

static void
test_unknown_denied (void)
{
  g_assert_cmpint (pilot_authority_lookup ("network.pilotprotocol.Pilot1.Node", "NoSuch"), ==, PILOT_AUTHORITY_DENIED);
  g_assert_cmpint (pilot_authority_lookup ("network.pilotprotocol.Pilot1.NoSuch", "Ping"), ==, PILOT_AUTHORITY_DENIED);
  g_assert_cmpint (pilot_authority_lookup ("org.example.Node", "Ping"), ==, PILOT_AUTHORITY_DENIED);
  g_assert_cmpint (pilot_authority_lookup ("", ""), ==, PILOT_AUTHORITY_DENIED);
}

/* What is an object of its own is for whoever may list the same; the faces of the root object are none. */
static void
test_objects (void)
{
  static const struct {
    const char *interface;
    PilotAuthority authority;
  } stated[] = {
    { "Mapping", PILOT_AUTHORITY_ANYONE },
    { "Peer", PILOT_AUTHORITY_OWNER },
    { "TrustRequest", PILOT_AUTHORITY_OWNER },
    { "Node", PILOT_AUTHORITY_DENIED },
    { "NoSuch", PILOT_AUTHORITY_DENIED },
  };

  for (guint i = 0; i < G_N_ELEMENTS (stated); i++) {
    g_autofree char *interface = g_strconcat ("network.pilotprotocol.Pilot1.", stated[i].interface, NULL);

    g_assert_cmpint (pilot_authority_lookup_object (interface), ==, stated[i].authority);
  }
  g_assert_cmpint (pilot_authority_lookup_object ("Peer"), ==, PILOT_AUTHORITY_DENIED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bus/authority/every-method", test_every_method);
  g_test_add_func ("/bus/authority/anyone-only-reads", test_anyone_only_reads);
  g_test_add_func ("/bus/authority/unknown-denied", test_unknown_denied);
  g_test_add_func ("/bus/authority/objects", test_objects);
  return g_test_run ();
}
