/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "path.h"

/* The reference waits for 8 s of silence and three frames. A stream waits that long for nothing: four frames and 2 s, or three
 * frames and 700 ms when the mapping in a NAT may have expired meanwhile. */
#define BLACK_HOLE_FRAMES 4
#define BLACK_HOLE_US (2 * G_USEC_PER_SEC)
#define STALE_US (30 * G_USEC_PER_SEC)
#define STALE_FRAMES 3
#define STALE_HOLE_US (700 * 1000)
/* The peer itself has left the direct way: what went unanswered so long is not merely late. */
#define RELAYED_FRAMES 2
#define RELAYED_HOLE_US (500 * 1000)
#define SEND_ERRORS 3
/* How long IPv6 keeps its place when the peer writes by IPv4 too. Longer than a round trip, after which it should have followed. */
#define IPV6_KEEPS_US (500 * 1000)

PilotPath
pilot_path_choose (const PilotPathState *path,
                   gboolean have_beacon)
{
  gboolean have_direct = !pilot_endpoint_is_none (&path->direct);

  if (have_beacon && (path->relay || path->pinned || !have_direct))
    return PILOT_PATH_RELAY;
  /* A peer that asked for the relay must not be met directly, even without a beacon. */
  return have_direct && !path->pinned ? PILOT_PATH_DIRECT : PILOT_PATH_NONE;
}

static void
to_relay (PilotPathState *path)
{
  path->relay = TRUE;
  path->direct_frames = 0;
  path->unanswered = 0;
  path->send_errors = 0;
  path->relayed = FALSE;
}

static gboolean
is_black_hole (const PilotPathState *path,
               gint64 now)
{
  gint64 silence = now - path->unanswered_since;

  if (path->relayed && path->unanswered >= RELAYED_FRAMES && silence > RELAYED_HOLE_US)
    return TRUE;
  if (path->unanswered >= STALE_FRAMES && silence > STALE_HOLE_US &&
      (path->last_direct_receive == 0 || now - path->last_direct_receive > STALE_US))
    return TRUE;
  return path->unanswered >= BLACK_HOLE_FRAMES && silence > BLACK_HOLE_US;
}

gboolean
pilot_path_sent (PilotPathState *path,
                 PilotPath used,
                 guint n_frames,
                 gboolean have_beacon,
                 gint64 now)
{
  path->last_send = now;
  /* Probes sent past the relay go unanswered until the way is open: they prove nothing. */
  if (used != PILOT_PATH_DIRECT || path->relay)
    return FALSE;
  if (path->unanswered == 0)
    path->unanswered_since = now;
  path->unanswered += n_frames;
  if (!have_beacon || !is_black_hole (path, now))
    return FALSE;
  to_relay (path);
  return TRUE;
}

/* The peer sends by the relay while we send directly. For a moment that is so whenever two leave the relay. */
static gboolean
received_relayed (PilotPathState *path,
                  gint64 now)
{
  if (path->relay || path->pinned || pilot_endpoint_is_none (&path->direct))
    return FALSE;
  path->relayed = TRUE;
  if (!is_black_hole (path, now))
    return FALSE;
  to_relay (path);
  return TRUE;
}

/* Both ways work. Each side follows what came last from the other, so that two who write at the same moment would change places for
 * ever: one family has to be better, and nothing translates IPv6. */
static gboolean
keeps_ipv6 (const PilotPathState *path,
            const PilotEndpoint *from,
            gint64 now)
{
  return from->family == PILOT_ENDPOINT_IPV4 && path->direct.family == PILOT_ENDPOINT_IPV6 && path->proven &&
         now - path->heard_direct < IPV6_KEEPS_US;
}

gboolean
pilot_path_received (PilotPathState *path,
                     const PilotEndpoint *from,
                     gint64 now)
{
  gboolean changed;

  if (from == NULL)
    return received_relayed (path, now);
  if (keeps_ipv6 (path, from, now))
    from = &path->direct;
  else
    path->heard_direct = now;
  changed = !path->relay && !path->pinned && !pilot_endpoint_equal (&path->direct, from);
  path->direct = *from;
  path->proven = TRUE;
  path->last_direct_receive = now;
  path->relayed = FALSE;
  path->unanswered = 0;
  path->send_errors = 0;
  if (path->relay && !path->pinned && ++path->direct_frames >= PILOT_PATH_DIRECT_FRAMES) {
    path->relay = FALSE;
    path->direct_frames = 0;
    changed = TRUE;
  }
  return changed;
}

gboolean
pilot_path_key_exchanged (PilotPathState *path,
                          const PilotEndpoint *from,
                          gboolean have_beacon)
{
  gboolean changed;

  if (path->proven)
    return FALSE;
  if (from == NULL) {
    changed = have_beacon && !path->relay && pilot_endpoint_is_none (&path->direct);
    if (changed)
      path->relay = TRUE;
    return changed;
  }
  changed = path->relay || !pilot_endpoint_equal (&path->direct, from);
  path->direct = *from;
  path->relay = FALSE;
  path->unanswered = 0;
  return changed;
}

void
pilot_path_set_candidates (PilotPathState *path,
                           const PilotEndpoint *candidates,
                           guint n_candidates,
                           gboolean relay_only)
{
  path->pinned = relay_only;
  path->n_candidates = 0;
  if (relay_only)
    return;
  for (guint i = 0; i < n_candidates && path->n_candidates < PILOT_PATH_MAX_CANDIDATES; i++) {
    const PilotEndpoint *candidate = &candidates[i];

    if (pilot_endpoint_is_none (candidate) || pilot_endpoint_is_any (candidate) ||
        pilot_endpoint_is_multicast (candidate) || candidate->port == 0)
      continue;
    path->candidates[path->n_candidates++] = *candidate;
  }
}

gboolean
pilot_path_send_failed (PilotPathState *path,
                        gboolean have_beacon)
{
  if (path->relay || ++path->send_errors < SEND_ERRORS || !have_beacon)
    return FALSE;
  to_relay (path);
  return TRUE;
}

void
pilot_path_reset (PilotPathState *path,
                  gboolean have_beacon)
{
  path->proven = FALSE;
  path->relayed = FALSE;
  path->unanswered = 0;
  path->send_errors = 0;
  path->direct_frames = 0;
  if (have_beacon)
    path->relay = TRUE;
}

guint
pilot_path_targets (const PilotPathState *path,
                    PilotEndpoint targets[PILOT_PATH_MAX_CANDIDATES + 1])
{
  guint n = 0;

  if (path->pinned)
    return 0;
  if (!pilot_endpoint_is_none (&path->direct))
    targets[n++] = path->direct;
  if (path->proven && !path->relay)
    return n;
  for (guint i = 0; i < path->n_candidates; i++) {
    gboolean known = FALSE;

    for (guint k = 0; k < n && !known; k++)
      known = pilot_endpoint_equal (&targets[k], &path->candidates[i]);
    if (!known)
      targets[n++] = path->candidates[i];
  }
  return n;
}
