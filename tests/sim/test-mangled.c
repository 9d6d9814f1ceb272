/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "protocol/overlay-private.h"
#include "sim-pair.h"
#include "tests/fuzz/mangle.h"

/* A hundred thousand mangled datagrams of every protocol that reaches the engine cost nothing but a counter: the session, its streams and what they
 * carry stay, nothing is kept, and the answers are few. Everything follows from one seed. */

#define MANGLED 100000

typedef struct
{
  Pair pair;
  GRand *random;
  guint8 model[512]; /* a good one */
  gsize length;
  guint sent; /* datagrams of alpha's */
} Mangler;

static gboolean
count (SimHost *from,
       const guint8 *data,
       gsize length,
       gpointer user_data)
{
  Mangler *mangler = user_data;

  mangler->sent += from->index == 0;
  return TRUE;
}

static void
mangler_start (Mangler *mangler)
{
  mangler->pair = pair_new (-1, -1);
  mangler->random = g_rand_new_with_seed (5);
  pair_start (&mangler->pair);
  g_assert_true (pair_ping (&mangler->pair, mangler->pair.alpha, mangler->pair.beta, SIM_SECOND));
  pair_run (&mangler->pair, 5 * SIM_SECOND);
  mangler->sent = 0;
  mangler->pair.sim->passes = count;
  mangler->pair.sim->passes_data = mangler;
}

static guint64
dropped (SimHost *host)
{
  PilotOverlayStats stats;

  pilot_overlay_stats (host->overlay, &stats);
  return stats.dropped_malformed + stats.dropped_unauthenticated + stats.dropped_replay + stats.dropped_spoofed + stats.dropped_rate;
}

/* (transfer full) The model mangled; or mangled and then sealed, as a peer with a broken memory would. */
static GByteArray *
next_datagram (Mangler *mangler,
               gboolean sealed)
{
  static const guint8 padding[PILOT_FRAME_PILS_OVERHEAD];
  SimHost *beta = mangler->pair.beta;
  GByteArray *data = mangle_for_sure (mangler->model, mangler->length, mangler->random);
  guint length = data->len;

  if (!sealed)
    return data;
  g_byte_array_prepend (data, padding, PILOT_FRAME_PILS_HEADER_SIZE);
  g_byte_array_append (data, padding, PILOT_AEAD_TAG_SIZE);
  length = (guint) pilot_session_seal (pilot_peer_lookup (beta->overlay, mangler->pair.alpha->node)->session, data->data, beta->node, length);
  g_assert_cmpuint (length, ==, data->len);
  return data;
}

/* Half a millisecond apart, so that a limit of so many a second is met; then the two still have their session, and a transfer works at once.
 * `answers`: the most that alpha may send in that time; `uncounted`: the most that may mean something in spite of it all. */
static void
pour (Mangler *mangler,
      const PilotEndpoint *from,
      gboolean sealed,
      guint answers,
      guint uncounted)
{
  Pair *pair = &mangler->pair;
  PilotSession *session = pilot_peer_lookup (pair->alpha->overlay, pair->beta->node)->session;
  PilotOverlayStats before, after;
  guint64 counted = dropped (pair->alpha);
  SimFlow *flow;

  pilot_overlay_stats (pair->alpha->overlay, &before);
  mangler->sent = 0;
  for (guint i = 0; i < MANGLED; i++) {
    g_autoptr (GByteArray) data = next_datagram (mangler, sealed);

    sim_inject (pair->alpha, from, data->data, data->len);
    pair_run (pair, SIM_MS / 2);
  }
  counted = dropped (pair->alpha) - counted;
  g_test_message ("%u of %u counted, %u datagrams sent meanwhile", (guint) counted, MANGLED, mangler->sent);
  g_assert_cmpuint (counted, >=, MANGLED - uncounted);
  g_assert_cmpuint (mangler->sent, <=, answers);
  pilot_overlay_stats (pair->alpha->overlay, &after);
  g_assert_cmpuint (after.peers, ==, before.peers);
  g_assert_cmpuint (after.sessions, ==, before.sessions);
  g_assert_cmpuint (after.streams, ==, before.streams);
  g_assert_true (pilot_peer_lookup (pair->alpha->overlay, pair->beta->node)->session == session);
  g_assert_cmpuint (pair->alpha->rekeyed + pair->alpha->key_events, ==, 0);
  flow = pair_dial (pair, SIM_FLOW_BOTH, 100000, 100000);
  pair_run (pair, 5 * SIM_SECOND);
  g_assert_true (flow->ended && flow->error == PILOT_STREAM_ERROR_NONE);
  g_assert_cmpint (pair_peer (pair->alpha, pair->beta).path, ==, PILOT_PATH_DIRECT);
}

static void
mangler_end (Mangler *mangler)
{
  mangler->pair.sim->passes = NULL;
  pair_end (&mangler->pair);
  g_rand_free (mangler->random);
}

static void
set_model (Mangler *mangler,
           gconstpointer model,
           gsize length)
{
  memcpy (mangler->model, model, length);
  mangler->length = length;
}

/* A sealed ping from beta that has not been delivered. */
static void
set_sealed_ping (Mangler *mangler)
{
  SimHost *beta = mangler->pair.beta;
  PilotPacket ping = { .protocol = PILOT_PROTOCOL_CONTROL, .source = { 0, beta->node }, .destination = { 0, mangler->pair.alpha->node }, .source_port = 50000, .seq = 1, .payload = (const guint8 *) "ping", .payload_length = 4 };
  gsize length = pilot_packet_encode (&ping, mangler->model + PILOT_FRAME_PILS_HEADER_SIZE, sizeof mangler->model - PILOT_FRAME_PILS_OVERHEAD);

  mangler->length = pilot_session_seal (pilot_peer_lookup (beta->overlay, mangler->pair.alpha->node)->session, mangler->model, beta->node, length);
}

static void
wrap_in_relay (Mangler *mangler)
{
  memmove (mangler->model + PILOT_BEACON_RELAY_DELIVER_HEADER_SIZE, mangler->model, mangler->length);
  mangler->model[0] = PILOT_BEACON_RELAY_DELIVER;
  pilot_bytes_put_u32 (mangler->model + 1, mangler->pair.beta->node);
  mangler->length += PILOT_BEACON_RELAY_DELIVER_HEADER_SIZE;
}

/* 50 s pass. alpha speaks by itself: keepalives, discover. */
#define BY_ITSELF 10
/* Strangers get two frames twenty times in each, and as many at first. */
#define SECONDS (MANGLED / 2000)

static void
test_pila (void)
{
  Mangler mangler;

  mangler_start (&mangler);
  set_model (&mangler, mangler.pair.beta->overlay->pila, PILOT_FRAME_PILA_SIZE);
  /* With nothing changed but bytes behind its end it is a PILA, answered once a second. */
  pour (&mangler, &mangler.pair.beta->endpoint, FALSE, 2 * SECONDS + BY_ITSELF, 2000);
  mangler_end (&mangler);
}

static void
test_pilk (void)
{
  Mangler mangler;

  mangler_start (&mangler);
  set_model (&mangler, mangler.pair.beta->overlay->pilk, PILOT_FRAME_PILK_SIZE);
  /* Any key makes a PILK: it is answered at the rate of one host. */
  pour (&mangler, &mangler.pair.beta->endpoint, FALSE, 10 * SECONDS + BY_ITSELF, 2000);
  mangler_end (&mangler);
}

static void
test_pils (void)
{
  Mangler mangler;

  mangler_start (&mangler);
  set_sealed_ping (&mangler);
  pour (&mangler, &mangler.pair.beta->endpoint, FALSE, 45 * SECONDS + BY_ITSELF, 100);
  mangler_end (&mangler);
}

static void
test_relayed (void)
{
  Mangler mangler;

  mangler_start (&mangler);
  set_sealed_ping (&mangler);
  wrap_in_relay (&mangler);
  pour (&mangler, &mangler.pair.sim->beacon, FALSE, 45 * SECONDS + BY_ITSELF, 100);
  mangler_end (&mangler);
}

static void
mangled_beacon (const PilotBeaconMessage *message,
                gboolean from_beacon)
{
  Mangler mangler;

  mangler_start (&mangler);
  mangler.length = pilot_beacon_message_encode (message, mangler.model, sizeof mangler.model);
  pour (&mangler, from_beacon ? &mangler.pair.sim->beacon : &mangler.pair.beta->endpoint, FALSE, 61 * SECONDS + BY_ITSELF, from_beacon ? MANGLED : 0);
  mangler_end (&mangler);
}

static void
test_beacon (void)
{
  PilotBeaconMessage reply = { .type = PILOT_BEACON_DISCOVER_REPLY, .endpoint = sim_endpoint (0x2e000001, 5000) };
  PilotBeaconMessage punch = { .type = PILOT_BEACON_PUNCH_COMMAND, .endpoint = sim_endpoint (0x2e000002, 5000) };

  mangled_beacon (&reply, TRUE);
  mangled_beacon (&punch, TRUE);
}

static void
test_not_the_beacon (void)
{
  PilotBeaconMessage punch = { .type = PILOT_BEACON_PUNCH_COMMAND, .endpoint = sim_endpoint (0x2e000002, 5000) };

  mangled_beacon (&punch, FALSE);
}

/* A packet in beta's own envelope. */
static void
mangled_packet (const PilotPacket *model,
                guint answers)
{
  Mangler mangler;
  PilotPacket packet = *model;

  mangler_start (&mangler);
  packet.source.node = mangler.pair.beta->node;
  packet.destination.node = mangler.pair.alpha->node;
  mangler.length = pilot_packet_encode (&packet, mangler.model, sizeof mangler.model);
  /* Bytes behind the packet's end are none of it. */
  pour (&mangler, &mangler.pair.beta->endpoint, TRUE, answers, 5000);
  mangler_end (&mangler);
}

static void
test_stream (void)
{
  static const PilotPacket syn = { .protocol = PILOT_PROTOCOL_STREAM, .flags = PILOT_PACKET_SYN, .source_port = 50000, .destination_port = 7, .window = 512 };
  static const PilotPacket data = { .protocol = PILOT_PROTOCOL_STREAM, .flags = PILOT_PACKET_ACK, .source_port = 50000, .destination_port = 7, .seq = 1, .ack = 1, .window = 512, .payload = (const guint8 *) "a segment of data", .payload_length = 17 };

  mangled_packet (&syn, 5000 + BY_ITSELF);
  /* Where the version becomes 2 it is a packet with a short header, of a stream that does not exist: that is refused. */
  mangled_packet (&data, 100 + BY_ITSELF);
}

static void
test_datagram (void)
{
  static const PilotPacket datagram = { .protocol = PILOT_PROTOCOL_DATAGRAM, .source_port = 50000, .destination_port = 4000, .payload = (const guint8 *) "hi", .payload_length = 2 };

  mangled_packet (&datagram, BY_ITSELF);
}

static void
test_control (void)
{
  static const PilotPacket ping = { .protocol = PILOT_PROTOCOL_CONTROL, .source_port = 50000, .seq = 7, .payload = (const guint8 *) "ping", .payload_length = 4 };

  mangled_packet (&ping, 5000 + BY_ITSELF);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/mangled/pila", test_pila);
  g_test_add_func ("/mangled/pilk", test_pilk);
  g_test_add_func ("/mangled/pils", test_pils);
  g_test_add_func ("/mangled/relayed", test_relayed);
  g_test_add_func ("/mangled/beacon", test_beacon);
  g_test_add_func ("/mangled/not-the-beacon", test_not_the_beacon);
  g_test_add_func ("/mangled/stream", test_stream);
  g_test_add_func ("/mangled/datagram", test_datagram);
  g_test_add_func ("/mangled/control", test_control);
  return g_test_run ();
}
