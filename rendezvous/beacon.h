/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"
#include "rendezvous/reactor.h"

G_BEGIN_DECLS

/**
 * PilotBeacon:
 *
 * Tells nodes their public endpoint, has both ends of a pair punch, and relays frames between nodes that cannot (beacon
 * notes, sections 2 and 3). One UDP socket in the reactor; datagrams go in and out in batches and nothing is allocated per
 * datagram. Nodes that cannot use UDP come by links instead (PilotBeaconLink). Gossip between beacons (0x07) is not spoken: such datagrams are dropped.
 */
typedef struct _PilotBeacon PilotBeacon;

/* What the registry beside it knows. All in the loop. */
typedef struct
{
  /* Whether this id was ever given to a node. Others are answered but not remembered: so the table is bounded by the registry. */
  gboolean (*is_known) (guint32 node,
                        gpointer user_data);
  /* The host of its authenticated registry connection, or NULL. */
  const PilotEndpoint *(*get_source) (guint32 node,
                                      gpointer user_data);
  /* Whether `requester` may learn where `target` is (registry notes, 17.7). */
  gboolean (*may_punch) (guint32 requester,
                         guint32 target,
                         gpointer user_data);
} PilotBeaconPolicy;

typedef struct
{
  guint relay_limit;         /* datagrams a second from one node, as many at once; 0 for no limit */
  gboolean relay_unverified; /* relay whatever sender id a datagram carries, as the reference does */
  guint max_nodes;           /* registrations kept */
  guint node_lifetime;       /* seconds without a discover until one is dropped */
  gboolean no_offload;       /* neither coalesced nor segmented datagrams: for a device that breaks them */
} PilotBeaconLimits;

#define PILOT_BEACON_LIMITS_INIT      \
  {                                   \
    200000, FALSE, 500000, 600, FALSE \
  }

typedef struct
{
  guint64 received;
  guint64 relayed;
  guint64 dropped_unknown;    /* destination not here */
  guint64 dropped_unverified; /* sender not registered from this address */
  guint64 dropped_limit;
  guint64 dropped_malformed;
  guint64 dropped_send; /* the kernel did not take it */
} PilotBeaconStatistics;

/**
 * PilotBeaconLink:
 * @node: whose it is, authenticated
 * @remote: where it comes from: what a discover by it is answered with
 * @deliver: takes one message for the node, or drops it: FALSE. Keeps nothing of it
 *
 * A way to a node that is no datagram: its WebSocket connection. Part of whoever owns the connection. A node with a link is reached by it alone,
 * and its place cannot be taken by datagrams.
 */
typedef struct _PilotBeaconLink PilotBeaconLink;
struct _PilotBeaconLink {
  guint32 node;
  PilotEndpoint remote;
  gboolean (*deliver) (PilotBeaconLink *link,
                       const guint8 *data,
                       gsize length);
};

/* (transfer full): bound to `address` (port 0: any). `policy` NULL serves every id. */
PilotBeacon *pilot_beacon_new (PilotReactor *reactor,
                               const PilotEndpoint *address,
                               const PilotBeaconLimits *limits,
                               const PilotBeaconPolicy *policy,
                               gpointer user_data,
                               GError **error);
void pilot_beacon_free (PilotBeacon *beacon);
/* As bound: the port is the real one. */
void pilot_beacon_get_address (PilotBeacon *beacon,
                               PilotEndpoint *address);
/* Where the beacon saw this node last. FALSE when it did not lately. */
gboolean pilot_beacon_find (PilotBeacon *beacon,
                            guint32 node,
                            PilotEndpoint *endpoint);
/* Tells a node that something waits for it in the registry (0A 01): best effort, once a second and node at most. */
void pilot_beacon_notify (PilotBeacon *beacon,
                          guint32 node);
/* The node is reached by this link now; `former` (out) is the one it takes the place of, or NULL. FALSE when the table is full. */
gboolean pilot_beacon_attach (PilotBeacon *beacon,
                              PilotBeaconLink *link,
                              PilotBeaconLink **former);
/* Nothing happens when another has taken its place. */
void pilot_beacon_detach (PilotBeacon *beacon,
                          PilotBeaconLink *link);
/* One message that came by a link; `data` may be changed. What goes to the socket goes at once, or is lost. */
void pilot_beacon_take (PilotBeacon *beacon,
                        PilotBeaconLink *link,
                        guint8 *data,
                        gsize length);
/* Drops registrations that are too old. Call now and then. */
void pilot_beacon_expire (PilotBeacon *beacon);
const PilotBeaconStatistics *pilot_beacon_get_statistics (PilotBeacon *beacon);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotBeacon, pilot_beacon_free)

G_END_DECLS
