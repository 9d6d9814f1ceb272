/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake-daemon SOCKET INTERFACE-XML: a daemon that answers from a script on its standard input (tests/pilotctl/README.md), and writes each call
 * it gets to its standard output. Knows no interface of its own: those of the XML file stand on the root object, so the answers are checked against it.
 */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "libpilot/pilot-error.h"

#define ROOT "/network/pilotprotocol/Pilot1"
#define PREFIX "network.pilotprotocol.Pilot1."

/* "Interface.Member" -> GPtrArray of char*: the answers left, the last of which stays. */
static GHashTable *script;

static const char *
next_answer (const char *interface, const char *member)
{
  g_autofree char *name = g_strdup_printf ("%s.%s", interface + strlen (PREFIX), member);
  GPtrArray *answers = g_hash_table_lookup (script, name);

  if (answers == NULL)
    return NULL;
  if (answers->len > 1)
    return g_ptr_array_steal_index (answers, 0); /* lives as long as the process */
  return answers->pdata[0];
}

/* What "\\x00\\x04news" says. */
static GByteArray *
unescape (const char *text)
{
  GByteArray *bytes = g_byte_array_new ();

  while (*text != '\0') {
    guint8 byte = (guint8) *text;

    if (g_str_has_prefix (text, "\\x") && g_ascii_isxdigit (text[2]) && g_ascii_isxdigit (text[3])) {
      byte = (guint8) (g_ascii_xdigit_value (text[2]) << 4 | g_ascii_xdigit_value (text[3]));
      text += 3;
    }
    g_byte_array_append (bytes, &byte, 1);
    text++;
  }
  return bytes;
}

/* "! NotFound: message | hint" */
static GError *
parse_error (const char *text)
{
  g_auto (GStrv) halves = g_strsplit (text + 1, ":", 2), message = g_strsplit (halves[1], "|", 2);
  g_autofree char *name = g_strconcat (PREFIX "Error.", g_strstrip (halves[0]), NULL);
  g_autoptr (GByteArray) bytes = unescape (g_strstrip (message[0]));
  GError *error = g_dbus_error_new_for_dbus_error (name, "");

  g_free (error->message);
  error->message = g_strndup ((char *) bytes->data, bytes->len);
  if (message[1] != NULL)
    pilot_error_set_hint (error, "%s", g_strstrip (message[1]));
  return error;
}

static GVariantType *
out_type (GDBusMethodInvocation *invocation)
{
  GString *text = g_string_new ("(");
  GDBusArgInfo **arguments = g_dbus_method_invocation_get_method_info (invocation)->out_args;

  for (guint i = 0; arguments != NULL && arguments[i] != NULL; i++)
    g_string_append (text, arguments[i]->signature);
  g_string_append_c (text, ')');
  return (GVariantType *) g_string_free (text, FALSE);
}

/* "Interface.Member~" -> the signals that follow a call of that interface. */
static void
emit_signals (GDBusConnection *connection, const char *interface)
{
  GHashTableIter iter;
  gpointer name, answers;

  g_hash_table_iter_init (&iter, script);
  while (g_hash_table_iter_next (&iter, &name, &answers)) {
    g_autofree char *prefix = g_strconcat (interface + strlen (PREFIX), ".", NULL);
    gsize length = strlen (name);

    if (!g_str_has_prefix (name, prefix) || ((char *) name)[length - 1] != '~')
      continue;
    for (guint i = 0; i < ((GPtrArray *) answers)->len; i++) {
      g_autofree char *member = g_strndup ((char *) name + strlen (prefix), length - strlen (prefix) - 1);

      g_dbus_connection_emit_signal (connection, NULL, ROOT, interface, member, g_variant_parse (NULL, ((GPtrArray *) answers)->pdata[i], NULL, NULL, NULL), NULL);
    }
  }
}

/* "Interface.Member@" -> what can be read from descriptor 0 of the answer; this end stays open until the process ends. NULL: there is no such line. */
static GUnixFDList *
make_descriptor (const char *interface, const char *method)
{
  g_autofree char *member = g_strconcat (method, "@", NULL);
  const char *content = next_answer (interface, member);
  g_autoptr (GByteArray) bytes = NULL;
  int ends[2];

  if (content == NULL)
    return NULL;
  bytes = unescape (content);
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 || send (ends[0], bytes->data, bytes->len, 0) != (gssize) bytes->len)
    g_error ("%s.%s: %m", interface, method);
  return g_unix_fd_list_new_from_array (&ends[1], 1);
}

static void
on_call (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *method,
         GVariant *arguments, GDBusMethodInvocation *invocation, gpointer user_data)
{
  const char *answer = next_answer (interface, method);
  g_autofree char *text = g_variant_print (arguments, FALSE);
  g_autofree GVariantType *type = out_type (invocation);
  g_autoptr (GUnixFDList) descriptors = NULL;
  g_autoptr (GError) error = NULL;
  GVariant *value;

  printf ("%s.%s %s\n", interface + strlen (PREFIX), method, text);
  fflush (stdout);
  if (answer == NULL) {
    g_dbus_method_invocation_return_error (invocation, G_DBUS_ERROR, G_DBUS_ERROR_FAILED, "the script has no answer to %s.%s", interface, method);
    return;
  }
  if (*answer == '!') {
    g_dbus_method_invocation_take_error (invocation, parse_error (answer));
    return;
  }
  value = g_variant_parse (type, answer, NULL, NULL, &error);
  if (value == NULL)
    g_error ("%s.%s: %s", interface, method, error->message);
  descriptors = make_descriptor (interface, method);
  g_dbus_method_invocation_return_value_with_unix_fd_list (invocation, value, descriptors);
  emit_signals (connection, interface);
}

static GVariant *
on_get (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *property, GError **error, gpointer user_data)
{
  GDBusInterfaceInfo *info = user_data;
  GDBusPropertyInfo *stated = g_dbus_interface_info_lookup_property (info, property);
  const char *answer = next_answer (interface, property);
  GVariant *value;

  if (answer == NULL) {
    g_set_error (error, G_DBUS_ERROR, G_DBUS_ERROR_FAILED, "the script has no value of %s.%s", interface, property);
    return NULL;
  }
  value = g_variant_parse (G_VARIANT_TYPE (stated->signature), answer, NULL, NULL, error);
  return value != NULL ? g_variant_ref_sink (value) : NULL;
}

static gboolean
on_new_connection (GDBusServer *server, GDBusConnection *connection, gpointer user_data)
{
  static const GDBusInterfaceVTable vtable = { .method_call = on_call, .get_property = on_get };
  GDBusNodeInfo *node = user_data;

  for (GDBusInterfaceInfo **interface = node->interfaces; *interface != NULL; interface++) {
    g_autoptr (GError) error = NULL;

    if (g_dbus_connection_register_object (connection, ROOT, *interface, &vtable, *interface, NULL, &error) == 0)
      g_error ("%s", error->message);
  }
  g_object_ref (connection); /* until the process ends */
  return TRUE;
}

/* "Interface.Member: answer", "Interface.Member! Error: message | hint", "Interface.Member~ arguments", "Interface.Member@ bytes" */
static void
read_script (void)
{
  char line[65536];

  script = g_hash_table_new (g_str_hash, g_str_equal);
  while (fgets (line, sizeof line, stdin) != NULL) {
    gsize length = strcspn (g_strchomp (line), ":!~@");
    char kind = line[length];
    g_autofree char *name = g_strndup (line, kind == '~' || kind == '@' ? length + 1 : length);
    GPtrArray *answers = g_hash_table_lookup (script, name);

    if (*line == '\0' || *line == '#')
      continue;
    if (kind == '\0')
      g_error ("no answer in the line: %s", line);
    if (answers == NULL) {
      answers = g_ptr_array_new ();
      g_hash_table_insert (script, g_strdup (name), answers);
    }
    g_ptr_array_add (answers, g_strdup (g_strchug (line + length + (kind != '!'))));
  }
}

int
main (int argc, char **argv)
{
  g_autofree char *xml = NULL, *address = NULL, *guid = g_dbus_generate_guid ();
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GDBusServer) server = NULL;
  g_autoptr (GDBusNodeInfo) node = NULL;
  g_autoptr (GError) error = NULL;

  (void) PILOT_ERROR; /* registers the names of our errors */
  if (argc != 3 || !g_file_get_contents (argv[2], &xml, NULL, &error) || (node = g_dbus_node_info_new_for_xml (xml, &error)) == NULL)
    g_error ("%s", error != NULL ? error->message : "usage: fake-daemon SOCKET INTERFACE-XML");
  read_script ();
  address = g_strconcat ("unix:path=", argv[1], NULL);
  server = g_dbus_server_new_sync (address, G_DBUS_SERVER_FLAGS_NONE, guid, NULL, NULL, &error);
  if (server == NULL)
    g_error ("%s", error->message);
  g_signal_connect (server, "new-connection", G_CALLBACK (on_new_connection), node);
  g_dbus_server_start (server);
  puts ("ready");
  fflush (stdout);
  g_main_loop_run (loop);
  return 0;
}
