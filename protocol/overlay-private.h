/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/beacon-message.h"
#include "protocol/frame.h"
#include "protocol/overlay.h"
#include "protocol/path.h"
#include "protocol/path-mtu.h"
#include "protocol/rate-limit.h"
#include "protocol/session.h"
#include "protocol/stream-private.h"
#include "protocol/timer-heap.h"
#include "protocol/turn-order.h"

G_BEGIN_DECLS

/* What the files overlay-*.c, key-exchange.c and peer.c share. */

#define PILOT_MS G_GINT64_CONSTANT (1000)
#define PILOT_SECOND G_GINT64_CONSTANT (1000000)

/* Largest payload of a stream packet: header, tunnel and relay overhead still fit the IPv6 minimum MTU. */
#define PILOT_SEGMENT_PAYLOAD 1152
#define PILOT_MAX_STREAMS 65536
/* SYNs that wait for the host's answer: of all, and of one peer, who may call a server that hangs. */
#define PILOT_MAX_INCOMING 4096
#define PILOT_MAX_INCOMING_OF_PEER 1024
#define PILOT_MAX_UNTRUSTED_PEERS 4096
#define PILOT_MAX_STRANGERS 64 /* nodes whose first PILA waits for the registry */
#define PILOT_MAX_PENDING 64   /* packets of one peer that wait for a session */
#define PILOT_MAX_RETIRED_KEYS 8
#define PILOT_MAX_PONG_PAYLOAD 1400
#define PILOT_CONTROL_QUEUE_MAX (512 * 1024)

typedef enum {
  PILOT_TIMER_PEER,
  PILOT_TIMER_STREAM,
  PILOT_TIMER_DISCOVER,
} PilotTimerKind;

/* A PILA that waits for the registry to say whose key is right. */
typedef struct
{
  gboolean present;
  gboolean relayed;
  PilotEndpoint from;
  guint8 frame[PILOT_FRAME_PILA_SIZE];
} PilotParkedPila;

/* Somebody who has proven nothing yet. A fixed table of these is all that exists before authentication. */
typedef struct
{
  guint32 node; /* 0 = free */
  gint64 until;
  gboolean refused; /* the registry has no key, or another one: remembered until `until` */
  PilotParkedPila pila;
} PilotStranger;

typedef struct
{
  gint64 sent_at;
  guint32 sequence;
  gboolean waiting; /* for the pong */
  gboolean queued;  /* for the session */
} PilotPing;

typedef struct
{
  gboolean pending;
  guint attempts;
  gint64 next_send; /* while pending */
  gint64 gave_up_until;
  gint64 last_reply;      /* to a same-key PILA or a PILK */
  gint64 last_unopened;   /* answer to a PILS without session */
  gboolean holds_session; /* it has a session that we lack */
} PilotKeyExchangeState;

typedef struct _PilotParkedDatagram PilotParkedDatagram;

typedef struct
{
  guint32 node;
  PilotOverlay *overlay;
  gboolean trusted, has_pin, has_key, key_mismatch, silent, own_kind;
  gboolean unheard, resting; /* as in PilotPeerInfo */
  guint8 pin[PILOT_ED25519_PUBLIC_SIZE];
  guint8 key[PILOT_ED25519_PUBLIC_SIZE];
  gint64 mismatch_at;
  gboolean key_asked; /* NEED_KEY has no answer yet */
  gint64 key_asked_at;
  gint64 key_refused_until;
  PilotParkedPila parked;
  gboolean endpoints_asked;
  gint64 endpoints_at; /* of the last answer */

  PilotSession *session;
  PilotSession *previous; /* still opened for a grace time */
  gint64 previous_until;  /* G_MAXINT64: a key that proved dead, opened only */
  gint64 switched_at;
  gint64 next_doubt; /* while `session` is unconfirmed: when to ask under `previous` whether it still lives */
  gboolean replaced; /* session took another's place and is not confirmed yet */
  guint8 retired[PILOT_MAX_RETIRED_KEYS][8];
  guint n_retired;
  PilotKeyExchangeState kx;

  PilotPathState path;
  PilotPathMtu mtu;
  gint64 cut_noticed_at; /* when the peer was last told that its segments arrive in pieces; 0 = never */
  gint64 next_upgrade;
  guint upgrades; /* attempts since the path changed last */
  guint probes_left;
  gint64 next_probe;
  gint64 last_probe_reply;
  gint64 last_punch;
  gint64 last_receive, last_app, established_at;
  guint watch_probes;
  gint64 next_watch;
  gint64 next_flow_look; /* while much arrives: when to look whether it still does; 0 = not watched */
  guint64 flow_packets;  /* packets_received at the last look */
  gboolean flow_busy;
  guint flow_probes;

  PilotPing pings[PILOT_MAX_PENDING];
  guint n_queued_pings;
  guint32 ping_sequence;
  gint64 dial_deadline; /* for streams that wait for a session; 0 = none do */
  gint64 syn_deadline;  /* for streams that had to wait and whose SYN is not answered yet; 0 = none */

  PilotStream *streams;
  guint n_streams, n_incoming;
  PilotSiblings siblings;
  guint port_cursor;
  gint64 *port_blocks; /* when a block of 64 ephemeral ports was last in use; made at the first dial */
  gint64 rtt_us;
  PilotTokenBucket syn_bucket; /* of theirs */
  PilotTokenBucket syns_sent;  /* of ours */
  guint64 bytes_sent, bytes_received, packets_sent, packets_received;
  PilotParkedDatagram *parked_datagrams; /* wait for a session; `dial_deadline` runs meanwhile */
  guint waiting_datagrams;               /* for the host */
  guint events;                          /* mask of PilotEventType already queued */
  gboolean event_rekeyed;
  guint timer_index;
} PilotPeer;

typedef struct
{
  PilotEvent event;
  gboolean dropped; /* its stream was released meanwhile */
} PilotQueuedEvent;

typedef struct
{
  PilotEndpoint to;
  guint32 offset, length;
  gboolean whole; /* the network must not cut it */
} PilotControlDatagram;

struct _PilotOverlay {
  PilotOverlayHost host;
  gboolean extensions;
  gboolean relay_only;
  const PilotCongestionClass *congestion;
  gsize receive_window, send_buffer;
  guint32 node;
  PilotIdentity identity;
  guint8 x25519_private[PILOT_X25519_KEY_SIZE];
  guint8 x25519_public[PILOT_X25519_KEY_SIZE];
  guint8 pila[PILOT_FRAME_PILA_SIZE];
  guint8 pilk[PILOT_FRAME_PILK_SIZE];
  gboolean have_beacon;
  PilotEndpoint beacon;
  guint discover_timer;
  gint64 discovered_at;      /* when the last discover was sent */
  guint discover_unanswered; /* since the last reply */
  gint64 unanswered_since;   /* the first of those */
  gboolean beacon_silent;    /* and that has been told */
  gboolean relay_doubtful;   /* one of them for a while, or the beacon is another one */
  gint64 relay_silent_since; /* first frame relayed since the beacon was heard last; 0 = none */
  gint64 now;                /* of the last call */
  gboolean receives_cut;     /* IP had cut the datagram that is being received */

  GHashTable *peers; /* guint32 -> PilotPeer */
  guint n_untrusted;
  guint n_sessions;
  PilotKeyStore *keys;
  PilotStranger strangers[PILOT_MAX_STRANGERS];
  PilotRateLimit exchange_by_host, exchange_by_node, unopened_by_node;
  PilotTokenBucket stranger_answers, stranger_syns, punches;

  PilotStream **buckets;
  guint n_buckets; /* a power of two */
  guint n_streams, n_linked, n_incoming;
  guint32 next_stream_id;
  guint32 hash_secret;
  PilotStream *all_streams;
  PilotTurnOrder turns;
  PilotStream *finished;

  PilotTimerHeap timers;
  PilotQueuedEvent *events;                         /* a ring */
  guint events_head, events_count, events_capacity; /* capacity: a power of two */
  guint64 events_first;                             /* running number of the oldest */

  guint16 datagram_port;
  gsize parked_bytes, waiting_bytes; /* of datagrams, of all peers */
  guint8 *taken_datagram;            /* what the last event lent */

  GByteArray *control_data;
  GArray *control; /* of PilotControlDatagram */
  guint control_next;
  guint8 *stash; /* a datagram that was made but did not fit its batch */
  gsize stash_length;
  PilotEndpoint stash_to;
  guint8 *scratch; /* a copy of a frame that may need a second key */

  PilotOverlayStats stats;
};

/* overlay-event.c */
void pilot_overlay_emit (PilotOverlay *self, const PilotEvent *event);
void pilot_overlay_clear_events (PilotOverlay *self);
void pilot_overlay_emit_peer (PilotPeer *peer, PilotEventType type);
void pilot_overlay_emit_stream (PilotStream *stream, PilotEventType type);
void pilot_overlay_drop_stream_event (PilotOverlay *self, PilotStream *stream);
void pilot_overlay_drop_peer_events (PilotOverlay *self, PilotPeer *peer);

/* overlay-transmit.c */
void pilot_overlay_queue (PilotOverlay *self, const PilotEndpoint *to, const guint8 *data, gsize length);
void pilot_overlay_queue_relay (PilotOverlay *self, guint32 node, const guint8 *frame, gsize length);
void pilot_overlay_discover_send (PilotOverlay *self);
void pilot_overlay_discover_answered (PilotOverlay *self, const PilotEndpoint *outside, gint64 now);
/* Seals a packet and queues it, ahead of stream data. `to` NULL = along the path in use. FALSE if there is no session or no path. */
gboolean pilot_overlay_queue_packet (PilotPeer *peer, const PilotPacket *packet, const PilotEndpoint *to, gint64 now);
/* Asks the stream for what it has to say at once and queues it sealed: before its session goes. */
void pilot_overlay_drain_stream (PilotStream *stream, gint64 now);
/* Asks whether a packet with so much payload arrives along the path that is being measured. */
void pilot_overlay_queue_mtu_probe (PilotPeer *peer, guint payload_length);

/* overlay-datagram.c */
void pilot_overlay_datagram_packet (PilotPeer *peer, const PilotPacket *packet, gint64 now);
void pilot_overlay_flush_datagrams (PilotPeer *peer, gint64 now);
void pilot_overlay_drop_datagrams (PilotPeer *peer);
void pilot_overlay_datagram_taken (PilotOverlay *self, const PilotEvent *event);

/* overlay-stream.c */
/* A session is wanted: what waits for it is told by pilot_overlay_tunnel_ready(), or fails. */
void pilot_overlay_begin_dial (PilotPeer *peer, gint64 now);
/* A PilotAeadPlaceFunc of a peer, for packets with a short header: the place in the ring of the stream they say they belong to. */
guint8 *pilot_overlay_place (const guint8 *head, gsize length, gpointer peer);
void pilot_overlay_stream_packet (PilotPeer *peer, const PilotPacket *packet, gint64 now);
void pilot_overlay_streams_init (PilotOverlay *self);
void pilot_overlay_streams_clear (PilotOverlay *self);
void pilot_overlay_fail_streams (PilotPeer *peer, PilotStreamError error, gboolean send_rst, gint64 now);
/* Only those that were not open yet. */
void pilot_overlay_fail_dials (PilotPeer *peer, PilotStreamError error, gint64 now);
void pilot_overlay_fail_opened (PilotPeer *peer, PilotStreamError error, gint64 now);
void pilot_overlay_detach_streams (PilotPeer *peer);
/* Whether a SYN of the stream, if one is due, may go now to a peer that is not known to be of our own kind. If not it is held. */
gboolean pilot_overlay_syn_may_go (PilotStream *stream, gint64 now);
/* Ends dials that took too long in all; when to come back, 0 = no more. */
gint64 pilot_overlay_expire_dials (PilotPeer *peer, gint64 now);
void pilot_overlay_tunnel_ready (PilotPeer *peer, gint64 now);
void pilot_overlay_reap_streams (PilotOverlay *self);

/* key-exchange.c */
void pilot_key_exchange_start (PilotPeer *peer, const PilotEndpoint *extra, gint64 now);
void pilot_key_exchange_timeout (PilotPeer *peer, gint64 now);
/* Endpoints became known while it runs: they get the PILA now. */
void pilot_key_exchange_retarget (PilotPeer *peer, gint64 now);
/* Once more through the relay, when one is under way; it is no attempt that counts. */
void pilot_key_exchange_relay_again (PilotPeer *peer);
void pilot_key_exchange_done (PilotPeer *peer);
void pilot_key_exchange_pila (PilotOverlay *self, const PilotEndpoint *from, const guint8 *data, gsize length, gint64 now);
void pilot_key_exchange_pilk (PilotOverlay *self, const PilotEndpoint *from, const guint8 *data, gsize length, gint64 now);
/* A PILS that no session of ours can open. */
void pilot_key_exchange_unopened (PilotOverlay *self, guint32 node, const PilotEndpoint *from, gint64 now);
void pilot_key_exchange_confirm (PilotPeer *peer, gint64 now);
/* A frame authenticated under the previous key. */
void pilot_key_exchange_previous (PilotPeer *peer, gint64 now);
void pilot_key_exchange_key (PilotOverlay *self, guint32 node, const guint8 *key, gint64 now);

/* peer.c */
PilotPeer *pilot_peer_lookup (PilotOverlay *self, guint32 node);
/* NULL when there are too many strangers. */
PilotPeer *pilot_peer_ensure (PilotOverlay *self, guint32 node, gboolean trusted);
void pilot_peer_free (PilotPeer *peer);
void pilot_peer_drop_session (PilotPeer *peer);
void pilot_peer_schedule (PilotPeer *peer, gint64 now);
void pilot_peer_advance (PilotPeer *peer, gint64 now);
gboolean pilot_peer_can_send (PilotPeer *peer);
/* Where a frame along this path, which is not NONE, is sent to. */
const PilotEndpoint *pilot_peer_way (PilotPeer *peer, PilotPath path);
void pilot_peer_need_endpoints (PilotPeer *peer, gint64 now);
void pilot_peer_need_key (PilotPeer *peer, gint64 now);
/* An authenticated packet came. */
void pilot_peer_alive (PilotPeer *peer, gint64 now);
/* A peer with a session that nothing has come from for too long; @resting: nothing was to be expected. */
void pilot_peer_unheard (PilotPeer *peer,
                         gboolean resting);
/* `to` NULL = along the path in use. */
void pilot_peer_keepalive (PilotPeer *peer, const PilotEndpoint *to, gint64 now);
void pilot_peer_request_punch (PilotPeer *peer, gint64 now);
void pilot_peer_upgrade_soon (PilotPeer *peer, gint64 now);
void pilot_peer_probe_direct (PilotPeer *peer, gint64 now);
void pilot_peer_flush_pings (PilotPeer *peer, gint64 now);
void pilot_peer_pong (PilotPeer *peer, const PilotPacket *packet, gint64 now);
void pilot_peer_fill_info (PilotPeer *peer, PilotPeerInfo *info);
void pilot_peer_path_changed (PilotPeer *peer, gint64 now);
/* Something was sent through the relay. */
void pilot_overlay_watch_beacon (PilotOverlay *self, gint64 now);
/* So many frames left that way. */
void pilot_peer_sent (PilotPeer *peer, PilotPath path, guint n_frames, gint64 now);

G_END_DECLS
