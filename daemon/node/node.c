/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <errno.h>
#include <string.h>
#include <glib/gstdio.h>

#include "daemon/core/plugin/call.h"
#include "daemon/node/identity-file.h"
#include "libpilot/pilot-error.h"

/* How long a stop waits for what the registry has been asked, in microseconds. */
#define STOP_GRACE (5 * G_USEC_PER_SEC)

G_DEFINE_FINAL_TYPE (PilotNode, pilot_node, G_TYPE_OBJECT)

enum { SIGNAL_CHANGED,
       SIGNAL_PEER_CHANGED,
       SIGNAL_PEER_REMOVED,
       SIGNAL_SECURITY_EVENT,
       N_SIGNALS };
static guint signals[N_SIGNALS];

/* --- peers --- */

static void
peer_free (gpointer data)
{
  PilotNodePeer *peer = data;

  g_free (peer->hostname);
  g_free (peer);
}

PilotNodePeer *
pilot_node_peer (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));

  if (peer == NULL) {
    peer = g_new0 (PilotNodePeer, 1);
    peer->node = id;
    g_hash_table_insert (node->peers, GUINT_TO_POINTER (id), peer);
  }
  return peer;
}

void
pilot_node_emit_peer_changed (PilotNode *node, guint32 peer)
{
  PilotPeerInfo info;

  if (pilot_trust_is_trusted (node->trust, peer) || pilot_overlay_peer_info (node->overlay, peer, &info)) {
    g_signal_emit (node, signals[SIGNAL_PEER_CHANGED], 0, peer);
    return;
  }
  g_hash_table_remove (node->peers, GUINT_TO_POINTER (peer));
  g_signal_emit (node, signals[SIGNAL_PEER_REMOVED], 0, peer);
}

void
pilot_node_security_event (PilotNode *node, const char *kind, guint32 peer, const char *message)
{
  g_warning ("%s: node %u: %s", kind, peer, message);
  g_signal_emit (node, signals[SIGNAL_SECURITY_EVENT], 0, kind, peer, message);
}

/* --- the registry session --- */

static void
on_registered (PilotRegistrySession *session, guint id, const char *hostname, PilotNode *node)
{
  g_autoptr (GError) error = NULL;
  gboolean is_new = id != node->id;

  if (is_new) {
    if (node->id != 0)
      g_warning ("the registry gave this node a new id: %u instead of %u; peers have to be asked for trust again", id, node->id);
    node->id = id;
    pilot_overlay_set_node_id (node->overlay, id, g_get_monotonic_time ());
    if (!pilot_node_state_set_node (node->state, id, &error))
      g_warning ("the node id is not remembered: %s", error->message);
  }
  /* A name given in an earlier run is ours still: said as such, and kept through the next registration. */
  if (*node->hostname == '\0' && pilot_node_is_hostname (hostname)) {
    g_free (node->hostname);
    node->hostname = g_strdup (hostname);
    pilot_node_update_profile (node);
  }
  /* With the id it had before a relay may be logged in already. */
  if (is_new || pilot_driver_get_trouble (node->driver) != NULL)
    pilot_driver_reconnect (node->driver);
  pilot_overlay_announce (node->overlay, g_get_monotonic_time ());
  pilot_trust_registered (node->trust);
  pilot_node_kick (node);
  g_signal_emit (node, signals[SIGNAL_CHANGED], 0);
}

/* A registry that was away has often been restarted, and the beacon beside it with it, which then knows nobody: it shall not take until the next
 * discover is due. */
static void
on_link_changed (PilotRegistryClient *client, PilotNode *node)
{
  if (!node->running || !pilot_registry_client_is_connected (client))
    return;
  pilot_overlay_announce (node->overlay, g_get_monotonic_time ());
  pilot_node_kick (node);
}

static void
on_state_changed (PilotRegistrySession *session, PilotNode *node)
{
  g_signal_emit (node, signals[SIGNAL_CHANGED], 0);
}

static gboolean
make_registry (PilotNode *node, GError **error)
{
  gint64 keepalive = pilot_config_get_int (node->config, "keepalive");

  node->registry = pilot_node_make_registry_client (node->config, &node->registry_address, error);
  if (node->registry == NULL)
    return FALSE;
  node->session = pilot_registry_session_new (node->registry, &node->identity, (guint) keepalive * 1000);
  g_signal_connect_object (node->registry, "link-changed", G_CALLBACK (on_link_changed), node, 0);
  g_signal_connect_object (node->session, "registered", G_CALLBACK (on_registered), node, 0);
  g_signal_connect_object (node->session, "state-changed", G_CALLBACK (on_state_changed), node, 0);
  return TRUE;
}

/* --- start and stop --- */

static void
engine_random (guint8 *out, gsize length, gpointer user_data)
{
  pilot_crypto_random (out, length);
}

/* What a relay asks, and nothing else, is signed: digits of a time and of a nonce (beacon-and-nat.md section 7.2). */
static gboolean
prove (PilotTransport *transport, const gchar *challenge, PilotTransportProof *proof, gpointer user_data, GError **error)
{
  PilotNode *node = user_data;
  g_autofree char *text = NULL;
  gsize length = strlen (challenge);

  if (node->id == 0) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "this node is not registered yet");
    return FALSE;
  }
  if (length == 0 || length > 128 || strspn (challenge, "0123456789abcdef:") != length) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "the relay asks for a signature of what is no challenge");
    return FALSE;
  }
  text = g_strdup_printf ("compat_auth:%u:%s", node->id, challenge);
  proof->node = node->id;
  memcpy (proof->public_key, node->identity.public_key, sizeof proof->public_key);
  pilot_ed25519_sign (node->identity.seed, node->identity.public_key, text, strlen (text), proof->signature);
  return TRUE;
}

static void
on_trouble_changed (gpointer user_data)
{
  PilotNode *node = user_data;

  /* The beacon knows nobody it has just begun to listen to. */
  if (pilot_driver_get_trouble (node->driver) == NULL)
    pilot_overlay_discover (node->overlay, g_get_monotonic_time ());
  pilot_node_kick (node);
  g_signal_emit (node, signals[SIGNAL_CHANGED], 0);
}

static char *
state_path (PilotNode *node, const char *name)
{
  return g_build_filename (pilot_config_get_state_directory (node->config), name, NULL);
}

static gboolean
open_state (PilotNode *node, GError **error)
{
  const char *folder = pilot_config_get_state_directory (node->config);
  const char *configured = pilot_config_get (node->config, "identity");
  const char *expose = pilot_config_get (node->config, "expose_default");
  g_autofree char *identity_path = configured != NULL && *configured != '\0' ? g_strdup (configured) : state_path (node, "identity.json");
  g_autofree char *access_path = state_path (node, "access.json");
  g_autofree char *node_path = state_path (node, "node.json");
  gboolean created;

  if (g_mkdir_with_parents (folder, 0700) < 0) {
    int error_number = errno;

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot create folder \"%s\": %s", folder, g_strerror (error_number));
    return FALSE;
  }
  if (!pilot_identity_file_open (identity_path, &node->identity, &created, error))
    return FALSE;
  node->public_key = pilot_base64_encode (node->identity.public_key, sizeof node->identity.public_key);
  if (created)
    g_message ("made a new identity, public key %s", node->public_key);
  node->access = pilot_access_new (access_path, expose != NULL ? expose : "all");
  if (!pilot_access_load (node->access, error))
    return FALSE;
  node->state = pilot_node_state_new (node_path, node->public_key);
  node->id = pilot_node_state_get_node (node->state);
  return TRUE;
}

static gboolean
make_trust (PilotNode *node, GError **error)
{
  const char *name = pilot_config_get (node->config, "trust_store");
  PilotPlugin *plugin = pilot_plugin_loader_get_enabled (node->plugins, PILOT_PLUGIN_KIND_TRUST_STORE, name);

  /* It stops the start, and with it whom `pilotctl plugins` could ask: the log has said what became of each. */
  if (plugin == NULL) {
    if (name != NULL)
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "the trust store \"%s\" is not enabled: the log says why", name);
    else
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no trust store is enabled: the log says why");
    return FALSE;
  }
  node->trust = pilot_trust_new (node, PILOT_TRUST_STORE (plugin));
  return TRUE;
}

static void
make_engine (PilotNode *node)
{
  PilotOverlayHost host = { .random = engine_random, .admit = pilot_node_admit, .admit_datagram = pilot_node_admit_datagram, .user_data = node };
  PilotOverlayConfig config = { .node_id = node->id };

  config.extensions = pilot_config_get_boolean (node->config, "extensions");
  config.congestion = pilot_config_get (node->config, "congestion");
  config.relay_only = pilot_node_is_relay_only (node);
  memcpy (config.ed25519_seed, node->identity.seed, sizeof config.ed25519_seed);
  node->overlay = pilot_overlay_new (&config, &host, g_get_monotonic_time ());
  pilot_crypto_wipe (&config, sizeof config);
  node->driver = pilot_driver_new (node->poller, node->plugins, node->overlay, pilot_node_on_event, node);
  pilot_driver_set_login (node->driver, prove, on_trouble_changed);
}

static gboolean
start (PilotNode *node, GError **error)
{
  const char *hostname = pilot_config_get (node->config, "hostname");

  if (!pilot_node_check_settings (node->config, error) || !open_state (node, error) || !make_registry (node, error) || !make_trust (node, error))
    return FALSE;
  node->hostname = g_strdup (hostname != NULL ? hostname : "");
  node->is_public = pilot_config_get_boolean (node->config, "public");
  make_engine (node);
  if (!pilot_trust_start (node->trust, error) || !pilot_driver_start (node->driver, error))
    return FALSE;
  node->started = g_get_real_time () / G_USEC_PER_SEC;
  node->running = TRUE;
  return TRUE;
}

void
pilot_node_join (PilotNode *node)
{
  pilot_node_start_endpoint (node);
  if (node->id != 0)
    pilot_driver_reconnect (node->driver);
}

void
pilot_node_start_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (node, cancellable, callback, user_data);
  GError *error = NULL;

  /* All of it is local and quick. */
  if (start (node, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

gboolean
pilot_node_start_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
stop (PilotNode *node)
{
  node->running = FALSE;
  g_cancellable_cancel (node->cancellable);
  pilot_node_stop_endpoint (node);
  if (node->trust != NULL)
    pilot_trust_stop (node->trust);
  if (node->session != NULL)
    pilot_registry_session_stop (node->session);
  if (node->registry != NULL)
    pilot_registry_client_close (node->registry);
  if (node->driver != NULL)
    pilot_driver_stop (node->driver);
}

typedef struct {
  GTask *task;
  gint64 deadline;
} Stopping;

static gboolean
on_stopping (gpointer user_data)
{
  Stopping *stopping = user_data;
  PilotNode *node = g_task_get_source_object (stopping->task);
  gboolean connected = node->registry != NULL && pilot_registry_client_is_connected (node->registry);

  if (connected && !pilot_registry_client_is_idle (node->registry) && g_get_monotonic_time () < stopping->deadline)
    return G_SOURCE_CONTINUE;
  stop (node);
  g_task_return_boolean (stopping->task, TRUE);
  g_object_unref (stopping->task);
  g_free (stopping);
  return G_SOURCE_REMOVE;
}

void
pilot_node_stop_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  Stopping *stopping = g_new (Stopping, 1);

  stopping->task = g_task_new (node, cancellable, callback, user_data);
  stopping->deadline = g_get_monotonic_time () + STOP_GRACE;
  if (node->session != NULL)
    pilot_registry_session_stop (node->session);
  if (node->trust != NULL)
    pilot_trust_wind_down (node->trust);
  /* A poll under way has emptied the inbox, and an approval said a moment ago has to get out (trust.md 4.3). */
  if (on_stopping (stopping))
    g_timeout_add (10, on_stopping, stopping);
}

gboolean
pilot_node_stop_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* --- what it is --- */

guint32
pilot_node_get_id (PilotNode *node)
{
  return node->id;
}

const char *
pilot_node_get_hostname (PilotNode *node)
{
  return node->hostname != NULL ? node->hostname : "";
}

const char *
pilot_node_get_endpoint (PilotNode *node)
{
  const char *endpoint = node->session != NULL ? pilot_registry_session_profile (node->session)->listen_addr : NULL;

  return endpoint != NULL ? endpoint : "";
}

const char *
pilot_node_get_public_key (PilotNode *node)
{
  return node->public_key != NULL ? node->public_key : "";
}

static const char *
get_trouble (PilotNode *node)
{
  return node->driver != NULL ? pilot_driver_get_trouble (node->driver) : NULL;
}

const char *
pilot_node_get_registry_address (PilotNode *node)
{
  return node->registry_address != NULL ? node->registry_address : "";
}

const char *
pilot_node_get_state (PilotNode *node)
{
  return node->session != NULL && pilot_registry_session_is_online (node->session) && get_trouble (node) == NULL ? "online" : "connecting";
}

const char *
pilot_node_get_state_detail (PilotNode *node)
{
  const char *detail = node->session != NULL ? pilot_registry_session_get_detail (node->session) : "";
  const char *trouble = get_trouble (node);

  if (*detail != '\0')
    return detail;
  if (trouble != NULL)
    return trouble;
  return node->beacon_trouble != NULL ? node->beacon_trouble : "";
}

gboolean
pilot_node_get_public (PilotNode *node)
{
  return node->is_public;
}

gint64
pilot_node_get_started (PilotNode *node)
{
  return node->started;
}

PilotTrust *
pilot_node_get_trust (PilotNode *node)
{
  return node->trust;
}

PilotAccess *
pilot_node_get_access (PilotNode *node)
{
  return node->access;
}

PilotOverlay *
pilot_node_get_overlay (PilotNode *node)
{
  return node->overlay;
}

PilotConfig *
pilot_node_get_config (PilotNode *node)
{
  return node->config;
}

PilotPoller *
pilot_node_get_poller (PilotNode *node)
{
  return node->poller;
}

void
pilot_node_kick (PilotNode *node)
{
  pilot_poller_kick (node->poller);
}

char *
pilot_node_sign_envelope (PilotNode *node, const PilotEnvelope *envelope)
{
  g_autofree char *text = pilot_envelope_print (envelope);

  return pilot_identity_sign_text (&node->identity, text);
}

/* --- changing what the registry says of us --- */

typedef struct {
  char *hostname;
  gboolean is_public;
} Change;

static void
change_free (gpointer data)
{
  Change *change = data;

  g_free (change->hostname);
  g_free (change);
}

static GTask *
change_task (PilotNode *node, const char *hostname, gboolean is_public, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (node, cancellable, callback, user_data);
  Change *change = g_new0 (Change, 1);

  change->hostname = g_strdup (hostname);
  change->is_public = is_public;
  g_task_set_task_data (task, change, change_free);
  return task;
}

static gboolean
refuse_unregistered (PilotNode *node, GTask *task)
{
  if (node->running && node->id != 0)
    return FALSE;
  g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "this node is not registered yet: %s", pilot_node_get_state_detail (node));
  g_object_unref (task);
  return TRUE;
}

static void
on_hostname_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotNode *node = g_task_get_source_object (task);
  Change *change = g_task_get_task_data (task);
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer == NULL) {
    g_task_return_error (task, error);
    return;
  }
  g_free (node->hostname);
  node->hostname = g_strdup (change->hostname);
  pilot_node_update_profile (node);
  g_signal_emit (node, signals[SIGNAL_CHANGED], 0);
  if (pilot_config_store (node->config, "hostname", change->hostname, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

void
pilot_node_set_hostname_async (PilotNode *node, const char *hostname, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = change_task (node, hostname, FALSE, cancellable, callback, user_data);
  GError *error = NULL;

  if (!pilot_node_check_hostname (hostname, &error)) {
    g_task_return_error (task, error);
    g_object_unref (task);
  } else if (!refuse_unregistered (node, task))
    pilot_registry_client_call_async (node->registry, pilot_registry_request_set_hostname (&node->identity, node->id, hostname), "set_hostname", NULL,
                                      on_hostname_set, task);
}

gboolean
pilot_node_set_hostname_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
on_public_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotNode *node = g_task_get_source_object (task);
  Change *change = g_task_get_task_data (task);
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer == NULL) {
    g_task_return_error (task, error);
    return;
  }
  node->is_public = change->is_public;
  pilot_node_update_profile (node);
  g_signal_emit (node, signals[SIGNAL_CHANGED], 0);
  if (pilot_config_store (node->config, "public", change->is_public ? "true" : "false", &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

void
pilot_node_set_public_async (PilotNode *node, gboolean is_public, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = change_task (node, NULL, is_public, cancellable, callback, user_data);

  if (!refuse_unregistered (node, task))
    pilot_registry_client_call_async (node->registry, pilot_registry_request_set_visibility (&node->identity, node->id, is_public), "set_visibility", NULL,
                                      on_public_set, task);
}

gboolean
pilot_node_set_public_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
on_tags_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer == NULL)
    g_task_return_error (task, error);
  else
    g_task_return_boolean (task, TRUE);
}

void
pilot_node_set_tags_async (PilotNode *node, const char *const *tags, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (node, cancellable, callback, user_data);

  if (!refuse_unregistered (node, task))
    pilot_registry_client_call_async (node->registry, pilot_registry_request_set_tags (&node->identity, node->id, tags), "set_tags", NULL, on_tags_set, task);
}

gboolean
pilot_node_set_tags_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
on_deregistered (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotNode *node = g_task_get_source_object (task);
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer == NULL) {
    g_task_return_error (task, error);
    return;
  }
  g_message ("taken out of the registry, as asked");
  pilot_registry_session_withdraw (node->session, "taken out of the registry: start the daemon again to register");
  g_task_return_boolean (task, TRUE);
}

void
pilot_node_deregister_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (node, cancellable, callback, user_data);

  if (!refuse_unregistered (node, task))
    pilot_registry_client_call_async (node->registry, pilot_registry_request_deregister (&node->identity, node->id), "deregister", NULL, on_deregistered, task);
}

gboolean
pilot_node_deregister_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* --- life --- */

PilotNode *
pilot_node_new (PilotConfig *config, PilotPoller *poller, PilotPluginLoader *plugins)
{
  PilotNode *node = g_object_new (PILOT_TYPE_NODE, NULL);

  node->config = g_object_ref (config);
  node->poller = poller;
  node->plugins = g_object_ref (plugins);
  return node;
}

static void
pilot_node_finalize (GObject *object)
{
  PilotNode *node = PILOT_NODE (object);

  stop (node);
  g_clear_object (&node->trust);
  g_clear_object (&node->session);
  g_clear_object (&node->registry);
  g_clear_pointer (&node->driver, pilot_driver_free);
  g_clear_pointer (&node->overlay, pilot_overlay_free);
  g_clear_object (&node->access);
  g_clear_pointer (&node->state, pilot_node_state_free);
  pilot_identity_clear (&node->identity);
  g_free (node->public_key);
  g_free (node->hostname);
  g_free (node->registry_address);
  g_free (node->beacon_trouble);
  g_hash_table_unref (node->peers);
  g_hash_table_unref (node->services);
  g_hash_table_unref (node->datagram_ports);
  g_clear_pointer (&node->names, g_hash_table_unref);
  g_object_unref (node->cancellable);
  g_clear_object (&node->plugins);
  g_clear_object (&node->config);
  G_OBJECT_CLASS (pilot_node_parent_class)->finalize (object);
}

static void
pilot_node_class_init (PilotNodeClass *klass)
{
  GType type = G_TYPE_FROM_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_node_finalize;
  signals[SIGNAL_CHANGED] = g_signal_new ("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
  signals[SIGNAL_PEER_CHANGED] = g_signal_new ("peer-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
  signals[SIGNAL_PEER_REMOVED] = g_signal_new ("peer-removed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
  signals[SIGNAL_SECURITY_EVENT] = g_signal_new ("security-event", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3, G_TYPE_STRING,
                                                 G_TYPE_UINT, G_TYPE_STRING);
}

static void
pilot_node_init (PilotNode *node)
{
  node->cancellable = g_cancellable_new ();
  node->peers = g_hash_table_new_full (NULL, NULL, NULL, peer_free);
  node->services = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  node->datagram_ports = g_hash_table_new_full (NULL, NULL, NULL, g_free);
}
