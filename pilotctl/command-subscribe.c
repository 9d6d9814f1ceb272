/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "pilotctl/arguments.h"
#include "pilotctl/collection.h"
#include "pilotctl/output.h"
#include "pilotctl/stream.h"
#include "pilotctl/trust-check.h"

#define EVENTS_PORT 1002
#define TOPIC_MAX 1024
#define PAYLOAD_MAX (16 * 1024 * 1024)

typedef struct {
  char *topic;
  guint8 *data;
  gsize length;
} Event;

static void
event_clear (Event *event)
{
  g_clear_pointer (&event->topic, g_free);
  g_clear_pointer (&event->data, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Event, event_clear)

/* @deadline G_MAXINT64: for ever. TIMEOUT. */
static gboolean
read_until (Stream *stream, gint64 deadline, void *data, gsize length, GError **error)
{
  return stream_read_all (stream, data, length, deadline == G_MAXINT64 ? 0 : MAX ((double) (deadline - g_get_monotonic_time ()) / G_USEC_PER_SEC, 0.001), error);
}

static gboolean
fail_corrupt (Stream *stream, GError **error)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, _("node %u sent something that is no event"), stream->node);
  return FALSE;
}

/* The next frame: topic length u16, topic, payload length u32, payload. */
static gboolean
read_event (Stream *stream, gint64 deadline, Event *event, GError **error)
{
  guint16 topic_length;
  guint32 length;

  if (!read_until (stream, deadline, &topic_length, sizeof topic_length, error))
    return FALSE;
  topic_length = GUINT16_FROM_BE (topic_length);
  if (topic_length > TOPIC_MAX)
    return fail_corrupt (stream, error);
  event->topic = g_malloc0 ((gsize) topic_length + 1);
  if (!read_until (stream, deadline, event->topic, topic_length, error) || !read_until (stream, deadline, &length, sizeof length, error))
    return FALSE;
  length = GUINT32_FROM_BE (length);
  if (length > PAYLOAD_MAX)
    return fail_corrupt (stream, error);
  event->length = length;
  event->data = g_malloc ((gsize) length + 1);
  return read_until (stream, deadline, event->data, length, error);
}

static GVariant *
describe (const Event *event)
{
  g_autofree char *topic = g_utf8_make_valid (event->topic, -1);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "topic", "s", topic);
  output_insert_bytes (&dict, "data", event->data, event->length);
  g_variant_dict_insert (&dict, "bytes", "t", (guint64) event->length);
  return g_variant_dict_end (&dict);
}

/* (transfer full) */
static char *
describe_line (const Event *event)
{
  g_autofree char *topic = output_clean (event->topic), *data = g_utf8_make_valid ((const char *) event->data, (gssize) event->length);
  g_autofree char *clean = output_clean (data);

  return g_strdup_printf ("[%s] %s", topic, clean);
}

static gboolean
subscribe (Client *client, guint32 node, const char *topic, Stream *stream, GError **error)
{
  int fd;
  g_autoptr (GVariant) reply = client_call_fd (client, "Events", "Subscribe", g_variant_new ("(us@a{sv})", node, topic, g_variant_new ("a{sv}", NULL)), &fd, error);

  if (reply == NULL)
    return FALSE;
  stream_take (stream, fd, node, EVENTS_PORT, TRUE);
  return TRUE;
}

/* The node, or this one, whose events need no tunnel. */
static gboolean
reach (Client *client, const char *name, gboolean unchecked, guint32 *node, char *address, GError **error)
{
  g_autoptr (GVariant) own = client_get_property (client, "Node", "NodeId", error);

  if (own == NULL || !trust_reach (client, name, TRUE, node, address, error))
    return FALSE;
  return unchecked || *node == g_variant_get_uint32 (own) || trust_check (client, *node, error);
}

/* Events until there are enough, the time is over, or stdout takes no more. */
static int
follow (Invocation *invocation, Stream *stream, int count, gint64 deadline)
{
  Collection events;
  GError *error = NULL;
  gboolean ok = TRUE;

  collection_init (&events, invocation, count);
  while (ok && !events.timed_out && !collection_is_complete (&events)) {
    g_auto (Event) event = { NULL };
    g_autofree char *line = NULL;

    if (read_event (stream, deadline, &event, &error)) {
      line = describe_line (&event);
      ok = collection_add (&events, describe (&event), line);
    } else if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT)) {
      g_clear_error (&error);
      events.timed_out = TRUE;
    } else
      ok = FALSE;
  }
  return collection_end (&events, "events", error);
}

int
command_subscribe (Invocation *invocation)
{
  g_autofree char *timeout = NULL;
  int count = 0;
  gboolean unchecked = FALSE;
  const GOptionEntry entries[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count, N_("How many events to take (default: all that come)"), "N" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait in all (default: for ever)"), "D" },
    TRUST_UNCHECKED_ENTRY (&unchecked),
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_auto (Stream) stream = STREAM_NONE;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  GError *error = NULL;
  double seconds;
  guint32 node;
  int exit_code;

  if (!command_parse (invocation, entries, 2, 2, &exit_code))
    return exit_code;
  if (!seconds_parse (timeout, 0, &seconds, &error))
    return output_error (invocation, error);
  if (count < 0)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 0 up"));
  client = client_new (invocation, &error);
  if (client == NULL || !reach (client, invocation->argv[1], unchecked, &node, address, &error) ||
      !subscribe (client, node, invocation->argv[2], &stream, &error))
    return output_error (invocation, error);
  return follow (invocation, &stream, count, deadline_after (seconds));
}

int
command_publish (Invocation *invocation)
{
  g_autofree char *message = NULL;
  gboolean unchecked = FALSE;
  const GOptionEntry entries[] = {
    { "data", 0, 0, G_OPTION_ARG_STRING, &message, N_("What the event says"), "TEXT" },
    TRUST_UNCHECKED_ENTRY (&unchecked),
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  const char *topic;
  GError *error = NULL;
  GVariantDict data;
  guint32 node;
  int exit_code;

  if (!command_parse (invocation, entries, 2, 2, &exit_code))
    return exit_code;
  if (message == NULL)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--data is missing"));
  topic = invocation->argv[2];
  client = client_new (invocation, &error);
  if (client == NULL || !reach (client, invocation->argv[1], unchecked, &node, address, &error))
    return output_error (invocation, error);
  reply = client_call (client, "Events", "Publish",
                       g_variant_new ("(us@ay@a{sv})", node, topic, g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, message, strlen (message), 1), g_variant_new ("a{sv}", NULL)),
                       &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("published %zu byte(s) to %s topic %s\n"), strlen (message), address, topic);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", address);
  g_variant_dict_insert (&data, "topic", "s", topic);
  g_variant_dict_insert (&data, "bytes", "t", (guint64) strlen (message));
  return output_ok (invocation, g_variant_dict_end (&data));
}
