/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin-check/transport-ends.h"

#include <poll.h>
#include <string.h>

void
ends_receive (PilotTransport *transport,
              PilotReceivedDatagram *items,
              guint n_items,
              gpointer user_data)
{
  End *end = user_data;

  g_assert_cmpuint (n_items, >, 0);
  for (guint i = 0; i < n_items; i++) {
    const gsize segment = items[i].segment_size == 0 ? items[i].length : items[i].segment_size;

    g_assert_cmpuint (items[i].length, >, 0);
    g_assert_cmpuint (items[i].from.transport, ==, 0);
    for (gsize offset = 0; offset < items[i].length; offset += segment) {
      g_ptr_array_add (end->received, g_bytes_new (items[i].data + offset, MIN (segment, items[i].length - offset)));
      g_array_append_val (end->senders, items[i].from);
    }
    /* The host writes into it. */
    memset (items[i].data, 0xee, items[i].length);
  }
}

static void
writable_cb (PilotTransport *transport,
             End *end)
{
  end->writable++;
}

static void
send_failed_cb (PilotTransport *transport,
                const PilotEndpoint *to,
                gint number,
                End *end)
{
  end->failed++;
  end->last_failure = number;
  end->last_failed = *to;
}

static gboolean
set_flag (gpointer user_data)
{
  *(gboolean *) user_data = TRUE;
  return G_SOURCE_REMOVE;
}

gboolean
ends_turn_context (gint timeout_ms)
{
  gboolean late = FALSE;
  guint timer = g_timeout_add ((guint) timeout_ms, set_flag, &late);
  gboolean done = g_main_context_iteration (NULL, TRUE);

  if (late)
    return FALSE;
  g_source_remove (timer);
  return done;
}

void
ends_wait_trouble (PilotTransport *transport,
                   gboolean wanted)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  while ((pilot_transport_get_trouble (transport) != NULL) != wanted) {
    ends_turn_context (100);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
}

void
end_connect (End *end)
{
  const CheckRelay *relay = end->relay;

  pilot_transport_set_prover (end->transport, relay->prove, NULL);
  pilot_transport_reconnect (end->transport);
  ends_wait_trouble (end->transport, FALSE);
  g_assert_true (pilot_call_parse_endpoint (end->transport, relay->get_address (), &end->endpoint, NULL));
}

void
end_start (End *end,
           const CheckCandidate *candidate,
           const gchar *settings)
{
  g_autofree gchar *of_relay = candidate->relay != NULL ? candidate->relay->make_settings () : NULL;
  g_autoptr (GArray) endpoints = NULL;
  g_autoptr (GError) error = NULL;

  if (of_relay != NULL)
    settings = of_relay;
  end->relay = candidate->relay;
  end->transport = host_new (candidate->get_type (), candidate->name, NULL, host_settings (settings));
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (end->transport), ==, g_type_name (candidate->get_type ()));
  end->received = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  end->senders = g_array_new (FALSE, FALSE, sizeof (PilotEndpoint));
  pilot_transport_set_receiver (end->transport, ends_receive, end, NULL);
  g_signal_connect (end->transport, "writable", G_CALLBACK (writable_cb), end);
  g_signal_connect (end->transport, "send-failed", G_CALLBACK (send_failed_cb), end);
  host_enable (end->transport, &error);
  g_assert_no_error (error);
  endpoints = pilot_call_get_endpoints (end->transport);
  if (endpoints->len > 0)
    end->endpoint = g_array_index (endpoints, PilotEndpoint, 0);
  if (end->relay != NULL)
    end_connect (end);
}

void
end_stop (End *end)
{
  g_assert_true (host_disable (end->transport, NULL));
  g_assert_finalize_object (end->transport);
  g_ptr_array_unref (end->received);
  g_array_unref (end->senders);
}

void
ends_set_up (Ends *f,
             gconstpointer data)
{
  f->candidate = data;
  if (f->candidate->relay != NULL)
    f->candidate->relay->begin ();
  end_start (&f->a, f->candidate, f->candidate->settings);
  end_start (&f->b, f->candidate, f->candidate->settings);
  g_assert_cmpuint (f->a.endpoint.port, !=, 0);
}

void
ends_tear_down (Ends *f,
                gconstpointer data)
{
  end_stop (&f->a);
  end_stop (&f->b);
  if (f->candidate != NULL && f->candidate->relay != NULL)
    f->candidate->relay->end ();
}

gboolean
ends_turn (Ends *f,
           gint timeout_ms)
{
  End *ends[] = { &f->a, &f->b };
  struct pollfd fds[2];

  /* One with sources of its own. */
  if (pilot_transport_get_poll_fd (f->a.transport) < 0)
    return ends_turn_context (timeout_ms);
  for (guint i = 0; i < 2; i++) {
    const GIOCondition events = pilot_transport_get_poll_events (ends[i]->transport);

    fds[i] = (struct pollfd) { .fd = pilot_transport_get_poll_fd (ends[i]->transport),
                              .events = (gshort) (((events & G_IO_IN) != 0 ? POLLIN : 0) |
                                                  ((events & G_IO_OUT) != 0 ? POLLOUT : 0)) };
  }
  if (poll (fds, 2, timeout_ms) <= 0)
    return FALSE;
  for (guint i = 0; i < 2; i++)
    if (fds[i].revents != 0)
      pilot_transport_dispatch (ends[i]->transport,
                                (GIOCondition) (((fds[i].revents & POLLIN) != 0 ? G_IO_IN : 0) |
                                                ((fds[i].revents & POLLOUT) != 0 ? G_IO_OUT : 0) |
                                                ((fds[i].revents & POLLERR) != 0 ? G_IO_ERR : 0)));
  return TRUE;
}

void
ends_wait_received (Ends *f,
                    End *end,
                    guint n)
{
  const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  while (end->received->len < n) {
    ends_turn (f, 100);
    if (g_get_monotonic_time () > deadline)
      g_error ("%u of %u datagrams arrived", end->received->len, n);
  }
}

guint8 *
ends_pattern (gsize length,
              guint seed)
{
  guint8 *data = g_malloc (length);

  for (gsize i = 0; i < length; i++) {
    seed = seed * 1103515245u + 12345u;
    data[i] = (guint8) (seed >> 16);
  }
  return data;
}

void
ends_assert_received (End *end,
                      guint index,
                      const guint8 *data,
                      gsize length)
{
  GBytes *bytes = g_ptr_array_index (end->received, index);

  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), data, length);
}

void
ends_send_all (Ends *f,
               const PilotSendBatch *items,
               guint n)
{
  guint done = 0;

  while (done < n) {
    const guint writable = f->a.writable;
    g_autoptr (GError) error = NULL;
    guint sent;

    pilot_call_send (f->a.transport, items + done, n - done, &sent, &error);
    g_assert_no_error (error);
    done += sent;
    if (done < n) {
      const gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

      if (pilot_transport_get_poll_fd (f->a.transport) >= 0)
        g_assert_true ((pilot_transport_get_poll_events (f->a.transport) & G_IO_OUT) != 0);
      while (f->a.writable == writable) {
        ends_turn (f, 100);
        g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      }
    }
  }
}

void
ends_check_segments (Ends *f,
                     gsize length,
                     gsize segment)
{
  g_autofree guint8 *bytes = ends_pattern (length, 5);
  const guint n = (guint) ((length + segment - 1) / segment);

  g_ptr_array_set_size (f->b.received, 0);
  ends_send_all (f, &(PilotSendBatch) { f->b.endpoint, bytes, length, segment }, 1);
  ends_wait_received (f, &f->b, n);
  for (guint i = 0; i < n; i++)
    ends_assert_received (&f->b, i, bytes + i * segment, MIN (segment, length - i * segment));
  g_assert_cmpuint (f->b.received->len, ==, n);
}

guint64
ends_get_stat (PilotTransport *transport,
               const gchar *key)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (transport);
  guint64 value;

  g_assert_true (g_variant_lookup (stats, key, "t", &value));
  return value;
}

void
ends_add (const CheckCandidate *candidate,
          const gchar *name,
          void (*func) (Ends *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, Ends, candidate, ends_set_up, func, ends_tear_down);
}
