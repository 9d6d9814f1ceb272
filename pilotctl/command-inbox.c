/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/mailbox.h"
#include "pilotctl/output.h"

#define PREVIEW_LENGTH 120
#define DEFAULT_LIMIT 10

typedef struct {
  char *state;
  char *from; /* address text; NULL = anybody */
  gint64 since, before;
  gboolean full, clear;
  guint limit; /* 0 = all */
} Selection;

static void
insert_head (GVariantDict *dict, const PilotMailboxMessage *message)
{
  g_variant_dict_insert (dict, "id", "s", message->id);
  g_variant_dict_insert (dict, "from", "s", message->from);
  g_variant_dict_insert (dict, "received_at", "s", message->received_at);
  g_variant_dict_insert (dict, "type", "s", message->type);
  g_variant_dict_insert (dict, "bytes", "x", message->bytes);
  if (*message->message_id != '\0')
    g_variant_dict_insert (dict, "message_id", "s", message->message_id);
  if (*message->reply_to != '\0')
    g_variant_dict_insert (dict, "reply_to", "s", message->reply_to);
}

static GVariant *
describe (const PilotMailboxMessage *message, gboolean full)
{
  g_autofree char *preview = pilot_mailbox_preview (message, PREVIEW_LENGTH);
  gsize length;
  gconstpointer data = g_bytes_get_data (message->data, &length);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  insert_head (&dict, message);
  if (full)
    output_insert_bytes (&dict, "data", data, length);
  else
    g_variant_dict_insert (&dict, "preview", "s", preview);
  return g_variant_dict_end (&dict);
}

static void
print_message (const PilotMailboxMessage *message, const PilotMailboxEntry *entry, gboolean full)
{
  g_autofree char *age = output_age ((g_get_real_time () - entry->modified) / G_USEC_PER_SEC), *bytes = output_bytes ((guint64) MAX (message->bytes, 0));
  g_autofree char *id = output_clean (message->id), *from = output_clean (message->from), *type = output_clean (message->type);
  g_autofree char *message_id = output_clean (message->message_id), *reply_to = output_clean (message->reply_to);
  gsize length;
  gconstpointer data = g_bytes_get_data (message->data, &length);

  g_print (_("%s\n  %s · %s · %s ago · %s\n"), id, from, type, age, bytes);
  if (*message_id != '\0')
    g_print ("  message_id %s\n", message_id);
  if (*reply_to != '\0')
    g_print ("  reply_to %s\n", reply_to);
  if (full)
    mailbox_print_text (data, length);
  else {
    g_autofree char *preview = pilot_mailbox_preview (message, PREVIEW_LENGTH);

    g_print ("  %s\n", *preview != '\0' || length == 0 ? preview : _("(no text: pilotctl inbox read)"));
  }
}

static gboolean
matches (const Selection *selection, const PilotMailboxEntry *entry, const PilotMailboxMessage *message)
{
  return entry->modified >= selection->since && entry->modified <= selection->before &&
         (selection->from == NULL || (message != NULL && g_str_equal (message->from, selection->from)));
}

static int
clear (Invocation *invocation, const Selection *selection, GPtrArray *entries)
{
  guint cleared = 0;
  GVariantDict data;
  GError *error = NULL;

  for (guint i = 0; i < entries->len; i++) {
    const PilotMailboxEntry *entry = entries->pdata[i];
    g_autoptr (PilotMailboxMessage) message = selection->from != NULL ? pilot_mailbox_read (selection->state, entry->name, NULL) : NULL;

    if (!matches (selection, entry, message))
      continue;
    if (!pilot_mailbox_delete (selection->state, PILOT_MAILBOX_INBOX, entry->name, &error) && !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
      return output_error (invocation, error);
    g_clear_error (&error);
    cleared++;
  }
  if (!invocation->json)
    g_print (_("%u messages deleted, %u left\n"), cleared, entries->len - cleared);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "cleared", "u", cleared);
  g_variant_dict_insert (&data, "remaining", "u", entries->len - cleared);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static int
list (Invocation *invocation, const Selection *selection, GPtrArray *entries)
{
  g_autofree char *folder = pilot_mailbox_folder (selection->state, PILOT_MAILBOX_INBOX);
  GVariantBuilder messages;
  GVariantDict data;
  guint shown = 0;

  g_variant_builder_init (&messages, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < entries->len && (selection->limit == 0 || shown < selection->limit); i++) {
    const PilotMailboxEntry *entry = entries->pdata[i];
    g_autoptr (GError) error = NULL;
    g_autoptr (PilotMailboxMessage) message = NULL;

    if (entry->modified < selection->since)
      break; /* the newest come first */
    message = pilot_mailbox_read (selection->state, entry->name, &error);
    if (message == NULL && !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND)) {
      g_autofree char *why = pilot_error_dup_message (error);

      g_printerr (_("warning: %s\n"), why);
    }
    if (message == NULL || !matches (selection, entry, message))
      continue;
    shown++;
    g_variant_builder_add_value (&messages, describe (message, selection->full));
    if (!invocation->json)
      print_message (message, entry, selection->full);
  }
  if (!invocation->json && shown == 0)
    g_print (entries->len == 0 ? _("no messages\n") : _("no message matches\n"));
  else if (!invocation->json)
    g_print (_("%u of %u messages; the whole of one: pilotctl inbox read ID\n"), shown, entries->len);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "messages", g_variant_builder_end (&messages));
  g_variant_dict_insert (&data, "total", "u", entries->len);
  g_variant_dict_insert (&data, "shown", "u", shown);
  g_variant_dict_insert (&data, "dir", "s", folder);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static int
read_one (Invocation *invocation, const char *state, const char *id)
{
  GError *error = NULL;
  g_autoptr (PilotMailboxMessage) message = pilot_mailbox_read (state, id, &error);
  g_autofree char *from = NULL, *message_id = NULL, *reply_to = NULL, *type = NULL, *when = NULL, *clean_id = NULL;
  gconstpointer data;
  gsize length;
  GVariantDict dict;

  if (message == NULL) {
    if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
      pilot_error_set_hint (error, _("list ids with: pilotctl inbox"));
    return output_error (invocation, error);
  }
  data = g_bytes_get_data (message->data, &length);
  if (!invocation->json) {
    clean_id = output_clean (message->id);
    from = output_clean (message->from);
    type = output_clean (message->type);
    when = output_clean (message->received_at);
    message_id = output_clean (message->message_id);
    reply_to = output_clean (message->reply_to);
    /* The head goes to stderr, so that a pipe gets the message and nothing else. */
    g_printerr (_("ID:         %s\nFrom:       %s\nWhen:       %s\nType:       %s\nBytes:      %u\n"), clean_id, from, when, type, (guint) message->bytes);
    if (*message_id != '\0')
      g_printerr (_("Message ID: %s\n"), message_id);
    if (*reply_to != '\0')
      g_printerr (_("Reply to:   %s\n"), reply_to);
    g_printerr ("\n");
    mailbox_print_data (data, length);
  }
  g_variant_dict_init (&dict, NULL);
  insert_head (&dict, message);
  g_variant_dict_insert (&dict, "data_encoding", "s", message->encoding);
  output_insert_bytes (&dict, "data", data, length);
  return output_ok (invocation, g_variant_dict_end (&dict));
}

/* "read ID" is the only thing that may stand behind the command. */
static gboolean
check_words (Invocation *invocation, int *exit_code)
{
  if (invocation->argc == 1 || (invocation->argc == 3 && g_str_equal (invocation->argv[1], "read")))
    return TRUE;
  *exit_code = output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("usage: pilotctl %s %s"), invocation->command->name, invocation->command->arguments);
  return FALSE;
}

static gboolean
find_sender (Invocation *invocation, Client *client, const char *from, char **address, GError **error)
{
  PilotAddress found = { 0 };
  g_autoptr (Client) own = NULL;

  if (!pilot_address_parse_cli (from, &found, NULL)) {
    if (client == NULL)
      client = own = client_new (invocation, error);
    if (client == NULL || !client_resolve (client, from, &found.node, error))
      return FALSE;
  }
  *address = pilot_address_to_string (&found);
  return TRUE;
}

int
command_inbox (Invocation *invocation)
{
  g_autofree char *from = NULL, *since = NULL, *before = NULL, *address = NULL, *state = NULL;
  gboolean latest = FALSE, full = FALSE, clear_them = FALSE;
  int limit = DEFAULT_LIMIT;
  const GOptionEntry entries[] = {
    { "latest", 0, 0, G_OPTION_ARG_NONE, &latest, N_("The newest one, all of it"), NULL },
    { "limit", 0, 0, G_OPTION_ARG_INT, &limit, N_("At most so many (default 10, 0 = all)"), "N" },
    { "from", 0, 0, G_OPTION_ARG_STRING, &from, N_("Only those of this node"), "NODE" },
    { "since", 0, 0, G_OPTION_ARG_STRING, &since, N_("Only those of the last 5m, 1h, or since a date"), "TIME" },
    { "full", 0, 0, G_OPTION_ARG_NONE, &full, N_("All of each, not its beginning"), NULL },
    { "clear", 0, 0, G_OPTION_ARG_NONE, &clear_them, N_("Delete those that match, all when nothing is said"), NULL },
    { "before", 0, 0, G_OPTION_ARG_STRING, &before, N_("With --clear: only those older than 24h, or a date"), "TIME" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GPtrArray) files = NULL;
  Selection selection = { .since = G_MININT64, .before = G_MAXINT64 };
  GError *error = NULL;
  int exit_code;

  if (!command_parse (invocation, entries, 0, 2, &exit_code) || !check_words (invocation, &exit_code))
    return exit_code;
  if (limit < 0 || (before != NULL && !clear_them))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--limit needs a number from 0 up, and --before goes with --clear"));
  if ((since != NULL && !mailbox_parse_time (since, &selection.since, &error)) || (before != NULL && !mailbox_parse_time (before, &selection.before, &error)))
    return output_error (invocation, error);
  state = mailbox_find (invocation, &client, &error);
  if (state == NULL || (from != NULL && !find_sender (invocation, client, from, &address, &error)))
    return output_error (invocation, error);
  if (invocation->argc == 3)
    return read_one (invocation, state, invocation->argv[2]);
  files = pilot_mailbox_list (state, PILOT_MAILBOX_INBOX, &error);
  if (files == NULL)
    return output_error (invocation, error);
  selection.state = state;
  selection.from = address;
  selection.full = full || latest;
  selection.limit = latest ? 1 : (guint) limit;
  return clear_them ? clear (invocation, &selection, files) : list (invocation, &selection, files);
}
