/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/registry-client.h"
#include "protocol/registry-message.h"

G_BEGIN_DECLS

/*
 * PilotRegistrySession: keeps this node registered, for ever. Registers, restores visibility and host name, sends heartbeats; a registry that
 * forgot us, or was away, is registered with again.
 *
 * Signals: "registered" (guint node, string hostname): after every registration, the first included; the name is the one the registry has for us, or ""; "state-changed" ()
 */
#define PILOT_TYPE_REGISTRY_SESSION (pilot_registry_session_get_type ())
G_DECLARE_FINAL_TYPE (PilotRegistrySession, pilot_registry_session, PILOT, REGISTRY_SESSION, GObject)

typedef struct {
  char *listen_addr; /* where the beacon sees the tunnel socket, else the bound port on any address */
  char **lan_addrs;
  char *owner;    /* NULL = none */
  char *hostname; /* "" = none */
  char *version;
  gboolean is_public;
  gboolean relay_only;
} PilotRegistryProfile;
void pilot_registry_profile_clear (PilotRegistryProfile *profile);

/* @identity is copied. @heartbeat_ms: 60000, tests use less. */
PilotRegistrySession *pilot_registry_session_new (PilotRegistryClient *client, const PilotIdentity *identity, guint heartbeat_ms);
/* What the next registration says; the caller fills it in place. */
PilotRegistryProfile *pilot_registry_session_profile (PilotRegistrySession *session);
/* Registers now (again, when the profile changed). */
void pilot_registry_session_register (PilotRegistrySession *session);
void pilot_registry_session_stop (PilotRegistrySession *session);
/* We are taken out of the registry and stay out of it, until this process is started again. @detail says so to whoever asks. */
void pilot_registry_session_withdraw (PilotRegistrySession *session, const char *detail);
gboolean pilot_registry_session_is_online (PilotRegistrySession *session);
/* Why it is not online, or what is not as wished; "" = nothing to say. */
const char *pilot_registry_session_get_detail (PilotRegistrySession *session);
guint32 pilot_registry_session_get_node (PilotRegistrySession *session);

G_END_DECLS
