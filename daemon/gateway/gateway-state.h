/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* What gateway.json holds: what a restarted daemon needs to have the same mappings on the same addresses. A plain struct. */
typedef struct {
  guint32 node;
  guint32 local;  /* host byte order */
  char *hostname; /* "" = unknown */
  char *ports;    /* "" = every port */
  guint32 uid;    /* the only user who may connect; PILOT_UID_ANY = everybody */
} PilotSavedMapping;

typedef struct {
  gboolean active;
  char *subnet;
  char *ports;         /* of the last start; "" = every port */
  char *mode;          /* what was asked for: "", "redirect", "listen" */
  GPtrArray *mappings; /* PilotSavedMapping* */
} PilotGatewayState;

PilotGatewayState *pilot_gateway_state_new (void);
void pilot_gateway_state_free (PilotGatewayState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotGatewayState, pilot_gateway_state_free)
void pilot_gateway_state_add (PilotGatewayState *state, guint32 node, guint32 local, const char *hostname, const char *ports, guint32 uid);

/* A missing file is an inactive gateway. CORRUPT when it makes no sense; the file is left as it is. */
PilotGatewayState *pilot_gateway_state_load (const char *path, GError **error);
/* Atomic and durable. An inactive state removes the file. */
gboolean pilot_gateway_state_save (const PilotGatewayState *state, const char *path, GError **error);

G_END_DECLS
