/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <unistd.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"
#include "pilotctl/stream.h"

#define DEFAULT_TIMEOUT 30.0
/* With --json what comes is one string; without, it goes to stdout as it comes, however much. */
#define MESSAGE_MAX ((gsize) 64 * 1024 * 1024)

static gboolean
listen_on (Client *client, guint16 port, GError **error)
{
  g_autoptr (GVariant) reply = client_call (client, "Streams", "Listen", g_variant_new ("(q@a{sv})", port, g_variant_new ("a{sv}", NULL)), error);

  return reply != NULL;
}

/* One stream to stdout, byte for byte. FALSE when it failed, or stdout takes no more. */
static gboolean
print (Stream *stream, double seconds, gboolean alone)
{
  g_autoptr (GError) error = NULL;
  Exchange exchange = { .input = -1, .output = STDOUT_FILENO, .quiet_seconds = seconds };

  if (!stream_exchange (stream, &exchange, &error)) {
    g_autofree char *why = output_message (error);

    g_printerr (_("error: %s\n"), why);
    return FALSE;
  }
  /* One stream in a file or a pipe is what was sent and nothing else. */
  if ((!alone || isatty (STDOUT_FILENO)) && exchange.received > 0 && exchange.last != '\n')
    return putchar ('\n') != EOF && fflush (stdout) == 0;
  return TRUE;
}

/* One stream, read to its end. Adds what came, or why not, to @messages; FALSE when it failed. */
static gboolean
receive (Stream *stream, guint sequence, guint16 port, double seconds, GVariantBuilder *messages)
{
  g_autoptr (GByteArray) data = g_byte_array_new ();
  g_autoptr (GError) error = NULL;
  Exchange exchange = { .input = -1, .answer = data, .answer_max = MESSAGE_MAX, .output = -1, .quiet_seconds = seconds };
  gboolean ok = stream_exchange (stream, &exchange, &error);
  GVariantDict message;

  g_variant_dict_init (&message, NULL);
  g_variant_dict_insert (&message, "seq", "u", sequence);
  g_variant_dict_insert (&message, "port", "q", port);
  g_variant_dict_insert (&message, "node_id", "u", stream->node);
  if (!ok) {
    g_autofree char *why = pilot_error_dup_message (error);

    g_variant_dict_insert (&message, "error", "s", why);
  } else {
    output_insert_bytes (&message, "data", data->data, data->len);
    g_variant_dict_insert (&message, "bytes", "u", data->len);
  }
  g_variant_builder_add_value (messages, g_variant_dict_end (&message));
  return ok;
}

int
command_recv (Invocation *invocation)
{
  g_autofree char *timeout = NULL;
  int count = 1;
  const GOptionEntry entries[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count, N_("How many streams to take (default 1)"), "N" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait in all (default 30s)"), "D" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  GVariantBuilder messages;
  GError *error = NULL;
  GVariantDict data;
  gboolean timed_out = FALSE, whole = TRUE;
  gint64 deadline;
  double seconds;
  guint16 port;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (!port_parse (invocation->argv[1], &port, &error) || !seconds_parse (timeout, DEFAULT_TIMEOUT, &seconds, &error))
    return output_error (invocation, error);
  if (count < 1)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 1 up"));
  client = client_new (invocation, &error);
  if (client == NULL || !listen_on (client, port, &error))
    return output_error (invocation, error);
  deadline = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);
  g_variant_builder_init (&messages, G_VARIANT_TYPE ("aa{sv}"));
  for (guint sequence = 0; sequence < (guint) count && !timed_out; sequence++) {
    g_auto (Stream) stream = STREAM_NONE;
    double left = MAX ((double) (deadline - g_get_monotonic_time ()) / G_USEC_PER_SEC, 0.001);

    if (stream_accept (client, port, left, &stream, &error)) {
      whole &= invocation->json ? receive (&stream, sequence, port, left, &messages) : print (&stream, left, count == 1);
    } else if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT)) {
      g_clear_error (&error);
      timed_out = TRUE;
    } else {
      g_variant_builder_clear (&messages);
      return output_error (invocation, error);
    }
  }
  if (timed_out && !invocation->json)
    g_printerr (_("timeout\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "messages", g_variant_builder_end (&messages));
  g_variant_dict_insert (&data, "timeout", "b", timed_out);
  output_ok (invocation, g_variant_dict_end (&data));
  return whole ? EXIT_OK : EXIT_FAILED;
}
