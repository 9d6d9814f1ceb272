/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-segment.h"

#include "protocol/packet.h"

#define MIN_CAPACITY 8

void
pilot_stream_records_init (PilotStreamRecords *table)
{
  *table = (PilotStreamRecords){
    .in_flight = { PILOT_SEGMENT_NONE, PILOT_SEGMENT_NONE },
    .lost = { PILOT_SEGMENT_NONE, PILOT_SEGMENT_NONE },
  };
}

static void
grow (PilotStreamRecords *table)
{
  PilotStreamRecords grown = *table;

  grown.capacity = MAX (MIN_CAPACITY, table->capacity * 2);
  grown.records = g_new (PilotStreamRecord, grown.capacity);
  for (guint64 id = table->head; id != table->head + table->n_records; id++)
    *pilot_stream_records_get (&grown, id) = *pilot_stream_records_get (table, id);
  g_free (table->records);
  *table = grown;
}

PilotStreamRecord *
pilot_stream_records_append (PilotStreamRecords *table,
                             guint64 *id)
{
  PilotStreamRecord *record;

  if (table->n_records == table->capacity)
    grow (table);
  *id = table->head + table->n_records++;
  record = pilot_stream_records_get (table, *id);
  *record = (PilotStreamRecord) { .previous = PILOT_SEGMENT_NONE, .next = PILOT_SEGMENT_NONE };
  return record;
}

void
pilot_stream_records_pop (PilotStreamRecords *table)
{
  table->head++;
  table->n_records--;
}

guint64
pilot_stream_records_find (const PilotStreamRecords *table,
                           guint32 sequence)
{
  guint64 low = table->head, high = table->head + table->n_records;

  while (low < high) {
    guint64 middle = low + (high - low) / 2;

    if (pilot_seq_gt (pilot_stream_record_end (pilot_stream_records_get (table, middle)), sequence))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

void
pilot_stream_records_link (PilotStreamRecords *table,
                           PilotStreamRecordList *list,
                           guint64 id)
{
  PilotStreamRecord *record = pilot_stream_records_get (table, id);

  record->next = PILOT_SEGMENT_NONE;
  record->previous = list->last;
  if (list->last != PILOT_SEGMENT_NONE)
    pilot_stream_records_get (table, list->last)->next = id;
  else
    list->first = id;
  list->last = id;
}

void
pilot_stream_records_move_first (PilotStreamRecords *table,
                                 PilotStreamRecordList *list,
                                 guint64 id)
{
  PilotStreamRecord *record = pilot_stream_records_get (table, id);

  if (list->first == id)
    return;
  pilot_stream_records_unlink (table, list, id);
  record->previous = PILOT_SEGMENT_NONE;
  record->next = list->first;
  pilot_stream_records_get (table, list->first)->previous = id;
  list->first = id;
}

void
pilot_stream_records_unlink (PilotStreamRecords *table,
                             PilotStreamRecordList *list,
                             guint64 id)
{
  PilotStreamRecord *record = pilot_stream_records_get (table, id);

  if (record->previous != PILOT_SEGMENT_NONE)
    pilot_stream_records_get (table, record->previous)->next = record->next;
  else
    list->first = record->next;
  if (record->next != PILOT_SEGMENT_NONE)
    pilot_stream_records_get (table, record->next)->previous = record->previous;
  else
    list->last = record->previous;
}

void
pilot_stream_records_clear (PilotStreamRecords *table)
{
  g_free (table->records);
  pilot_stream_records_init (table);
}

void
pilot_stream_records_split (PilotStreamRecords *table,
                            guint most)
{
  PilotStreamRecords cut;

  pilot_stream_records_init (&cut);
  cut.head = table->head;
  for (guint64 id = table->head; id != table->head + table->n_records; id++) {
    PilotStreamRecord *whole = pilot_stream_records_get (table, id);
    guint at = 0;

    do {
      guint64 piece_id;
      PilotStreamRecord *piece = pilot_stream_records_append (&cut, &piece_id);
      const guint left = whole->length - at;

      *piece = *whole;
      piece->sequence += at;
      piece->length = (guint16) MIN (left, most);
      piece->previous = piece->next = PILOT_SEGMENT_NONE;
      if (piece->flags & PILOT_SEGMENT_LOST)
        pilot_stream_records_link (&cut, &cut.lost, piece_id);
      at += piece->length;
    } while (at < whole->length);
  }
  g_free (table->records);
  *table = cut;
}
