/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Messages seen lately, so that a copy changes nothing (trust.md 3.4). When there are too many the oldest is forgotten: only who sent it can send it
 * again, so that a flood harms nobody's memory but makes nobody deaf either.
 */
typedef struct _PilotTrustSeen PilotTrustSeen;

/* @lifetime in the unit of the @now below. */
PilotTrustSeen *pilot_trust_seen_new (guint max, gint64 lifetime);
void pilot_trust_seen_free (PilotTrustSeen *seen);
/* FALSE when it has been added before, and is remembered. @now never goes back by more than a little. */
gboolean pilot_trust_seen_add (PilotTrustSeen *seen, gconstpointer key, gsize length, gint64 now);

G_END_DECLS
