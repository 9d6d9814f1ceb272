/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a connection holds of the memory that all share. */
typedef struct {
  guint32 peer;
  gsize held;    /* bytes */
  gboolean kept; /* cannot be taken back now, but counts */
} PilotHolding;

/* Which of @sessions ends when there is not enough: the largest of the peer who holds most in all, because many small ones hoard as well as one. NULL
 * when nothing can be taken back. */
gpointer pilot_hoarder_find (GQueue *sessions, PilotHolding (*describe) (gconstpointer session));

G_END_DECLS
