/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-address.h"
#include "libpilot/pilot-endpoint.h"
#include "libpilot/pilot-transport.h" /* PilotReceivedDatagram: a plain struct */
#include "protocol/stream.h"

G_BEGIN_DECLS

/*
 * PilotOverlay: the sans-I/O engine of one node.
 *
 * It is handed datagrams, user data, the time and random bytes, and hands back
 * datagrams to send, user data, events and the next deadline.  It makes no
 * system call and reads no clock; same inputs, same outputs, bit for bit.
 * All times are microseconds of one monotonic clock chosen by the caller.
 *
 * Life of one turn of its driver (daemon, simulator, fuzzer, benchmark):
 *
 *   pilot_overlay_receive()    what arrived, in batches
 *   pilot_overlay_advance()    when the deadline has come
 *   pilot_overlay_next_event() until FALSE; act on each
 *   pilot_overlay_transmit()   until 0; send what it filled
 *   pilot_overlay_deadline()   when to come back at the latest
 */
typedef struct _PilotOverlay PilotOverlay;

/* What the host decides about a SYN before anything answers it. */
typedef enum {
  PILOT_ADMIT_SILENCE, /* a stranger: no packet at all in return */
  PILOT_ADMIT_REFUSE,  /* trusted, but closed or forbidden: RST */
  PILOT_ADMIT_ACCEPT,  /* make the stream and emit PILOT_EVENT_STREAM_INCOMING */
} PilotAdmit;

/**
 * PilotOverlayHost:
 * @random: fills @out with @length random bytes (a seeded generator in the simulator)
 * @admit: called for each new SYN of an authenticated peer, before any state is
 *   made for it; must not call back into the engine. @own_key_matches is always TRUE
 *   here: a peer whose key differs from the trust record never gets this far
 * @user_data: handed to all of them
 * @admit_datagram: (nullable): called for each datagram of an authenticated peer that is trusted, before
 *   anything is kept of it; FALSE drops it without an answer. As @admit it must not call back
 */
typedef struct {
  void (*random) (guint8 *out, gsize length, gpointer user_data);
  PilotAdmit (*admit) (guint32 node, guint16 port, gpointer user_data);
  gpointer user_data;
  gboolean (*admit_datagram) (guint32 node, guint16 port, gpointer user_data);
} PilotOverlayHost;

/**
 * PilotOverlayConfig:
 * @node_id: own node id; 0 until registered (then no tunnel traffic is made)
 * @ed25519_seed: the identity's seed, copied, wiped on free
 * @extensions: FALSE behaves like a Go node of v1.18 (tests, interoperability)
 * @relay_only: nothing is ever sent to anybody but the beacon, so that no peer learns our address
 * @congestion: congestion control, "bbr" (also when NULL) or "cubic"
 * @receive_window: most bytes one stream may buffer on receipt; 0 = default
 * @send_buffer: most bytes one stream may buffer for sending; 0 = default
 */
typedef struct {
  guint32 node_id;
  guint8 ed25519_seed[32];
  gboolean extensions;
  gboolean relay_only;
  const char *congestion;
  gsize receive_window;
  gsize send_buffer;
} PilotOverlayConfig;

/* How a peer is reached now. */
typedef enum {
  PILOT_PATH_NONE,
  PILOT_PATH_DIRECT,
  PILOT_PATH_RELAY,
} PilotPath;

typedef enum {
  /* A PILA arrived from, or a connection is wanted to, a node whose Ed25519 key is
   * not known: ask the registry (lookup) and answer with pilot_overlay_peer_key(). */
  PILOT_EVENT_NEED_KEY,
  /* Endpoints of a node are wanted: ask the registry (resolve) and answer with
   * pilot_overlay_peer_endpoints() or pilot_overlay_peer_unresolved(). */
  PILOT_EVENT_NEED_ENDPOINTS,
  /* Session established, re-keyed, lost; path changed; peer silent, revived. Look at
   * pilot_overlay_peer_info(). */
  PILOT_EVENT_PEER_CHANGED,
  /* The Ed25519 key a peer presents (or the registry names) differs from the one in
   * the trust record: nothing is carried. */
  PILOT_EVENT_KEY_MISMATCH,
  /* The peer could not be reached within the key-exchange budget. */
  PILOT_EVENT_PEER_UNREACHABLE,
  /* An admitted SYN: answer with pilot_stream_accept(), _refuse() or _ignore(), now or
   * later (the peer's SYN retransmissions are absorbed meanwhile). */
  PILOT_EVENT_STREAM_INCOMING,
  /* One or more of PilotStreamReady on event.stream. */
  PILOT_EVENT_STREAM,
  /* The beacon answered a discover, each time: event.endpoint is our outside endpoint. */
  PILOT_EVENT_OBSERVED_ENDPOINT,
  /* Several discovers in a row stay unanswered. Told once, until the beacon answers again. */
  PILOT_EVENT_BEACON_SILENT,
  /* The beacon says that a relayed handshake waits (0x0A 0x01). */
  PILOT_EVENT_HANDSHAKE_WAITING,
  /* A pong to pilot_overlay_ping(): event.sequence, event.rtt_us. */
  PILOT_EVENT_PONG,
  /* A datagram that was admitted: event.network, .source_port, .port, .data, .length. Neither order nor
   * delivery is promised, by anybody. */
  PILOT_EVENT_DATAGRAM,
} PilotEventType;

typedef struct {
  PilotEventType type;
  guint32 node;        /* the peer, where there is one */
  PilotStream *stream; /* STREAM, STREAM_INCOMING */
  guint ready;         /* STREAM: mask of PilotStreamReady */
  PilotEndpoint endpoint;
  guint32 sequence;
  gint64 rtt_us;
  gboolean rekeyed;
  guint16 network, source_port, port; /* DATAGRAM: of the sender; the last is ours */
  guint32 length;
  const guint8 *data; /* DATAGRAM: borrowed until the next pilot_overlay_next_event() */
} PilotEvent;

/**
 * PilotTransmit:
 * @to: where to send (out)
 * @data: a buffer of the caller's of at least %PILOT_TRANSMIT_CAPACITY bytes (in)
 * @capacity: its size (in)
 * @length: bytes filled (out)
 * @segment_size: the size of each of several equal datagrams that stand in @data one after the other, the last may be shorter (out; what
 *   UDP_SEGMENT wants). With segment_size >= length it is one that the network must not cut; with 0 it is one that may be
 */
typedef struct {
  PilotEndpoint to;
  guint8 *data;
  gsize capacity;
  gsize length;
  gsize segment_size;
} PilotTransmit;

#define PILOT_TRANSMIT_CAPACITY 65507

typedef struct {
  guint32 node;
  gboolean session;   /* keys installed */
  gboolean confirmed; /* at least one PILS accepted under them */
  gboolean own_kind;  /* speaks our extensions */
  gboolean key_mismatch;
  gboolean silent;  /* known to be dead: nothing authenticated for a while though asked */
  gboolean unheard; /* nothing authenticated for longer than a peer that is there is quiet, or during a dial that was given up */
  gboolean resting; /* … and nothing was to be expected: neither side has had anything to say, so keepalives have ended */
  PilotPath path;
  PilotEndpoint endpoint; /* the direct endpoint, or the beacon when relayed */
  gboolean has_key;
  guint8 key[32];         /* its Ed25519 key */
  gint64 last_receive_us; /* of an authenticated packet; 0 = never */
  gint64 rtt_us;          /* smoothed; 0 = unknown */
  guint64 bytes_sent, bytes_received, packets_sent, packets_received;
  guint streams;
} PilotPeerInfo;

typedef struct {
  guint64 datagrams_received, datagrams_sent, bytes_received, bytes_sent;
  guint64 dropped_malformed, dropped_unauthenticated, dropped_replay, dropped_spoofed, dropped_rate;
  guint64 dropped_datagrams; /* not admitted, or no room; of those to be sent: no session came up */
  guint64 sealed, opened, open_failures;
  guint peers, sessions, streams;
} PilotOverlayStats;

/**
 * pilot_overlay_new:
 *
 * Makes an engine with a fresh X25519 key from @host->random. Never fails.
 * Free with pilot_overlay_free(), which wipes all keys.
 */
PilotOverlay *pilot_overlay_new (const PilotOverlayConfig *config, const PilotOverlayHost *host, gint64 now);
void pilot_overlay_free (PilotOverlay *overlay);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotOverlay, pilot_overlay_free)

/* Own id after registration. A changed id drops all sessions (peers know us by the old one). */
void pilot_overlay_set_node_id (PilotOverlay *overlay, guint32 node_id, gint64 now);
/* The beacon in use, NULL for none. Its address is the only one beacon messages are honoured from. */
void pilot_overlay_set_beacon (PilotOverlay *overlay, const PilotEndpoint *beacon, gint64 now);
/* Sends discover now (and again every 25 s: it keeps the NAT mapping open). */
void pilot_overlay_discover (PilotOverlay *overlay, gint64 now);

/* Datagrams as they came from the transport; data is opened in place and not kept. */
void pilot_overlay_receive (PilotOverlay *overlay, PilotReceivedDatagram *items, guint n_items, gint64 now);
/* Runs every timer that is due. Cost does not grow with idle streams or peers. */
void pilot_overlay_advance (PilotOverlay *overlay, gint64 now);
/* When pilot_overlay_advance() or _transmit() wants to be called at the latest; G_MAXINT64 = never. */
gint64 pilot_overlay_deadline (PilotOverlay *overlay);
/* Fills at most @n_items entries; returns how many. 0 = nothing (more) to send now. */
guint pilot_overlay_transmit (PilotOverlay *overlay, PilotTransmit *items, guint n_items, gint64 now);
/* The transport refused a datagram to @to (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH). */
void pilot_overlay_send_failed (PilotOverlay *overlay, const PilotEndpoint *to, gint64 now);
/* The network says that a datagram to @to was too large (EMSGSIZE). */
void pilot_overlay_too_large (PilotOverlay *overlay, const PilotEndpoint *to, gint64 now);
/* Takes the oldest event. FALSE = none. Bounded: events of one kind about one peer or stream are merged. */
gboolean pilot_overlay_next_event (PilotOverlay *overlay, PilotEvent *event);

/* Trust as the host's trust store has it. Key: the one recorded at trust time (32 bytes) or NULL.
 * With a key recorded no other key ever gets a session for that node. Untrusting drops the session. */
void pilot_overlay_set_trusted (PilotOverlay *overlay, guint32 node, gboolean trusted, const guint8 *key, gint64 now);
/* The registry's answer to NEED_KEY: 32 bytes, or NULL when there is none or it failed (remembered 3 s). */
void pilot_overlay_peer_key (PilotOverlay *overlay, guint32 node, const guint8 *key, gint64 now);
/* The registry's answer to NEED_ENDPOINTS. Candidates in order of preference (LAN first). */
void pilot_overlay_peer_endpoints (PilotOverlay *overlay, guint32 node, const PilotEndpoint *candidates,
                                   guint n_candidates, gboolean relay_only, gint64 now);
/* resolve failed: not known, or not allowed. Dials in progress end with PILOT_STREAM_ERROR_UNRESOLVED
 * unless the peer is already reachable. */
void pilot_overlay_peer_unresolved (PilotOverlay *overlay, guint32 node, gint64 now);
void pilot_overlay_forget_peer (PilotOverlay *overlay, guint32 node, gint64 now);
gboolean pilot_overlay_peer_info (PilotOverlay *overlay, guint32 node, PilotPeerInfo *info);
void pilot_overlay_foreach_peer (PilotOverlay *overlay, void (*func) (const PilotPeerInfo *info, gpointer user_data), gpointer user_data);
void pilot_overlay_foreach_stream (PilotOverlay *overlay, void (*func) (const PilotStreamInfo *info, gpointer user_data), gpointer user_data);
/* Ends a stream by its number, whoever uses it: the peer gets RST, the user hears of a reset. FALSE when there is none. */
gboolean pilot_overlay_reset_stream (PilotOverlay *overlay, guint32 id, gint64 now);
void pilot_overlay_stats (PilotOverlay *overlay, PilotOverlayStats *stats);
/* The registry has (again) taken us at the address we have: tells the beacon, and every peer that is reached by it. */
void pilot_overlay_announce (PilotOverlay *overlay, gint64 now);
/* Own address, network, or uplink changed: sessions stay, paths are proven again. */
void pilot_overlay_network_changed (PilotOverlay *overlay, gint64 now);

/**
 * pilot_overlay_connect:
 * @remote: the peer; its network becomes our source network
 *
 * Opens a stream (SYN schedule of streams.md 3.2, v1.18). The outcome arrives as
 * %PILOT_EVENT_STREAM with %PILOT_STREAM_READY_OPEN or _CLOSED. NULL only if the table is full
 * or @remote is ourselves.
 */
PilotStream *pilot_overlay_connect (PilotOverlay *overlay, const PilotAddress *remote, guint16 port, gint64 now);
typedef enum {
  PILOT_DATAGRAM_QUEUED,      /* on its way, or waiting for a session (a few per peer, as long as a dial takes) */
  PILOT_DATAGRAM_BAD_LENGTH,  /* empty, or above PILOT_DATAGRAM_MAX */
  PILOT_DATAGRAM_UNREACHABLE, /* ourselves, no node id yet, or the peer gave no sign of life a moment ago */
  PILOT_DATAGRAM_FULL,        /* too much waits already: nothing was kept of it, it may be tried again */
} PilotDatagramStatus;

/* Largest payload: with all headers, the relay's too, one UDP datagram. What is above PILOT_DATAGRAM_UNCUT is
 * cut in pieces by IP on most paths, and lost as a whole when one piece is. */
#define PILOT_DATAGRAM_MAX 65428
#define PILOT_DATAGRAM_UNCUT 1152

/**
 * pilot_overlay_send_datagram:
 * @remote: the peer; its network becomes our source network
 * @source_port: 0 = an ephemeral one, a new one each time
 *
 * Sends one datagram (streams.md section 8). Copies @data. Nothing is said later of what became of it.
 */
PilotDatagramStatus pilot_overlay_send_datagram (PilotOverlay *overlay, const PilotAddress *remote, guint16 source_port, guint16 port,
                                                 const guint8 *data, gsize length, gint64 now);
/* Control ping (port 0); answer arrives as PONG, or never. Returns its sequence number. */
guint32 pilot_overlay_ping (PilotOverlay *overlay, guint32 node, gint64 now);

G_END_DECLS
