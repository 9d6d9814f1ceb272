/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pilotctl/arguments.h"
#include "pilotctl/client.h"
#include "pilotctl/output.h"

/* Before each datagram that the daemon hands out: node u32, its port u16, 0 u16 (Streams.OpenDatagrams). */
#define HEADER 8
#define DATAGRAM_MAX 65535

static GVariant *
describe (guint32 node, guint16 port, const guint8 *bytes, gsize length)
{
  PilotAddress address = { 0, node };
  char text[PILOT_ADDRESS_TEXT_SIZE];
  GVariantDict dict;

  pilot_address_format (&address, text);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "src_addr", "s", text);
  g_variant_dict_insert (&dict, "src_port", "q", port);
  output_insert_bytes (&dict, "data", bytes, length);
  g_variant_dict_insert (&dict, "bytes", "t", (guint64) length);
  return g_variant_dict_end (&dict);
}

/* FALSE when stdout takes no more. */
static gboolean
print (guint32 node, guint16 port, const guint8 *bytes, gsize length)
{
  PilotAddress address = { 0, node };
  char text[PILOT_ADDRESS_TEXT_SIZE];
  g_autofree char *valid = g_utf8_make_valid ((const char *) bytes, (gssize) length);
  g_autofree char *clean = output_clean (valid), *line = NULL;

  pilot_address_format (&address, text);
  line = g_strdup_printf ("[%s:%u] %s", text, port, clean);
  return output_line (line, strlen (line));
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
  g_autofree guint8 *buffer = g_malloc (HEADER + DATAGRAM_MAX);
  GVariantBuilder messages;
  GError *error = NULL;
  GVariantDict data;
  gint64 deadline = G_MAXINT64;
  gssize got = 1;
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
  reply = client_call_fd (client, "Streams", "OpenDatagrams", g_variant_new ("(q@a{sv})", port, g_variant_new ("a{sv}", NULL)), "(hq)", &fd, &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (seconds > 0)
    deadline = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);
  g_variant_builder_init (&messages, G_VARIANT_TYPE ("aa{sv}"));
  for (int n = 0; (count == 0 || n < count) && (got = next (fd, deadline, buffer, &error)) > 0; n++) {
    guint32 node = GUINT32_FROM_BE (*(guint32 *) (gpointer) buffer);
    guint16 source = GUINT16_FROM_BE (*(guint16 *) (gpointer) (buffer + 4));
    gboolean ok = TRUE;

    if (!invocation->json)
      ok = print (node, source, buffer + HEADER, (gsize) got - HEADER);
    else if (count == 0)
      ok = output_object (describe (node, source, buffer + HEADER, (gsize) got - HEADER));
    else
      g_variant_builder_add_value (&messages, describe (node, source, buffer + HEADER, (gsize) got - HEADER));
    if (!ok)
      return EXIT_FAILED;
  }
  close (fd);
  if (got < 0) {
    g_variant_builder_clear (&messages);
    return output_error (invocation, error);
  }
  if (got == 0 && !invocation->json)
    g_printerr (_("timeout\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "messages", g_variant_builder_end (&messages));
  g_variant_dict_insert (&data, "timeout", "b", got == 0);
  if (count > 0)
    return output_ok (invocation, g_variant_dict_end (&data));
  g_variant_dict_clear (&data);
  return EXIT_OK;
}
