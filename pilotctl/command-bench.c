/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"
#include "pilotctl/stream.h"
#include "pilotctl/trust-check.h"

#define ECHO_PORT 7
#define DEFAULT_TIMEOUT 120.0
#define BLOCK 4096
#define MEBIBYTE (1024.0 * 1024)
#define MAX_MIB 4096

typedef struct {
  guint64 total, sent, received;
  gint64 started, all_sent, all_received; /* microseconds; 0 = not yet */
} Bench;

/* Byte k of every block is k mod 256, so that what comes back can be told from anything else. */
static void
fill (guint8 *block)
{
  for (guint i = 0; i < BLOCK; i++)
    block[i] = (guint8) i;
}

static gboolean
send_some (Stream *stream, Bench *bench, const guint8 *block, GError **error)
{
  while (bench->sent < bench->total) {
    gsize at = bench->sent % BLOCK;
    gssize put = send (stream->fd, block + at, MIN (BLOCK - at, bench->total - bench->sent), MSG_NOSIGNAL);

    if (put < 0 && errno == EAGAIN)
      return TRUE;
    if (put < 0 && errno != EINTR) {
      stream_set_error (stream, errno, error);
      return FALSE;
    }
    bench->sent += (guint64) MAX (put, 0);
  }
  bench->all_sent = g_get_monotonic_time ();
  return TRUE;
}

static gboolean
receive_some (Stream *stream, Bench *bench, GError **error)
{
  guint8 data[16 * BLOCK];
  gssize got = recv (stream->fd, data, sizeof data, 0);

  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return TRUE;
  if (got <= 0) {
    stream_set_error (stream, got == 0 ? 0 : errno, error);
    return FALSE;
  }
  for (gssize i = 0; i < got; i++)
    if (data[i] != (guint8) (bench->received + (guint64) i) || bench->received + (guint64) i >= bench->total) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, _("node %u echoed something else at byte %zu"), stream->node, (gsize) bench->received + (gsize) i);
      return FALSE;
    }
  bench->received += (guint64) got;
  return TRUE;
}

static gboolean
measure (Stream *stream, Bench *bench, gint64 deadline, GError **error)
{
  g_autoptr (Progress) progress = progress_new (bench->total * 2);
  guint8 block[BLOCK];

  fill (block);
  bench->started = g_get_monotonic_time ();
  while (bench->received < bench->total) {
    struct pollfd state = { .fd = stream->fd, .events = (short) (POLLIN | (bench->all_sent == 0 ? POLLOUT : 0)) };
    gint64 left = (deadline - g_get_monotonic_time () + 999) / 1000;

    if (left <= 0 || poll (&state, 1, (int) MIN (left, 1000)) == 0) {
      if (left > 0)
        continue;
      stream_set_error (stream, ETIMEDOUT, error);
      return FALSE;
    }
    if ((state.revents & POLLOUT) != 0 && bench->all_sent == 0 && !send_some (stream, bench, block, error))
      return FALSE;
    if ((state.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !receive_some (stream, bench, error))
      return FALSE;
    progress_update (progress, bench->sent + bench->received);
  }
  bench->all_received = g_get_monotonic_time ();
  return TRUE;
}

static double
mebibytes_per_second (guint64 bytes, gint64 time_us)
{
  return time_us > 0 ? bytes / MEBIBYTE / ((double) time_us / G_USEC_PER_SEC) : 0;
}

/* Complete or not: what was measured. The "mbps" of these names are MiB/s, for scripts that know them. */
static int
report (Invocation *invocation, const char *address, const Bench *bench)
{
  gint64 end = bench->all_received != 0 ? bench->all_received : g_get_monotonic_time ();
  gint64 send_us = (bench->all_sent != 0 ? bench->all_sent : end) - bench->started, total_us = end - bench->started;
  GVariantDict data;

  if (!invocation->json)
    g_print (_("echoed %.1f of %.1f MiB in %.2f s: %.1f MiB/s each way\n"), bench->received / MEBIBYTE, bench->total / MEBIBYTE,
             (double) total_us / G_USEC_PER_SEC, mebibytes_per_second (bench->received, total_us));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", address);
  g_variant_dict_insert (&data, "sent_bytes", "t", bench->sent);
  g_variant_dict_insert (&data, "recv_bytes", "t", bench->received);
  g_variant_dict_insert (&data, "send_duration_ms", "d", send_us / 1000.0);
  g_variant_dict_insert (&data, "total_duration_ms", "d", total_us / 1000.0);
  g_variant_dict_insert (&data, "send_mbps", "d", mebibytes_per_second (bench->sent, send_us));
  g_variant_dict_insert (&data, "total_mbps", "d", mebibytes_per_second (bench->received, total_us));
  g_variant_dict_insert (&data, "complete", "b", bench->received == bench->total);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_bench (Invocation *invocation)
{
  g_autofree char *timeout = NULL;
  gboolean unchecked = FALSE;
  const GOptionEntry entries[] = {
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to go on at most (default 120s)"), "D" },
    TRUST_UNCHECKED_ENTRY (&unchecked),
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_auto (Stream) stream = STREAM_NONE;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  Bench bench = { 0 };
  GError *error = NULL;
  double seconds, mib = 1;
  gint64 deadline;
  guint32 node;
  char *end;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 2, &exit_code))
    return exit_code;
  if (!seconds_parse (timeout, DEFAULT_TIMEOUT, &seconds, &error))
    return output_error (invocation, error);
  if (invocation->argc > 2) {
    mib = g_ascii_strtod (invocation->argv[2], &end);
    if (*end != '\0' || !(mib > 0 && mib <= MAX_MIB))
      return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("\"%s\" is no size: give MiB, above 0 and at most %d"), invocation->argv[2], MAX_MIB);
  }
  bench.total = MAX ((guint64) (mib * MEBIBYTE), 1);
  deadline = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);
  client = client_new (invocation, &error);
  if (client == NULL || !trust_reach (client, invocation->argv[1], unchecked, &node, address, &error) ||
      !stream_dial (client, node, ECHO_PORT, seconds, &stream, &error))
    return output_error (invocation, error);
  if (measure (&stream, &bench, deadline, &error))
    return report (invocation, address, &bench);
  /* Half an echo is no success. */
  if (bench.received > 0)
    report (invocation, address, &bench);
  return output_error (invocation, error);
}
