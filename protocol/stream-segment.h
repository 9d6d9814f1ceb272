/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The segments that were sent and are not covered by the cumulative acknowledgement, with the boundaries they were sent with: a
 * reference receiver only accepts those again. Records stand in a ring in order of sequence numbers; those in flight also form
 * a list in order of their last transmission (RFC 8985), those marked lost a queue. */
enum {
  PILOT_SEGMENT_SACKED = 1 << 0,
  PILOT_SEGMENT_LOST = 1 << 1, /* waits in the queue of the lost */
  PILOT_SEGMENT_RETRANSMITTED = 1 << 2,
  PILOT_SEGMENT_FIN = 1 << 3, /* no data, one sequence number */
  PILOT_SEGMENT_APP_LIMITED = 1 << 4,
};

typedef struct {
  guint32 sequence;
  guint16 length;
  guint8 flags;
  guint8 transmissions;
  guint64 previous, next; /* ids, in the list it is in */
  gint64 sent;            /* last time */
  /* The connection's state at that time (draft-cheng-iccrg-delivery-rate-estimation). */
  gint64 first_sent, delivered_at;
  guint64 delivered;
} PilotStreamRecord;

typedef struct {
  guint64 first, last; /* ids; PILOT_SEGMENT_NONE */
} PilotStreamRecordList;

typedef struct {
  PilotStreamRecord *records;
  guint capacity; /* a power of two, or 0 */
  guint64 head;   /* id of the oldest */
  guint n_records;
  PilotStreamRecordList in_flight, lost;
} PilotStreamRecords;

#define PILOT_SEGMENT_NONE G_MAXUINT64
#define PILOT_STREAM_MAX_RECORDS 32768

static inline PilotStreamRecord *
pilot_stream_records_get (const PilotStreamRecords *table, guint64 id)
{
  return &table->records[id & (table->capacity - 1)];
}

static inline guint32
pilot_stream_record_end (const PilotStreamRecord *record)
{
  return record->sequence + record->length + ((record->flags & PILOT_SEGMENT_FIN) != 0);
}

void pilot_stream_records_init (PilotStreamRecords *table);
/* A new one after the last, zeroed, in no list. Its id goes to @id. Check n_records < PILOT_STREAM_MAX_RECORDS first. */
PilotStreamRecord *pilot_stream_records_append (PilotStreamRecords *table, guint64 *id);
/* Drops the oldest, which must be in no list. */
void pilot_stream_records_pop (PilotStreamRecords *table);
/* The id of the first that ends after @sequence; head + n_records if there is none. */
guint64 pilot_stream_records_find (const PilotStreamRecords *table, guint32 sequence);
void pilot_stream_records_link (PilotStreamRecords *table, PilotStreamRecordList *list, guint64 id);
void pilot_stream_records_unlink (PilotStreamRecords *table, PilotStreamRecordList *list, guint64 id);
/* It is in the list. */
void pilot_stream_records_move_first (PilotStreamRecords *table, PilotStreamRecordList *list, guint64 id);
/* Cuts all that are longer into pieces of at most @most bytes. Nothing may be in flight; what is lost stays so, in order of sequence numbers. */
void pilot_stream_records_split (PilotStreamRecords *table, guint most);
void pilot_stream_records_clear (PilotStreamRecords *table);

G_END_DECLS
