/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mock-transport.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_LIMIT 16
#define N_PORTS 64

typedef struct
{
  PilotEndpoint from;
  GBytes *bytes;
} Datagram;

struct _MockTransport {
  PilotTransport parent_instance;

  gint fd; /* readable while something waits */
  guint16 port;
  GQueue queue;
  gboolean blocked; /* a send was cut short */
};

static MockTransport *ports[N_PORTS];

G_DEFINE_FINAL_TYPE (MockTransport, mock_transport, PILOT_TYPE_TRANSPORT)

static void
wake (MockTransport *self)
{
  const guint64 one = 1;

  g_assert_cmpint (write (self->fd, &one, sizeof one), ==, sizeof one);
}

static gboolean
enable (PilotPlugin *plugin,
        GError **error)
{
  static const PilotPluginSetting known[] = { { "listen", "s", "ignored" }, { "offload", "s", "ignored" }, { NULL } };
  MockTransport *self = MOCK_TRANSPORT (plugin);

  if (!pilot_plugin_check_settings (plugin, known, error))
    return FALSE;
  for (self->port = 1; ports[self->port] != NULL; self->port++)
    g_assert_cmpuint (self->port, <, N_PORTS - 1);
  ports[self->port] = self;
  self->fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
  return TRUE;
}

static gboolean
disable (PilotPlugin *plugin,
         GError **error)
{
  MockTransport *self = MOCK_TRANSPORT (plugin);
  Datagram *datagram;

  if (self->fd < 0)
    return TRUE;
  ports[self->port] = NULL;
  close (self->fd);
  self->fd = -1;
  while ((datagram = g_queue_pop_head (&self->queue)) != NULL) {
    g_bytes_unref (datagram->bytes);
    g_free (datagram);
  }
  return TRUE;
}

static PilotEndpoint
endpoint_of (guint16 port)
{
  return (PilotEndpoint) { .family = PILOT_ENDPOINT_IPV4, .port = port, .address = { 192, 0, 2, 1 } };
}

static gboolean
send_batch (PilotTransport *transport,
            const PilotSendBatch *items,
            guint n_items,
            guint *n_sent,
            GError **error)
{
  MockTransport *self = MOCK_TRANSPORT (transport);

  for (*n_sent = 0; *n_sent < n_items; (*n_sent)++) {
    const PilotSendBatch *item = &items[*n_sent];
    const gsize segment = item->segment_size == 0 ? item->length : item->segment_size;
    MockTransport *peer = item->to.port < N_PORTS ? ports[item->to.port] : NULL;
    const PilotEndpoint self_endpoint = endpoint_of (self->port);
    PilotEndpoint expected = endpoint_of (item->to.port);

    if (self->fd < 0) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "not enabled");
      return FALSE;
    }
    if (peer == NULL || !pilot_endpoint_equal_host (&expected, &item->to)) {
      pilot_transport_report_send_failed (transport, &item->to, ECONNREFUSED);
      continue;
    }
    if (g_queue_get_length (&peer->queue) >= QUEUE_LIMIT) {
      self->blocked = TRUE;
      return TRUE;
    }
    for (gsize offset = 0; offset < item->length; offset += segment) {
      Datagram *datagram = g_new (Datagram, 1);

      datagram->from = self_endpoint;
      datagram->bytes = g_bytes_new (item->data + offset, MIN (segment, item->length - offset));
      g_queue_push_tail (&peer->queue, datagram);
    }
    wake (peer);
  }
  return TRUE;
}

static void
dispatch (PilotTransport *transport,
          GIOCondition ready)
{
  MockTransport *self = MOCK_TRANSPORT (transport);
  Datagram *datagram;
  guint64 count;

  if (self->fd < 0)
    return;
  if ((ready & G_IO_IN) != 0 && read (self->fd, &count, sizeof count) < 0)
    g_assert_cmpint (errno, ==, EAGAIN);
  while ((datagram = g_queue_pop_head (&self->queue)) != NULL) {
    gsize length;
    g_autofree guint8 *data = g_bytes_unref_to_data (datagram->bytes, &length);
    PilotReceivedDatagram item = { datagram->from, data, length, 0 };

    g_free (datagram);
    pilot_transport_deliver (transport, &item, 1);
  }
  if ((ready & G_IO_OUT) != 0 && self->blocked) {
    self->blocked = FALSE;
    pilot_transport_report_writable (transport);
  }
}

static GArray *
get_endpoints (PilotTransport *transport)
{
  GArray *endpoints = g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));
  PilotEndpoint endpoint = endpoint_of (MOCK_TRANSPORT (transport)->port);

  if (MOCK_TRANSPORT (transport)->fd >= 0)
    g_array_append_val (endpoints, endpoint);
  return endpoints;
}

static gint
get_poll_fd (PilotTransport *transport)
{
  return MOCK_TRANSPORT (transport)->fd;
}

static GIOCondition
get_poll_events (PilotTransport *transport)
{
  return MOCK_TRANSPORT (transport)->blocked ? G_IO_IN | G_IO_OUT : G_IO_IN;
}

static void
finalize (GObject *object)
{
  disable (PILOT_PLUGIN (object), NULL);
  G_OBJECT_CLASS (mock_transport_parent_class)->finalize (object);
}

static void
mock_transport_class_init (MockTransportClass *klass)
{
  PilotTransportClass *transport_class = PILOT_TRANSPORT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = finalize;
  PILOT_PLUGIN_CLASS (klass)->enable = enable;
  PILOT_PLUGIN_CLASS (klass)->disable = disable;
  transport_class->send = send_batch;
  transport_class->dispatch = dispatch;
  transport_class->get_endpoints = get_endpoints;
  transport_class->get_poll_fd = get_poll_fd;
  transport_class->get_poll_events = get_poll_events;
}

static void
mock_transport_init (MockTransport *self)
{
  self->fd = -1;
  g_queue_init (&self->queue);
}
