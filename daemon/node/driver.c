/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>

#include "daemon/core/heap-return.h"
#include "daemon/core/plugin/call.h"

/* Buffers of one transmit call, and how many rounds one turn may take before others get theirs. */
#define N_BATCHES 8
#define MAX_ROUNDS 32
#define MAX_TRANSPORTS 8

typedef struct {
  PilotDriver *driver;
  PilotTransport *transport;
  guint8 index;
  PilotPollerWatch *watch;
  guint32 events;
  gulong writable_handler, failed_handler, trouble_handler;
  gboolean blocked; /* said "not now": wait for its signal */
  gint64 last_warning;
} Link;

struct _PilotDriver {
  PilotPoller *poller;
  PilotPluginLoader *plugins;
  PilotOverlay *overlay;
  PilotDriverEventFunc func;
  gpointer user_data;
  PilotTransportProver prover;
  void (*trouble_changed) (gpointer user_data);

  Link links[MAX_TRANSPORTS];
  guint n_links;
  gboolean running;

  PilotTransmit transmit[N_BATCHES];
  guint first, filled; /* of @transmit: what a transport has not taken yet */
  guint8 *buffers;
  PilotHeapReturn heap;
};

static void
carried (PilotDriver *driver, gsize bytes, gint64 now)
{
  pilot_poller_carried (driver->poller, bytes);
  pilot_heap_return_carried (&driver->heap, bytes, now);
}

/* --- transports --- */

static guint32
wanted_events (Link *link)
{
  GIOCondition condition = pilot_transport_get_poll_events (link->transport);

  return (condition & G_IO_IN ? EPOLLIN : 0) | (condition & G_IO_OUT ? EPOLLOUT : 0);
}

static void
update_watch (Link *link)
{
  guint32 events;

  if (link->watch == NULL)
    return;
  events = wanted_events (link);
  if (events != link->events) {
    link->events = events;
    pilot_poller_modify (link->watch, events);
  }
}

static void
on_ready (int fd, guint32 events, gpointer user_data)
{
  Link *link = user_data;
  GIOCondition condition = 0;

  if (events & EPOLLIN)
    condition |= G_IO_IN;
  if (events & EPOLLOUT)
    condition |= G_IO_OUT;
  if (events & EPOLLERR)
    condition |= G_IO_ERR;
  if (events & EPOLLHUP)
    condition |= G_IO_HUP;
  pilot_transport_dispatch (link->transport, condition);
  update_watch (link);
}

static void
on_received (PilotTransport *transport, PilotReceivedDatagram *items, guint n_items, gpointer user_data)
{
  Link *link = user_data;
  gint64 now = g_get_monotonic_time ();
  gsize bytes = 0;

  for (guint i = 0; i < n_items; i++) {
    items[i].from.transport = link->index;
    bytes += items[i].length;
  }
  carried (link->driver, bytes, now);
  pilot_overlay_receive (link->driver->overlay, items, n_items, now);
  pilot_poller_kick (link->driver->poller);
}

static void
on_writable (PilotTransport *transport, gpointer user_data)
{
  Link *link = user_data;

  link->blocked = FALSE;
  pilot_poller_kick (link->driver->poller);
}

static void
on_send_failed (PilotTransport *transport, const PilotEndpoint *to, gint error_number, gpointer user_data)
{
  Link *link = user_data;
  PilotEndpoint endpoint = *to;

  endpoint.transport = link->index;
  if (error_number == EMSGSIZE) {
    pilot_overlay_too_large (link->driver->overlay, &endpoint, g_get_monotonic_time ());
    pilot_poller_kick (link->driver->poller);
    return;
  }
  /* A full queue says nothing about the peer. */
  if (error_number != ECONNREFUSED && error_number != EHOSTUNREACH && error_number != ENETUNREACH)
    return;
  pilot_overlay_send_failed (link->driver->overlay, &endpoint, g_get_monotonic_time ());
  pilot_poller_kick (link->driver->poller);
}

static void
on_trouble_changed (PilotTransport *transport, gpointer user_data)
{
  PilotDriver *driver = ((Link *) user_data)->driver;

  if (driver->trouble_changed != NULL)
    driver->trouble_changed (driver->user_data);
}

/* --- sending --- */

/* Hands entries [first, first + n) to one transport; returns how many it took. */
static guint
send_run (PilotDriver *driver, Link *link, guint n, gint64 now)
{
  PilotSendBatch batches[N_BATCHES];
  g_autoptr (GError) error = NULL;
  gsize bytes = 0;
  guint n_sent = 0;

  for (guint i = 0; i < n; i++) {
    PilotTransmit *item = &driver->transmit[driver->first + i];

    batches[i].to = item->to;
    batches[i].data = item->data;
    batches[i].length = item->length;
    batches[i].segment_size = item->segment_size;
    bytes += item->length;
  }
  carried (driver, bytes, now);
  if (!pilot_call_send (link->transport, batches, n, &n_sent, &error)) {
    if (now - link->last_warning > 10 * G_USEC_PER_SEC) {
      link->last_warning = now;
      g_warning ("cannot send: %s", error->message);
    }
    return n; /* lost, as on a wire; the engine repeats what matters */
  }
  link->blocked = n_sent < n;
  update_watch (link);
  return n_sent;
}

/* FALSE when a transport has to be waited for. */
static gboolean
flush (PilotDriver *driver, gint64 now)
{
  while (driver->filled > 0) {
    guint8 index = driver->transmit[driver->first].to.transport;
    guint n = 1, taken;

    while (n < driver->filled && driver->transmit[driver->first + n].to.transport == index)
      n++;
    if (index >= driver->n_links)
      taken = n; /* of a transport of an earlier run */
    else if (driver->links[index].blocked)
      return FALSE;
    else
      taken = send_run (driver, &driver->links[index], n, now);
    driver->first += taken;
    driver->filled -= taken;
    if (taken < n)
      return FALSE;
  }
  return TRUE;
}

static gboolean
fill (PilotDriver *driver, gint64 now)
{
  for (guint i = 0; i < N_BATCHES; i++) {
    driver->transmit[i].data = driver->buffers + (gsize) i * PILOT_TRANSMIT_CAPACITY;
    driver->transmit[i].capacity = PILOT_TRANSMIT_CAPACITY;
    driver->transmit[i].length = 0;
    driver->transmit[i].segment_size = 0;
  }
  driver->first = 0;
  driver->filled = pilot_overlay_transmit (driver->overlay, driver->transmit, N_BATCHES, now);
  return driver->filled > 0;
}

/* --- the crank --- */

static void
on_pump (gint64 now, gpointer user_data)
{
  PilotDriver *driver = user_data;
  PilotEvent event;
  gint64 deadline;

  pilot_overlay_advance (driver->overlay, now);
  for (guint round = 0;; round++) {
    gboolean events = FALSE;

    while (driver->running && pilot_overlay_next_event (driver->overlay, &event)) {
      events = TRUE;
      driver->func (&event, driver->user_data);
    }
    if (!driver->running)
      return;
    if (!flush (driver, now))
      break;
    if (!fill (driver, now) && !events)
      break;
    if (round == MAX_ROUNDS) {
      pilot_poller_kick (driver->poller);
      break;
    }
  }
  if (pilot_heap_return_take (&driver->heap, now))
    malloc_trim (0);
  deadline = MIN (pilot_overlay_deadline (driver->overlay), pilot_heap_return_due (&driver->heap));
  /* While a transport is full its signal wakes us; a deadline for transmitting that has passed would only spin. */
  pilot_poller_set_deadline (driver->poller, driver->filled > 0 ? MAX (deadline, now + 10000) : deadline);
}

/* --- life --- */

static gint
compare_preference (gconstpointer a, gconstpointer b)
{
  gint left = pilot_transport_get_preference (*(PilotTransport **) a);
  gint right = pilot_transport_get_preference (*(PilotTransport **) b);

  return (right > left) - (right < left);
}

PilotDriver *
pilot_driver_new (PilotPoller *poller, PilotPluginLoader *plugins, PilotOverlay *overlay, PilotDriverEventFunc func, gpointer user_data)
{
  PilotDriver *driver = g_new0 (PilotDriver, 1);

  driver->poller = poller;
  driver->plugins = g_object_ref (plugins);
  driver->overlay = overlay;
  driver->func = func;
  driver->user_data = user_data;
  /* Touched page by page as it is used: an idle node does not pay for it. */
  driver->buffers = g_malloc ((gsize) N_BATCHES * PILOT_TRANSMIT_CAPACITY);
  return driver;
}

void
pilot_driver_set_login (PilotDriver *driver, PilotTransportProver prover, void (*trouble_changed) (gpointer user_data))
{
  driver->prover = prover;
  driver->trouble_changed = trouble_changed;
}

gboolean
pilot_driver_start (PilotDriver *driver, GError **error)
{
  g_autoptr (GPtrArray) infos = pilot_plugin_loader_list (driver->plugins);
  g_autoptr (GPtrArray) transports = g_ptr_array_new ();

  for (guint i = 0; i < infos->len; i++) {
    const PilotPluginInfo *info = infos->pdata[i];

    if (info->kind == PILOT_PLUGIN_KIND_TRANSPORT && info->state == PILOT_PLUGIN_STATE_ENABLED && PILOT_IS_TRANSPORT (info->plugin))
      g_ptr_array_add (transports, info->plugin);
  }
  g_ptr_array_sort (transports, compare_preference);
  if (transports->len == 0) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_FAILED, "no transport is enabled: see `pilotctl plugins`");
    return FALSE;
  }
  driver->running = TRUE;
  for (guint i = 0; i < MIN (transports->len, MAX_TRANSPORTS); i++) {
    Link *link = &driver->links[driver->n_links];
    gint fd;

    link->driver = driver;
    link->index = (guint8) driver->n_links++;
    link->transport = g_object_ref (transports->pdata[i]);
    link->writable_handler = g_signal_connect (link->transport, "writable", G_CALLBACK (on_writable), link);
    link->failed_handler = g_signal_connect (link->transport, "send-failed", G_CALLBACK (on_send_failed), link);
    link->trouble_handler = g_signal_connect (link->transport, "trouble-changed", G_CALLBACK (on_trouble_changed), link);
    pilot_transport_set_prover (link->transport, driver->prover, driver->user_data);
    pilot_transport_set_receiver (link->transport, on_received, link, NULL);
    fd = pilot_transport_get_poll_fd (link->transport);
    if (fd >= 0) {
      link->events = wanted_events (link);
      link->watch = pilot_poller_add (driver->poller, fd, link->events, on_ready, link);
    }
  }
  pilot_poller_set_pump (driver->poller, on_pump, driver);
  pilot_poller_kick (driver->poller);
  return TRUE;
}

void
pilot_driver_stop (PilotDriver *driver)
{
  gint64 now = g_get_monotonic_time ();

  if (!driver->running)
    return;
  if (flush (driver, now) && fill (driver, now))
    flush (driver, now);
  driver->running = FALSE;
  pilot_poller_set_pump (driver->poller, NULL, NULL);
  pilot_poller_set_deadline (driver->poller, G_MAXINT64);
  for (guint i = 0; i < driver->n_links; i++) {
    Link *link = &driver->links[i];

    pilot_transport_set_receiver (link->transport, NULL, NULL, NULL);
    g_clear_signal_handler (&link->writable_handler, link->transport);
    g_clear_signal_handler (&link->failed_handler, link->transport);
    g_clear_signal_handler (&link->trouble_handler, link->transport);
    pilot_transport_set_prover (link->transport, NULL, NULL);
    g_clear_pointer (&link->watch, pilot_poller_remove);
    g_clear_object (&link->transport);
  }
  driver->n_links = 0;
}

void
pilot_driver_free (PilotDriver *driver)
{
  pilot_driver_stop (driver);
  g_object_unref (driver->plugins);
  g_free (driver->buffers);
  g_free (driver);
}

GArray *
pilot_driver_get_endpoints (PilotDriver *driver)
{
  GArray *all = g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));

  for (guint i = 0; i < driver->n_links; i++) {
    g_autoptr (GArray) own = pilot_call_get_endpoints (driver->links[i].transport);

    for (guint k = 0; k < own->len; k++) {
      PilotEndpoint endpoint = g_array_index (own, PilotEndpoint, k);

      endpoint.transport = driver->links[i].index;
      g_array_append_val (all, endpoint);
    }
  }
  return all;
}

void
pilot_driver_reconnect (PilotDriver *driver)
{
  for (guint i = 0; i < driver->n_links; i++)
    pilot_transport_reconnect (driver->links[i].transport);
}

const char *
pilot_driver_get_trouble (PilotDriver *driver)
{
  const char *first = NULL;

  for (guint i = 0; i < driver->n_links; i++) {
    const char *trouble = pilot_transport_get_trouble (driver->links[i].transport);

    if (trouble == NULL)
      return NULL;
    if (first == NULL)
      first = trouble;
  }
  return first;
}

gboolean
pilot_driver_find_relay (PilotDriver *driver, const char *text, PilotEndpoint *endpoint)
{
  for (guint i = 0; i < driver->n_links; i++) {
    Link *link = &driver->links[i];

    if (pilot_transport_get_kind (link->transport) != PILOT_TRANSPORT_RELAY || !pilot_call_parse_endpoint (link->transport, text, endpoint, NULL))
      continue;
    endpoint->transport = link->index;
    return TRUE;
  }
  return FALSE;
}

GVariant *
pilot_driver_get_statistics (PilotDriver *driver)
{
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);

  for (guint i = 0; i < driver->n_links; i++) {
    g_autoptr (GVariant) statistics = g_variant_take_ref (pilot_transport_get_stats (driver->links[i].transport));

    g_variant_dict_insert_value (&dict, pilot_plugin_get_name (PILOT_PLUGIN (driver->links[i].transport)), statistics);
  }
  return g_variant_take_ref (g_variant_dict_end (&dict));
}
