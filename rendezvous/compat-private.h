/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/rate-limit.h"
#include "protocol/websocket.h"
#include "rendezvous/compat.h"
#include "rendezvous/listener.h"

G_BEGIN_DECLS

/* Shared by compat.c (who is there) and compat-client.c (one of them); nobody else includes it. */

#define PILOT_COMPAT_READ_SIZE 16384 /* a TLS record; also what is read at one time from a plain socket */

/* What a client is doing. All in one list have the same time to get out of it, so its head is always the next to run out of time. */
typedef enum {
  PILOT_COMPAT_HEAD,    /* TLS handshake, or the request has not come whole */
  PILOT_COMPAT_AUTH,    /* has been asked who it is */
  PILOT_COMPAT_OPEN,    /* is a node; in the order of the last frame */
  PILOT_COMPAT_CLOSING, /* has been told; nothing it sends counts */
  PILOT_COMPAT_N_STATES
} PilotCompatState;

typedef struct _PilotCompatClient PilotCompatClient;
struct _PilotCompatClient {
  PilotReactorWatch watch; /* first: the watch is the client */
  PilotBeaconLink link;    /* attached while OPEN */
  PilotCompat *compat;
  GList place; /* in the list of its state */
  PilotCompatState state;
  gint64 since; /* in this state; OPEN: the last frame. g_get_monotonic_time() */
  gnutls_session_t tls;
  gboolean handshaking;
  GByteArray *head;             /* of an incomplete request */
  PilotWebsocketReader *reader; /* from AUTH on */
  gchar *challenge;             /* "TS:NONCE" while AUTH */
  gint64 challenged;            /* the TS in it */
  PilotTokenBucket controls;    /* pings and pongs */

  GByteArray *out; /* what waits; NULL when nothing does */
  gsize out_sent;
  GList dirty;   /* in the list of those with something new in `out` */
  GList stalled; /* in the list of those whose socket is full */
  gboolean is_dirty, is_stalled, is_shut;
  gint64 stalled_since; /* nothing was taken since */
};

struct _PilotCompat {
  PilotReactor *reactor;
  PilotDirectory *directory;
  PilotBeacon *beacon;
  PilotServer *server;
  PilotCompatLimits limits;
  gint64 (*now) (void);
  GPtrArray *listeners;
  GQueue states[PILOT_COMPAT_N_STATES];
  GQueue dirty;
  GQueue stalled;
  PilotCompatStatistics statistics;
  guint8 buffer[PILOT_COMPAT_READ_SIZE];
};

/* Takes the descriptor, also when it fails. */
void pilot_compat_client_open (PilotCompat *compat,
                               PilotTls *tls,
                               int fd,
                               const PilotEndpoint *remote);
/* Says why and lets the other end finish; `reason` is at most 123 bytes. */
void pilot_compat_client_close (PilotCompatClient *client,
                                PilotWebsocketStatus status,
                                const gchar *reason);
/* At once, without a word. */
void pilot_compat_client_drop (PilotCompatClient *client);
/* Writes what waits; may drop the client. */
void pilot_compat_client_flush (PilotCompatClient *client);

G_END_DECLS
