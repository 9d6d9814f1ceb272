/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/port-list.h"

#include <string.h>

#include "libpilot/pilot-error.h"

static gint
compare_ports (gconstpointer a, gconstpointer b)
{
  return (gint) * (const guint16 *) a - (gint) * (const guint16 *) b;
}

static gboolean
parse_port (const char *text, guint16 *port, GError **error)
{
  g_autofree char *quoted = NULL;
  guint64 value;

  if (g_ascii_string_to_unsigned (text, 10, 1, G_MAXUINT16, &value, NULL)) {
    *port = value;
    return TRUE;
  }
  quoted = pilot_error_quote (text, -1);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "invalid port \"%s\": a number from 1 to 65535 is needed", quoted);
  return FALSE;
}

static gboolean
parse_part (char *part, GArray *ports, GError **error)
{
  char *dash = strchr (part, '-');
  guint16 first, last;

  if (dash != NULL)
    *dash = '\0';
  if (!parse_port (g_strstrip (part), &first, error))
    return FALSE;
  last = first;
  if (dash != NULL && !parse_port (g_strstrip (dash + 1), &last, error))
    return FALSE;
  if (last < first) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "port range \"%u-%u\" ends before it begins", first, last);
    return FALSE;
  }
  for (guint port = first; port <= last; port++) {
    guint16 value = port;

    if (ports->len > 2 * PILOT_PORT_LIST_MAX)
      break;
    g_array_append_val (ports, value);
  }
  return TRUE;
}

GArray *
pilot_port_list_parse (const char *text, GError **error)
{
  g_autoptr (GArray) ports = g_array_new (FALSE, FALSE, sizeof (guint16));
  g_auto (GStrv) parts = NULL;
  guint n_different = 0;

  if (text[0] == '\0' || g_str_equal (text, "all"))
    return g_steal_pointer (&ports);
  parts = g_strsplit (text, ",", PILOT_PORT_LIST_MAX + 1);
  for (guint i = 0; parts[i] != NULL; i++)
    if (!parse_part (parts[i], ports, error))
      return NULL;
  g_array_sort (ports, compare_ports);
  for (guint i = 0; i < ports->len; i++) {
    guint16 port = g_array_index (ports, guint16, i);

    if (n_different == 0 || g_array_index (ports, guint16, n_different - 1) != port)
      g_array_index (ports, guint16, n_different++) = port;
  }
  g_array_set_size (ports, n_different);
  if (n_different > PILOT_PORT_LIST_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "more than %u ports: leave --ports out to have every port", PILOT_PORT_LIST_MAX);
    return NULL;
  }
  return g_steal_pointer (&ports);
}

gboolean
pilot_port_list_check (const char *text, GError **error)
{
  g_autoptr (GArray) ports = pilot_port_list_parse (text, error);

  return ports != NULL;
}

char *
pilot_port_list_format (const GArray *ports)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < ports->len; i++)
    g_string_append_printf (text, "%s%u", i > 0 ? "," : "", g_array_index (ports, guint16, i));
  return g_string_free (text, FALSE);
}

gboolean
pilot_port_list_contains (const GArray *ports, guint16 port)
{
  for (guint i = 0; i < ports->len; i++)
    if (g_array_index (ports, guint16, i) == port)
      return TRUE;
  return FALSE;
}
