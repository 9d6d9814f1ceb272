/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/service.h"
#include "rendezvous/tls.h"

G_BEGIN_DECLS

/**
 * PilotServer:
 *
 * The registry's TCP side: listeners, connections, deadlines, and answers that wait for the journal. Everybody may connect;
 * nobody gets more than a bounded share of memory and of a turn of the loop, and who fills what is bounded is the one who is
 * slowed down or cut off.
 */
typedef struct _PilotServer PilotServer;

typedef struct
{
  guint max_connections;
  guint idle_timeout;  /* seconds without a request */
  guint frame_timeout; /* seconds for a started request, and for the TLS handshake */
  guint write_timeout; /* seconds for the peer to take a response */
  guint request_burst; /* requests of one connection at once, */
  guint request_rate;  /* and then a second; beyond that nothing is read from it */
  gsize frame_memory;  /* bytes of incomplete requests of all connections together */
} PilotServerLimits;

#define PILOT_SERVER_LIMITS_INIT                   \
  {                                                \
    10000, 300, 20, 10, 500, 200, 64 * 1024 * 1024 \
  }

/* (transfer full) */
PilotServer *pilot_server_new (PilotReactor *reactor,
                               PilotJournal *journal,
                               PilotService *service,
                               PilotBeacon *beacon,
                               const PilotServerLimits *limits);
void pilot_server_free (PilotServer *server);
/* `tls` NULL: plain TCP. Borrowed. `bound` (out): the real address. */
gboolean pilot_server_listen (PilotServer *server,
                              const PilotEndpoint *address,
                              PilotTls *tls,
                              PilotEndpoint *bound,
                              GError **error);
/* Takes over a connection whose TLS handshake is done and from which `data` was read: the port it came to serves something else too. Takes the
 * descriptor and the session (NULL: plain). */
void pilot_server_adopt (PilotServer *server,
                         int fd,
                         gnutls_session_t tls,
                         const PilotEndpoint *remote,
                         const guint8 *data,
                         gsize length);
/* The journal has everything up to its newest durable ticket: sends what waited for that. */
void pilot_server_committed (PilotServer *server);
/* A commit failed: whoever waits is told so. */
void pilot_server_commit_failed (PilotServer *server);
/* Cuts off connections over their deadline. Call every second. */
void pilot_server_sweep (PilotServer *server);
guint pilot_server_count (PilotServer *server);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotServer, pilot_server_free)

G_END_DECLS
