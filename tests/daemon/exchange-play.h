/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/services/exchange.h"
#include "daemon/services/exchange-link.h"
#include "protocol/json.h"
#include "tests/daemon/world.h"

G_BEGIN_DECLS

/* Messages and files between nodes of our own in one process, and raw frames of a peer that obeys no rule. Host 0 sends, host 1 receives; both trust each other. */

typedef struct {
  World world;
  GString *told; /* "message TEXT 5; file a.txt 4;" of host 1 */
} Play;

typedef struct {
  ExchangeLink *link;
  gboolean open, ended;
  GString *texts;     /* the texts of the answers, each with ";" behind it */
  GPtrArray *streams; /* GBytes: payloads of FILESTREAM answers */
} Raw;

/* Host 1 tells what it hears in play->told. */
void play_start_host (Play *play, guint index);
guint32 play_id (Play *play, guint index);
PilotTrust *play_trust (Play *play, guint index);
void play_befriend (Play *play, guint from, guint to);
void play_start (Play *play);
void play_stop (Play *play);
/* The paths in a folder of host @index, sorted; none that begin with a dot. */
GPtrArray *play_names (Play *play, guint index, const char *folder);
/* The newest message of host 1, whose file is for its owner alone. */
JsonObject *play_letter (Play *play);
guint play_count (Play *play, guint index, const char *folder);
Raw *raw_new (Play *play, guint from);
void raw_free (Raw *raw);
GByteArray *raw_out (Raw *raw);
void raw_file (Raw *raw, const char *name, gsize name_length, const char *data);
/* Kind, and "COMPLETE <reason>" or the offset, of FILESTREAM answer @index. */
char *raw_stream_answer (Raw *raw, guint index);
void raw_assert_stream_answer (Raw *raw, guint index, const char *expected);
guint8 *play_blob (gsize length, guint32 seed);
int play_blob_file (Play *play, const guint8 *data, gsize length);
PilotTransfer *play_transfer (Play *play, guint index, guint64 number);
guint64 play_begin_file (Play *play, guint from, int fd, gboolean streamed);
gboolean play_is_over (const PilotTransfer *item);
PilotTransfer *play_finish_file (Play *play, guint from, guint64 number);
PilotTransfer *play_send_blob (Play *play, guint from, const guint8 *data, gsize length, gboolean streamed);
/* Host 1 has so many files, and the newest has this content. */
void play_assert_received (Play *play, guint n, const guint8 *data, gsize length);
guint play_count_partials (Play *play);

G_END_DECLS
