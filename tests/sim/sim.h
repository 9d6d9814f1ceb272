/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"
#include "protocol/identity.h"
#include "protocol/overlay.h"

G_BEGIN_DECLS

/*
 * A world in virtual time: hosts with one overlay each, NAT boxes, links, a beacon and a registry.  Everything follows from
 * a 64-bit seed; nothing reads a clock.  All times are microseconds.
 */

#define SIM_MS G_GINT64_CONSTANT (1000)
#define SIM_SECOND G_GINT64_CONSTANT (1000000)
#define SIM_MAX_HOSTS 8
#define SIM_MAX_FLOWS 320
#define SIM_MAX_NATS 8
#define SIM_RECORDED 64
#define SIM_UNBOUND_PORT 4999

typedef struct
{
  guint64 state;
} SimRandom;

guint64 sim_random (SimRandom *random);
/* Uniform in [low, high]. */
gint64 sim_random_range (SimRandom *random, gint64 low, gint64 high);
gboolean sim_random_chance (SimRandom *random, guint per_mille);

typedef struct _Sim Sim;
typedef struct _SimHost SimHost;
typedef struct _SimFlow SimFlow;

typedef enum {
  SIM_NAT_FULL_CONE,
  SIM_NAT_RESTRICTED,
  SIM_NAT_PORT_RESTRICTED,
  SIM_NAT_SYMMETRIC,
} SimNatType;

#define SIM_NAT_MAX_MAPPINGS 128
#define SIM_NAT_MAX_REMOTES 32

typedef struct
{
  gboolean used;
  PilotEndpoint inside;
  PilotEndpoint remote; /* symmetric: the mapping is for this one alone */
  guint16 port;
  PilotEndpoint allowed[SIM_NAT_MAX_REMOTES];
  guint n_allowed;
} SimMapping;

typedef struct
{
  SimNatType type;
  guint32 address;
  guint16 next_port;
  SimMapping mappings[SIM_NAT_MAX_MAPPINGS];
  guint next_mapping;
} SimNat;

typedef struct
{
  gint64 delay, jitter;
  guint loss, duplicate, reorder; /* per mille */
  gint64 rate;                    /* bytes a second; 0 = unlimited */
  gint64 queue;                   /* bytes */
  gint64 mtu;                     /* of an IPv4 packet; 0 = unlimited */
  gboolean cuts;                  /* what is larger and comes down the link comes in pieces; else it is lost */
  gint64 busy_until[2];           /* up, down */
  gint64 down_until;              /* nothing passes before */
} SimLink;

struct _SimHost {
  Sim *sim;
  guint index;
  guint32 node;
  PilotIdentity identity;
  guint8 trusted_key[PILOT_ED25519_PUBLIC_SIZE]; /* that of its first start: what the others have in their records of trust */
  PilotEndpoint endpoint;                        /* on its own interface */
  gint nat;                                      /* -1: on the internet */
  SimLink link;
  PilotOverlay *overlay; /* NULL while it is down */
  SimRandom random;
  gint64 wake_at;
  guint incarnation;
  gboolean relay_only;
  guint sent_direct; /* datagrams to anybody but the beacon */
  guint key_events;  /* KEY_MISMATCH seen */
  guint established; /* sessions seen through PEER_CHANGED */
  guint rekeyed;     /* times a session gave way to one with another key */
  guint pongs;
  guint beacon_silences, beacon_answers; /* BEACON_SILENT and OBSERVED_ENDPOINT seen */
  gboolean datagrams_admitted;
  GPtrArray *datagrams; /* what came, as text: "node:source-port>port data"; NULL = nobody wants to know */
};

typedef enum {
  SIM_FLOW_BOTH,       /* both write at once */
  SIM_FLOW_HALF_CLOSE, /* request, shutdown, answer read to its end */
  SIM_FLOW_REFUSED,
  SIM_FLOW_STRANGER, /* the other side stays silent */
  SIM_FLOW_RESET,    /* the client resets in the middle */
} SimFlowKind;

typedef struct
{
  SimFlow *flow;
  SimHost *host;
  guint incarnation;
  gboolean is_client;
  PilotStream *stream;
  guint64 written, to_write, read, to_read;
  gboolean shut, eof, done;
  gboolean slow; /* reads in sips */
} SimEnd;

struct _SimFlow {
  Sim *sim;
  guint index;
  SimFlowKind kind;
  guint16 port;
  guint64 seed;
  gint64 start;
  SimEnd client, server;
  gboolean started, ended;
  gboolean may_fail;
  gint64 ended_at;
  PilotStreamError error;
};

typedef struct
{
  guint8 *data;
  gsize length;
  PilotEndpoint from, to;
} SimRecorded;

typedef struct _SimEvent SimEvent;

/* Whether a datagram that leaves a host gets any further: a test that looks at each, or takes some away. */
typedef gboolean (*SimPasses) (SimHost *from, const guint8 *data, gsize length, gpointer user_data);

struct _Sim {
  guint64 seed;
  gboolean verbose;
  SimRandom random;
  gint64 now;
  guint64 trace; /* hash over everything that moved */
  guint64 n_datagrams;
  SimEvent *events;
  guint n_events, capacity;
  guint64 sequence;
  SimHost hosts[SIM_MAX_HOSTS];
  guint n_hosts;
  SimNat nats[SIM_MAX_NATS];
  guint n_nats;
  SimFlow flows[SIM_MAX_FLOWS];
  guint n_flows;
  PilotEndpoint beacon;
  gint64 beacon_down_until;
  PilotEndpoint seen[SIM_MAX_HOSTS]; /* by the beacon, by host */
  gint64 registry_delay;
  guint registry_failures; /* per mille */
  guint8 lie[32];
  gint lie_about; /* host whose key the registry misstates; -1 */
  gboolean extensions;
  gboolean rebinds;    /* a NAT box changes its mappings */
  gboolean pins;       /* trust records hold keys */
  gboolean watch_keys; /* nothing but those keys is ever used or complained of, unless a host has another */
  GHashTable *nonces;
  SimPasses passes; /* NULL: all */
  gpointer passes_data;
  SimRecorded recorded[SIM_RECORDED];
  guint n_recorded;
  gchar *failure;  /* first broken invariant */
  guint8 *buffers; /* for transmit */
};

void sim_fail (Sim *sim, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* sim-net.c */
typedef void (*SimCallback) (Sim *sim, gpointer data);
void sim_at (Sim *sim, gint64 time, SimCallback callback, gpointer data);
/* The same with data that the callback frees with g_free(). */
void sim_at_owned (Sim *sim, gint64 time, SimCallback callback, gpointer data);
gboolean sim_step (Sim *sim);    /* FALSE: nothing will ever happen again */
gint64 sim_next_time (Sim *sim); /* of the next step */
void sim_events_clear (Sim *sim);
void sim_send (SimHost *host, const PilotEndpoint *to, const guint8 *data, gsize length);
/* Straight to a host, as from anywhere. */
void sim_inject (SimHost *host, const PilotEndpoint *from, const guint8 *data, gsize length);
void sim_nat_rebind (SimNat *nat);
PilotEndpoint sim_endpoint (guint32 address, guint16 port);

/* sim-host.c */
void sim_host_start (SimHost *host);
void sim_host_stop (SimHost *host);
void sim_host_receive (SimHost *host, const PilotEndpoint *from, guint8 *data, gsize length, gboolean cut);
void sim_host_run (SimHost *host);
SimHost *sim_host_by_node (Sim *sim, guint32 node);

/* sim-flow.c */
/* The byte at a place of a flow, in one of its directions. */
guint8 sim_flow_content (const SimFlow *flow, gboolean from_client, guint64 at);
void sim_flow_start (Sim *sim, gpointer flow);
void sim_flow_incoming (SimHost *host, PilotStream *stream, guint16 port, guint32 node);
void sim_flow_event (SimHost *host, PilotStream *stream, guint ready);
void sim_flow_host_lost (SimHost *host);
SimFlow *sim_flow_by_port (Sim *sim, guint16 port);

G_END_DECLS
