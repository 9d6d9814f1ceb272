/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

/* Events without a peer or stream to merge by (pongs) that may wait. */
#define MAX_LOOSE_EVENTS 4096

static PilotQueuedEvent *
slot (PilotOverlay *self,
      guint offset)
{
  return &self->events[(self->events_head + offset) & (self->events_capacity - 1)];
}

static void
grow (PilotOverlay *self)
{
  guint capacity = MAX (64, self->events_capacity * 2);
  PilotQueuedEvent *events = g_new (PilotQueuedEvent, capacity);

  for (guint i = 0; i < self->events_count; i++)
    events[i] = *slot (self, i);
  g_free (self->events);
  self->events = events;
  self->events_head = 0;
  self->events_capacity = capacity;
}

void
pilot_overlay_emit (PilotOverlay *self,
                    const PilotEvent *event)
{
  if (event->type == PILOT_EVENT_PONG && self->events_count > MAX_LOOSE_EVENTS)
    return;
  if (self->events_count == self->events_capacity)
    grow (self);
  *slot (self, self->events_count++) = (PilotQueuedEvent) { *event, FALSE };
}

void
pilot_overlay_clear_events (PilotOverlay *self)
{
  for (guint i = 0; i < self->events_count; i++)
    g_free ((guint8 *) slot (self, i)->event.data);
  g_free (self->taken_datagram);
  g_free (self->events);
}

void
pilot_overlay_emit_peer (PilotPeer *peer,
                         PilotEventType type)
{
  PilotEvent event = { .type = type, .node = peer->node };

  if ((peer->events & 1u << type) != 0)
    return;
  peer->events |= 1u << type;
  pilot_overlay_emit (peer->overlay, &event);
}

/* The links hold where in the ring the event is, so that release can take it back at once. */
void
pilot_overlay_emit_stream (PilotStream *stream,
                           PilotEventType type)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;
  PilotOverlay *self = links->overlay;
  PilotEvent event = { .type = type, .stream = stream, .node = peer != NULL ? peer->node : 0 };

  if (links->event_queued)
    return;
  links->event_queued = TRUE;
  links->event_number = self->events_first + self->events_count;
  pilot_overlay_emit (self, &event);
}

void
pilot_overlay_drop_stream_event (PilotOverlay *self,
                                 PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  if (!links->event_queued)
    return;
  links->event_queued = FALSE;
  slot (self, (guint) (links->event_number - self->events_first))->dropped = TRUE;
}

void
pilot_overlay_drop_peer_events (PilotOverlay *self,
                                PilotPeer *peer)
{
  /* What is queued about it stays true: the host looks the peer up and finds nothing. */
  peer->events = 0;
}

static void
unmerge (PilotOverlay *self,
         PilotEvent *event)
{
  PilotPeer *peer = event->node != 0 ? pilot_peer_lookup (self, event->node) : NULL;

  if (peer == NULL || event->stream != NULL)
    return;
  peer->events &= ~(1u << event->type);
  if (event->type == PILOT_EVENT_PEER_CHANGED) {
    event->rekeyed = peer->event_rekeyed;
    peer->event_rekeyed = FALSE;
  }
}

gboolean
pilot_overlay_next_event (PilotOverlay *self,
                          PilotEvent *event)
{
  while (self->events_count > 0) {
    PilotQueuedEvent queued = *slot (self, 0);

    self->events_head = (self->events_head + 1) & (self->events_capacity - 1);
    self->events_count--;
    self->events_first++;
    if (queued.dropped)
      continue;
    *event = queued.event;
    unmerge (self, event);
    if (event->type == PILOT_EVENT_DATAGRAM)
      pilot_overlay_datagram_taken (self, event);
    if (event->stream != NULL) {
      pilot_stream_links (event->stream)->event_queued = FALSE;
      if (event->type == PILOT_EVENT_STREAM) {
        event->ready = pilot_stream_take_ready (event->stream);
        if (event->ready == 0)
          continue;
      } else
        /* What happened to it while its first event waited has nobody to tell it: a reset must not leave a stream that
             * its user waits for in vain. Skipped when there was nothing. */
        pilot_overlay_emit_stream (event->stream, PILOT_EVENT_STREAM);
    }
    return TRUE;
  }
  return FALSE;
}
