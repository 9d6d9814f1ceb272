/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/client.h"

G_BEGIN_DECLS

/* Before a tunnel to a node is opened (cli.md 1.4): trusted nodes pass; a private one that is not trusted is TRUST_REQUIRED, with the command
 * to run as the hint, and nothing is sent to it; a public one is asked for trust, waited for a moment, and passes. */
gboolean trust_check (Client *client, guint32 node, GError **error);
/* What a command that opens a tunnel begins with: resolves @name and, unless @unchecked, does the above. @text: the node's address. */
gboolean trust_reach (Client *client, const char *name, gboolean unchecked, guint32 *node, char text[PILOT_ADDRESS_TEXT_SIZE], GError **error);
/* What --no-auto-handshake says in the help. */
extern const char *const trust_unchecked_help;
#define TRUST_UNCHECKED_ENTRY(variable)                                                \
  {                                                                                    \
    "no-auto-handshake", 0, 0, G_OPTION_ARG_NONE, variable, trust_unchecked_help, NULL \
  }

G_END_DECLS
