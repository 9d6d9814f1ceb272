/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim-pair.h"

#include "protocol/overlay-private.h"

/* How large segments become on paths of several MTUs, and what happens when these change. */

#define BULK (4 * 1024 * 1024)
#define OVERHEAD (28 + PILOT_FRAME_PILS_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE + PILOT_AEAD_TAG_SIZE)
#define RELAYED_OVERHEAD (OVERHEAD + PILOT_BEACON_RELAY_HEADER_SIZE)

static void
add_flow (Pair *w,
          guint64 bytes)
{
  Sim *sim = w->sim;
  SimFlow *flow = &sim->flows[sim->n_flows];

  *flow = (SimFlow){
    .sim = sim,
    .index = sim->n_flows,
    .kind = SIM_FLOW_BOTH,
    .port = (guint16) (1000 + sim->n_flows),
    .seed = 5,
    .client = { .flow = flow, .host = w->alpha, .is_client = TRUE, .to_write = bytes },
    .server = { .flow = flow, .host = w->beta, .to_read = bytes },
  };
  sim->n_flows++;
  sim_flow_start (sim, flow);
}

static void
set_mtu (Pair *w,
         gint64 mtu)
{
  w->alpha->link.mtu = w->beta->link.mtu = mtu;
}

static guint
size (Pair *w)
{
  PilotPeer *other = pilot_peer_lookup (w->alpha->overlay, w->beta->node);
  PilotPath path;

  g_assert_nonnull (other);
  path = pilot_path_choose (&other->path, w->alpha->overlay->have_beacon);
  return pilot_path_mtu_size (&other->mtu, pilot_peer_way (other, path), path == PILOT_PATH_RELAY, PILOT_SEGMENT_PAYLOAD);
}

static gboolean
is_relayed (Pair *w)
{
  return pair_peer (w->alpha, w->beta).path == PILOT_PATH_RELAY;
}

static Pair
relayed_pair (void)
{
  return pair_new (SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC);
}

static gboolean
run_to_end (Pair *w,
            gint64 within)
{
  const gint64 until = w->sim->now + within;
  const SimFlow *flow = &w->sim->flows[w->sim->n_flows - 1];

  while (!flow->ended && w->sim->now < until)
    pair_run (w, 10 * SIM_MS);
  return flow->ended && flow->error == PILOT_STREAM_ERROR_NONE;
}

typedef struct
{
  gint64 mtu;
  guint size;
} Expected;

static const Expected expected[] = {
  { 1280, PILOT_SEGMENT_PAYLOAD },
  { 1340, 1300 - OVERHEAD },
  { 1420, 1420 - OVERHEAD },
  { 1499, 1492 - OVERHEAD },
  { 1500, 1500 - OVERHEAD },
  { 1600, 1500 - OVERHEAD },
  { 9000, 9000 - OVERHEAD },
  { 65536, 65000 },
};

static void
test_sizes (gconstpointer data)
{
  const Expected *it = data;
  Pair w = pair_new (-1, -1);

  set_mtu (&w, it->mtu);
  pair_start (&w);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, it->size);
  pair_end (&w);
}

/* Nothing is asked for a few packets. */
static void
test_small_talk (void)
{
  Pair w = pair_new (-1, -1);
  PilotPeer *other;

  set_mtu (&w, 9000);
  pair_start (&w);
  add_flow (&w, 20000);
  g_assert_true (run_to_end (&w, 10 * SIM_SECOND));
  other = pilot_peer_lookup (w.alpha->overlay, w.beta->node);
  g_assert_cmpint (other->mtu.phase, ==, PILOT_MTU_IDLE);
  g_assert_cmpuint (size (&w), ==, PILOT_SEGMENT_PAYLOAD);
  pair_end (&w);
}

/* A transfer that takes its time, until it knows how much the path carries. */
static void
start_bulk (Pair *w,
            gint64 mtu,
            guint overhead)
{
  w->alpha->link.rate = 2000000;
  w->alpha->link.queue = 200000;
  set_mtu (w, mtu);
  pair_start (w);
  add_flow (w, 3 * BULK);
  pair_run (w, 2 * SIM_SECOND);
  g_assert_cmpuint (size (w), ==, mtu - overhead);
}

/* The path shrinks under a transfer, without a word: what was sent for it is cut anew, and the transfer goes on within seconds. */
static void
test_shrinks (gconstpointer data)
{
  const gint64 mtu = GPOINTER_TO_INT (data);
  Pair w = pair_new (-1, -1);
  gint64 at;

  start_bulk (&w, 9000, OVERHEAD);
  g_assert_false (w.sim->flows[0].ended);
  set_mtu (&w, mtu);
  at = w.sim->flows[0].server.read;
  pair_run (&w, 4 * SIM_SECOND);
  g_assert_cmpint (w.sim->flows[0].server.read, >, at + 1000000);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, mtu >= 1500 ? 1500 - OVERHEAD : PILOT_SEGMENT_PAYLOAD);
  pair_end (&w);
}

/* The network says at once what a timeout would tell later. */
static void
test_told (void)
{
  Pair w = pair_new (-1, -1);

  set_mtu (&w, 9000);
  w.alpha->link.rate = 2000000;
  w.alpha->link.queue = 200000;
  pair_start (&w);
  add_flow (&w, 3 * BULK);
  pair_run (&w, 4 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, 9000 - OVERHEAD);
  set_mtu (&w, 1500);
  pilot_overlay_too_large (w.alpha->overlay, &w.beta->endpoint, w.sim->now);
  sim_host_run (w.alpha);
  g_assert_cmpuint (size (&w), ==, PILOT_SEGMENT_PAYLOAD);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, 1500 - OVERHEAD);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_end (&w);
}

/* A path that grows is found to have grown ten minutes later, if it is in use. */
static void
test_grows (void)
{
  Pair w = pair_new (-1, -1);

  set_mtu (&w, 1500);
  pair_start (&w);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 5 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, 1500 - OVERHEAD);
  set_mtu (&w, 9000);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  g_assert_cmpuint (size (&w), ==, 1500 - OVERHEAD);
  pair_run (&w, 600 * SIM_SECOND);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  g_assert_cmpuint (size (&w), ==, 9000 - OVERHEAD);
  pair_end (&w);
}

/* Lost probes are sent again; a Go-like peer is never asked and gets what it takes. */
static void
test_loss (void)
{
  Pair w = pair_new (-1, -1);

  set_mtu (&w, 1500);
  w.alpha->link.loss = 100;
  pair_start (&w);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 120 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, 1500 - OVERHEAD);
  pair_end (&w);
}

static void
test_go_peer (void)
{
  Pair w = pair_new (-1, -1);
  PilotPeer *other;

  set_mtu (&w, 9000);
  sim_host_start (w.alpha);
  w.sim->extensions = FALSE;
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 120 * SIM_SECOND));
  other = pilot_peer_lookup (w.alpha->overlay, w.beta->node);
  g_assert_cmpint (other->mtu.phase, ==, PILOT_MTU_IDLE);
  pair_end (&w);
}

typedef struct
{
  const gchar *name;
  gint64 alpha, beta;
  gboolean cuts; /* the relay's system sends in pieces what beta's link does not carry */
  guint size;
} Relayed;

static const Relayed relayed[] = {
  { "of-1280", 1280, 1280, FALSE, PILOT_SEGMENT_PAYLOAD },
  { "of-1500", 1500, 1500, FALSE, 1500 - RELAYED_OVERHEAD },
  { "of-9000", 9000, 9000, FALSE, 9000 - RELAYED_OVERHEAD },
  { "of-65536", 65536, 65536, FALSE, 9000 - RELAYED_OVERHEAD },
  { "narrow-behind", 1500, 1420, FALSE, 1420 - RELAYED_OVERHEAD },
  { "narrow-before", 1420, 1500, FALSE, 1420 - RELAYED_OVERHEAD },
  { "cut-behind", 9000, 1500, TRUE, 1500 - RELAYED_OVERHEAD },
  { "cut-narrow", 1500, 1400, TRUE, 1400 - RELAYED_OVERHEAD },
};

static void
test_relayed (gconstpointer data)
{
  const Relayed *it = data;
  Pair w = relayed_pair ();

  w.alpha->link.mtu = it->alpha;
  w.beta->link.mtu = it->beta;
  w.beta->link.cuts = it->cuts;
  pair_start (&w);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_true (is_relayed (&w));
  g_assert_cmpuint (size (&w), ==, it->size);
  pair_end (&w);
}

typedef struct
{
  guint dropped;
} Strict;

static gboolean
passes_small (SimHost *host,
              const guint8 *data,
              gsize length,
              gpointer user_data)
{
  Strict *strict = user_data;

  if (length == 0 || data[0] != PILOT_BEACON_RELAY || length <= PILOT_BEACON_RELAY_HEADER_SIZE + PILOT_FRAME_PACKET_OVERHEAD + PILOT_SEGMENT_PAYLOAD)
    return TRUE;
  strict->dropped++;
  return FALSE;
}

/* A relay that takes no more than the usual frames: what it costs are the probes. */
static void
test_relay_drops (void)
{
  Strict strict = { 0 };
  Pair w = relayed_pair ();

  w.sim->passes = passes_small;
  w.sim->passes_data = &strict;
  pair_start (&w);
  add_flow (&w, BULK);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_true (is_relayed (&w));
  g_assert_cmpuint (size (&w), ==, PILOT_SEGMENT_PAYLOAD);
  /* Twice four, and twice seven one by one. */
  g_assert_cmpuint (strict.dropped, ==, 22);
  pair_end (&w);
}

/* The way behind the relay shrinks; what is too large for it is lost, or cut and delivered all the same. */
static void
test_relay_shrinks (gconstpointer cuts)
{
  Pair w = relayed_pair ();
  gint64 at;

  start_bulk (&w, 9000, RELAYED_OVERHEAD);
  g_assert_false (w.sim->flows[0].ended);
  w.beta->link.mtu = 1500;
  w.beta->link.cuts = cuts != NULL;
  at = w.sim->flows[0].server.read;
  pair_run (&w, 4 * SIM_SECOND);
  g_assert_cmpint (w.sim->flows[0].server.read, >, at + 1000000);
  g_assert_cmpuint (size (&w), ==, 1500 - RELAYED_OVERHEAD);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_end (&w);
}

/* Of another relay nothing is known. */
static void
test_other_relay (void)
{
  Pair w = relayed_pair ();

  start_bulk (&w, 1500, RELAYED_OVERHEAD);
  w.sim->beacon = sim_endpoint (0x2a000002, 9001);
  for (guint i = 0; i < w.sim->n_hosts; i++) {
    pilot_overlay_set_beacon (w.sim->hosts[i].overlay, &w.sim->beacon, w.sim->now);
    pilot_overlay_discover (w.sim->hosts[i].overlay, w.sim->now);
    sim_host_run (&w.sim->hosts[i]);
  }
  g_assert_true (is_relayed (&w));
  g_assert_cmpuint (size (&w), ==, PILOT_SEGMENT_PAYLOAD);
  set_mtu (&w, 1400);
  g_assert_true (run_to_end (&w, 60 * SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (size (&w), ==, 1400 - RELAYED_OVERHEAD);
  pair_end (&w);
}

/* A header of 40 bytes: what is asked for fits the link. */
static void
test_ipv6 (void)
{
  const PilotEndpoint to = { .family = PILOT_ENDPOINT_IPV6, .port = 5000, .address = { 0x20, 0x01, [15] = 1 } };
  const guint mtus[] = { 1500, 4000, 8896, 9000 };
  PilotPathMtu mtu = { 0 };

  g_assert_true (pilot_path_mtu_used (&mtu, &to, FALSE, 32, 0));
  for (guint i = 0; i < G_N_ELEMENTS (mtus); i++)
    g_assert_cmpuint (pilot_path_mtu_next (&mtu, 0, 0), ==, mtus[i] - (OVERHEAD + 20));
  /* The usual segment fits the least that IPv6 has to carry. */
  g_assert_cmpuint (PILOT_SEGMENT_PAYLOAD, <=, 1280 - (OVERHEAD + 20));
}

/* Answers to another search, and to nothing that was asked, do not count. */
static void
test_answers (void)
{
  const PilotEndpoint to = sim_endpoint (0x2e000001, 5000), elsewhere = sim_endpoint (0x2e000002, 5000);
  PilotPathMtu mtu = { 0 };
  guint n = 0;

  pilot_path_mtu_answered (&mtu, 0, 9000, 0);
  g_assert_cmpuint (mtu.size, ==, 0);
  g_assert_false (pilot_path_mtu_used (&mtu, &to, FALSE, 31, 0));
  g_assert_true (pilot_path_mtu_used (&mtu, &to, FALSE, 1, 0));
  while (pilot_path_mtu_next (&mtu, 0, 0) > 0)
    n++;
  g_assert_cmpuint (n, ==, 5);
  pilot_path_mtu_answered (&mtu, mtu.number - 1, 9000, 0);
  pilot_path_mtu_answered (&mtu, mtu.number, 65001, 0);
  g_assert_cmpuint (mtu.size, ==, 0);
  pilot_path_mtu_answered (&mtu, mtu.number, 1500 - OVERHEAD, 0);
  g_assert_cmpuint (pilot_path_mtu_size (&mtu, &to, FALSE, PILOT_SEGMENT_PAYLOAD), ==, 1500 - OVERHEAD);
  g_assert_cmpuint (pilot_path_mtu_size (&mtu, &to, TRUE, PILOT_SEGMENT_PAYLOAD), ==, PILOT_SEGMENT_PAYLOAD);
  g_assert_cmpuint (pilot_path_mtu_size (&mtu, &elsewhere, FALSE, PILOT_SEGMENT_PAYLOAD), ==, PILOT_SEGMENT_PAYLOAD);
  /* During the search a refusal is only the answer to a probe. */
  g_assert_false (pilot_path_mtu_too_large (&mtu, 0));
  g_assert_false (pilot_path_mtu_used (&mtu, &elsewhere, FALSE, 1, 0));
  g_assert_cmpuint (mtu.size, ==, 0);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    g_autofree gchar *path = g_strdup_printf ("/path-mtu/of-%" G_GINT64_FORMAT, expected[i].mtu);

    g_test_add_data_func (path, &expected[i], test_sizes);
  }
  g_test_add_func ("/path-mtu/small-talk", test_small_talk);
  g_test_add_data_func ("/path-mtu/shrinks-to-1500", GINT_TO_POINTER (1500), test_shrinks);
  g_test_add_data_func ("/path-mtu/shrinks-to-1280", GINT_TO_POINTER (1280), test_shrinks);
  g_test_add_func ("/path-mtu/told", test_told);
  g_test_add_func ("/path-mtu/grows", test_grows);
  g_test_add_func ("/path-mtu/loss", test_loss);
  g_test_add_func ("/path-mtu/go-peer", test_go_peer);
  for (guint i = 0; i < G_N_ELEMENTS (relayed); i++) {
    g_autofree gchar *path = g_strdup_printf ("/path-mtu/relayed/%s", relayed[i].name);

    g_test_add_data_func (path, &relayed[i], test_relayed);
  }
  g_test_add_func ("/path-mtu/relayed/drops", test_relay_drops);
  g_test_add_data_func ("/path-mtu/relayed/shrinks", NULL, test_relay_shrinks);
  g_test_add_data_func ("/path-mtu/relayed/shrinks-cut", "", test_relay_shrinks);
  g_test_add_func ("/path-mtu/relayed/another", test_other_relay);
  g_test_add_func ("/path-mtu/ipv6", test_ipv6);
  g_test_add_func ("/path-mtu/answers", test_answers);
  return g_test_run ();
}
