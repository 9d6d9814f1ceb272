/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/command.h"

G_BEGIN_DECLS

/* The daemon as the commands see it: found by the rules of architecture.md section 7, called synchronously. */
typedef struct _Client Client;

/* NOT_RUNNING with a hint when no daemon answers; CONFLICT listing both when two do. */
Client *client_new (Invocation *invocation, GError **error);
void client_free (Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Client, client_free)

/* What nearly every command begins with: parses its options and finds the daemon. NULL: *exit_code says how to end. */
Client *client_open (Invocation *invocation, const GOptionEntry *entries, int min, int max, int *exit_code);
/* The same for a command whose first argument is a node: *@node is its id. */
Client *client_open_node (Invocation *invocation, const GOptionEntry *entries, int min, int max, guint32 *node, int *exit_code);
/* (nullable): where the daemon is, as the user said it with --bus or PILOT_BUS. */
const char *client_get_given_place (Invocation *invocation);
/* (nullable): the socket that such a place names; NULL for "session" and "system". Belongs to @place. */
const char *client_place_to_path (const char *place);
/* Where the daemon was found: a socket path or a bus. */
const char *client_get_place (Client *client);
/* The uid the daemon runs as, as the kernel knows it, or root's message bus. */
gboolean client_get_uid (Client *client, guint32 *uid, GError **error);
/* The daemon's process, as the kernel or the message bus knows it and not as it says itself: it may be killed. 0: not to be seen from here, or an error. */
gint64 client_get_pid (Client *client, GError **error);
/* Calls interface.method ("Node", "Gateway", "Plugins"); @arguments floating tuple or NULL. The answer, as everything else here that comes from the daemon, has the
 * type that data/network.pilotprotocol.Pilot1.xml states, or it is an error: what reads it need not ask. */
GVariant *client_call (Client *client, const char *interface, const char *method, GVariant *arguments, GError **error);
/* The same for a method whose first handle is wanted, a socket, in *@fd; waits for ever: such methods have limits of their own. */
GVariant *client_call_fd (Client *client, const char *interface, const char *method, GVariant *arguments, int *fd, GError **error);
/* The same without a limit of time; @fd >= 0: the descriptor that "h" 0 stands for. */
GVariant *client_call_long (Client *client, const char *interface, const char *method, GVariant *arguments, int fd, GError **error);
/* The same again, while the main context runs: what it sees may cancel the wait. */
GVariant *client_call_until (Client *client, const char *interface, const char *method, GVariant *arguments, GCancellable *cancellable, GError **error);
/* Calls @handler for a signal of the root object, while the caller iterates the main context. */
guint client_subscribe (Client *client, const char *interface, const char *signal, GDBusSignalCallback handler, gpointer user_data);
void client_unsubscribe (Client *client, guint subscription);
/* FALSE when the daemon, or the bus, has gone. */
gboolean client_is_connected (Client *client);
/* The single aa{sv} or a{sv} a List method answers. */
GVariant *client_list (Client *client, const char *interface, const char *method, GError **error);
GVariant *client_get_property (Client *client, const char *interface, const char *property, GError **error);
/* Address, node id or host name -> node id; host names are asked of the daemon. Says on stderr what a host name turned into (text mode). */
gboolean client_resolve (Client *client, const char *name, guint32 *node_id, GError **error);

/* Convenience readers of a{sv}. */
const char *dict_string (GVariant *dict, const char *key);
gint64 dict_int (GVariant *dict, const char *key);
gboolean dict_boolean (GVariant *dict, const char *key);
double dict_double (GVariant *dict, const char *key);

G_END_DECLS
