/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/beacon.h"
#include "rendezvous/directory.h"
#include "rendezvous/server.h"

G_BEGIN_DECLS

/**
 * PilotCompat:
 *
 * The beacon for nodes that cannot use UDP: WebSocket over TLS, usually on port 443 (beacon notes, section 7). One binary message is one beacon
 * datagram. The same port serves the registry: whoever does not begin with an HTTP request is handed to the registry's server, so that one open
 * TCP port is all a node needs.
 *
 * The framing (protocol/websocket.h) and this server are our own, on the reactor and GnuTLS, and not libsoup's SoupServer: that watches each
 * connection with a source of its own, all of which GMainContext polls at every turn (a ping costs it 85 us among 3000 idle connections; here a
 * frame is relayed in 6), holds 26 KiB a connection instead of 11, and queues without bound what a slow client does not take. What a server needs of
 * RFC 6455 without extensions is 400 lines, with a fuzz target. The client (plugins/transport-wss) is libsoup's.
 */
typedef struct _PilotCompat PilotCompat;

typedef struct
{
  guint max_clients;   /* nodes at one time; the next gets 503 */
  guint max_strangers; /* connections that have not authenticated; the oldest goes for the newest */
  guint head_timeout;  /* seconds for the TLS handshake and the request */
  guint auth_timeout;  /* seconds for the login */
  guint idle_timeout;  /* seconds without a frame */
  guint write_timeout; /* seconds in which a client takes nothing of what waits for it */
  guint close_timeout; /* seconds to wait for the other end of a closing connection */
  guint control_limit; /* pings and pongs a second from one client */
  gsize out_limit;     /* bytes that wait for one client; what comes on top is lost, as on a full link */
} PilotCompatLimits;

#define PILOT_COMPAT_LIMITS_INIT                   \
  {                                                \
    10000, 1000, 10, 10, 90, 30, 3, 50, 512 * 1024 \
  }

/* Of a message to a node: the reference's client takes no more. */
#define PILOT_COMPAT_MAX_DELIVERY 32768
/* Of a message from a node. */
#define PILOT_COMPAT_MAX_MESSAGE 65536

typedef struct
{
  guint64 logins;
  guint64 refused;  /* logins that failed */
  guint64 replaced; /* clients whose node logged in again */
  guint64 broken;   /* clients closed for what they sent */
  guint64 dropped;  /* messages that a slow client did not take, or that were too long for it */
} PilotCompatStatistics;

/* (transfer full): everything is borrowed. `server` gets the connections that are the registry's. `now` (Unix seconds) is for tests, NULL for the
 * real time. */
PilotCompat *pilot_compat_new (PilotReactor *reactor,
                               PilotDirectory *directory,
                               PilotBeacon *beacon,
                               PilotServer *server,
                               const PilotCompatLimits *limits,
                               gint64 (*now) (void));
/* Tells every client that we go away (1001), as far as its socket takes it. */
void pilot_compat_free (PilotCompat *compat);
/* `tls` NULL: clear text, for a TLS front on the same machine. `bound` (out): the real address. */
gboolean pilot_compat_listen (PilotCompat *compat,
                              const PilotEndpoint *address,
                              PilotTls *tls,
                              PilotEndpoint *bound,
                              GError **error);
/* Writes what was queued for clients. Call at the end of each turn, and after the beacon was told to notify. */
void pilot_compat_flush (PilotCompat *compat);
/* Cuts off clients over their deadline. Call every second. */
void pilot_compat_sweep (PilotCompat *compat);
/* Nodes that are logged in. */
guint pilot_compat_count (PilotCompat *compat);
const PilotCompatStatistics *pilot_compat_get_statistics (PilotCompat *compat);

G_END_DECLS
