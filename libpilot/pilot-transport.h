/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-endpoint.h"
#include "pilot-plugin.h"

G_BEGIN_DECLS

/* Largest datagram a transport has to carry: what IPv4 UDP can. */
#define PILOT_TRANSPORT_MAX_DATAGRAM 65507

/* One or more datagrams to one endpoint in one buffer. A single one with segment_size >= length arrives in one piece or not at all, so that its sender
 * finds out what passes; all others may be cut by the network if they must. */
typedef struct
{
  PilotEndpoint to;
  const guint8 *data;
  gsize length;       /* of all of them, at least 1, at most PILOT_TRANSPORT_MAX_DATAGRAM */
  gsize segment_size; /* 0 or >= length: one datagram; else that many bytes each, the last may be shorter */
} PilotSendBatch;

/* One or more datagrams from one endpoint in one buffer. */
typedef struct
{
  PilotEndpoint from;
  guint8 *data; /* the receiver may write to it: the host decrypts in place. Gone when the call returns */
  gsize length;
  gsize segment_size; /* as in PilotSendBatch; PILOT_TRANSPORT_CUT when the transport knows that it came in pieces */
} PilotReceivedDatagram;

/* Segment size of a received datagram, a single one, that the network had cut. Only a matter of how large others should be made. */
#define PILOT_TRANSPORT_CUT G_MAXSIZE

typedef enum {
  PILOT_TRANSPORT_DIRECT, /* reaches the peer itself */
  PILOT_TRANSPORT_RELAY,  /* everything passes a third machine */
} PilotTransportKind;

/* What a relay that asks who we are is told (since ABI 1.1). */
typedef struct
{
  guint32 node; /* never 0 */
  guint8 public_key[32];
  guint8 signature[64]; /* Ed25519, over "compat_auth:NODE:CHALLENGE" */
} PilotTransportProof;

#define PILOT_TYPE_TRANSPORT (pilot_transport_get_type ())
PILOT_API
G_DECLARE_DERIVABLE_TYPE (PilotTransport, pilot_transport, PILOT, TRANSPORT, PilotPlugin)

/* Takes what arrived: n_items is at least 1. Must not call back into the transport except for send. */
typedef void (*PilotTransportReceiver) (PilotTransport *self,
                                        PilotReceivedDatagram *items,
                                        guint n_items,
                                        gpointer user_data);

/* Answers a relay's challenge with the node's identity. FALSE with PILOT_ERROR_NOT_RUNNING while the node has no id yet: the host calls `reconnect`
 * of the class when it has one. */
typedef gboolean (*PilotTransportProver) (PilotTransport *self,
                                          const gchar *challenge,
                                          PilotTransportProof *proof,
                                          gpointer user_data,
                                          GError **error);

/**
 * PilotTransportClass:
 * @send: takes the first *n_sent of the n items. TRUE with *n_sent < n means "not now": the signal #PilotTransport::writable
 *   follows. A datagram that one endpoint refuses is taken and reported by pilot_transport_report_send_failed(); FALSE with an
 *   error means the transport as a whole cannot send. n = 0 is allowed and does nothing. Nothing is kept of the items
 * @get_endpoints: (transfer full): the transport's own endpoints as others on the same network see them; empty array if it has none
 * @parse_endpoint: may be NULL: IP literal and port
 * @format_endpoint: (transfer full): may be NULL: IP literal and port
 * @get_poll_fd: the descriptor the host watches, -1 if the transport has sources of its own. The same while enabled
 * @get_poll_events: what to watch it for now: G_IO_IN, with G_IO_OUT while a writer waits. NULL: always G_IO_IN
 * @dispatch: reads a bounded number of datagrams and hands them to pilot_transport_deliver(); sends what waits. Must not block
 * @get_mtu: largest datagram in bytes that crosses an ordinary path in one piece
 * @get_kind: direct or relay
 * @get_preference: the host prefers the higher; transport-udp has 100
 * @get_stats: (transfer floating or full): counters, a{sv}. NULL: none
 * @reconnect: the node has an id, or another one, or the machine is in another network: a transport that holds a connection makes it anew, without
 *   waiting. May be NULL. Since ABI 1.1
 *
 * Carries opaque datagrams. It never sees plaintext and never decides whom to talk to. `transport` of an endpoint belongs to the
 * host: a transport leaves it alone in what it gets and writes 0 in what it makes; the host sets it in what it is handed.
 * Between disable and enable @send fails with PILOT_ERROR_NOT_RUNNING.
 */
struct _PilotTransportClass {
  PilotPluginClass parent_class;

  gboolean (*send) (PilotTransport *self,
                    const PilotSendBatch *items,
                    guint n_items,
                    guint *n_sent,
                    GError **error);
  GArray *(*get_endpoints) (PilotTransport *self);
  gboolean (*parse_endpoint) (PilotTransport *self,
                              const gchar *text,
                              PilotEndpoint *endpoint,
                              GError **error);
  gchar *(*format_endpoint) (PilotTransport *self,
                             const PilotEndpoint *endpoint);
  gint (*get_poll_fd) (PilotTransport *self);
  GIOCondition (*get_poll_events) (PilotTransport *self);
  void (*dispatch) (PilotTransport *self,
                    GIOCondition ready);
  guint (*get_mtu) (PilotTransport *self);
  PilotTransportKind (*get_kind) (PilotTransport *self);
  gint (*get_preference) (PilotTransport *self);
  GVariant *(*get_stats) (PilotTransport *self);
  void (*reconnect) (PilotTransport *self);

  gpointer padding[7];
};

/* For the host. See the class for what each does. */
PILOT_API gboolean pilot_transport_send (PilotTransport *self,
                                         const PilotSendBatch *items,
                                         guint n_items,
                                         guint *n_sent,
                                         GError **error);
/* (transfer full) (element-type PilotEndpoint): never NULL from a sound transport. */
PILOT_API GArray *pilot_transport_get_endpoints (PilotTransport *self);
PILOT_API gboolean pilot_transport_parse_endpoint (PilotTransport *self,
                                                   const gchar *text,
                                                   PilotEndpoint *endpoint,
                                                   GError **error);
/* (transfer full) */
PILOT_API gchar *pilot_transport_format_endpoint (PilotTransport *self,
                                                  const PilotEndpoint *endpoint);
PILOT_API gint pilot_transport_get_poll_fd (PilotTransport *self);
PILOT_API GIOCondition pilot_transport_get_poll_events (PilotTransport *self);
PILOT_API void pilot_transport_dispatch (PilotTransport *self,
                                         GIOCondition ready);
PILOT_API guint pilot_transport_get_mtu (PilotTransport *self);
PILOT_API PilotTransportKind pilot_transport_get_kind (PilotTransport *self);
PILOT_API gint pilot_transport_get_preference (PilotTransport *self);
/* (transfer full): of type a{sv}. Never NULL. */
PILOT_API GVariant *pilot_transport_get_stats (PilotTransport *self);
PILOT_API void pilot_transport_reconnect (PilotTransport *self);
/* Why nothing can be sent now, as half a sentence without names of people or credentials; NULL when all is well, or nobody can tell. */
PILOT_API const gchar *pilot_transport_get_trouble (PilotTransport *self);
/* Who answers challenges; NULL for nobody. */
PILOT_API void pilot_transport_set_prover (PilotTransport *self,
                                           PilotTransportProver prover,
                                           gpointer user_data);
/* Who gets what arrives; one receiver at a time, NULL for none. `destroy` is called on the old user_data. */
PILOT_API void pilot_transport_set_receiver (PilotTransport *self,
                                             PilotTransportReceiver receiver,
                                             gpointer user_data,
                                             GDestroyNotify destroy);

/* For the transport. */
/* Hands a batch to the host; without a receiver it is dropped. */
PILOT_API void pilot_transport_deliver (PilotTransport *self,
                                        PilotReceivedDatagram *items,
                                        guint n_items);
/* Emits #PilotTransport::writable: a send that was cut short can be tried again. */
PILOT_API void pilot_transport_report_writable (PilotTransport *self);
/* Emits #PilotTransport::send-failed (const PilotEndpoint *to, int errno value): the network says that what was sent there did
 * not arrive (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE, EPERM …). A hint, anybody on the path can forge it. */
PILOT_API void pilot_transport_report_send_failed (PilotTransport *self,
                                                   const PilotEndpoint *to,
                                                   gint error_number);
/* Emits #PilotTransport::trouble-changed when it is another than before. NULL: all is well. */
PILOT_API void pilot_transport_report_trouble (PilotTransport *self,
                                               const gchar *trouble);
/* Asks the host for a proof. `challenge` is what the relay sent and the host checks: digits, a-f and ':', at most 128 of them. */
PILOT_API gboolean pilot_transport_prove (PilotTransport *self,
                                          const gchar *challenge,
                                          PilotTransportProof *proof,
                                          GError **error);

G_END_DECLS
