/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/service-private.h"

#include <string.h>

#include "libpilot/pilot-address.h"
#include "libpilot/pilot-error.h"

static gint64
real_now (void)
{
  return g_get_real_time () / G_USEC_PER_SEC;
}

PilotService *
pilot_service_new (PilotDirectory *directory,
                   PilotJournal *journal,
                   PilotBeacon *beacon,
                   const PilotServiceOptions *options,
                   gint64 (*now) (void))
{
  PilotService *self = g_new0 (PilotService, 1);

  self->directory = directory;
  self->journal = journal;
  self->beacon = beacon;
  self->options = options;
  self->now = now != NULL ? now : real_now;
  self->registrations = pilot_limiter_new (options->registration_burst, options->registration_rate);
  self->polls = g_hash_table_new (NULL, NULL);
  self->beacons = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  return self;
}

void
pilot_service_free (PilotService *self)
{
  if (self == NULL)
    return;
  pilot_limiter_free (self->registrations);
  g_hash_table_unref (self->polls);
  g_hash_table_unref (self->beacons);
  g_free (self);
}

gint64
pilot_service_now (PilotService *self)
{
  return self->now ();
}

/* Who asks */

gboolean
pilot_call_check_admin (PilotCall *call,
                        GError **error)
{
  const gchar *token = pilot_json_get_string (call->request, "admin_token");
  guint8 given[PILOT_SHA256_SIZE], wanted[PILOT_SHA256_SIZE];

  if (call->service->options->admin_token == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "invalid admin token: this registry has none");
    return FALSE;
  }
  /* Of equal length, so that the time taken tells nothing about the token. */
  pilot_crypto_sha256 (token, strlen (token), given);
  pilot_crypto_sha256 (call->service->options->admin_token, strlen (call->service->options->admin_token), wanted);
  if (pilot_crypto_equal (given, wanted, sizeof given))
    return TRUE;
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "invalid admin token");
  return FALSE;
}

static gboolean
check_signature (PilotCall *call,
                 const PilotNodeRecord *record,
                 const gchar *prefix,
                 GError **error)
{
  switch (pilot_registry_message_verify (call->request, record->key)) {
  case PILOT_REGISTRY_SIGNATURE_VALID:
    return TRUE;
  case PILOT_REGISTRY_SIGNATURE_MISSING:
    if (prefix != NULL)
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "%s requires signature", prefix);
    else
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "signature required for authenticated node");
    return FALSE;
  case PILOT_REGISTRY_SIGNATURE_ENCODING:
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                         "invalid signature encoding: want standard base64 of 64 bytes");
    return FALSE;
  case PILOT_REGISTRY_SIGNATURE_WRONG:
  case PILOT_REGISTRY_SIGNATURE_NONE:
  default:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "%s%ssignature verification failed",
                 prefix == NULL ? "" : prefix, prefix == NULL ? "" : " ");
    return FALSE;
  }
}

gboolean
pilot_call_authenticate (PilotCall *call,
                         guint32 node,
                         const gchar *prefix,
                         gboolean admin,
                         GError **error)
{
  const PilotNodeRecord *record = pilot_directory_require (call->service->directory, node, error);

  if (record == NULL)
    return FALSE;
  /* Every time: the reference skips the check for two minutes after a good one (notes, 17.3). */
  if (!check_signature (call, record, prefix, error)) {
    if (!admin || *pilot_json_get_string (call->request, "admin_token") == '\0' || !pilot_call_check_admin (call, NULL))
      return FALSE;
    g_clear_error (error);
    return TRUE;
  }
  call->session->node = node;
  pilot_directory_touch (call->service->directory, node, &call->session->remote, call->now);
  return TRUE;
}

/* Deliveries: what a poll handed out leaves the inbox when it has arrived (notes, 17.9) */

static void
forget_delivery (PilotService *self,
                 PilotSession *session)
{
  if (session->polled != 0 && g_hash_table_lookup (self->polls, GUINT_TO_POINTER (session->polled)) == session)
    g_hash_table_remove (self->polls, GUINT_TO_POINTER (session->polled));
  session->polled = 0;
  g_clear_pointer (&session->delivery, g_array_unref);
}

static void
settle (PilotService *self,
        PilotSession *session)
{
  if (session->delivery == NULL || !session->is_delivered (session))
    return;
  pilot_directory_delivered (self->directory, session->polled, session->delivery);
  forget_delivery (self, session);
}

void
pilot_service_settle_node (PilotService *self,
                           guint32 node)
{
  PilotSession *session = g_hash_table_lookup (self->polls, GUINT_TO_POINTER (node));

  if (session != NULL)
    settle (self, session);
}

void
pilot_service_settle (PilotService *self)
{
  g_autoptr (GList) sessions = g_hash_table_get_values (self->polls);

  for (GList *link = sessions; link != NULL; link = link->next)
    settle (self, link->data);
}

void
pilot_service_lost (PilotService *self,
                    PilotSession *session)
{
  forget_delivery (self, session);
}

void
pilot_service_end (PilotService *self,
                   PilotSession *session)
{
  settle (self, session);
  forget_delivery (self, session);
}

/* Answering */

void
pilot_response_set_node (JsonObject *response,
                         guint32 node)
{
  gchar text[PILOT_ADDRESS_TEXT_SIZE];
  PilotAddress address = { 0, node };

  json_object_set_int_member (response, "node_id", node);
  json_object_set_string_member (response, "address", pilot_address_format (&address, text));
}

gchar *
pilot_call_beacon_address (PilotCall *call)
{
  PilotEndpoint address = call->session->local;

  if (call->service->options->advertised_beacon != NULL)
    return g_strdup (call->service->options->advertised_beacon);
  address.port = call->service->options->beacon_port;
  return pilot_endpoint_to_string (&address);
}

static PilotHandler
find_handler (const gchar *type)
{
  static const PilotHandlerEntry *const tables[] = {
    pilot_service_node_handlers,
    pilot_service_trust_handlers,
    pilot_service_network_handlers,
  };

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    for (const PilotHandlerEntry *entry = tables[i]; entry->type != NULL; entry++)
      if (strcmp (entry->type, type) == 0)
        return entry->handler;
  return NULL;
}

static JsonObject *
call_handler (PilotCall *call,
              const gchar *type,
              GError **error)
{
  PilotHandler handler = find_handler (type);
  g_autofree gchar *quoted = NULL;
  g_autofree gchar *ok = NULL;
  JsonObject *response;

  if (handler == NULL) {
    quoted = pilot_error_quote (type, -1);
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "unknown message type: \"%s\"", quoted);
    return NULL;
  }
  response = handler (call, error);
  if (response == NULL)
    return NULL;
  ok = g_strconcat (type, "_ok", NULL);
  json_object_set_string_member (response, "type", ok);
  return response;
}

void
pilot_service_handle (PilotService *self,
                      PilotSession *session,
                      JsonObject *request,
                      PilotAnswer *answer)
{
  PilotCall call = { self, session, request, self->now (), 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) response = NULL;

  /* One delivery for each session: what was handed out before has arrived, or goes back. */
  settle (self, session);
  response = call_handler (&call, pilot_json_get_string (request, "type"), &error);
  answer->frame = response != NULL ? pilot_registry_frame_object (response) : pilot_registry_frame_error (error->message);
  /* A question waits as well: its answer may rest on what is not durable yet. */
  answer->ticket = pilot_journal_newest (self->journal);
  answer->notify = call.notify;
}
