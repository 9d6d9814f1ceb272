/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/crypto.h"

G_BEGIN_DECLS

/* The frames of the data exchange on port 1001 (services.md section 3): messages, files, answers. */

#define PILOT_EXCHANGE_PORT 1001
#define PILOT_EXCHANGE_HEADER_SIZE 8
/* What any peer takes in one frame, and what v1.18 takes. */
#define PILOT_EXCHANGE_MAX_PAYLOAD (16 * 1024 * 1024)
#define PILOT_EXCHANGE_DEFAULT_LIMIT (64 * 1024 * 1024)
#define PILOT_EXCHANGE_LEAST_LIMIT (64 * 1024)
#define PILOT_EXCHANGE_MAX_NAME 255
#define PILOT_EXCHANGE_MAX_ID 128

typedef enum {
  PILOT_EXCHANGE_TEXT = 1,
  PILOT_EXCHANGE_BINARY = 2,
  PILOT_EXCHANGE_JSON = 3,
  PILOT_EXCHANGE_FILE = 4,
  PILOT_EXCHANGE_TRACE = 5,
  PILOT_EXCHANGE_FILESTREAM = 7,
  PILOT_EXCHANGE_GOVERNED = 8,            /* retired */
  PILOT_EXCHANGE_GOVERNED_FILESTREAM = 9, /* retired */
  PILOT_EXCHANGE_TAGGED = 10,
} PilotExchangeType;

/* (transfer full) The name a type has in answers and file names: "TEXT", …, "UNKNOWN(11)". */
gchar *pilot_exchange_type_to_string (guint32 type);
/* TEXT, JSON or BINARY by their names in any case; FALSE for anything else. */
gboolean pilot_exchange_type_from_string (const gchar *text,
                                          guint32 *type);

/* --- frames out of a stream of bytes --- */

/* Collects frames. It holds what has come and no more: an announced length allocates nothing. */
typedef struct _PilotExchangeReader PilotExchangeReader;

typedef struct
{
  guint32 type;
  const guint8 *payload; /* inside the reader, until the next push or take */
  gsize length;
} PilotExchangeFrame;

/* `limit`: the longest payload that is taken, in bytes. */
PilotExchangeReader *pilot_exchange_reader_new (gsize limit);
void pilot_exchange_reader_free (PilotExchangeReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotExchangeReader, pilot_exchange_reader_free)

/* Takes bytes up to the end of one frame; `used` (out) says how many. `complete` (out): the frame stands there; pilot_exchange_reader_get() it, then
 * pilot_exchange_reader_next(), before more is pushed. FALSE (PILOT_ERROR_CORRUPT) for a frame above the limit: the stream is of no use any more. */
gboolean pilot_exchange_reader_push (PilotExchangeReader *reader,
                                     const guint8 *data,
                                     gsize length,
                                     gsize *used,
                                     gboolean *complete,
                                     GError **error);
void pilot_exchange_reader_get (PilotExchangeReader *reader,
                                PilotExchangeFrame *frame);
/* (transfer full) The payload of the complete frame, leaving the reader ready for the next. `type` (out). */
GBytes *pilot_exchange_reader_take (PilotExchangeReader *reader,
                                    guint32 *type);
void pilot_exchange_reader_next (PilotExchangeReader *reader);
/* Bytes of memory the reader holds for the frame under way. */
gsize pilot_exchange_reader_held (PilotExchangeReader *reader);

/* --- payloads --- */

/* Whether a file name may go on the wire: 1 to 255 bytes of UTF-8 without "/", "\" and NUL, and not "." or "..". */
gboolean pilot_exchange_name_is_valid (const gchar *name,
                                       gsize length);
/* FILE. A payload that has no room for its name is all data, with an empty name. `name` (out) (transfer full). `data` inside the payload.
 * FALSE (PILOT_ERROR_CORRUPT) for a name that is not to be. */
gboolean pilot_exchange_parse_file (const guint8 *payload,
                                    gsize length,
                                    gchar **name,
                                    const guint8 **data,
                                    gsize *data_length,
                                    GError **error);

#define PILOT_EXCHANGE_TRACE_SIZE 12
/* TRACE: an inner type, when it was sent (ns since 1970), the inner payload from PILOT_EXCHANGE_TRACE_SIZE on. FALSE when it is too short. */
gboolean pilot_exchange_parse_trace (const guint8 *payload,
                                     gsize length,
                                     guint32 *inner_type,
                                     gint64 *sent_at_ns);

/* TAGGED. */
typedef struct
{
  gchar *message_id, *reply_to; /* owned; NULL = none */
  guint32 inner_type;
  gsize inner_offset; /* of the inner payload in the payload */
} PilotExchangeTag;

void pilot_exchange_tag_clear (PilotExchangeTag *tag);
/* 1 to 128 bytes of A-Z a-z 0-9 - _ . : */
gboolean pilot_exchange_id_is_valid (const gchar *id);
/* FALSE (PILOT_ERROR_CORRUPT), with nothing to clear, for a header that is not valid. */
gboolean pilot_exchange_parse_tagged (const guint8 *payload,
                                      gsize length,
                                      PilotExchangeTag *tag,
                                      GError **error);

/* FILESTREAM. */
typedef enum {
  PILOT_EXCHANGE_INIT = 1,
  PILOT_EXCHANGE_CHUNK = 2,
  PILOT_EXCHANGE_ACK = 3,
  PILOT_EXCHANGE_DONE = 4,
  PILOT_EXCHANGE_INIT_ACK = 5,
  PILOT_EXCHANGE_COMPLETE = 6,
  PILOT_EXCHANGE_ABORT = 7,
} PilotExchangeStreamKind;

#define PILOT_EXCHANGE_TRANSFER_ID_SIZE 16
#define PILOT_EXCHANGE_CHUNK_SIZE 49152
/* What a sender has under way without an ACK, and a receiver keeps beyond its cursor. */
#define PILOT_EXCHANGE_WINDOW (16 * PILOT_EXCHANGE_CHUNK_SIZE)

typedef struct
{
  guint8 kind; /* PilotExchangeStreamKind, or one nobody knows */
  const guint8 *id;
  guint64 offset;       /* CHUNK, ACK, INIT-ACK */
  guint64 size;         /* INIT */
  const guint8 *sha256; /* INIT */
  const guint8 *data;   /* CHUNK: data; INIT: name; COMPLETE and ABORT: reason */
  gsize length;         /* of data */
  gboolean failed;      /* COMPLETE */
} PilotExchangeStreamMessage;

/* Pointers lead into the payload. FALSE when the payload is too short for kind and id, or (`id` set then) malformed for its kind. */
gboolean pilot_exchange_parse_stream (const guint8 *payload,
                                      gsize length,
                                      PilotExchangeStreamMessage *message);

/* --- writing: each appends a whole frame --- */

void pilot_exchange_append (GByteArray *out,
                            guint32 type,
                            gconstpointer payload,
                            gsize length);
void pilot_exchange_append_header (GByteArray *out,
                                   guint32 type,
                                   gsize length);
/* Header and name of a FILE; `data_length` bytes are to follow. The name must be valid, or empty. */
void pilot_exchange_append_file_header (GByteArray *out,
                                        const gchar *name,
                                        gsize data_length);
void pilot_exchange_append_trace (GByteArray *out,
                                  guint32 inner_type,
                                  gint64 sent_at_ns,
                                  gconstpointer payload,
                                  gsize length);
/* Ids may be NULL. */
void pilot_exchange_append_tagged (GByteArray *out,
                                   const gchar *message_id,
                                   const gchar *reply_to,
                                   guint32 inner_type,
                                   gconstpointer payload,
                                   gsize length);
/* CHUNK, ACK, INIT-ACK: with an offset. `data` only for CHUNK. */
void pilot_exchange_append_stream_offset (GByteArray *out,
                                          PilotExchangeStreamKind kind,
                                          const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE],
                                          guint64 offset,
                                          gconstpointer data,
                                          gsize length);
/* The id is the beginning of the digest. The name must be valid. */
void pilot_exchange_append_stream_init (GByteArray *out,
                                        const guint8 sha256[PILOT_SHA256_SIZE],
                                        guint64 size,
                                        const gchar *name);
void pilot_exchange_append_stream_done (GByteArray *out,
                                        const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE]);
/* `reason` NULL: it is in place. */
void pilot_exchange_append_stream_complete (GByteArray *out,
                                            const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE],
                                            const gchar *reason);
void pilot_exchange_append_stream_abort (GByteArray *out,
                                         const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE],
                                         const gchar *reason);

/* --- answers --- */

typedef enum {
  PILOT_EXCHANGE_REPLY_OTHER,     /* neither ACK nor ERR */
  PILOT_EXCHANGE_REPLY_ACCEPTED,  /* stored */
  PILOT_EXCHANGE_REPLY_DUPLICATE, /* stored before */
  PILOT_EXCHANGE_REPLY_REJECTED,  /* ERR, or the ACK UNKNOWN of v1.9 that stored nothing */
  PILOT_EXCHANGE_REPLY_NO_TAGS,   /* the peer predates TAGGED: nothing was stored, send it untagged */
} PilotExchangeReply;

/* What the text of an answer means. */
PilotExchangeReply pilot_exchange_reply_classify (const gchar *text,
                                                  gsize length);

/* SHA-256 by which an identical delivery is known again (3.6). `source`: the address text; others NULL = "". */
void pilot_exchange_duplicate_key (const gchar *source,
                                   guint32 type,
                                   const gchar *file_name,
                                   const gchar *message_id,
                                   const gchar *reply_to,
                                   const guint8 *payload,
                                   gsize length,
                                   guint8 key[PILOT_SHA256_SIZE]);

G_END_DECLS
