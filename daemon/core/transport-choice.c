/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/transport-choice.h"

#include <string.h>

#include "daemon/core/proxy.h"
#include "libpilot/pilot-endpoint.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-tls.h"
#include "protocol/beacon-message.h"

/* Two attempts of that. */
#define DISCOVER_WAIT 750 /* milliseconds */
#define DISCOVER_ATTEMPTS 2
#define MAX_ADDRESSES 3 /* of the beacon's name */
#define PROBE_TIMEOUT 8 /* seconds, for all of it */
#define MAX_ANSWER 512
#define USUAL_HEADERS "User-Agent: pilot-daemon/transport-auto\r\nConnection: close\r\n\r\n"

typedef struct {
  PilotConfig *config;
  gboolean decided, probing;
  GSource *cancel_source; /* until then */
  GUri *url;              /* of the compat beacon */
  GCancellable *step;     /* of what goes on now */
  gboolean proxied;
  guint timer;

  GSocketAddressEnumerator *beacons; /* addresses of the beacon */
  GSocket *socket;
  GSource *socket_source;
  guint addresses, attempts;

  GIOStream *stream;
  char *request;
  char answer[MAX_ANSWER]; /* what has come of it, and zeros */
} Choice;

static void
stop_step (Choice *choice)
{
  if (choice->socket_source != NULL)
    g_source_destroy (choice->socket_source);
  g_clear_pointer (&choice->socket_source, g_source_unref);
  g_clear_handle_id (&choice->timer, g_source_remove);
  g_cancellable_cancel (choice->step);
  g_clear_object (&choice->step);
}

static void
choice_free (Choice *choice)
{
  stop_step (choice);
  g_clear_object (&choice->socket);
  g_clear_object (&choice->beacons);
  if (choice->stream != NULL)
    g_io_stream_close_async (choice->stream, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  g_clear_object (&choice->stream);
  g_clear_pointer (&choice->url, g_uri_unref);
  g_object_unref (choice->config);
  g_free (choice->request);
  g_free (choice);
}

/* The task's data; callbacks of a step hold the task. */
static Choice *
choice_of (GTask *task)
{
  return g_task_get_task_data (task);
}

static void
end_step (Choice *choice)
{
  stop_step (choice);
  choice->step = g_cancellable_new ();
}

/* The caller returns on the task, and drops the hold that it has on itself while it is undecided. */
static void
end (Choice *choice)
{
  stop_step (choice);
  choice->decided = TRUE;
  g_source_destroy (choice->cancel_source);
  g_clear_pointer (&choice->cancel_source, g_source_unref);
}

static void
decide (GTask *task, const char *transport, const char *why)
{
  end (choice_of (task));
  g_message ("transport: %s (%s)", transport, why);
  g_task_return_pointer (task, g_strdup (transport), g_free);
  g_object_unref (task);
}

static gboolean
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  GTask *task = user_data;

  end (choice_of (task));
  g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_CANCELLED, "the transport is not decided");
  g_object_unref (task);
  return G_SOURCE_REMOVE;
}

/* --- the compat beacon over TCP --- */

/* "HTTP/1.1 426 …": a beacon that would like us to upgrade, and no other server. */
static void
judge_answer (GTask *task)
{
  Choice *choice = choice_of (task);

  if (g_str_has_prefix (choice->answer, "HTTP/1.") && strncmp (choice->answer + strcspn (choice->answer, " "), " 426", 4) == 0)
    decide (task, "compat", "no answer over UDP, and the compat beacon is there");
  else
    decide (task, "udp", "no answer over UDP, but none from a compat beacon either");
}

static void
on_answer (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;

  /* An error behind the status line does not matter. */
  g_input_stream_read_all_finish (G_INPUT_STREAM (source), result, NULL, NULL);
  if (!choice_of (task)->decided)
    judge_answer (task);
}

static void
on_request (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Choice *choice = choice_of (task);

  if (choice->decided)
    return;
  if (!g_output_stream_write_all_finish (G_OUTPUT_STREAM (source), result, NULL, NULL))
    judge_answer (task);
  else
    g_input_stream_read_all_async (g_io_stream_get_input_stream (choice->stream), choice->answer, MAX_ANSWER - 1, G_PRIORITY_DEFAULT, choice->step,
                                   on_answer, g_object_ref (task));
}

static void
give_up_dialling (GTask *task)
{
  if (choice_of (task)->proxied)
    /* Nothing goes past a proxy that somebody has set (notes, 8.4). */
    decide (task, "compat", "no answer over UDP, and there is a proxy to go through");
  else
    decide (task, "udp", "no answer over UDP, but the compat beacon is not reached either");
}

static void
on_dialled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnection) connection = g_socket_client_connect_to_host_finish (G_SOCKET_CLIENT (source), result, &error);
  Choice *choice = choice_of (task);
  const char *host;

  if (choice->decided)
    return;
  if (connection == NULL) {
    g_debug ("compat beacon: %s", error->message);
    give_up_dialling (task);
    return;
  }
  choice->stream = G_IO_STREAM (g_steal_pointer (&connection));
  host = g_uri_get_host (choice->url);
  choice->request = g_strdup_printf (strchr (host, ':') != NULL ? "GET %s HTTP/1.1\r\nHost: [%s]\r\n" USUAL_HEADERS : "GET %s HTTP/1.1\r\nHost: %s\r\n" USUAL_HEADERS,
                                     g_uri_get_path (choice->url), host);
  g_output_stream_write_all_async (g_io_stream_get_output_stream (choice->stream), choice->request, strlen (choice->request), G_PRIORITY_DEFAULT,
                                   choice->step, on_request, g_object_ref (task));
}

/* Nothing is told to the server here; whom it takes for whom is checked when the node logs in. */
static gboolean
on_accept_certificate (GTlsConnection *connection, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user_data)
{
  return TRUE;
}

static void
on_client_event (GSocketClient *client, GSocketClientEvent event, GSocketConnectable *connectable, GIOStream *connection, gpointer user_data)
{
  if (event != G_SOCKET_CLIENT_TLS_HANDSHAKING)
    return;
  pilot_tls_hide_address (connection);
  g_signal_connect (connection, "accept-certificate", G_CALLBACK (on_accept_certificate), NULL);
}

static gboolean
on_probe_timeout (gpointer user_data)
{
  GTask *task = user_data;
  Choice *choice = choice_of (task);

  choice->timer = 0;
  if (choice->stream == NULL)
    give_up_dialling (task);
  else
    judge_answer (task);
  return G_SOURCE_REMOVE;
}

static void
probe (GTask *task)
{
  Choice *choice = choice_of (task);
  g_autofree char *address = pilot_config_get_compat_address (choice->config);
  g_autoptr (PilotProxyResolver) proxy = pilot_proxy_make_resolver (choice->config, address, TRUE);
  g_autoptr (GSocketClient) client = g_socket_client_new ();

  end_step (choice);
  choice->probing = TRUE;
  choice->proxied = proxy != NULL;
  choice->timer = g_timeout_add_seconds (PROBE_TIMEOUT, on_probe_timeout, task);
  g_socket_client_set_enable_proxy (client, proxy != NULL);
  if (proxy != NULL)
    g_socket_client_set_proxy_resolver (client, G_PROXY_RESOLVER (proxy));
  g_socket_client_set_tls (client, TRUE);
  g_signal_connect (client, "event", G_CALLBACK (on_client_event), NULL);
  g_socket_client_connect_to_host_async (client, address, 443, choice->step, on_dialled, g_object_ref (task));
}

/* --- the beacon over UDP --- */

static gboolean on_discover_timeout (gpointer user_data);
static void next_beacon (GTask *task);

/* FALSE: there is no way to it. */
static gboolean
send_discover (GTask *task)
{
  Choice *choice = choice_of (task);
  const PilotBeaconMessage message = { .type = PILOT_BEACON_DISCOVER, .node = 0 };
  guint8 data[PILOT_BEACON_DISCOVER_SIZE];
  gsize length = pilot_beacon_message_encode (&message, data, sizeof data);

  choice->attempts++;
  choice->timer = g_timeout_add (DISCOVER_WAIT, on_discover_timeout, task);
  return g_socket_send (choice->socket, (const char *) data, length, NULL, NULL) == (gssize) length;
}

static gboolean
on_discover_timeout (gpointer user_data)
{
  GTask *task = user_data;
  Choice *choice = choice_of (task);

  choice->timer = 0;
  if (choice->attempts < DISCOVER_ATTEMPTS && choice->socket != NULL)
    send_discover (task); /* whatever becomes of it, the timer runs */
  else
    next_beacon (task);
  return G_SOURCE_REMOVE;
}

static gboolean
on_reply (GSocket *socket, GIOCondition condition, gpointer user_data)
{
  GTask *task = user_data;
  PilotBeaconMessage message;
  guint8 data[64];
  gssize length = g_socket_receive (socket, (char *) data, sizeof data, NULL, NULL);

  /* The socket is connected: nobody else is heard. An ICMP error is an answer of somebody, but not of a beacon. */
  if (length <= 0 || !pilot_beacon_message_decode (&message, data, (gsize) length) || message.type != PILOT_BEACON_DISCOVER_REPLY)
    return G_SOURCE_CONTINUE;
  decide (task, "udp", "the beacon answers");
  return G_SOURCE_REMOVE;
}

/* FALSE: there is no way to this address, as when it is of a family that this host does not have. */
static gboolean
ask_beacon (GTask *task, GSocketAddress *address)
{
  Choice *choice = choice_of (task);
  g_autoptr (GError) error = NULL;

  if (choice->socket_source != NULL)
    g_source_destroy (choice->socket_source);
  g_clear_pointer (&choice->socket_source, g_source_unref);
  g_clear_object (&choice->socket);
  choice->attempts = 0;
  choice->socket = g_socket_new (g_socket_address_get_family (address), G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, &error);
  if (choice->socket == NULL || !g_socket_connect (choice->socket, address, NULL, &error)) {
    g_debug ("beacon: %s", error->message);
    g_clear_object (&choice->socket);
    return FALSE;
  }
  g_socket_set_blocking (choice->socket, FALSE);
  choice->socket_source = g_socket_create_source (choice->socket, G_IO_IN, NULL);
  g_source_set_callback (choice->socket_source, G_SOURCE_FUNC (on_reply), task, NULL);
  g_source_attach (choice->socket_source, g_main_context_get_thread_default ());
  send_discover (task);
  return TRUE;
}

static void
on_beacon_address (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketAddress) address = g_socket_address_enumerator_next_finish (G_SOCKET_ADDRESS_ENUMERATOR (source), result, &error);
  Choice *choice = choice_of (task);

  /* Too late: the time for names is over, and so is its step. */
  if (choice->decided || choice->probing)
    return;
  g_clear_handle_id (&choice->timer, g_source_remove);
  if (address == NULL || choice->addresses++ == MAX_ADDRESSES)
    probe (task);
  else if (!ask_beacon (task, address))
    next_beacon (task);
}

static gboolean
on_lookup_timeout (gpointer user_data)
{
  GTask *task = user_data;
  Choice *choice = choice_of (task);

  choice->timer = 0;
  probe (task);
  return G_SOURCE_REMOVE;
}

/* A name may have addresses of both families, and only one of them leads there. */
static void
next_beacon (GTask *task)
{
  Choice *choice = choice_of (task);

  choice->timer = g_timeout_add (DISCOVER_ATTEMPTS * DISCOVER_WAIT, on_lookup_timeout, task);
  g_socket_address_enumerator_next_async (choice->beacons, choice->step, on_beacon_address, g_object_ref (task));
}

static void
find_beacon (GTask *task)
{
  Choice *choice = choice_of (task);
  const char *beacons = pilot_config_get (choice->config, "beacon");
  g_auto (GStrv) list = g_strsplit (beacons != NULL ? beacons : "", ",", 2);
  g_autoptr (GSocketConnectable) connectable = NULL;

  connectable = list[0] != NULL && *g_strstrip (list[0]) != '\0' ? g_network_address_parse (list[0], 9001, NULL) : NULL;
  if (connectable == NULL) {
    probe (task);
    return;
  }
  choice->beacons = g_socket_connectable_enumerate (connectable);
  next_beacon (task);
}

/* --- what is configured --- */

static gboolean
refuse (GTask *task, const char *key, const char *value, const char *expected)
{
  GError *error = NULL;

  pilot_config_refuse (key, value, expected, &error);
  g_task_return_error (task, error);
  return FALSE;
}

static gboolean
refuse_no_beacon (GTask *task)
{
  GError *error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "compat mode needs the address of a beacon");

  pilot_error_set_hint (error, "say where it is: --compat-beacon wss://HOST/v1/compat");
  g_task_return_error (task, error);
  return FALSE;
}

/* Sound, as far as can be told without asking anybody. */
static gboolean
check (GTask *task, PilotConfig *config, const char *transport, GUri **url)
{
  const char *compat_beacon = pilot_config_get (config, "compat_beacon"), *trust = pilot_config_get (config, "tls_trust");
  GError *error = NULL;

  if (!g_str_equal (transport, "udp") && !g_str_equal (transport, "compat") && !g_str_equal (transport, "auto"))
    return refuse (task, "transport", transport, "udp, compat or auto");
  if (trust != NULL && *trust != '\0' && !g_str_equal (trust, "system") && !g_str_equal (trust, "pinned"))
    return refuse (task, "tls_trust", trust, "system or pinned");
  if (!pilot_proxy_check (config, &error)) {
    g_task_return_error (task, error);
    return FALSE;
  }
  if (compat_beacon != NULL && *compat_beacon != '\0') {
    *url = g_uri_parse (compat_beacon, G_URI_FLAGS_NONE, NULL);
    if (*url == NULL || !g_str_equal (g_uri_get_scheme (*url), "wss") || g_uri_get_host (*url) == NULL || *g_uri_get_host (*url) == '\0')
      return refuse (task, "compat_beacon", compat_beacon, "wss://HOST[:PORT]/v1/compat");
  }
  if (*url == NULL && g_str_equal (transport, "compat"))
    return refuse_no_beacon (task);
  return TRUE;
}

void
pilot_transport_choose_async (PilotConfig *config, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (config, cancellable, callback, user_data);
  const char *transport = pilot_config_get (config, "transport");
  Choice *choice = g_new0 (Choice, 1);

  choice->config = g_object_ref (config);
  choice->step = g_cancellable_new ();
  g_task_set_task_data (task, choice, (GDestroyNotify) choice_free);
  if (!check (task, config, transport, &choice->url))
    return;
  if (!g_str_equal (transport, "auto")) {
    g_task_return_pointer (task, g_strdup (transport), g_free);
    return;
  }
  g_object_ref (task); /* decide() drops it */
  choice->cancel_source = g_cancellable_source_new (cancellable);
  g_source_set_callback (choice->cancel_source, G_SOURCE_FUNC (on_cancelled), task, NULL);
  g_source_attach (choice->cancel_source, g_main_context_get_thread_default ());
  if (choice->url == NULL)
    decide (task, "udp", "no compat beacon is configured");
  else if (pilot_config_is_set (config, "registry_tls") && !pilot_config_get_boolean (config, "registry_tls"))
    decide (task, "udp", "the registry is to be used without TLS");
  else
    find_beacon (task);
}

gboolean
pilot_transport_choose_finish (PilotConfig *config, GAsyncResult *result, GError **error)
{
  g_autofree char *transport = NULL;

  g_return_val_if_fail (g_task_is_valid (result, config), FALSE);
  transport = g_task_propagate_pointer (G_TASK (result), error);
  if (transport == NULL)
    return FALSE;
  pilot_config_set_compat (config, g_str_equal (transport, "compat"));
  return TRUE;
}
