/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/turn-order.h"

#include "protocol/overlay.h"

#define TURN PILOT_TRANSMIT_CAPACITY

static void
append (PilotTurnQueue *queue,
        PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  links->turn_queue = queue;
  links->turn_next = NULL;
  links->turn_prev = queue->tail;
  if (queue->tail != NULL)
    pilot_stream_links (queue->tail)->turn_next = stream;
  else
    queue->head = stream;
  queue->tail = stream;
}

static void
remove_from (PilotTurnQueue *queue,
             PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  if (links->turn_prev != NULL)
    pilot_stream_links (links->turn_prev)->turn_next = links->turn_next;
  else
    queue->head = links->turn_next;
  if (links->turn_next != NULL)
    pilot_stream_links (links->turn_next)->turn_prev = links->turn_prev;
  else
    queue->tail = links->turn_prev;
  links->turn_queue = NULL;
  links->turn_next = links->turn_prev = NULL;
}

void
pilot_turn_order_join (PilotTurnOrder *self,
                       PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  if (links->turn_queue != NULL)
    return;
  links->turn_left = TURN;
  append (&self->newcomers, stream);
}

void
pilot_turn_order_leave (PilotTurnOrder *self,
                        PilotStream *stream)
{
  PilotTurnQueue *queue = pilot_stream_links (stream)->turn_queue;

  if (queue != NULL)
    remove_from (queue, stream);
}

PilotStream *
pilot_turn_order_next (const PilotTurnOrder *self)
{
  return self->newcomers.head != NULL ? self->newcomers.head : self->others.head;
}

gboolean
pilot_turn_order_sent (PilotTurnOrder *self,
                       PilotStream *stream,
                       gsize bytes,
                       gboolean more,
                       gboolean full)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotTurnQueue *queue = links->turn_queue;

  links->turn_left -= (gint) bytes;
  if (more && links->turn_left > (full ? TURN / 2 : 0))
    return TRUE;
  remove_from (queue, stream);
  /* A newcomer that has said all must stand behind the others once before it can be one again. */
  if (!more && (queue == &self->others || self->others.head == NULL))
    return FALSE;
  if (links->turn_left <= TURN / 2)
    links->turn_left += TURN;
  append (&self->others, stream);
  return TRUE;
}
