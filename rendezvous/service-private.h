/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/json.h"
#include "protocol/registry-message.h"
#include "rendezvous/limiter.h"
#include "rendezvous/service.h"

G_BEGIN_DECLS

/* Shared by the service-*.c files; nobody else includes it. */

struct _PilotService {
  PilotDirectory *directory;
  PilotJournal *journal;
  PilotBeacon *beacon;
  const PilotServiceOptions *options;
  gint64 (*now) (void);
  PilotLimiter *registrations;
  GHashTable *polls;   /* node -> PilotSession with its delivery */
  GHashTable *beacons; /* id -> beacon registered with us */
};

/* What one request is handled with. */
typedef struct
{
  PilotService *service;
  PilotSession *session;
  JsonObject *request;
  gint64 now;
  guint32 notify;
} PilotCall;

/* (transfer full): the response without "type", or NULL with an error whose message goes over the wire. */
typedef JsonObject *(*PilotHandler) (PilotCall *call,
                                     GError **error);

typedef struct
{
  const gchar *type;
  PilotHandler handler;
} PilotHandlerEntry;

/* Each ends with an entry without type. */
extern const PilotHandlerEntry pilot_service_node_handlers[];
extern const PilotHandlerEntry pilot_service_trust_handlers[];
extern const PilotHandlerEntry pilot_service_network_handlers[];

/* Checks that the node is registered and signed the request; `prefix` stands before the texts about signatures, NULL for the
 * generic ones. With `admin` a valid admin token does instead of a signature. */
gboolean pilot_call_authenticate (PilotCall *call,
                                  guint32 node,
                                  const gchar *prefix,
                                  gboolean admin,
                                  GError **error);
gboolean pilot_call_check_admin (PilotCall *call,
                                 GError **error);
/* Settles what was handed out to this node, if it has arrived. */
void pilot_service_settle_node (PilotService *service,
                                guint32 node);

/* Appends "address" and "node_id". */
void pilot_response_set_node (JsonObject *response,
                              guint32 node);
/* (transfer full): the beacon address to tell this client. */
gchar *pilot_call_beacon_address (PilotCall *call);

G_END_DECLS
