/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-mailbox.h"
#include "pilotctl/client.h"

G_BEGIN_DECLS

/* What inbox and received have in common. */

/* Where inbox/ and received/ are: asked of the daemon, which may be the machine's service; where none runs, the user's own folder. */
char *mailbox_find (Invocation *invocation, Client **client, GError **error);
/* "5m" ago, or RFC 3339, as us since 1970. INVALID_ARGUMENT for anything else. */
gboolean mailbox_parse_time (const char *text, gint64 *time, GError **error);
/* To stdout: fit for a terminal, each line whole. */
void mailbox_print_text (gconstpointer data, gsize length);
/* To stdout: as it is, where that is no terminal; else as above. */
void mailbox_print_data (gconstpointer data, gsize length);

G_END_DECLS
