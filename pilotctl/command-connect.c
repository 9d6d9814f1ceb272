/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"
#include "pilotctl/stream.h"
#include "pilotctl/trust-check.h"

#define STDIO_PORT 1000
#define DEFAULT_TIMEOUT 30.0
/* With --json the answer is one string; what is longer belongs on stdout as it comes. */
#define ANSWER_MAX ((gsize) 64 * 1024 * 1024)

/* What `connect` and `send` have in common. */
typedef struct {
  Invocation *invocation;
  const char *name;
  guint16 port;
  const char *message; /* NULL: stdin */
  double seconds;
  gboolean unchecked;
} Request;

static int
report (Request *request, const char *address, const Exchange *exchange)
{
  const GByteArray *answer = exchange->answer;
  GVariantDict data;

  if (exchange->received == 0 && !request->invocation->json)
    g_printerr (_("sent %zu bytes (no response)\n"), (gsize) exchange->sent);
  if (!request->invocation->json)
    return EXIT_OK;
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", address);
  g_variant_dict_insert (&data, "port", "q", request->port);
  if (request->message != NULL)
    output_insert_bytes (&data, "sent", request->message, strlen (request->message));
  g_variant_dict_insert (&data, "bytes_sent", "t", exchange->sent);
  output_insert_bytes (&data, "response", answer->data, answer->len);
  return output_ok (request->invocation, g_variant_dict_end (&data));
}

static int
run (Request *request)
{
  Invocation *invocation = request->invocation;
  g_autoptr (Client) client = NULL;
  g_autoptr (GByteArray) answer = g_byte_array_new ();
  g_autoptr (Progress) progress = NULL;
  g_auto (Stream) stream = STREAM_NONE;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  gboolean ok;
  Exchange exchange = {
    .message = request->message,
    .message_length = request->message != NULL ? strlen (request->message) : 0,
    .input = request->message != NULL ? -1 : STDIN_FILENO,
    .answer = invocation->json ? answer : NULL,
    .answer_max = ANSWER_MAX,
    .output = STDOUT_FILENO,
    .quiet_seconds = request->seconds,
  };
  GError *error = NULL;
  guint32 node;

  client = client_new (invocation, &error);
  if (client == NULL || !trust_reach (client, request->name, request->unchecked, &node, address, &error) ||
      !stream_dial (client, node, request->port, request->seconds, &stream, &error))
    return output_error (invocation, error);
  /* Where the answer itself goes to the terminal there is no place for a bar. */
  if (!isatty (STDOUT_FILENO))
    exchange.progress = progress = progress_new (0);
  ok = stream_exchange (&stream, &exchange, &error);
  if (!invocation->json && exchange.received > 0 && isatty (STDOUT_FILENO) && request->message != NULL)
    g_print ("\n");
  g_clear_pointer (&progress, progress_free);
  if (!ok && exchange.received == 0 && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT)) {
    g_clear_error (&error);
    return output_fail (invocation, PILOT_ERROR_TIMEOUT, NULL, _("no response within %g s"), request->seconds);
  }
  return ok ? report (request, address, &exchange) : output_error (invocation, error);
}

int
command_connect (Invocation *invocation)
{
  g_autofree char *message = NULL, *timeout = NULL;
  Request request = { .invocation = invocation, .port = STDIO_PORT };
  const GOptionEntry entries[] = {
    { "message", 0, 0, G_OPTION_ARG_STRING, &message, N_("Send this instead of stdin"), "TEXT" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait for the connection, and then for an answer (default 30s)"), "D" },
    TRUST_UNCHECKED_ENTRY (&request.unchecked),
    { NULL }
  };
  GError *error = NULL;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 2, &exit_code))
    return exit_code;
  if ((invocation->argc > 2 && !port_parse (invocation->argv[2], &request.port, &error)) || !seconds_parse (timeout, DEFAULT_TIMEOUT, &request.seconds, &error))
    return output_error (invocation, error);
  request.name = invocation->argv[1];
  request.message = message;
  return run (&request);
}

int
command_send (Invocation *invocation)
{
  g_autofree char *message = NULL, *timeout = NULL;
  Request request = { .invocation = invocation };
  const GOptionEntry entries[] = {
    { "data", 0, 0, G_OPTION_ARG_STRING, &message, N_("What to send"), "TEXT" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait for the connection, and then for an answer (default 30s)"), "D" },
    TRUST_UNCHECKED_ENTRY (&request.unchecked),
    { NULL }
  };
  GError *error = NULL;
  int exit_code;

  if (!command_parse (invocation, entries, 2, 2, &exit_code))
    return exit_code;
  if (message == NULL)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, _("pilotctl connect sends what comes on stdin"), _("--data is missing"));
  if (!port_parse (invocation->argv[2], &request.port, &error) || !seconds_parse (timeout, DEFAULT_TIMEOUT, &request.seconds, &error))
    return output_error (invocation, error);
  request.name = invocation->argv[1];
  request.message = message;
  return run (&request);
}
