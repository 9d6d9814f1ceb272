/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/duration.h"
#include "pilotctl/output.h"

#include <glib-unix.h>
#include <signal.h>

#define TIMEOUT_MAX 3600

/* What is said at the end; times in milliseconds. */
typedef struct {
  guint sent, received;
  double min, max, sum;
} Summary;

static void
summary_add (Summary *summary, double rtt_ms)
{
  summary->min = summary->received > 0 ? MIN (summary->min, rtt_ms) : rtt_ms;
  summary->max = MAX (summary->max, rtt_ms);
  summary->sum += rtt_ms;
  summary->received++;
}

static void
summary_print (const Summary *summary, const char *address)
{
  g_print (_("--- %s ping statistics ---\n"), address);
  g_print (_("%u sent, %u received, %.3g%% loss\n"), summary->sent, summary->received, summary->sent > 0 ? 100.0 * (summary->sent - summary->received) / summary->sent : 0);
  if (summary->received > 0)
    g_print (_("rtt min/avg/max = %.3f/%.3f/%.3f ms\n"), summary->min, summary->sum / summary->received, summary->max);
}

static void
summary_insert (const Summary *summary, GVariantDict *data)
{
  g_variant_dict_insert (data, "sent", "u", summary->sent);
  g_variant_dict_insert (data, "received", "u", summary->received);
  if (summary->received == 0)
    return;
  g_variant_dict_insert (data, "rtt_min_ms", "d", summary->min);
  g_variant_dict_insert (data, "rtt_avg_ms", "d", summary->sum / summary->received);
  g_variant_dict_insert (data, "rtt_max_ms", "d", summary->max);
}

static void
print_error (guint sequence, const GError *error)
{
  g_autofree char *message = output_message (error);

  g_print (_("seq=%u error: %s\n"), sequence, message);
}

/* (nullable): NULL when Ctrl-C came instead of the answer. */
static GVariant *
ping_once (Invocation *invocation, Client *client, guint32 node, guint timeout_ms, GCancellable *interrupted, Summary *summary)
{
  const guint sequence = summary->sent++;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = client_call_until (client, "Node", "Ping", g_variant_new ("(uuu)", node, sequence, timeout_ms), interrupted, &error);
  GVariantDict result;
  double rtt_ms;
  guint32 bytes;

  if (reply == NULL && g_cancellable_is_cancelled (interrupted))
    return NULL;
  g_variant_dict_init (&result, NULL);
  g_variant_dict_insert (&result, "seq", "u", sequence);
  if (reply == NULL) {
    g_autofree char *message = pilot_error_dup_message (error);

    g_variant_dict_insert (&result, "error", "s", message);
    if (!invocation->json)
      print_error (sequence, error);
  } else {
    g_variant_get (reply, "(du)", &rtt_ms, &bytes);
    summary_add (summary, rtt_ms);
    g_variant_dict_insert (&result, "rtt_ms", "d", rtt_ms);
    g_variant_dict_insert (&result, "bytes", "u", bytes);
    if (!invocation->json)
      g_print (_("seq=%u bytes=%u time=%.3f ms\n"), sequence, bytes, rtt_ms);
  }
  return g_variant_dict_end (&result);
}

static gboolean
on_interrupt (gpointer interrupted)
{
  g_cancellable_cancel (interrupted);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_second_over (gpointer over)
{
  *(gboolean *) over = TRUE;
  return G_SOURCE_REMOVE;
}

static void
wait_a_second (GCancellable *interrupted)
{
  gboolean over = FALSE;
  guint source = g_timeout_add (1000, on_second_over, &over);

  while (!over && !g_cancellable_is_cancelled (interrupted))
    g_main_context_iteration (NULL, TRUE);
  if (!over)
    g_source_remove (source);
}

/* Until all have been sent, or Ctrl-C. */
static GVariant *
ping (Invocation *invocation, Client *client, guint32 node, guint count, guint timeout_ms, Summary *summary)
{
  g_autoptr (GCancellable) interrupted = g_cancellable_new ();
  guint source = g_unix_signal_add (SIGINT, on_interrupt, interrupted);
  GVariantBuilder results;

  g_variant_builder_init (&results, G_VARIANT_TYPE ("aa{sv}"));
  while (summary->sent < count && !g_cancellable_is_cancelled (interrupted)) {
    GVariant *result = ping_once (invocation, client, node, timeout_ms, interrupted, summary);

    if (result != NULL)
      g_variant_builder_add_value (&results, result);
    if (summary->sent < count)
      wait_a_second (interrupted);
  }
  g_source_remove (source);
  return g_variant_builder_end (&results);
}

int
command_ping (Invocation *invocation)
{
  int count = 4;
  g_autofree char *timeout = NULL;
  const GOptionEntry entries[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count, N_("How often (default 4)"), "N" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait for each answer (default 5s)"), "D" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  Summary summary = { 0 };
  GVariant *results;
  GError *error = NULL;
  GVariantDict data;
  PilotAddress address = { 0 };
  char text[PILOT_ADDRESS_TEXT_SIZE];
  double seconds = 5;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (timeout != NULL)
    seconds = duration_parse (timeout);
  if (count < 1 || !(seconds >= 0.001 && seconds <= TIMEOUT_MAX))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 1 up, --timeout a time such as 500ms or 5s, at most an hour"));
  client = client_new (invocation, &error);
  if (client == NULL || !client_resolve (client, invocation->argv[1], &address.node, &error))
    return output_error (invocation, error);
  pilot_address_format (&address, text);
  if (!invocation->json)
    g_print ("PING %s\n", text);
  results = ping (invocation, client, address.node, (guint) count, (guint) (seconds * 1000), &summary);
  if (!invocation->json)
    summary_print (&summary, text);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", text);
  g_variant_dict_insert (&data, "to", "s", text);
  g_variant_dict_insert_value (&data, "results", results);
  g_variant_dict_insert (&data, "timeout", "b", summary.received == 0);
  summary_insert (&summary, &data);
  output_ok (invocation, g_variant_dict_end (&data));
  return summary.received > 0 ? EXIT_OK : EXIT_FAILED;
}
