/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"
#include "daemon/bus/caller.h"

#include <gio/gunixfdlist.h>
#include <unistd.h>

#include "daemon/node/node-describe.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-mailbox.h"

#define INTERFACE "network.pilotprotocol.Pilot1.Messages"
#define PREVIEW_LENGTH 120
#define DEFAULT_LIMIT 100

struct _PilotMessagesFace {
  PilotBus *bus;
  PilotDBusMessages *face;
  GHashTable *senders; /* transfer id -> Sender: files that end with their caller */
};

/* --- options --- */

/* One of the options a method knows: where its value goes tells its type by @type. */
typedef struct {
  const char *name, *type;
  gpointer value;
} Option;

static gboolean
read_options (GVariant *options, const Option *known, guint n_known, GError **error)
{
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value)) {
    g_autoptr (GVariant) owned = value;
    guint i = 0;

    while (i < n_known && !g_str_equal (known[i].name, key))
      i++;
    if (i == n_known || !g_variant_is_of_type (value, G_VARIANT_TYPE (known[i].type))) {
      g_autofree char *quoted = pilot_error_quote (key, -1);

      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unknown or malformed option \"%s\"", quoted);
      return FALSE;
    }
    /* Texts belong to @options, which outlives the call. */
    g_variant_get (value, *known[i].type == 's' ? "&s" : known[i].type, known[i].value);
  }
  return TRUE;
}

/* --- signals: not for everybody on the private socket --- */

static gboolean
may_hear (GDBusConnection *connection)
{
  /* On a message bus its policy decides who hears what. */
  return (g_dbus_connection_get_flags (connection) & G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION) || pilot_authority_is_owner (connection);
}

static void
emit (PilotMessagesFace *face, const char *name, GVariant *arguments)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (arguments);
  GHashTableIter iter;
  gpointer connection;

  g_hash_table_iter_init (&iter, face->bus->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    if (may_hear (connection))
      g_dbus_connection_emit_signal (connection, NULL, PILOT_BUS_ROOT, INTERFACE, name, owned, NULL);
}

static void
on_message_received (PilotExchange *exchange, const PilotExchangeMessage *message, PilotMessagesFace *face)
{
  g_autofree char *from = pilot_describe_node (message->node), *type = pilot_exchange_type_to_string (message->type);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "s", message->id);
  g_variant_dict_insert (&dict, "node_id", "u", message->node);
  g_variant_dict_insert (&dict, "from", "s", from);
  g_variant_dict_insert (&dict, "type", "s", type);
  g_variant_dict_insert (&dict, "bytes", "t", (guint64) message->bytes);
  g_variant_dict_insert (&dict, "message_id", "s", message->message_id != NULL ? message->message_id : "");
  g_variant_dict_insert (&dict, "reply_to", "s", message->reply_to != NULL ? message->reply_to : "");
  emit (face, "MessageReceived", g_variant_new ("(@a{sv})", g_variant_dict_end (&dict)));
}

static char *
received_path (PilotExchange *exchange, const char *name)
{
  g_autofree char *folder = pilot_mailbox_folder (pilot_exchange_get_folder (exchange), PILOT_MAILBOX_RECEIVED);

  return g_build_filename (folder, name, NULL);
}

static void
on_file_received (PilotExchange *exchange, const PilotExchangeFile *file, PilotMessagesFace *face)
{
  g_autofree char *from = pilot_describe_node (file->node), *path = received_path (exchange, file->name);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "name", "s", file->name);
  g_variant_dict_insert (&dict, "node_id", "u", file->node);
  g_variant_dict_insert (&dict, "from", "s", from);
  g_variant_dict_insert (&dict, "bytes", "t", file->bytes);
  g_variant_dict_insert (&dict, "path", "s", path);
  emit (face, "FileReceived", g_variant_new ("(@a{sv})", g_variant_dict_end (&dict)));
}

/* --- transfers --- */

static GVariant *
describe_transfer (const PilotTransfer *transfer)
{
  g_autofree char *address = pilot_describe_node (transfer->node);
  g_autofree char *message = transfer->error != NULL ? pilot_error_dup_message (transfer->error) : g_strdup ("");
  char sha256[2 * PILOT_SHA256_SIZE + 1];
  GVariantDict dict;

  for (guint i = 0; i < PILOT_SHA256_SIZE; i++)
    g_snprintf (sha256 + 2 * i, 3, "%02x", transfer->sha256[i]);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "t", transfer->id);
  g_variant_dict_insert (&dict, "direction", "s", transfer->incoming ? "in" : "out");
  g_variant_dict_insert (&dict, "node_id", "u", transfer->node);
  g_variant_dict_insert (&dict, "address", "s", address);
  g_variant_dict_insert (&dict, "name", "s", transfer->name);
  g_variant_dict_insert (&dict, "state", "s", pilot_transfer_state_to_string (transfer->state));
  g_variant_dict_insert (&dict, "size", "t", transfer->size);
  g_variant_dict_insert (&dict, "bytes", "t", transfer->bytes);
  g_variant_dict_insert (&dict, "resumed", "t", transfer->resumed);
  g_variant_dict_insert (&dict, "sha256", "s", transfer->state == PILOT_TRANSFER_READING ? "" : sha256);
  g_variant_dict_insert (&dict, "streamed", "b", transfer->streamed);
  g_variant_dict_insert (&dict, "answer", "s", transfer->answer != NULL ? transfer->answer : "");
  g_variant_dict_insert (&dict, "error", "s", message);
  g_variant_dict_insert (&dict, "code", "s", transfer->error != NULL ? pilot_error_code_to_string (pilot_error_code (transfer->error)) : "");
  g_variant_dict_insert (&dict, "elapsed_ms", "x", (transfer->changed - transfer->started) / 1000);
  return g_variant_dict_end (&dict);
}

static void
on_transfer_changed (PilotExchange *exchange, const PilotTransfer *transfer, PilotMessagesFace *face)
{
  emit (face, "TransferChanged", g_variant_new ("(t@a{sv})", transfer->id, describe_transfer (transfer)));
  if (transfer->state == PILOT_TRANSFER_DONE || transfer->state == PILOT_TRANSFER_FAILED)
    g_hash_table_remove (face->senders, &transfer->id);
}

/* A file that ends with its caller. */
typedef struct {
  guint64 id; /* first: it is the key of the table */
  PilotExchange *exchange;
  PilotCaller *caller;
} Sender;

static void
sender_free (gpointer data)
{
  Sender *sender = data;

  pilot_caller_free (sender->caller);
  g_free (sender);
}

static void
on_sender_gone (gpointer user_data)
{
  /* Its end is told by "transfer-changed", which frees it. */
  pilot_exchange_cancel (((Sender *) user_data)->exchange, ((Sender *) user_data)->id, NULL);
}

static gboolean
on_send_file (PilotDBusMessages *skeleton,
              GDBusMethodInvocation *invocation,
              GUnixFDList *fds,
              GVariant *file,
              guint32 node,
              const char *name,
              GVariant *options,
              PilotMessagesFace *face)
{
  PilotExchange *exchange = face->bus->exchange;
  guint32 timeout_ms = 90000;
  gboolean streamed = TRUE, detach = FALSE, prefer_direct = FALSE;
  const Option known[] = { { "timeout_ms", "u", &timeout_ms }, { "stream", "b", &streamed }, { "detach", "b", &detach }, { "prefer_direct", "b", &prefer_direct } };
  g_autoptr (GError) error = NULL;
  guint64 id = 0;
  int fd = -1;

  if (read_options (options, known, G_N_ELEMENTS (known), &error)) {
    fd = fds != NULL ? g_unix_fd_list_get (fds, g_variant_get_handle (file), &error) : -1;
    if (fd < 0 && error == NULL)
      error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the call carries no descriptor");
  }
  if (fd >= 0)
    id = pilot_exchange_send_file (exchange, fd, node, name, streamed, timeout_ms, &error);
  if (id != 0 && prefer_direct)
    pilot_node_find_path (face->bus->node, node);
  if (id == 0) {
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
    return TRUE;
  }
  if (!detach) {
    Sender *sender = g_new0 (Sender, 1);

    sender->id = id;
    sender->exchange = exchange;
    sender->caller = pilot_caller_new (invocation, on_sender_gone, sender);
    g_hash_table_add (face->senders, sender);
  }
  pilot_dbus_messages_complete_send_file (skeleton, invocation, NULL, id);
  return TRUE;
}

static gboolean
on_cancel_transfer (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, guint64 id, PilotMessagesFace *face)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_exchange_cancel (face->bus->exchange, id, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_messages_complete_cancel_transfer (skeleton, invocation);
  return TRUE;
}

static gboolean
on_list_transfers (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, PilotMessagesFace *face)
{
  g_autoptr (GPtrArray) transfers = pilot_exchange_list_transfers (face->bus->exchange);
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < transfers->len; i++)
    g_variant_builder_add_value (&list, describe_transfer (transfers->pdata[i]));
  pilot_dbus_messages_complete_list_transfers (skeleton, invocation, g_variant_builder_end (&list));
  return TRUE;
}

/* --- messages --- */

/* What an asynchronous method needs to answer. */
typedef struct {
  PilotDBusMessages *skeleton;
  GDBusMethodInvocation *invocation; /* answering takes it */
  gsize bytes;
} Call;

static void
insert_times (GVariantDict *dict, JsonObject *trace)
{
  static const char *const times[] = { "sent_at_ns", "received_at_ns", "inbox_written_at_ns", "ack_sent_at_ns" };

  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    g_variant_dict_insert (dict, times[i], "x", pilot_json_get_int64 (trace, times[i]));
}

static void
on_sent (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Call *call = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PilotExchangeReceipt) receipt = pilot_exchange_send_finish (PILOT_EXCHANGE (source), result, &error);
  GVariantDict dict;

  if (receipt == NULL)
    g_dbus_method_invocation_take_error (call->invocation, g_steal_pointer (&error));
  else {
    g_variant_dict_init (&dict, NULL);
    g_variant_dict_insert (&dict, "ack", "s", receipt->answer);
    g_variant_dict_insert (&dict, "bytes", "t", (guint64) call->bytes);
    g_variant_dict_insert (&dict, "message_id", "s", receipt->message_id);
    g_variant_dict_insert (&dict, "tagged", "b", receipt->tagged);
    g_variant_dict_insert (&dict, "duplicate", "b", receipt->duplicate);
    g_variant_dict_insert (&dict, "reused", "b", receipt->reused);
    if (receipt->trace != NULL)
      insert_times (&dict, receipt->trace);
    pilot_dbus_messages_complete_send_message (call->skeleton, call->invocation, g_variant_dict_end (&dict));
  }
  g_object_unref (call->skeleton);
  g_free (call);
}

static gboolean
on_send_message (PilotDBusMessages *skeleton,
                 GDBusMethodInvocation *invocation,
                 guint32 node,
                 const char *type,
                 GVariant *data,
                 GVariant *options,
                 PilotMessagesFace *face)
{
  PilotExchangeSendOptions send = { .timeout_ms = 30000 };
  guint32 timeout_ms = send.timeout_ms;
  const Option known[] = {
    { "timeout_ms", "u", &timeout_ms },
    { "message_id", "s", &send.message_id },
    { "reply_to", "s", &send.reply_to },
    { "trace", "b", &send.trace },
    { "reuse", "b", &send.reuse },
  };
  g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (data);
  g_autoptr (GError) error = NULL;
  Call *call;

  if (!read_options (options, known, G_N_ELEMENTS (known), &error) || !pilot_exchange_type_from_string (type, &send.type)) {
    if (error == NULL)
      error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "a message is of type text, json or binary");
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
    return TRUE;
  }
  send.timeout_ms = timeout_ms;
  call = g_new0 (Call, 1);
  call->skeleton = g_object_ref (skeleton);
  call->invocation = invocation;
  call->bytes = g_bytes_get_size (bytes);
  pilot_exchange_send_async (face->bus->exchange, node, bytes, &send, on_sent, call);
  return TRUE;
}

/* --- what is on disk: read in threads --- */

typedef enum {
  LIST_INBOX,
  READ_MESSAGE,
  DELETE_MESSAGE,
  LIST_RECEIVED,
  DELETE_RECEIVED,
} MailboxMethod;

typedef struct {
  MailboxMethod method;
  char *state, *name, *from;
  guint limit;
} MailboxCall;

static void
mailbox_call_free (gpointer data)
{
  MailboxCall *call = data;

  g_free (call->state);
  g_free (call->name);
  g_free (call->from);
  g_free (call);
}

static void
insert_message (GVariantDict *dict, const PilotMailboxMessage *message)
{
  g_variant_dict_insert (dict, "id", "s", message->id);
  g_variant_dict_insert (dict, "from", "s", message->from);
  g_variant_dict_insert (dict, "type", "s", message->type);
  g_variant_dict_insert (dict, "received_at", "s", message->received_at);
  g_variant_dict_insert (dict, "bytes", "x", message->bytes);
  g_variant_dict_insert (dict, "message_id", "s", message->message_id);
  g_variant_dict_insert (dict, "reply_to", "s", message->reply_to);
}

static GVariant *
list_inbox (const MailboxCall *call, GError **error)
{
  g_autoptr (GPtrArray) entries = pilot_mailbox_list (call->state, PILOT_MAILBOX_INBOX, error);
  GVariantBuilder list;
  guint n = 0;

  if (entries == NULL)
    return NULL;
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < entries->len && (call->limit == 0 || n < call->limit); i++) {
    /* What was deleted meanwhile, or is no message, is not listed. */
    g_autoptr (PilotMailboxMessage) message = pilot_mailbox_read (call->state, ((PilotMailboxEntry *) entries->pdata[i])->name, NULL);
    g_autofree char *preview = NULL;
    GVariantDict dict;

    if (message == NULL || (call->from != NULL && !g_str_equal (message->from, call->from)))
      continue;
    preview = pilot_mailbox_preview (message, PREVIEW_LENGTH);
    g_variant_dict_init (&dict, NULL);
    insert_message (&dict, message);
    g_variant_dict_insert (&dict, "preview", "s", preview);
    g_variant_builder_add_value (&list, g_variant_dict_end (&dict));
    n++;
  }
  return g_variant_new ("(@aa{sv})", g_variant_builder_end (&list));
}

static GVariant *
read_message (const MailboxCall *call, GError **error)
{
  g_autoptr (PilotMailboxMessage) message = pilot_mailbox_read (call->state, call->name, error);
  GVariantDict dict;

  if (message == NULL)
    return NULL;
  g_variant_dict_init (&dict, NULL);
  insert_message (&dict, message);
  return g_variant_new ("(@a{sv}@ay)", g_variant_dict_end (&dict), g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, message->data, TRUE));
}

static GVariant *
list_received (const MailboxCall *call, GError **error)
{
  g_autoptr (GPtrArray) entries = pilot_mailbox_list (call->state, PILOT_MAILBOX_RECEIVED, error);
  g_autofree char *folder = pilot_mailbox_folder (call->state, PILOT_MAILBOX_RECEIVED);
  GVariantBuilder list;

  if (entries == NULL)
    return NULL;
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < entries->len; i++) {
    const PilotMailboxEntry *entry = entries->pdata[i];
    g_autofree char *path = g_build_filename (folder, entry->name, NULL);
    GVariantDict dict;

    /* Somebody else may have put a file there whose name is no text. */
    if (!g_utf8_validate (entry->name, -1, NULL))
      continue;
    g_variant_dict_init (&dict, NULL);
    g_variant_dict_insert (&dict, "name", "s", entry->name);
    g_variant_dict_insert (&dict, "bytes", "t", entry->bytes);
    g_variant_dict_insert (&dict, "modified", "x", entry->modified / G_USEC_PER_SEC);
    g_variant_dict_insert (&dict, "path", "s", path);
    g_variant_builder_add_value (&list, g_variant_dict_end (&dict));
  }
  return g_variant_new ("(@aa{sv})", g_variant_builder_end (&list));
}

static void
mailbox_thread (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  const MailboxCall *call = task_data;
  GVariant *answer = NULL;
  GError *error = NULL;

  switch (call->method) {
  case LIST_INBOX:
    answer = list_inbox (call, &error);
    break;
  case READ_MESSAGE:
    answer = read_message (call, &error);
    break;
  case LIST_RECEIVED:
    answer = list_received (call, &error);
    break;
  case DELETE_MESSAGE:
  case DELETE_RECEIVED:
    if (pilot_mailbox_delete (call->state, call->method == DELETE_MESSAGE ? PILOT_MAILBOX_INBOX : PILOT_MAILBOX_RECEIVED, call->name, &error))
      answer = g_variant_new ("()");
    break;
  }
  if (answer == NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, g_variant_ref_sink (answer), (GDestroyNotify) g_variant_unref);
}

static void
on_mailbox_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GDBusMethodInvocation *invocation = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) answer = g_task_propagate_pointer (G_TASK (result), &error);

  if (answer == NULL)
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    g_dbus_method_invocation_return_value (invocation, answer);
}

static gboolean
mailbox_run (PilotMessagesFace *face, GDBusMethodInvocation *invocation, MailboxMethod method, const char *name, guint32 from, guint limit)
{
  g_autoptr (GTask) task = g_task_new (face->face, NULL, on_mailbox_done, invocation);
  MailboxCall *call = g_new0 (MailboxCall, 1);

  call->method = method;
  call->state = g_strdup (pilot_exchange_get_folder (face->bus->exchange));
  call->name = g_strdup (name);
  call->from = from != 0 ? pilot_describe_node (from) : NULL;
  call->limit = limit;
  g_task_set_task_data (task, call, mailbox_call_free);
  g_task_run_in_thread (task, mailbox_thread);
  return TRUE;
}

static gboolean
on_list_inbox (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, GVariant *options, PilotMessagesFace *face)
{
  guint32 limit = DEFAULT_LIMIT, from = 0;
  const Option known[] = { { "limit", "u", &limit }, { "from", "u", &from } };
  g_autoptr (GError) error = NULL;

  if (read_options (options, known, G_N_ELEMENTS (known), &error))
    return mailbox_run (face, invocation, LIST_INBOX, NULL, from, limit);
  g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  return TRUE;
}

static gboolean
on_read_message (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, const char *id, PilotMessagesFace *face)
{
  return mailbox_run (face, invocation, READ_MESSAGE, id, 0, 0);
}

static gboolean
on_delete_message (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, const char *id, PilotMessagesFace *face)
{
  return mailbox_run (face, invocation, DELETE_MESSAGE, id, 0, 0);
}

static gboolean
on_list_received (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, PilotMessagesFace *face)
{
  return mailbox_run (face, invocation, LIST_RECEIVED, NULL, 0, 0);
}

static gboolean
on_delete_received (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, const char *name, PilotMessagesFace *face)
{
  return mailbox_run (face, invocation, DELETE_RECEIVED, name, 0, 0);
}

static gboolean
on_open_received (PilotDBusMessages *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds, const char *name, PilotMessagesFace *face)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GUnixFDList) list = NULL;
  int fd = pilot_mailbox_open (pilot_exchange_get_folder (face->bus->exchange), PILOT_MAILBOX_RECEIVED, name, &error);

  if (fd < 0) {
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
    return TRUE;
  }
  list = g_unix_fd_list_new_from_array (&fd, 1);
  pilot_dbus_messages_complete_open_received (skeleton, invocation, list, g_variant_new_handle (0));
  return TRUE;
}

/* --- life --- */

PilotMessagesFace *
pilot_messages_face_new (PilotBus *bus)
{
  static const struct {
    const char *signal;
    GCallback handler;
  } handlers[] = {
    { "handle-send-message", G_CALLBACK (on_send_message) },
    { "handle-send-file", G_CALLBACK (on_send_file) },
    { "handle-cancel-transfer", G_CALLBACK (on_cancel_transfer) },
    { "handle-list-transfers", G_CALLBACK (on_list_transfers) },
    { "handle-list-inbox", G_CALLBACK (on_list_inbox) },
    { "handle-read-message", G_CALLBACK (on_read_message) },
    { "handle-delete-message", G_CALLBACK (on_delete_message) },
    { "handle-list-received", G_CALLBACK (on_list_received) },
    { "handle-open-received", G_CALLBACK (on_open_received) },
    { "handle-delete-received", G_CALLBACK (on_delete_received) },
  };
  PilotMessagesFace *face = g_new0 (PilotMessagesFace, 1);

  face->bus = bus;
  face->face = pilot_dbus_messages_skeleton_new ();
  face->senders = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, sender_free);
  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (face->face, handlers[i].signal, handlers[i].handler, face);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face->face));
  pilot_dbus_messages_set_receiving (face->face, pilot_exchange_is_receiving (bus->exchange));
  pilot_dbus_messages_set_folder (face->face, pilot_exchange_get_folder (bus->exchange));
  g_signal_connect (bus->exchange, "message-received", G_CALLBACK (on_message_received), face);
  g_signal_connect (bus->exchange, "file-received", G_CALLBACK (on_file_received), face);
  g_signal_connect (bus->exchange, "transfer-changed", G_CALLBACK (on_transfer_changed), face);
  return face;
}

GDBusInterfaceSkeleton *
pilot_messages_face_get_skeleton (PilotMessagesFace *face)
{
  return G_DBUS_INTERFACE_SKELETON (face->face);
}

void
pilot_messages_face_free (PilotMessagesFace *face)
{
  g_signal_handlers_disconnect_by_data (face->bus->exchange, face);
  g_signal_handlers_disconnect_by_data (face->face, face);
  g_hash_table_unref (face->senders);
  g_object_unref (face->face);
  g_free (face);
}
