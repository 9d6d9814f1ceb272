/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-link.h"

/* Answers are short texts, but for those of a trace. */
#define MAX_ANSWER (64 * 1024)
#define MAX_QUOTED 300

struct _ExchangeLink {
  PilotStreamUser user; /* first */
  guint references;     /* the owner's, and one while a handler runs */
  PilotNode *node;
  PilotStream *stream; /* NULL: closed */
  guint32 peer;
  const ExchangeLinkHandler *handler;
  gpointer user_data;
  PilotExchangeReader *reader;
  GByteArray *out;
  gsize written; /* of out */
};

static void
link_unref (ExchangeLink *link)
{
  if (--link->references > 0)
    return;
  pilot_exchange_reader_free (link->reader);
  g_byte_array_unref (link->out);
  g_object_unref (link->node);
  g_free (link);
}

/* TRUE when the last of it has been taken just now. */
static gboolean
write_out (ExchangeLink *link)
{
  if (link->out->len == 0)
    return FALSE;
  link->written += pilot_stream_write (link->stream, link->out->data + link->written, link->out->len - link->written, g_get_monotonic_time ());
  if (link->written < link->out->len)
    return FALSE;
  link->written = 0;
  g_byte_array_set_size (link->out, 0);
  return TRUE;
}

void
exchange_link_flush (ExchangeLink *link)
{
  write_out (link);
  pilot_node_kick (link->node);
}

static void
read_frames (ExchangeLink *link)
{
  struct iovec vectors[2];

  while (link->stream != NULL && pilot_stream_read_vectors (link->stream, vectors) > 0) {
    GError *error = NULL;
    gboolean complete;
    gsize used;

    if (!pilot_exchange_reader_push (link->reader, vectors[0].iov_base, vectors[0].iov_len, &used, &complete, &error)) {
      link->handler->ended (error, link->user_data);
      return;
    }
    pilot_stream_read_consume (link->stream, used, g_get_monotonic_time ());
    if (complete) {
      PilotExchangeFrame frame;

      pilot_exchange_reader_get (link->reader, &frame);
      link->handler->frame (&frame, link->user_data);
      pilot_exchange_reader_next (link->reader);
    }
  }
}

static void
link_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  ExchangeLink *link = (ExchangeLink *) user;

  link->references++;
  if (ready & PILOT_STREAM_READY_OPEN)
    link->handler->opened (link->user_data);
  read_frames (link);
  if (link->stream != NULL && write_out (link))
    link->handler->drained (link->user_data);
  if (link->stream != NULL && ((ready & PILOT_STREAM_READY_CLOSED) || pilot_stream_is_eof (link->stream)))
    link->handler->ended (pilot_node_stream_error (link->node, link->peer, PILOT_EXCHANGE_PORT, pilot_stream_get_error (link->stream)), link->user_data);
  pilot_node_kick (link->node);
  link_unref (link);
}

ExchangeLink *
exchange_link_new (PilotNode *node, guint32 peer, const ExchangeLinkHandler *handler, gpointer user_data, GError **error)
{
  ExchangeLink *link = g_new0 (ExchangeLink, 1);

  link->user.ready = link_ready;
  link->references = 1;
  link->node = g_object_ref (node);
  link->peer = peer;
  link->handler = handler;
  link->user_data = user_data;
  link->reader = pilot_exchange_reader_new (MAX_ANSWER);
  link->out = g_byte_array_new ();
  link->stream = pilot_node_connect (node, peer, PILOT_EXCHANGE_PORT, &link->user, error);
  if (link->stream != NULL)
    return link;
  link_unref (link);
  return NULL;
}

void
exchange_link_close (ExchangeLink *link, gboolean at_once)
{
  PilotStream *stream = g_steal_pointer (&link->stream);
  gint64 now = g_get_monotonic_time ();

  pilot_stream_set_user_data (stream, NULL);
  if (at_once)
    pilot_stream_reset (stream, now);
  pilot_stream_release (stream, now);
  pilot_node_kick (link->node);
  link_unref (link);
}

void
exchange_link_hand_over (ExchangeLink *link, const ExchangeLinkHandler *handler, gpointer user_data)
{
  link->handler = handler;
  link->user_data = user_data;
}

GByteArray *
exchange_link_get_out (ExchangeLink *link)
{
  return link->out;
}

gboolean
exchange_link_is_own_kind (ExchangeLink *link)
{
  PilotStreamInfo info;

  pilot_stream_info (link->stream, &info);
  return info.own_kind;
}

char *
exchange_link_quote (const guint8 *text, gsize length)
{
  g_autofree char *valid = g_utf8_make_valid ((const char *) text, (gssize) MIN (length, MAX_QUOTED));
  GString *quoted = g_string_new (NULL);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    const gunichar c = g_utf8_get_char (p);

    g_string_append_unichar (quoted, g_unichar_isprint (c) ? c : ' ');
  }
  if (length > MAX_QUOTED)
    g_string_append (quoted, "…");
  return g_string_free (quoted, FALSE);
}
