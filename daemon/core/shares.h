/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The places that a service has (sessions, dials, threads), and who has taken them. There are so many for all, and so many of them at most for one peer:
 * however much a peer asks for, the others find some. To take and to give back cost the same however many there are. Not for threads to share. */
typedef struct _PilotShares PilotShares;

/* No peer, but this machine itself: only @most bounds what it takes. */
#define PILOT_SHARES_OWN 0

/* @most: places for all; G_MAXUINT where only a peer's share is bounded. */
PilotShares *pilot_shares_new (guint most, guint most_of_peer);
/* After the last place was given back. */
void pilot_shares_free (PilotShares *shares);

/* A place for @peer: a node id, or a user id where it is users of this machine who share. FALSE when it has its share, or there is none left for anybody. */
gboolean pilot_shares_take (PilotShares *shares, guint32 peer);
/* One that @peer took. */
void pilot_shares_give_back (PilotShares *shares, guint32 peer);

/* How many are taken in all. */
guint pilot_shares_get_taken (PilotShares *shares);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotShares, pilot_shares_free)

G_END_DECLS
