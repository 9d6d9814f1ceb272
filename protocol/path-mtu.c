/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/path-mtu.h"

#include "protocol/beacon-message.h"
#include "protocol/crypto.h"
#include "protocol/frame.h"
#include "protocol/packet.h"

#define UDP_HEADER 8
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define TUNNEL_OVERHEAD (PILOT_FRAME_PILS_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE + PILOT_AEAD_TAG_SIZE)
/* What own nodes say they take (extension type 4). */
#define SEGMENT_MAX 65000
#define TRIES 2
#define WAIT_MIN (100 * 1000)
#define WAIT_UNKNOWN (300 * 1000)
#define WAIT_MAX (1000 * 1000)
/* RFC 8899 section 5.1.1: PMTU_RAISE_TIMER. */
#define RAISE_AFTER (600 * G_USEC_PER_SEC)
#define BULK_SEGMENTS 32

/* MTUs met in practice: Ethernet, jumbo frames of two clouds and of most switches, loopback. Nobody relays over loopback, and behind a relay by
 * WebSocket, where every size passes, the largest would only be larger pieces to lose and to wait for. */
static const guint wide[] = { 1500, 4000, 8896, 9000, 65535 };
#define N_WIDE_RELAYED (G_N_ELEMENTS (wide) - 1)
/* PPPoE, L2TP, VXLAN, WireGuard, other tunnels. */
static const guint narrow[] = { 1492, 1480, 1450, 1420, 1400, 1350, 1300 };

static guint
payload_of (const PilotPathMtu *self,
            guint mtu)
{
  guint ip = self->to.family == PILOT_ENDPOINT_IPV6 ? IPV6_HEADER : IPV4_HEADER;
  guint relay = self->relayed ? PILOT_BEACON_RELAY_HEADER_SIZE : 0;

  return MIN (mtu - ip - UDP_HEADER - relay - TUNNEL_OVERHEAD, SEGMENT_MAX);
}

static guint
n_wide (const PilotPathMtu *self)
{
  return self->relayed ? N_WIDE_RELAYED : G_N_ELEMENTS (wide);
}

gboolean
pilot_path_mtu_is_of (const PilotPathMtu *self,
                      const PilotEndpoint *to,
                      gboolean relayed)
{
  return self->relayed == relayed && pilot_endpoint_equal (&self->to, to);
}

guint
pilot_path_mtu_size (const PilotPathMtu *self,
                     const PilotEndpoint *to,
                     gboolean relayed,
                     guint base)
{
  return self->size > base && pilot_path_mtu_is_of (self, to, relayed) ? self->size : base;
}

static void
search (PilotPathMtu *self,
        gint64 now)
{
  self->phase = PILOT_MTU_WIDE;
  self->number++;
  self->next = 0;
  self->tries = TRIES;
  self->due = now;
}

gboolean
pilot_path_mtu_used (PilotPathMtu *self,
                     const PilotEndpoint *to,
                     gboolean relayed,
                     guint n,
                     gint64 now)
{
  if (!pilot_path_mtu_is_of (self, to, relayed)) {
    guint32 number = self->number;

    *self = (PilotPathMtu) { .to = *to, .relayed = relayed, .number = number + 1 };
  }
  self->sent = MIN (self->sent + n, BULK_SEGMENTS);
  if (self->phase == PILOT_MTU_IDLE ? self->sent < BULK_SEGMENTS : self->phase != PILOT_MTU_DONE || now - self->settled_at < RAISE_AFTER)
    return FALSE;
  search (self, now);
  return TRUE;
}

static void
settle (PilotPathMtu *self,
        gint64 now)
{
  self->phase = PILOT_MTU_DONE;
  self->settled_at = now;
}

static gint64
patience (gint64 rtt)
{
  return rtt > 0 ? CLAMP (3 * rtt, WAIT_MIN, WAIT_MAX) : WAIT_UNKNOWN;
}

/* All that are larger than what is known, one after another without waiting; then the wait for the answers to all. */
static guint
next_wide (PilotPathMtu *self,
           gint64 rtt,
           gint64 now)
{
  while (self->tries > 0) {
    while (self->next < n_wide (self)) {
      guint payload = payload_of (self, wide[self->next++]);

      if (payload > self->size)
        return payload;
    }
    self->next = 0;
    self->tries--;
    self->wait = patience (rtt);
    self->due = now + self->wait;
    return 0;
  }
  if (self->size > 0) {
    settle (self, now);
    return 0;
  }
  self->phase = PILOT_MTU_NARROW;
  self->tries = TRIES;
  self->next = 0;
  self->due = now;
  return 0;
}

static guint
next_narrow (PilotPathMtu *self,
             gint64 rtt,
             gint64 now)
{
  if (self->tries == 0) {
    self->next++;
    self->tries = TRIES;
  }
  if (self->size > 0 || self->next >= G_N_ELEMENTS (narrow)) {
    settle (self, now);
    return 0;
  }
  self->tries--;
  self->wait = patience (rtt);
  self->due = now + self->wait;
  return payload_of (self, narrow[self->next]);
}

guint
pilot_path_mtu_next (PilotPathMtu *self,
                     gint64 rtt,
                     gint64 now)
{
  guint payload = 0;

  if (self->phase == PILOT_MTU_WIDE && now >= self->due)
    payload = next_wide (self, rtt, now);
  if (payload == 0 && self->phase == PILOT_MTU_NARROW && now >= self->due)
    payload = next_narrow (self, rtt, now);
  return payload;
}

gint64
pilot_path_mtu_deadline (const PilotPathMtu *self)
{
  return self->phase == PILOT_MTU_WIDE || self->phase == PILOT_MTU_NARROW ? self->due : G_MAXINT64;
}

void
pilot_path_mtu_answered (PilotPathMtu *self,
                         guint32 number,
                         guint payload,
                         gint64 now)
{
  if (self->phase == PILOT_MTU_IDLE || number != self->number || payload <= self->size || payload > SEGMENT_MAX)
    return;
  self->size = payload;
  if (self->phase == PILOT_MTU_NARROW || payload == payload_of (self, wide[n_wide (self) - 1]))
    settle (self, now);
}

void
pilot_path_mtu_black_hole (PilotPathMtu *self,
                           gint64 now)
{
  if (self->size == 0)
    return;
  self->size = 0;
  search (self, now);
}

gboolean
pilot_path_mtu_too_large (PilotPathMtu *self,
                          gint64 now)
{
  /* What is said of a segment or a probe from before the search ended says nothing of its result. */
  if (self->phase != PILOT_MTU_DONE || self->size == 0 || now - self->settled_at < self->wait)
    return FALSE;
  pilot_path_mtu_black_hole (self, now);
  return TRUE;
}
