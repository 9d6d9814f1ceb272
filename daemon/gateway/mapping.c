/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/mapping.h"

#include <string.h>
#include <unistd.h>

#include "daemon/gateway/port-list.h"
#include "daemon/gateway/socket-diag.h"
#include "daemon/helper/subnet.h"
#include "libpilot/pilot-error.h"

/* A dead or silent peer resets the client within 18 s of the accept, key exchange and resolve included. */
#define DIAL_TIMEOUT_US (17 * G_USEC_PER_SEC)
/* How long connections to a dead peer are refused by the kernel before one is let through to try again. */
#define SILENCE_SECONDS 5
#define CHANGED_DELAY_MS 200

typedef struct {
  guint16 port;
  PilotListener *listener;
} Listening;

struct _PilotMapping {
  GObject parent_instance;
  PilotNode *node; /* outlives every mapping */
  guint32 peer, local, uid;
  char local_text[PILOT_IPV4_TEXT_SIZE];
  char *hostname, *last_error;
  GArray *wanted;    /* guint16 */
  GPtrArray *ports;  /* PilotMappingPort* */
  GArray *listening; /* Listening */
  gboolean redirected, needs_privilege;
  gboolean silent;        /* new connections are refused by the kernel */
  guint silence, changed; /* timeouts */
  PilotBridgeGroup group;
};

G_DEFINE_FINAL_TYPE (PilotMapping, pilot_mapping, G_TYPE_OBJECT)

static guint changed_signal, silent_changed_signal;

static void
mapping_port_free (PilotMappingPort *port)
{
  g_free (port->detail);
  g_free (port);
}

static void
listening_clear (Listening *listening)
{
  pilot_listener_free (listening->listener);
}

static gboolean
emit_changed (gpointer user_data)
{
  PilotMapping *mapping = user_data;

  mapping->changed = 0;
  g_signal_emit (mapping, changed_signal, 0);
  return G_SOURCE_REMOVE;
}

/* Connections come by the thousand; whoever follows along over D-Bus wants to see the outcome. */
static void
note_change (PilotMapping *mapping)
{
  if (mapping->changed == 0)
    mapping->changed = g_timeout_add (CHANGED_DELAY_MS, emit_changed, mapping);
}

static void
set_silent (PilotMapping *mapping, gboolean silent)
{
  if (mapping->silent == silent)
    return;
  mapping->silent = silent;
  for (guint i = 0; i < mapping->listening->len; i++) {
    Listening *listening = &g_array_index (mapping->listening, Listening, i);

    if (!pilot_listener_set_silent (listening->listener, silent))
      pilot_mapping_set_last_error (mapping, "a port was taken by another program while the peer was silent");
  }
  g_signal_emit (mapping, silent_changed_signal, 0);
  note_change (mapping);
}

static gboolean
silence_over (gpointer user_data)
{
  PilotMapping *mapping = user_data;

  mapping->silence = 0;
  set_silent (mapping, FALSE);
  return G_SOURCE_REMOVE;
}

static void
begin_silence (PilotMapping *mapping)
{
  if (mapping->silence != 0)
    g_source_remove (mapping->silence);
  mapping->silence = g_timeout_add_seconds (SILENCE_SECONDS, silence_over, mapping);
  set_silent (mapping, TRUE);
}

static void
end_silence (PilotMapping *mapping)
{
  g_clear_handle_id (&mapping->silence, g_source_remove);
  set_silent (mapping, FALSE);
}

static void
bridge_opened (PilotBridgeGroup *group, guint16 port, gpointer user_data)
{
  PilotMapping *mapping = user_data;

  pilot_mapping_set_last_error (mapping, "");
  end_silence (mapping);
  note_change (mapping);
}

static void
bridge_ended (PilotBridgeGroup *group, guint16 port, PilotStreamError code, gpointer user_data)
{
  PilotMapping *mapping = user_data;
  g_autoptr (GError) error = NULL;
  g_autofree char *message = NULL;

  note_change (mapping);
  if (code == PILOT_STREAM_ERROR_NONE)
    return;
  error = pilot_node_stream_error (mapping->node, mapping->peer, port, code);
  message = error != NULL ? pilot_error_dup_message (error) : g_strdup (pilot_stream_error_to_string (code));
  pilot_mapping_set_last_error (mapping, message);
  /* Only what says that the peer is dead; a stranger's silence or a closed port says nothing of its other ports. */
  if (code == PILOT_STREAM_ERROR_NO_KEY_EXCHANGE || code == PILOT_STREAM_ERROR_LOST)
    begin_silence (mapping);
}

static PilotStream *
dial (PilotStreamUser *user, gpointer user_data, GError **error)
{
  const struct {
    PilotMapping *mapping;
    guint16 port;
  } *target = user_data;

  return pilot_node_connect (target->mapping->node, target->mapping->peer, target->port, user, error);
}

/* Whose connection it is, as the kernel knows it. What nobody can tell is not let through. */
static gboolean
check_user (PilotMapping *mapping, int fd)
{
  g_autofree char *message = NULL;
  guint32 uid;

  if (mapping->uid == PILOT_UID_ANY)
    return TRUE;
  if (!pilot_socket_get_peer_uid (fd, &uid))
    message = g_strdup_printf ("a connection of an unknown user was refused: only user id %u may connect", mapping->uid);
  else if (uid != mapping->uid)
    message = g_strdup_printf ("a connection of user id %u was refused: only user id %u may connect", uid, mapping->uid);
  else
    return TRUE;
  pilot_mapping_set_last_error (mapping, message);
  return FALSE;
}

void
pilot_mapping_accept (PilotMapping *mapping, int fd, guint16 port)
{
  struct {
    PilotMapping *mapping;
    guint16 port;
  } target = { mapping, port };
  g_autoptr (GError) error = NULL;
  g_autofree char *message = NULL;

  if (mapping->redirected && mapping->wanted->len > 0 && !pilot_port_list_contains (mapping->wanted, port)) {
    pilot_socket_reset (fd);
    return;
  }
  if (!check_user (mapping, fd)) {
    pilot_socket_reset (fd);
    return;
  }
  if (!pilot_trust_is_trusted (pilot_node_get_trust (mapping->node), mapping->peer)) {
    message = g_strdup_printf ("node %u is not trusted", mapping->peer);
    pilot_mapping_set_last_error (mapping, message);
    pilot_socket_reset (fd);
    return;
  }
  if (pilot_bridge_open (&mapping->group, fd, port, dial, &target, &error)) {
    note_change (mapping);
    return;
  }
  message = pilot_error_dup_message (error);
  pilot_mapping_set_last_error (mapping, message);
}

static void
listener_accepted (int fd, guint32 address, guint16 port, gpointer user_data)
{
  pilot_mapping_accept (user_data, fd, port);
}

static PilotMappingPort *
find_port (PilotMapping *mapping, guint16 port)
{
  for (guint i = 0; i < mapping->ports->len; i++) {
    PilotMappingPort *entry = g_ptr_array_index (mapping->ports, i);

    if (entry->port == port)
      return entry;
  }
  return NULL;
}

static void
set_port (PilotMapping *mapping, guint16 port, PilotPortState state, const char *detail)
{
  PilotMappingPort *entry = find_port (mapping, port);

  if (entry == NULL) {
    entry = g_new0 (PilotMappingPort, 1);
    entry->port = port;
    g_ptr_array_add (mapping->ports, entry);
  }
  entry->state = state;
  g_free (entry->detail);
  entry->detail = g_strdup (detail);
  note_change (mapping);
}

void
pilot_mapping_set_redirected (PilotMapping *mapping)
{
  mapping->redirected = TRUE;
  mapping->needs_privilege = FALSE;
  g_ptr_array_set_size (mapping->ports, 0);
  for (guint i = 0; i < mapping->wanted->len; i++)
    set_port (mapping, g_array_index (mapping->wanted, guint16, i), PILOT_PORT_REDIRECTED, "");
  note_change (mapping);
}

void
pilot_mapping_add_listener (PilotMapping *mapping, guint16 port, int fd, const GError *error)
{
  g_autofree char *message = error != NULL ? pilot_error_dup_message (error) : NULL;
  Listening listening = { .port = port };

  mapping->needs_privilege = FALSE;
  if (fd < 0) {
    set_port (mapping, port, pilot_error_code (error) == PILOT_ERROR_ALREADY_EXISTS ? PILOT_PORT_HELD : PILOT_PORT_FAILED, message);
    return;
  }
  listening.listener = pilot_listener_new (pilot_node_get_poller (mapping->node), fd, FALSE, listener_accepted, mapping);
  g_array_append_val (mapping->listening, listening);
  set_port (mapping, port, PILOT_PORT_LISTENING, "");
}

gboolean
pilot_mapping_has_listener (PilotMapping *mapping, guint16 port)
{
  for (guint i = 0; i < mapping->listening->len; i++)
    if (g_array_index (mapping->listening, Listening, i).port == port)
      return TRUE;
  return FALSE;
}

void
pilot_mapping_set_down (PilotMapping *mapping, gboolean needs_privilege, const char *why)
{
  mapping->redirected = FALSE;
  mapping->needs_privilege = needs_privilege;
  g_array_set_size (mapping->listening, 0);
  g_ptr_array_set_size (mapping->ports, 0);
  pilot_mapping_set_last_error (mapping, why);
  note_change (mapping);
}

gboolean
pilot_mapping_is_down (PilotMapping *mapping)
{
  return !mapping->redirected && mapping->listening->len == 0;
}

void
pilot_mapping_peer_changed (PilotMapping *mapping)
{
  PilotPeerView *view = pilot_node_get_peer (mapping->node, mapping->peer);

  if (view == NULL) {
    note_change (mapping); /* it is not trusted any more */
    return;
  }
  if (view->hostname != NULL && view->hostname[0] != '\0')
    pilot_mapping_set_hostname (mapping, view->hostname);
  if (!view->info.silent)
    end_silence (mapping);
  else if (!mapping->silent)
    begin_silence (mapping);
  pilot_peer_view_free (view);
  note_change (mapping);
}

void
pilot_mapping_reset_connections (PilotMapping *mapping)
{
  pilot_bridge_group_reset (&mapping->group);
}

void
pilot_mapping_close (PilotMapping *mapping)
{
  g_clear_handle_id (&mapping->silence, g_source_remove);
  g_array_set_size (mapping->listening, 0);
  pilot_bridge_group_reset (&mapping->group);
}

static void
pilot_mapping_init (PilotMapping *mapping)
{
  mapping->wanted = g_array_new (FALSE, FALSE, sizeof (guint16));
  mapping->ports = g_ptr_array_new_with_free_func ((GDestroyNotify) mapping_port_free);
  mapping->listening = g_array_new (FALSE, FALSE, sizeof (Listening));
  g_array_set_clear_func (mapping->listening, (GDestroyNotify) listening_clear);
  mapping->last_error = g_strdup ("");
}

static void
pilot_mapping_finalize (GObject *object)
{
  PilotMapping *mapping = PILOT_MAPPING (object);

  /* The owner has closed it: no bridge points here any more. */
  g_warn_if_fail (mapping->group.first == NULL);
  g_clear_handle_id (&mapping->silence, g_source_remove);
  g_clear_handle_id (&mapping->changed, g_source_remove);
  g_array_unref (mapping->listening);
  g_array_unref (mapping->wanted);
  g_ptr_array_unref (mapping->ports);
  g_free (mapping->hostname);
  g_free (mapping->last_error);
  G_OBJECT_CLASS (pilot_mapping_parent_class)->finalize (object);
}

static void
pilot_mapping_class_init (PilotMappingClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_mapping_finalize;
  changed_signal = g_signal_new ("changed", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
  silent_changed_signal = g_signal_new ("silent-changed", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                        G_TYPE_NONE, 0);
}

PilotMapping *
pilot_mapping_new (PilotNode *node, guint32 peer, guint32 local, const char *hostname)
{
  PilotMapping *mapping = g_object_new (PILOT_TYPE_MAPPING, NULL);

  mapping->node = node;
  mapping->peer = peer;
  mapping->local = local;
  mapping->uid = PILOT_UID_ANY;
  pilot_ipv4_format (local, mapping->local_text);
  mapping->hostname = g_strdup (hostname);
  pilot_bridge_group_init (&mapping->group, pilot_node_get_poller (node));
  mapping->group.opened = bridge_opened;
  mapping->group.ended = bridge_ended;
  mapping->group.user_data = mapping;
  mapping->group.dial_timeout_us = DIAL_TIMEOUT_US;
  return mapping;
}

guint32
pilot_mapping_get_peer (PilotMapping *mapping)
{
  return mapping->peer;
}

guint32
pilot_mapping_get_local (PilotMapping *mapping)
{
  return mapping->local;
}

const GArray *
pilot_mapping_get_wanted (PilotMapping *mapping)
{
  return mapping->wanted;
}

gboolean
pilot_mapping_get_silent (PilotMapping *mapping)
{
  return mapping->silent;
}

void
pilot_mapping_set_wanted (PilotMapping *mapping, const GArray *ports)
{
  g_array_set_size (mapping->wanted, 0);
  if (ports->len > 0)
    g_array_append_vals (mapping->wanted, ports->data, ports->len);
}

void
pilot_mapping_set_uid (PilotMapping *mapping, guint32 uid)
{
  if (mapping->uid == uid)
    return;
  mapping->uid = uid;
  /* Nobody keeps a connection that he could not open any more. */
  if (uid != PILOT_UID_ANY)
    pilot_bridge_group_reset (&mapping->group);
  note_change (mapping);
}

guint32
pilot_mapping_get_uid (PilotMapping *mapping)
{
  return mapping->uid;
}

void
pilot_mapping_set_hostname (PilotMapping *mapping, const char *hostname)
{
  if (g_strcmp0 (mapping->hostname, hostname) == 0)
    return;
  g_free (mapping->hostname);
  mapping->hostname = g_strdup (hostname);
  note_change (mapping);
}

void
pilot_mapping_set_last_error (PilotMapping *mapping, const char *text)
{
  if (strcmp (mapping->last_error, text) == 0)
    return;
  g_free (mapping->last_error);
  mapping->last_error = g_strdup (text);
  if (text[0] != '\0')
    g_message ("%s: %s", mapping->local_text, text);
  note_change (mapping);
}

const char *
pilot_mapping_get_local_address (PilotMapping *mapping)
{
  return mapping->local_text;
}

void
pilot_mapping_get_pilot_address (PilotMapping *mapping, PilotAddress *address)
{
  *address = (PilotAddress) { 0, mapping->peer };
}

const char *
pilot_mapping_get_hostname (PilotMapping *mapping)
{
  return mapping->hostname;
}

const char *
pilot_mapping_get_state (PilotMapping *mapping)
{
  if (mapping->needs_privilege)
    return "needs-privilege";
  if (mapping->redirected)
    return "up";
  if (mapping->listening->len == 0)
    return "failed";
  return mapping->listening->len < mapping->ports->len ? "partial" : "up";
}

gboolean
pilot_mapping_get_all_ports (PilotMapping *mapping)
{
  return mapping->wanted->len == 0 && mapping->listening->len == 0;
}

const GPtrArray *
pilot_mapping_get_ports (PilotMapping *mapping)
{
  return mapping->ports;
}

guint
pilot_mapping_get_open (PilotMapping *mapping)
{
  return mapping->group.open;
}

guint64
pilot_mapping_get_total (PilotMapping *mapping)
{
  return mapping->group.total;
}

guint64
pilot_mapping_get_bytes_in (PilotMapping *mapping)
{
  return mapping->group.bytes_in;
}

guint64
pilot_mapping_get_bytes_out (PilotMapping *mapping)
{
  return mapping->group.bytes_out;
}

const char *
pilot_mapping_get_path (PilotMapping *mapping)
{
  PilotPeerInfo info;

  if (!pilot_overlay_peer_info (pilot_node_get_overlay (mapping->node), mapping->peer, &info))
    return "";
  switch (info.path) {
  case PILOT_PATH_DIRECT:
    return "direct";
  case PILOT_PATH_RELAY:
    return "relay";
  case PILOT_PATH_NONE:
    break;
  }
  return "";
}

char *
pilot_mapping_dup_peer_state (PilotMapping *mapping)
{
  PilotPeerView *view = pilot_node_get_peer (mapping->node, mapping->peer);
  char *state = view != NULL && view->trusted ? g_strdup (view->state) : g_strdup ("untrusted");

  pilot_peer_view_free (view);
  return state;
}

const char *
pilot_mapping_get_last_error (PilotMapping *mapping)
{
  return mapping->last_error;
}
