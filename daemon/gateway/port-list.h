/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* "80, 443,8000-8010" as the user writes it. "" or "all" means every port. */

/* What cli.md 4.2 lists; taken where every port cannot be had. */
#define PILOT_PORT_LIST_DEFAULT "80,443,1000,1001,1002,7,8080,8443"
/* As many as one mapping may name. */
#define PILOT_PORT_LIST_MAX 1024

/* (transfer full): guint16, ascending, none twice; empty for "" and "all". INVALID_ARGUMENT naming the bad part. */
GArray *pilot_port_list_parse (const char *text, GError **error);
gboolean pilot_port_list_check (const char *text, GError **error);
/* (transfer full): the canonical text. */
char *pilot_port_list_format (const GArray *ports);
gboolean pilot_port_list_contains (const GArray *ports, guint16 port);

G_END_DECLS
