/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-session.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

#define BACKOFF_MIN 100
#define BACKOFF_MAX 30000
/* Heartbeats that may fail before the registry is assumed to have forgotten us. */
#define MAX_FAILURES 3

struct _PilotRegistrySession {
  GObject parent_instance;

  PilotRegistryClient *client;
  PilotIdentity identity;
  PilotRegistryProfile profile;
  GCancellable *cancellable;
  guint heartbeat_ms;

  guint32 node;
  gboolean online;
  gboolean registering, register_again;
  gboolean beating;
  guint failures;
  guint backoff;
  guint timer;
  char *detail;
  gboolean stopped;
};

G_DEFINE_FINAL_TYPE (PilotRegistrySession, pilot_registry_session, G_TYPE_OBJECT)

enum { SIGNAL_REGISTERED,
       SIGNAL_STATE_CHANGED,
       N_SIGNALS };
static guint signals[N_SIGNALS];

static void send_register (PilotRegistrySession *session);
static void send_heartbeat (PilotRegistrySession *session);

void
pilot_registry_profile_clear (PilotRegistryProfile *profile)
{
  g_clear_pointer (&profile->listen_addr, g_free);
  g_clear_pointer (&profile->lan_addrs, g_strfreev);
  g_clear_pointer (&profile->owner, g_free);
  g_clear_pointer (&profile->hostname, g_free);
  g_clear_pointer (&profile->version, g_free);
}

static void
set_state (PilotRegistrySession *session, gboolean online, const char *detail)
{
  if (session->online == online && strcmp (session->detail, detail) == 0)
    return;
  session->online = online;
  g_free (session->detail);
  session->detail = g_strdup (detail);
  g_signal_emit (session, signals[SIGNAL_STATE_CHANGED], 0);
}

static gboolean
is_cancelled (const GError *error)
{
  return g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CANCELLED) || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* --- timing: one timer, for whatever comes next --- */

static gboolean
on_timer (gpointer user_data)
{
  PilotRegistrySession *session = user_data;

  session->timer = 0;
  if (session->node == 0 || session->failures >= MAX_FAILURES)
    send_register (session);
  else
    send_heartbeat (session);
  return G_SOURCE_REMOVE;
}

static void
schedule (PilotRegistrySession *session, guint delay_ms)
{
  g_clear_handle_id (&session->timer, g_source_remove);
  if (!session->stopped)
    session->timer = g_timeout_add (delay_ms, on_timer, session);
}

static void
schedule_retry (PilotRegistrySession *session)
{
  session->backoff = session->backoff == 0 ? BACKOFF_MIN : MIN (session->backoff * 2, BACKOFF_MAX);
  /* Up to half of it on top, so that the nodes of a registry that comes back do not come in step (registry.md section 14). */
  schedule (session, session->backoff + (guint) g_random_int_range (0, (gint32) session->backoff / 2 + 1));
}

/* --- after registration --- */

static void
on_restored (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotRegistrySession) session = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  g_autofree char *detail = NULL;
  g_autofree char *message = NULL;

  if (answer != NULL || session->stopped || is_cancelled (error))
    return;
  message = pilot_error_dup_message (error);
  detail = g_strdup_printf ("the registry did not take host name or visibility: %s", message);
  g_warning ("%s", detail);
  if (session->online)
    set_state (session, TRUE, detail);
}

static void
restore (PilotRegistrySession *session)
{
  pilot_registry_client_call_async (session->client, pilot_registry_request_set_visibility (&session->identity, session->node, session->profile.is_public),
                                    "set_visibility", session->cancellable, on_restored, g_object_ref (session));
  if (session->profile.hostname != NULL && *session->profile.hostname != '\0')
    pilot_registry_client_call_async (session->client, pilot_registry_request_set_hostname (&session->identity, session->node, session->profile.hostname),
                                      "set_hostname", session->cancellable, on_restored, g_object_ref (session));
}

static void
on_registered (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotRegistrySession) session = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  guint32 node = 0;

  session->registering = FALSE;
  if (session->stopped)
    return;
  if (answer != NULL && (!pilot_json_read_uint32 (answer, "node_id", &node) || node == 0 || node == G_MAXUINT32))
    g_set_error_literal (&error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "the registry gave no node id");
  if (error != NULL) {
    g_autofree char *message = pilot_error_dup_message (error);
    g_autofree char *detail = g_strdup_printf ("cannot register: %s", message);

    if (strcmp (detail, session->detail) != 0)
      g_message ("%s", detail);
    set_state (session, FALSE, detail);
    schedule_retry (session);
    return;
  }
  session->node = node;
  session->failures = 0;
  session->backoff = 0;
  g_message ("registered as node %u", node);
  restore (session);
  set_state (session, TRUE, "");
  g_signal_emit (session, signals[SIGNAL_REGISTERED], 0, node, pilot_json_get_string (answer, "hostname"));
  if (session->register_again)
    send_register (session);
  else
    schedule (session, session->heartbeat_ms);
}

static void
send_register (PilotRegistrySession *session)
{
  PilotRegistration registration = {
    .listen_addr = session->profile.listen_addr,
    .lan_addrs = (const gchar *const *) session->profile.lan_addrs,
    .owner = session->profile.owner,
    .version = session->profile.version,
    .relay_only = session->profile.relay_only,
  };

  g_clear_handle_id (&session->timer, g_source_remove);
  session->register_again = session->registering;
  if (session->registering)
    return;
  session->registering = TRUE;
  pilot_registry_client_call_async (session->client, pilot_registry_request_register (&session->identity, &registration), "register",
                                    session->cancellable, on_registered, g_object_ref (session));
}

/* --- heartbeat --- */

/* The two answers that mean "I do not know you (any more)" (registry.md section 8). */
static gboolean
is_forgotten (const GError *error)
{
  return strstr (error->message, "node not found") != NULL || strstr (error->message, "signature verification failed") != NULL;
}

static void
on_heartbeat (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotRegistrySession) session = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  session->beating = FALSE;
  if (session->stopped || session->registering)
    return;
  if (answer != NULL) {
    session->failures = 0;
    session->backoff = 0;
    if (!session->online)
      set_state (session, TRUE, "");
    schedule (session, session->heartbeat_ms);
    return;
  }
  if (is_forgotten (error)) {
    g_message ("the registry does not know this node any more; registering again");
    session->failures = MAX_FAILURES;
    send_register (session);
    return;
  }
  session->failures++;
  set_state (session, FALSE, error->message);
  schedule_retry (session);
}

static void
send_heartbeat (PilotRegistrySession *session)
{
  if (session->beating || session->registering)
    return;
  session->beating = TRUE;
  pilot_registry_client_call_async (session->client, pilot_registry_request_heartbeat (&session->identity, session->node), "heartbeat",
                                    session->cancellable, on_heartbeat, g_object_ref (session));
}

static void
on_link_changed (PilotRegistryClient *client, PilotRegistrySession *session)
{
  /* A registry that went away may have lost us with its memory: ask as soon as it is back, not in a minute. */
  if (!session->stopped && session->online && !pilot_registry_client_is_connected (client) && !session->registering && !session->beating)
    schedule (session, BACKOFF_MIN);
}

/* --- life --- */

PilotRegistrySession *
pilot_registry_session_new (PilotRegistryClient *client, const PilotIdentity *identity, guint heartbeat_ms)
{
  PilotRegistrySession *session = g_object_new (PILOT_TYPE_REGISTRY_SESSION, NULL);

  session->client = g_object_ref (client);
  session->identity = *identity;
  session->heartbeat_ms = heartbeat_ms;
  g_signal_connect_object (client, "link-changed", G_CALLBACK (on_link_changed), session, 0);
  return session;
}

PilotRegistryProfile *
pilot_registry_session_profile (PilotRegistrySession *session)
{
  return &session->profile;
}

void
pilot_registry_session_register (PilotRegistrySession *session)
{
  if (!session->stopped)
    send_register (session);
}

void
pilot_registry_session_stop (PilotRegistrySession *session)
{
  session->stopped = TRUE;
  g_cancellable_cancel (session->cancellable);
  g_clear_handle_id (&session->timer, g_source_remove);
}

void
pilot_registry_session_withdraw (PilotRegistrySession *session, const char *detail)
{
  pilot_registry_session_stop (session);
  set_state (session, FALSE, detail);
}

gboolean
pilot_registry_session_is_online (PilotRegistrySession *session)
{
  return session->online;
}

const char *
pilot_registry_session_get_detail (PilotRegistrySession *session)
{
  return session->detail;
}

guint32
pilot_registry_session_get_node (PilotRegistrySession *session)
{
  return session->node;
}

static void
pilot_registry_session_dispose (GObject *object)
{
  pilot_registry_session_stop (PILOT_REGISTRY_SESSION (object));
  G_OBJECT_CLASS (pilot_registry_session_parent_class)->dispose (object);
}

static void
pilot_registry_session_finalize (GObject *object)
{
  PilotRegistrySession *session = PILOT_REGISTRY_SESSION (object);

  pilot_identity_clear (&session->identity);
  pilot_registry_profile_clear (&session->profile);
  g_clear_object (&session->client);
  g_clear_object (&session->cancellable);
  g_free (session->detail);
  G_OBJECT_CLASS (pilot_registry_session_parent_class)->finalize (object);
}

static void
pilot_registry_session_class_init (PilotRegistrySessionClass *klass)
{
  G_OBJECT_CLASS (klass)->dispose = pilot_registry_session_dispose;
  G_OBJECT_CLASS (klass)->finalize = pilot_registry_session_finalize;
  signals[SIGNAL_REGISTERED] = g_signal_new ("registered", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 2, G_TYPE_UINT, G_TYPE_STRING);
  signals[SIGNAL_STATE_CHANGED] = g_signal_new ("state-changed", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
pilot_registry_session_init (PilotRegistrySession *session)
{
  session->cancellable = g_cancellable_new ();
  session->detail = g_strdup ("not registered yet");
}
