/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim.h"

#include <string.h>

/* What runs over the streams. Every byte is computed from the flow's seed and its place, and checked on arrival. */

guint8
sim_flow_content (const SimFlow *flow,
                  gboolean from_client,
                  guint64 at)
{
  SimRandom random = { flow->seed + (from_client ? 0 : 0x5555) + at / 8 };

  return (guint8) (sim_random (&random) >> at % 8 * 8);
}

SimFlow *
sim_flow_by_port (Sim *sim,
                  guint16 port)
{
  for (guint i = 0; i < sim->n_flows; i++)
    if (sim->flows[i].port == port)
      return &sim->flows[i];
  return NULL;
}

static void
release (SimEnd *end)
{
  PilotStream *stream = g_steal_pointer (&end->stream);

  end->done = TRUE;
  if (stream == NULL)
    return;
  pilot_stream_set_user_data (stream, NULL);
  pilot_stream_release (stream, end->flow->sim->now);
}

static void
finish (SimFlow *flow,
        PilotStreamError error)
{
  if (flow->ended)
    return;
  flow->ended = TRUE;
  flow->error = error;
  flow->ended_at = flow->sim->now;
}

static void
write_some (SimEnd *end)
{
  SimFlow *flow = end->flow;
  guint8 data[4096];

  while (end->written < end->to_write) {
    gsize length = MIN (sizeof data, end->to_write - end->written);
    gsize taken;

    for (gsize i = 0; i < length; i++)
      data[i] = sim_flow_content (flow, end->is_client, end->written + i);
    taken = pilot_stream_write (end->stream, data, length, flow->sim->now);
    end->written += taken;
    if (taken < length)
      return;
  }
}

static void
read_some (SimEnd *end)
{
  SimFlow *flow = end->flow;
  struct iovec vectors[2];
  guint n;

  while ((n = pilot_stream_read_vectors (end->stream, vectors)) > 0) {
    gsize total = 0;

    for (guint i = 0; i < n; i++)
      for (gsize k = 0; k < vectors[i].iov_len; k++, total++)
        if (((guint8 *) vectors[i].iov_base)[k] != sim_flow_content (flow, !end->is_client, end->read + total)) {
          sim_fail (flow->sim, "flow %u: byte %" G_GUINT64_FORMAT " is wrong at the %s", flow->index,
                    end->read + total, end->is_client ? "client" : "server");
          return;
        }
    if (total == 0) {
      sim_fail (flow->sim, "flow %u: read vectors without a byte", flow->index);
      return;
    }
    end->read += total;
    pilot_stream_read_consume (end->stream, total, flow->sim->now);
  }
  if (end->read > end->to_read)
    sim_fail (flow->sim, "flow %u: more was read than written", flow->index);
}

static void
shut (SimEnd *end)
{
  if (end->shut)
    return;
  end->shut = TRUE;
  pilot_stream_shutdown_write (end->stream, end->flow->sim->now);
}

/* Both directions at once; the client is the first to close, when it has everything. */
static void
step_both (SimEnd *end)
{
  write_some (end);
  if (end->written < end->to_write || end->read < end->to_read)
    return;
  if (end->is_client || end->eof)
    shut (end);
}

/* The request ends with EOF, then comes the answer, which ends with EOF. */
static void
step_half_close (SimEnd *end)
{
  if (end->is_client || end->eof)
    write_some (end);
  if (end->written == end->to_write && (end->is_client || end->eof))
    shut (end);
}

static void
step (SimEnd *end)
{
  SimFlow *flow = end->flow;

  read_some (end);
  if (flow->sim->failure != NULL)
    return;
  if (pilot_stream_is_eof (end->stream))
    end->eof = TRUE;
  if (flow->kind == SIM_FLOW_HALF_CLOSE)
    step_half_close (end);
  else if (flow->kind == SIM_FLOW_RESET && end->is_client && end->read > 0) {
    pilot_stream_reset (end->stream, flow->sim->now);
    finish (flow, PILOT_STREAM_ERROR_NONE);
    release (end);
  } else
    step_both (end);
}

/* A flow has worked when its client has read to the end and knows that all it wrote has arrived. */
static void
closed (SimEnd *end)
{
  SimFlow *flow = end->flow;
  PilotStreamError error = pilot_stream_get_error (end->stream);

  read_some (end);
  if (end->is_client) {
    if (error == PILOT_STREAM_ERROR_NONE && flow->kind != SIM_FLOW_RESET &&
        (end->read != end->to_read || end->written != end->to_write))
      sim_fail (flow->sim, "flow %u closed in order with %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " read",
                flow->index, end->read, end->to_read);
    finish (flow, error);
  }
  release (end);
}

void
sim_flow_event (SimHost *host,
                PilotStream *stream,
                guint ready)
{
  SimEnd *end = pilot_stream_get_user_data (stream);

  if (end == NULL || end->stream != stream) {
    sim_fail (host->sim, "an event for a stream that was released");
    return;
  }
  step (end);
  if (end->stream != NULL && (ready & PILOT_STREAM_READY_CLOSED) != 0)
    closed (end);
}

static void
take (SimEnd *end,
      SimHost *host,
      PilotStream *stream)
{
  end->host = host;
  end->incarnation = host->incarnation;
  end->stream = stream;
  end->written = end->read = 0;
  end->shut = end->eof = end->done = FALSE;
  pilot_stream_set_user_data (stream, end);
}

void
sim_flow_incoming (SimHost *host,
                   PilotStream *stream,
                   guint16 port,
                   guint32 node)
{
  SimFlow *flow = sim_flow_by_port (host->sim, port);

  if (flow == NULL || flow->server.host != host || flow->client.host->node != node) {
    sim_fail (host->sim, "a stream to port %u was not asked for", port);
    pilot_stream_ignore (stream, host->sim->now);
    return;
  }
  if (flow->server.stream != NULL)
    release (&flow->server);
  take (&flow->server, host, stream);
  pilot_stream_accept (stream, host->sim->now);
  step (&flow->server);
}

void
sim_flow_start (Sim *sim,
                gpointer data)
{
  SimFlow *flow = data;
  SimHost *host = flow->client.host;
  PilotAddress remote = { 0, flow->server.host->node };
  PilotStream *stream;

  flow->started = TRUE;
  if (host->overlay == NULL) {
    finish (flow, PILOT_STREAM_ERROR_LOST);
    return;
  }
  stream = pilot_overlay_connect (host->overlay, &remote, flow->port, sim->now);
  if (stream == NULL) {
    sim_fail (sim, "flow %u: connect refused", flow->index);
    return;
  }
  take (&flow->client, host, stream);
  step (&flow->client);
  sim_host_run (host);
}

static void
lose (SimEnd *end,
      SimHost *host)
{
  if (end->host != host || end->stream == NULL)
    return;
  end->stream = NULL; /* freed with its overlay */
  end->done = TRUE;
  if (end->is_client)
    finish (end->flow, PILOT_STREAM_ERROR_LOST);
}

void
sim_flow_host_lost (SimHost *host)
{
  for (guint i = 0; i < host->sim->n_flows; i++) {
    lose (&host->sim->flows[i].client, host);
    lose (&host->sim->flows[i].server, host);
  }
}
