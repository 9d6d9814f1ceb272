/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/duration.h"
#include "pilotctl/mailbox.h"
#include "pilotctl/output.h"
#include "pilotctl/trust-check.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_TIMEOUT 30
#define DEFAULT_WAIT 30
#define MAX_SECONDS 86400
#define MAX_COUNT 1000000
#define PAUSE_US (50 * 1000)

typedef struct {
  char *data, *data_file, *type, *wait, *timeout, *reply_to;
  int count;
  gboolean reuse, trace, unchecked, no_resend;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->data);
  g_free (options->data_file);
  g_free (options->type);
  g_free (options->wait);
  g_free (options->timeout);
  g_free (options->reply_to);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

/* --wait has an argument or none: the node behind it is not to be taken for one. */
static void
mend_wait (Invocation *invocation)
{
  for (int i = 1; i < invocation->argc && !g_str_equal (invocation->argv[i], "--"); i++)
    if (g_str_equal (invocation->argv[i], "--wait") && (i + 1 == invocation->argc || duration_parse (invocation->argv[i + 1]) <= 0))
      invocation->argv[i] = (char *) "--wait=" G_STRINGIFY (DEFAULT_WAIT);
}

static GBytes *
read_data (const Options *options, GError **error)
{
  char *text;
  gsize length;

  if ((options->data != NULL) == (options->data_file != NULL)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("give the message with --data TEXT or --data-file FILE; \"-\" is standard input"));
    return NULL;
  }
  if (options->data != NULL && !g_str_equal (options->data, "-"))
    return g_bytes_new (options->data, strlen (options->data));
  if (!g_file_get_contents (options->data != NULL || g_str_equal (options->data_file, "-") ? "/dev/stdin" : options->data_file, &text, &length, error))
    return NULL;
  return g_bytes_new_take (text, length);
}

/* An id of the inbox stands for the id that its message was sent with. */
static gboolean
resolve_reply_to (Client *client, Options *options, GError **error)
{
  g_autoptr (GVariant) reply = NULL, message = NULL;

  if (options->reply_to == NULL || !(g_str_has_prefix (options->reply_to, "TEXT-") || g_str_has_prefix (options->reply_to, "JSON-") ||
                                     g_str_has_prefix (options->reply_to, "BINARY-")))
    return TRUE;
  reply = client_call (client, "Messages", "ReadMessage", g_variant_new ("(s)", options->reply_to), error);
  if (reply == NULL)
    return FALSE;
  message = g_variant_get_child_value (reply, 0);
  if (*dict_string (message, "message_id") == '\0') {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("message \"%s\" was sent without an id: nothing can name it"), options->reply_to);
    return FALSE;
  }
  g_free (options->reply_to);
  options->reply_to = g_strdup (dict_string (message, "message_id"));
  return TRUE;
}

/* --- waiting for the reply --- */

/* What came in since before the message was sent. */
typedef struct {
  guint32 node;
  const char *message_id;
  GPtrArray *arrived; /* GVariant */
  char *found;        /* id of the inbox */
  gboolean timed_out;
} Wait;

/* An answer names what it answers. One that names nothing is taken when it comes from the same node, one that names something else never is. */
static gboolean
is_reply (const Wait *wait, GVariant *message)
{
  const char *reply_to = dict_string (message, "reply_to");

  return dict_int (message, "node_id") == wait->node && (*reply_to == '\0' || g_strcmp0 (reply_to, wait->message_id) == 0);
}

static void
on_message (GDBusConnection *connection,
            const char *sender,
            const char *path,
            const char *interface,
            const char *signal,
            GVariant *parameters,
            gpointer user_data)
{
  g_ptr_array_add (((Wait *) user_data)->arrived, g_variant_get_child_value (parameters, 0));
}

static gboolean
on_wait_timeout (gpointer user_data)
{
  ((Wait *) user_data)->timed_out = TRUE;
  return G_SOURCE_REMOVE;
}

static gboolean
wait_reply (Client *client, Wait *wait, const char *target, double seconds, GError **error)
{
  guint source = g_timeout_add ((guint) (seconds * 1000), on_wait_timeout, wait);

  while (wait->found == NULL && !wait->timed_out && client_is_connected (client)) {
    for (guint i = 0; i < wait->arrived->len && wait->found == NULL; i++)
      if (is_reply (wait, wait->arrived->pdata[i]))
        wait->found = g_strdup (dict_string (wait->arrived->pdata[i], "id"));
    g_ptr_array_set_size (wait->arrived, 0);
    if (wait->found == NULL)
      g_main_context_iteration (NULL, TRUE);
  }
  if (!wait->timed_out)
    g_source_remove (source);
  if (wait->found != NULL)
    return TRUE;
  if (wait->timed_out)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT, _("no reply from \"%s\" within %g s"), target, seconds);
  else
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, _("the daemon has gone away"));
  return FALSE;
}

/* --- sending --- */

static GVariant *
send_options (const Options *options, double seconds)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "timeout_ms", "u", (guint32) (seconds * 1000));
  if (options->reply_to != NULL)
    g_variant_dict_insert (&dict, "reply_to", "s", options->reply_to);
  g_variant_dict_insert (&dict, "trace", "b", options->trace);
  g_variant_dict_insert (&dict, "reuse", "b", options->reuse && options->count > 1);
  return g_variant_dict_end (&dict);
}

static void
print_trace (GVariant *receipt)
{
  const gint64 sent = dict_int (receipt, "sent_at_ns");

  if (sent == 0) {
    g_printerr (_("the peer does not know traces\n"));
    return;
  }
  g_printerr (_("there after %.3f ms, stored after %.3f ms, answered after %.3f ms (the clocks of both sides differ)\n"),
              (double) (dict_int (receipt, "received_at_ns") - sent) / 1e6, (double) (dict_int (receipt, "inbox_written_at_ns") - sent) / 1e6,
              (double) (dict_int (receipt, "ack_sent_at_ns") - sent) / 1e6);
}

/* NULL with an error. */
static GVariant *
send_one (Client *client, guint32 node, const Options *options, GBytes *data, double seconds, GError **error)
{
  g_autoptr (GVariant) reply = client_call_long (client, "Messages", "SendMessage",
                                                 g_variant_new ("(us@ay@a{sv})", node, options->type != NULL ? options->type : "text",
                                                                g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, data, TRUE),
                                                                send_options (options, seconds)),
                                                 -1, error);

  return reply != NULL ? g_variant_get_child_value (reply, 0) : NULL;
}

static void
insert_all (GVariantDict *dict, GVariant *receipt)
{
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, receipt);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value)) {
    g_variant_dict_insert_value (dict, key, value);
    g_variant_unref (value);
  }
}

static int
send_many (Invocation *invocation, Client *client, guint32 node, const char *target, const Options *options, GBytes *data, double seconds)
{
  GVariantBuilder results;
  GVariantDict all;
  guint failed = 0;

  g_variant_builder_init (&results, G_VARIANT_TYPE ("aa{sv}"));
  for (int i = 0; i < options->count; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GVariant) receipt = NULL;
    GVariantDict result;

    if (i > 0)
      g_usleep (PAUSE_US);
    receipt = send_one (client, node, options, data, seconds, &error);
    g_variant_dict_init (&result, NULL);
    g_variant_dict_insert (&result, "seq", "u", (guint32) i);
    if (receipt != NULL)
      insert_all (&result, receipt);
    else {
      g_autofree char *message = pilot_error_dup_message (error);

      g_variant_dict_insert (&result, "error", "s", message);
      failed++;
    }
    if (!invocation->json && receipt != NULL)
      g_print (_("seq=%d %s\n"), i, dict_string (receipt, "ack"));
    else if (!invocation->json) {
      g_autofree char *message = output_message (error);

      g_print (_("seq=%d error: %s\n"), i, message);
    }
    g_variant_builder_add_value (&results, g_variant_dict_end (&result));
  }
  g_variant_dict_init (&all, NULL);
  g_variant_dict_insert (&all, "target", "s", target);
  g_variant_dict_insert (&all, "to", "s", target);
  g_variant_dict_insert (&all, "type", "s", options->type != NULL ? options->type : "text");
  g_variant_dict_insert (&all, "reuse_conn", "b", options->reuse);
  g_variant_dict_insert_value (&all, "results", g_variant_builder_end (&results));
  output_ok (invocation, g_variant_dict_end (&all));
  return failed == 0 ? EXIT_OK : EXIT_FAILED;
}

static GVariant *
read_reply (Client *client, const char *id, Invocation *invocation, GError **error)
{
  g_autoptr (GVariant) reply = client_call (client, "Messages", "ReadMessage", g_variant_new ("(s)", id), error);
  g_autoptr (GVariant) message = NULL, data = NULL;
  gconstpointer bytes;
  gsize length;
  GVariantDict dict;

  if (reply == NULL)
    return NULL;
  message = g_variant_get_child_value (reply, 0);
  data = g_variant_get_child_value (reply, 1);
  bytes = g_variant_get_fixed_array (data, &length, 1);
  g_variant_dict_init (&dict, message);
  output_insert_bytes (&dict, "data", bytes, length);
  if (!invocation->json)
    mailbox_print_data (bytes, length);
  return g_variant_dict_end (&dict);
}

static int
send_single (Invocation *invocation, Client *client, guint32 node, const char *target, const Options *options, GBytes *data, double seconds, double wait_seconds)
{
  g_autoptr (GPtrArray) arrived = g_ptr_array_new_with_free_func ((GDestroyNotify) g_variant_unref);
  Wait wait = { .node = node, .arrived = arrived };
  g_autofree char *found = NULL;
  g_autoptr (GVariant) receipt = NULL;
  GError *error = NULL;
  GVariantDict result;
  guint subscription = 0;

  if (wait_seconds > 0)
    subscription = client_subscribe (client, "Messages", "MessageReceived", on_message, &wait);
  receipt = send_one (client, node, options, data, seconds, &error);
  if (receipt == NULL)
    return output_error (invocation, error);
  /* With --wait standard output is the reply's. */
  if (!invocation->json && wait_seconds > 0)
    g_printerr (_("sent to %s: %s\n"), target, dict_string (receipt, "ack"));
  else if (!invocation->json)
    g_print (_("sent to %s: %s\n"), target, dict_string (receipt, "ack"));
  if (!invocation->json && options->trace)
    print_trace (receipt);
  g_variant_dict_init (&result, receipt);
  g_variant_dict_insert (&result, "target", "s", target);
  g_variant_dict_insert (&result, "to", "s", target);
  g_variant_dict_insert (&result, "type", "s", options->type != NULL ? options->type : "text");
  g_variant_dict_insert (&result, "seq", "u", 0);
  if (wait_seconds > 0) {
    GVariant *reply = NULL;

    wait.message_id = dict_string (receipt, "message_id");
    if (wait_reply (client, &wait, target, wait_seconds, &error))
      reply = read_reply (client, wait.found, invocation, &error);
    found = wait.found;
    client_unsubscribe (client, subscription);
    if (reply == NULL) {
      g_variant_dict_clear (&result);
      return output_error (invocation, error);
    }
    g_variant_dict_insert_value (&result, "reply", reply);
  }
  return output_ok (invocation, g_variant_dict_end (&result));
}

static gboolean
check_receiving (Client *client, GError **error)
{
  g_autoptr (GVariant) receiving = client_get_property (client, "Messages", "Receiving", error);

  if (receiving == NULL)
    return FALSE;
  if (g_variant_get_boolean (receiving))
    return TRUE;
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, _("no reply can come: this node takes no messages (no_dataexchange)"));
  return FALSE;
}

int
command_send_message (Invocation *invocation)
{
  g_auto (Options) options = { .count = 1 };
  const GOptionEntry entries[] = {
    { "data", 0, 0, G_OPTION_ARG_STRING, &options.data, N_("The message; \"-\" reads it from standard input"), "TEXT" },
    { "data-file", 0, 0, G_OPTION_ARG_FILENAME, &options.data_file, N_("Read the message from a file"), "FILE" },
    { "type", 0, 0, G_OPTION_ARG_STRING, &options.type, N_("text (the default), json or binary"), "TYPE" },
    { "count", 0, 0, G_OPTION_ARG_INT, &options.count, N_("How often (default 1)"), "N" },
    { "reuse-conn", 0, 0, G_OPTION_ARG_NONE, &options.reuse, N_("One connection for all of --count"), NULL },
    { "wait", 0, 0, G_OPTION_ARG_STRING, &options.wait, N_("Wait for the reply, 30s if no time is given"), "D" },
    { "reply-to", 0, 0, G_OPTION_ARG_STRING, &options.reply_to, N_("The message this one answers: its message_id, or its id in the inbox"), "ID" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &options.timeout, N_("How long to wait for the receipt (default 30s)"), "D" },
    { "trace", 0, 0, G_OPTION_ARG_NONE, &options.trace, N_("Have the times of each step told"), NULL },
    TRUST_UNCHECKED_ENTRY (&options.unchecked),
    /* A message is never sent a second time here anyway. */
    { "no-resend", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &options.no_resend, NULL, NULL },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GBytes) data = NULL;
  GError *error = NULL;
  guint32 node;
  char target[PILOT_ADDRESS_TEXT_SIZE];
  double seconds = DEFAULT_TIMEOUT, wait_seconds = 0;
  int exit_code;

  mend_wait (invocation);
  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (options.timeout != NULL)
    seconds = duration_parse (options.timeout);
  if (options.wait != NULL)
    wait_seconds = duration_parse (options.wait);
  if (!(seconds >= 0.001 && seconds <= MAX_SECONDS) || (options.wait != NULL && !(wait_seconds >= 0.001 && wait_seconds <= MAX_SECONDS)))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--timeout and --wait need a time such as 500ms or 5s, at most a day"));
  if (options.count < 1 || options.count > MAX_COUNT || (options.count > 1 && wait_seconds > 0))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 1 up, and goes without --wait"));
  data = read_data (&options, &error);
  if (data == NULL)
    return output_error (invocation, error);
  client = client_new (invocation, &error);
  if (client == NULL || !resolve_reply_to (client, &options, &error) || (wait_seconds > 0 && !check_receiving (client, &error)) ||
      !trust_reach (client, invocation->argv[1], options.unchecked, &node, target, &error))
    return output_error (invocation, error);
  if (options.count > 1)
    return send_many (invocation, client, node, target, &options, data, seconds);
  return send_single (invocation, client, node, target, &options, data, seconds, wait_seconds);
}
