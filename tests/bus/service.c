/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/bus/service.h"

#include <glib/gstdio.h>
#include <string.h>

#include "tests/gateway/namespace.h"

void
service_init (int *argc, char ***argv)
{
  enter_namespace ();
  g_test_init (argc, argv, NULL);
}

static const char *
below_root (const char *path)
{
  return g_str_has_prefix (path, ROOT) ? path + strlen (ROOT) : path;
}

static const char *
without_prefix (const char *interface)
{
  return g_str_has_prefix (interface, PREFIX) ? interface + strlen (PREFIX) : interface;
}

static void
on_signal (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *member,
           GVariant *arguments, gpointer user_data)
{
  Service *service = user_data;
  g_autofree char *text = g_variant_print (arguments, FALSE);

  g_test_message ("%s %s.%s %s", below_root (path), without_prefix (interface), member, text);
  g_ptr_array_add (service->signals, g_strdup_printf ("%s %s.%s %s", below_root (path), without_prefix (interface), member, text));
}

void
service_on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

GDBusConnection *
service_connect (Service *service, const char **name)
{
  g_autofree char *address = g_strconcat ("unix:path=", service->socket, NULL);
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  GDBusConnectionFlags flags = G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT;
  GDBusConnection *connection;

  *name = NULL;
  if (service->bus_address != NULL) {
    *name = BUS_NAME;
    g_free (address);
    address = g_strdup (service->bus_address);
    flags |= G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION;
  }
  g_dbus_connection_new_for_address (address, flags, NULL, NULL, service_on_done, &result);
  WAIT (LANDS, result != NULL);
  connection = g_dbus_connection_new_for_address_finish (result, &error);
  g_assert_no_error (error);
  return connection;
}

void
service_start_bus (Service *service)
{
  g_autoptr (GError) error = NULL;

  service->bus = pilot_bus_new (service->world.hosts[0].node, service->gateway, service->world.hosts[0].exchange, service->world.hosts[0].plugins);
  g_assert_true (pilot_bus_start (service->bus, &error));
  g_assert_no_error (error);
}

void
service_stop_bus (Service *service)
{
  g_clear_pointer (&service->bus, pilot_bus_free);
}

gboolean
service_answers (Service *service)
{
  g_autoptr (GVariant) reply = service_call (service, "", "Node.GetStatistics", NULL, "()");

  return reply != NULL;
}

void
service_begin (Service *service)
{
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  Host *host = &service->world.hosts[0];

  world_init (&service->world);
  host_start (&service->world, 0);
  host_start (&service->world, 1);
  /* Another user has to get to the socket, and to nothing else. */
  g_assert_cmpint (g_chmod (service->world.folder, 0711), ==, 0);
  service->socket = g_build_filename (service->world.folder, "run", "bus", NULL);
  pilot_config_set_flag (host->config, "bus", service->socket);
  if (service->system)
    pilot_config_set_flag (host->config, "system", "true");
  service->gateway = pilot_gateway_new (host->node, host->plugins);
  pilot_gateway_restore_async (service->gateway, NULL, service_on_done, &result);
  WAIT (LANDS, result != NULL);
  g_assert_true (pilot_gateway_restore_finish (service->gateway, result, &error));
  g_assert_no_error (error);
  service_start_bus (service);

  service->signals = g_ptr_array_new_with_free_func (g_free);
  service->connection = service_connect (service, &service->name);
  g_dbus_connection_signal_subscribe (service->connection, service->name, NULL, NULL, NULL, NULL, G_DBUS_SIGNAL_FLAGS_NONE,
                                      on_signal, service, NULL);
  WAIT (LANDS, service_answers (service));
}

void
service_end (Service *service)
{
  g_autoptr (GVariant) stopped = service_call (service, "", "Gateway.Stop", NULL, "()");
  g_autoptr (GAsyncResult) closed = NULL;

  g_dbus_connection_close (service->connection, NULL, service_on_done, &closed);
  WAIT (LANDS, closed != NULL);
  service_stop_bus (service);
  g_clear_object (&service->connection);
  pilot_gateway_shutdown (service->gateway);
  g_clear_object (&service->gateway);
  world_clear (&service->world);
  g_ptr_array_unref (service->signals);
  g_free (service->socket);
  g_free (service->bus_address);
}

void
service_set_up (Service *service, gconstpointer via)
{
  if (GPOINTER_TO_UINT (via) == SERVICE_MESSAGE_BUS) {
    service->test_bus = g_test_dbus_new (G_TEST_DBUS_NONE);
    g_test_dbus_up (service->test_bus);
    service->bus_address = g_strdup (g_test_dbus_get_bus_address (service->test_bus));
  } else
    g_test_dbus_unset ();
  service_begin (service);
}

void
service_tear_down (Service *service, gconstpointer via)
{
  service_end (service);
  if (service->test_bus != NULL)
    g_test_dbus_down (service->test_bus);
  g_clear_object (&service->test_bus);
}

void
service_add_test (const char *path, void (*test) (Service *service, gconstpointer via))
{
  g_autofree char *private = g_strconcat (path, "/private", NULL), *message_bus = g_strconcat (path, "/message-bus", NULL);

  g_test_add (private, Service, GUINT_TO_POINTER (SERVICE_PRIVATE), service_set_up, test, service_tear_down);
  g_test_add (message_bus, Service, GUINT_TO_POINTER (SERVICE_MESSAGE_BUS), service_set_up, test, service_tear_down);
}

guint32
service_id (Service *service, guint host)
{
  return pilot_node_get_id (service->world.hosts[host].node);
}

/* --- calls --- */

static GVariant *
call_valist (Service *service, const char *path, const char *method, GError **error, const char *format, va_list arguments)
{
  g_autofree char *full_path = g_strconcat (ROOT, path, NULL);
  g_autofree char *full_method = g_str_has_prefix (method, "org.") ? g_strdup (method) : g_strconcat (PREFIX, method, NULL);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  g_autoptr (GError) parse_error = NULL;
  g_autoptr (GVariant) value = g_variant_parse (NULL, text, NULL, NULL, &parse_error);
  g_autoptr (GAsyncResult) result = NULL;
  char *dot = strrchr (full_method, '.');

  g_assert_no_error (parse_error);
  *dot = '\0';
  g_dbus_connection_call (service->connection, service->name, full_path, full_method, dot + 1, value,
                          NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START, 60000, NULL, service_on_done, &result);
  WAIT (60, result != NULL);
  return g_dbus_connection_call_finish (service->connection, result, error);
}

GVariant *
service_call (Service *service, const char *path, const char *method, GError **error, const char *format, ...)
{
  va_list arguments;
  GVariant *reply;

  va_start (arguments, format);
  reply = call_valist (service, path, method, error, format, arguments);
  va_end (arguments);
  return reply;
}

GVariant *
service_call_fds (Service *service, const char *interface, const char *method, GVariant *arguments, GUnixFDList *given, GUnixFDList **got, GError **error)
{
  g_autofree char *full_interface = g_strconcat (PREFIX, interface, NULL);
  g_autoptr (GAsyncResult) result = NULL;

  g_dbus_connection_call_with_unix_fd_list (service->connection, service->name, ROOT, full_interface, method, arguments, NULL, G_DBUS_CALL_FLAGS_NONE,
                                            G_MAXINT, given, NULL, service_on_done, &result);
  WAIT (20, result != NULL);
  return g_dbus_connection_call_with_unix_fd_list_finish (service->connection, got, result, error);
}

GVariant *
service_ask (Service *service, const char *path, const char *method, const char *format, ...)
{
  g_autoptr (GError) error = NULL;
  va_list arguments;
  GVariant *reply;

  va_start (arguments, format);
  reply = call_valist (service, path, method, &error, format, arguments);
  va_end (arguments);
  g_assert_no_error (error);
  return reply;
}

char *
service_refused (Service *service, const char *path, const char *method, const char *name, const char *format, ...)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = NULL;
  g_autofree char *expected = strchr (name, '.') != NULL ? g_strdup (name) : g_strconcat (PREFIX "Error.", name, NULL);
  g_autofree char *found = NULL;
  va_list arguments;

  va_start (arguments, format);
  reply = call_valist (service, path, method, &error, format, arguments);
  va_end (arguments);
  if (reply != NULL) {
    g_autofree char *text = g_variant_print (reply, FALSE);

    g_error ("%s %s was not refused but answered: %s", path, method, text);
  }
  found = g_dbus_error_get_remote_error (error);
  g_assert_cmpstr (found, ==, expected);
  g_dbus_error_strip_remote_error (error);
  return g_strdup (error->message);
}

char *
service_get (Service *service, const char *path, const char *property)
{
  g_auto (GStrv) parts = g_strsplit (property, ".", 2);
  g_autoptr (GVariant) reply = NULL, value = NULL;

  reply = service_ask (service, path, "org.freedesktop.DBus.Properties.Get", "('" PREFIX "%s', '%s')", parts[0], parts[1]);
  g_variant_get (reply, "(v)", &value);
  return g_variant_print (value, FALSE);
}

gboolean
service_has (Service *service, const char *path, const char *property, const char *expected)
{
  g_autofree char *value = service_get (service, path, property);

  return strcmp (value, expected) == 0;
}

gboolean
service_lists (Service *service, const char *path, const char *interface)
{
  g_autoptr (GVariant) reply = service_ask (service, "", "org.freedesktop.DBus.ObjectManager.GetManagedObjects", "()");
  g_autoptr (GVariant) objects = g_variant_get_child_value (reply, 0);
  g_autofree char *full_path = g_strconcat (ROOT, path, NULL), *full_interface = g_strconcat (PREFIX, interface, NULL);
  g_autoptr (GVariant) object = NULL, properties = NULL;

  for (gsize i = 0; i < g_variant_n_children (objects); i++) {
    g_autoptr (GVariant) found = NULL;
    const char *found_path;

    g_variant_get_child (objects, i, "{&o@a{sa{sv}}}", &found_path, &found);
    if (strcmp (found_path, full_path) == 0)
      object = g_steal_pointer (&found);
  }
  if (object != NULL)
    properties = g_variant_lookup_value (object, full_interface, G_VARIANT_TYPE_VARDICT);
  return properties != NULL;
}

/* --- what is stated --- */

static char *
load_xml (void)
{
  g_autoptr (GError) error = NULL;
  char *xml;

  g_file_get_contents (PILOT_INTERFACE_XML, &xml, NULL, &error);
  g_assert_no_error (error);
  return xml;
}

GDBusNodeInfo *
service_load_interface (void)
{
  g_autofree char *xml = load_xml ();
  g_autoptr (GError) error = NULL;
  GDBusNodeInfo *info = g_dbus_node_info_new_for_xml (xml, &error);

  g_assert_no_error (error);
  return info;
}

/* The comment above a method, without what stands in parentheses: that is about values, or about records in the record. What is there "(only
 * when …)" becomes "?". */
static char *
stated_comment (const char *method)
{
  g_autofree char *xml = load_xml ();
  g_autofree char *pattern = g_strdup_printf ("<!--((?:(?!-->).)*)-->\\s*<method name=\"%s\"", method);
  g_autoptr (GRegex) comment = g_regex_new (pattern, G_REGEX_DOTALL, 0, NULL), parentheses = g_regex_new ("\\([^)]*\\)", 0, 0, NULL);
  g_autoptr (GRegex) condition = g_regex_new (" \\(only [^)]*\\)", 0, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  g_autofree char *whole = NULL, *text = NULL;

  g_assert_true (g_regex_match (comment, xml, 0, &match));
  whole = g_match_info_fetch (match, 1);
  text = g_regex_replace_literal (condition, whole, -1, 0, "?", 0, NULL);
  return g_regex_replace_literal (parentheses, text, -1, 0, "", 0, NULL);
}

void
service_assert_record (GVariant *record, const char *method)
{
  g_autofree char *comment = stated_comment (method);
  g_autoptr (GRegex) key = g_regex_new ("\\b([a-z_]+) (aa\\{sv\\}|as|[bqiuxtds])(\\?|(?=[,.\\s]))", 0, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  guint n_stated = 0;

  for (g_regex_match (key, comment, 0, &match); g_match_info_matches (match); g_match_info_next (match, NULL)) {
    g_autofree char *name = g_match_info_fetch (match, 1), *type = g_match_info_fetch (match, 2), *condition = g_match_info_fetch (match, 3);
    g_autoptr (GVariant) value = g_variant_lookup_value (record, name, NULL);

    if (value == NULL && *condition == '?')
      continue;
    n_stated++;
    if (value == NULL)
      g_error ("%s: there is no \"%s\"", method, name);
    g_assert_cmpstr (g_variant_get_type_string (value), ==, type);
  }
  g_assert_cmpuint (n_stated, >, 3);
  if (n_stated != g_variant_n_children (record)) {
    g_autofree char *text = g_variant_print (record, FALSE);

    g_error ("%s: %u keys are stated, these are there: %s", method, n_stated, text);
  }
}

/* --- signals --- */

guint
service_heard (Service *service, const char *pattern)
{
  guint n = 0;

  for (guint i = 0; i < service->signals->len; i++)
    n += g_pattern_match_simple (pattern, service->signals->pdata[i]);
  return n;
}

void
service_forget_signals (Service *service)
{
  g_ptr_array_set_size (service->signals, 0);
}

/* --- the peer --- */

gboolean
service_is_asked (Service *service, guint host)
{
  PilotTrustRecord *record = pilot_trust_lookup (pilot_node_get_trust (service->world.hosts[0].node), PILOT_TRUST_PENDING, service_id (service, host));
  gboolean found = record != NULL;

  g_clear_pointer (&record, pilot_trust_record_free);
  return found;
}

void
service_be_asked (Service *service, const char *justification)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_strdup_printf ("/requests/%u", service_id (service, 1));
  const char *status;

  /* A public node is asked directly, which takes no time; a private one fetches requests from the registry every few seconds. */
  g_variant_unref (service_ask (service, "", "Node.SetPublic", "(true,)"));
  g_assert_true (pilot_trust_handshake (pilot_node_get_trust (service->world.hosts[1].node), service_id (service, 0), justification, "all", &status, &error));
  g_assert_no_error (error);
  WAIT (LANDS, service_is_asked (service, 1));
  if (!service->system)
    g_assert_true (service_lists (service, path, "TrustRequest"));
}

void
service_befriend (Service *service)
{
  g_autoptr (GVariant) reply = NULL;

  service_be_asked (service, "");
  reply = service_ask (service, "", "Node.Approve", "(uint32 %u, @a{sv} {})", service_id (service, 1));
  WAIT (LANDS, pilot_trust_is_trusted (pilot_node_get_trust (service->world.hosts[1].node), service_id (service, 0)));
}
