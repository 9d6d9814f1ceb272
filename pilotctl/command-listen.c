/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pilotctl/arguments.h"
#include "pilotctl/client.h"
#include "pilotctl/collection.h"
#include "pilotctl/output.h"

/* Before each datagram that the daemon hands out: node u32, its port u16, 0 u16 (Streams.OpenDatagrams). */
#define HEADER 8
#define DATAGRAM_MAX 65535

/* One as it is handed out; the data is not copied. */
typedef struct {
  char from[PILOT_ADDRESS_TEXT_SIZE];
  guint16 port;
  const guint8 *data;
  gsize length;
} Datagram;

static void
take_apart (Datagram *datagram, const guint8 *bytes, gsize length)
{
  PilotAddress address = { 0 };

  memcpy (&address.node, bytes, sizeof address.node);
  memcpy (&datagram->port, bytes + 4, sizeof datagram->port);
  address.node = GUINT32_FROM_BE (address.node);
  datagram->port = GUINT16_FROM_BE (datagram->port);
  pilot_address_format (&address, datagram->from);
  datagram->data = bytes + HEADER;
  datagram->length = length - HEADER;
}

static GVariant *
describe (const Datagram *datagram)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "src_addr", "s", datagram->from);
  g_variant_dict_insert (&dict, "src_port", "q", datagram->port);
  output_insert_bytes (&dict, "data", datagram->data, datagram->length);
  g_variant_dict_insert (&dict, "bytes", "t", (guint64) datagram->length);
  return g_variant_dict_end (&dict);
}

/* (transfer full) */
static char *
describe_line (const Datagram *datagram)
{
  g_autofree char *valid = g_utf8_make_valid ((const char *) datagram->data, (gssize) datagram->length), *clean = output_clean (valid);

  return g_strdup_printf ("[%s:%u] %s", datagram->from, datagram->port, clean);
}

/* One datagram: its length, 0 when the time is over, -1 with an error. */
static gssize
next (int fd, gint64 deadline, guint8 *buffer, GError **error)
{
  for (;;) {
    struct pollfd state = { .fd = fd, .events = POLLIN };
    gint64 left = deadline == G_MAXINT64 ? -1 : MAX (0, (deadline - g_get_monotonic_time () + 999) / 1000);
    int ready = poll (&state, 1, (int) MIN (left, G_MAXINT));
    gssize got;

    if (ready == 0)
      return 0;
    got = ready < 0 ? -1 : recv (fd, buffer, HEADER + DATAGRAM_MAX, MSG_DONTWAIT);
    if (got >= HEADER)
      return got;
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, _("the daemon has ended"));
      return -1;
    }
  }
}

/* Datagrams until there are enough, the time is over, or stdout takes no more. */
static int
follow (Invocation *invocation, int fd, int count, gint64 deadline)
{
  g_autofree guint8 *buffer = g_malloc (HEADER + DATAGRAM_MAX);
  Collection messages;
  GError *error = NULL;
  gboolean ok = TRUE;
  gssize got;

  collection_init (&messages, invocation, count);
  while (ok && !collection_is_complete (&messages) && (got = next (fd, deadline, buffer, &error)) >= 0) {
    g_autofree char *line = NULL;
    Datagram datagram;

    if (got == 0) {
      messages.timed_out = TRUE;
      break;
    }
    take_apart (&datagram, buffer, (gsize) got);
    line = describe_line (&datagram);
    ok = collection_add (&messages, describe (&datagram), line);
  }
  return collection_end (&messages, "messages", error);
}

int
command_listen (Invocation *invocation)
{
  g_autofree char *timeout = NULL;
  int count = 0;
  const GOptionEntry entries[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count, N_("How many datagrams to take (default: all that come)"), "N" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait in all (default: for ever)"), "D" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  double seconds;
  guint16 port;
  int exit_code, fd;

  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (!port_parse (invocation->argv[1], &port, &error) || !seconds_parse (timeout, 0, &seconds, &error))
    return output_error (invocation, error);
  if (count < 0)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 0 up"));
  client = client_new (invocation, &error);
  if (client == NULL)
    return output_error (invocation, error);
  reply = client_call_fd (client, "Streams", "OpenDatagrams", g_variant_new ("(q@a{sv})", port, g_variant_new ("a{sv}", NULL)), &fd, &error);
  if (reply == NULL)
    return output_error (invocation, error);
  exit_code = follow (invocation, fd, count, deadline_after (seconds));
  close (fd);
  return exit_code;
}
