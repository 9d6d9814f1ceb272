/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"
#include "pilotctl/stream.h"
#include "pilotctl/trust-check.h"

#define ECHO_PORT 7
#define SAMPLES 3
#define DEFAULT_TIMEOUT 30.0

/* How the node is reached now: "direct", "relay" or "". Transfer full. */
static char *
path_to (Client *client, guint32 node)
{
  g_autoptr (GVariant) list = client_list (client, "Node", "ListPeers", NULL);

  for (gsize i = 0; list != NULL && i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) one = g_variant_get_child_value (list, i);

    if (dict_int (one, "node_id") == node)
      return g_strdup (dict_string (one, "path"));
  }
  return g_strdup ("");
}

static gboolean
sample (Invocation *invocation, Stream *stream, guint index, gint64 deadline, GVariantBuilder *samples, GError **error)
{
  gint64 started = g_get_monotonic_time ();
  double seconds = MAX ((double) (deadline - started) / G_USEC_PER_SEC, 0.001), rtt_ms;
  char text[24], echo[24];
  gsize length = (gsize) g_snprintf (text, sizeof text, "trace-%u", index);
  GVariantDict dict;

  if (!stream_write_all (stream, text, length, seconds, error) || !stream_read_all (stream, echo, length, seconds, error))
    return FALSE;
  if (memcmp (text, echo, length) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, _("node %u echoed something else"), stream->node);
    return FALSE;
  }
  rtt_ms = (double) (g_get_monotonic_time () - started) / 1000;
  if (!invocation->json)
    g_print (_("  %u  %.3f ms\n"), index + 1, rtt_ms);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "rtt_ms", "d", rtt_ms);
  g_variant_dict_insert (&dict, "bytes", "t", (guint64) length);
  g_variant_builder_add_value (samples, g_variant_dict_end (&dict));
  return TRUE;
}

int
command_traceroute (Invocation *invocation)
{
  g_autofree char *timeout = NULL, *path = NULL;
  const GOptionEntry entries[] = {
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to go on at most (default 30s)"), "D" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_auto (Stream) stream = STREAM_NONE;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  GVariantBuilder samples;
  GError *error = NULL;
  GVariantDict data;
  gint64 started, deadline;
  double seconds, setup_ms;
  gboolean ok = TRUE;
  guint32 node;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (!seconds_parse (timeout, DEFAULT_TIMEOUT, &seconds, &error))
    return output_error (invocation, error);
  client = client_new (invocation, &error);
  if (client == NULL || !trust_reach (client, invocation->argv[1], TRUE, &node, address, &error))
    return output_error (invocation, error);
  started = g_get_monotonic_time ();
  deadline = started + (gint64) (seconds * G_USEC_PER_SEC);
  if (!stream_dial (client, node, ECHO_PORT, seconds, &stream, &error))
    return output_error (invocation, error);
  setup_ms = (double) (g_get_monotonic_time () - started) / 1000;
  path = path_to (client, node);
  if (!invocation->json)
    g_print (_("%s: path %s, connected in %.3f ms\n"), address, *path != '\0' ? path : _("unknown"), setup_ms);
  g_variant_builder_init (&samples, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < SAMPLES && ok; i++)
    ok = sample (invocation, &stream, i, deadline, &samples, &error);
  if (!ok) {
    g_variant_builder_clear (&samples);
    return output_error (invocation, error);
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", address);
  g_variant_dict_insert (&data, "path", "s", path);
  g_variant_dict_insert (&data, "setup_ms", "d", setup_ms);
  g_variant_dict_insert_value (&data, "rtt_samples", g_variant_builder_end (&samples));
  return output_ok (invocation, g_variant_dict_end (&data));
}
