/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/rate-limit.h"
#include "protocol/registry-message.h"
#include "rendezvous/listener.h"
#include "rendezvous/server.h"

G_BEGIN_DECLS

/* Shared by server.c (who is there) and connection.c (one of them); nobody else includes it. */

#define PILOT_SERVER_READ_SIZE 4096 /* from one connection in one turn */

/* What a connection is doing. Each state has a list, and all in a list have the same time to get out of it: so its head is
 * always the next to run out of time. */
typedef enum {
  PILOT_CONNECTION_ANONYMOUS, /* between requests, and nobody has authenticated */
  PILOT_CONNECTION_IDLE,      /* between requests */
  PILOT_CONNECTION_FRAME,     /* a request has begun, or the TLS handshake goes on */
  PILOT_CONNECTION_COMMIT,    /* an answer waits for the journal */
  PILOT_CONNECTION_WRITE,     /* the peer is slow in taking its answer */
  PILOT_CONNECTION_PAUSE,     /* too many requests: nothing is read for a while */
  PILOT_CONNECTION_N_STATES
} PilotConnectionState;

typedef struct _PilotConnection PilotConnection;
struct _PilotConnection {
  PilotReactorWatch watch; /* first: the watch is the connection */
  PilotSession session;
  PilotServer *server;
  GList link; /* in the list of its state */
  PilotConnectionState state;
  gint64 since;         /* in this state; g_get_monotonic_time() */
  gnutls_session_t tls; /* NULL: plain */
  gboolean handshaking;
  PilotRegistryReader *reader; /* while a request is incomplete */
  GByteArray *held;            /* read, but not to be looked at before the answer is out */
  GBytes *out;                 /* the answer; NULL when there is none */
  gsize out_sent;
  guint64 ticket; /* that `out` waits for */
  guint32 notify; /* after the commit */
  PilotTokenBucket requests;
};

struct _PilotServer {
  PilotReactor *reactor;
  PilotJournal *journal;
  PilotService *service;
  PilotBeacon *beacon;
  PilotServerLimits limits;
  GPtrArray *listeners;
  GQueue states[PILOT_CONNECTION_N_STATES];
  guint n_connections;
  gsize frame_memory; /* of incomplete requests of all connections */
  guint8 buffer[PILOT_SERVER_READ_SIZE];
};

/* Takes the descriptor, also when it fails. */
void pilot_connection_open (PilotServer *server,
                            PilotTls *tls,
                            int fd,
                            const PilotEndpoint *remote);
/* The same for one that another has accepted and greeted; `data` was read from it. */
void pilot_connection_adopt (PilotServer *server,
                             int fd,
                             gnutls_session_t tls,
                             const PilotEndpoint *remote,
                             const guint8 *data,
                             gsize length);
void pilot_connection_close (PilotConnection *connection);
/* The answer may go out, as it is or, when the commit failed, replaced. */
void pilot_connection_release (PilotConnection *connection,
                               gboolean ok);
/* The pause is over. */
void pilot_connection_resume (PilotConnection *connection);

G_END_DECLS
