/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/command.h"

G_BEGIN_DECLS

/* The one place that writes results: JSON envelope of cli.md 1.2 on stdout, errors on stderr. */

/* From now on nothing that is printed as text (g_print(), g_printerr()) can command the terminal, whatever the daemon or a peer has put into it. */
void output_guard_terminal (void);
/* Success. @data: a{sv}, floating or not. Printed with --json only; a command prints its own text otherwise. */
int output_ok (Invocation *invocation, GVariant *data);
/* Takes @error: "error: …", "hint:  …", or one JSON line. EXIT_FAILED. */
int output_error (Invocation *invocation, GError *error);
/* The same for an error made on the spot. */
int output_fail (Invocation *invocation, PilotError code, const char *hint, const char *format, ...) G_GNUC_PRINTF (4, 5);
/* "12s", "2m5s", "1h4m", "2d3h"; "1.2 MB". Transfer full. */
char *output_age (gint64 seconds);
char *output_bytes (guint64 bytes);
/* Adds @name with @data as text, and where that is no UTF-8 as @name_b64 too, which alone is exact then. */
void output_insert_bytes (GVariantDict *dict, const char *name, const void *data, gsize length);
/* The bytes on stdout as they are, and a line end where they have none. FALSE when stdout does not take them. */
gboolean output_line (const void *data, gsize length);
/* One JSON object on a line of its own, without an envelope: what goes on for ever. @data: a{sv}. */
gboolean output_object (GVariant *data);
/* A table of texts, its columns as wide as their widest cell. output_table_add() takes copies of the cells of one row, up to NULL. */
GPtrArray *output_table_new (void);
void output_table_add (GPtrArray *table, ...) G_GNUC_NULL_TERMINATED;
/* A line for each row, without line ends; NULL-terminated, transfer full. Columns that are empty everywhere are left out. */
char **output_table_lines (GPtrArray *table);
void output_table_print (GPtrArray *table);
/* Outside text made fit for a terminal: control characters as \xNN. Transfer full. */
char *output_clean (const char *text);

/* (transfer full): the message of an error, for a line of a terminal. */
char *output_message (const GError *error);

G_END_DECLS
