/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/compat-private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/bytes.h"
#include "protocol/crypto.h"
#include "protocol/json.h"
#include "protocol/registry-message.h"

#define PATH "/v1/compat"
#define HEALTH_PATH "/health"
#define MAX_HEAD 8192
#define MAX_LOGIN 4096
#define NONCE_SIZE 32
#define CHALLENGE_LIFETIME 30 /* seconds (notes, 7.2) */
#define RECORD_SIZE 16384
#define READS_PER_TURN 16

/* --- life --- */

static void
update_events (PilotCompatClient *self)
{
  guint32 events = EPOLLIN;

  if (self->handshaking && gnutls_record_get_direction (self->tls) == 1)
    events = EPOLLOUT;
  else if (self->is_stalled)
    events |= EPOLLOUT;
  pilot_reactor_modify (self->compat->reactor, &self->watch, events);
}

static void
enter (PilotCompatClient *self,
       PilotCompatState state)
{
  PilotCompat *compat = self->compat;

  g_queue_unlink (&compat->states[self->state], &self->place);
  self->state = state;
  self->since = g_get_monotonic_time ();
  g_queue_push_tail_link (&compat->states[state], &self->place);
}

static void
set_dirty (PilotCompatClient *self,
           gboolean dirty)
{
  if (self->is_dirty == dirty)
    return;
  self->is_dirty = dirty;
  if (dirty)
    g_queue_push_tail_link (&self->compat->dirty, &self->dirty);
  else
    g_queue_unlink (&self->compat->dirty, &self->dirty);
}

static void
set_stalled (PilotCompatClient *self,
             gboolean stalled)
{
  if (self->is_stalled)
    g_queue_unlink (&self->compat->stalled, &self->stalled);
  self->is_stalled = stalled;
  if (!stalled)
    return;
  self->stalled_since = g_get_monotonic_time ();
  g_queue_push_tail_link (&self->compat->stalled, &self->stalled);
}

/* Out of the reactor and of every list; descriptor and TLS session are the caller's. */
static void
release (PilotCompatClient *self)
{
  PilotCompat *compat = self->compat;

  if (self->state == PILOT_COMPAT_OPEN)
    pilot_beacon_detach (compat->beacon, &self->link);
  set_dirty (self, FALSE);
  set_stalled (self, FALSE);
  g_queue_unlink (&compat->states[self->state], &self->place);
  pilot_reactor_remove (compat->reactor, &self->watch);
  g_clear_pointer (&self->head, g_byte_array_unref);
  g_clear_pointer (&self->reader, pilot_websocket_reader_free);
  g_clear_pointer (&self->out, g_byte_array_unref);
  g_free (self->challenge);
  g_free (self);
}

void
pilot_compat_client_drop (PilotCompatClient *self)
{
  gnutls_session_t tls = self->tls;
  int fd = self->watch.fd;

  release (self);
  if (tls != NULL)
    gnutls_deinit (tls);
  close (fd);
}

/* --- writing --- */

/* Everything is out, after which nothing will be said any more: the other end shall see that, and close. */
static void
shut (PilotCompatClient *self)
{
  if (self->is_shut)
    return;
  self->is_shut = TRUE;
  if (self->tls != NULL)
    gnutls_bye (self->tls, GNUTLS_SHUT_WR); /* not blocking; what cannot be sent is not */
  shutdown (self->watch.fd, SHUT_WR);
}

void
pilot_compat_client_flush (PilotCompatClient *self)
{
  set_dirty (self, FALSE);
  while (self->out != NULL) {
    gssize n = pilot_tls_send (self->tls, self->watch.fd, self->out->data + self->out_sent,
                               MIN (self->out->len - self->out_sent, RECORD_SIZE));

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      if (!self->is_stalled)
        set_stalled (self, TRUE);
      update_events (self);
      return;
    }
    if (n < 0) {
      pilot_compat_client_drop (self);
      return;
    }
    if (self->is_stalled)
      set_stalled (self, TRUE); /* its time begins anew */
    self->out_sent += (gsize) n;
    if (self->out_sent == self->out->len)
      g_clear_pointer (&self->out, g_byte_array_unref);
  }
  set_stalled (self, FALSE);
  update_events (self);
  if (self->state == PILOT_COMPAT_CLOSING)
    shut (self);
}

static gsize
get_waiting (PilotCompatClient *self)
{
  return self->out == NULL ? 0 : self->out->len - self->out_sent;
}

static void
append (PilotCompatClient *self,
        gconstpointer data,
        gsize length)
{
  if (self->out == NULL) {
    self->out = g_byte_array_new ();
    self->out_sent = 0;
  } else if (self->out_sent > self->out->len / 2) {
    g_byte_array_remove_range (self->out, 0, (guint) self->out_sent);
    self->out_sent = 0;
  }
  g_byte_array_append (self->out, data, (guint) length);
  set_dirty (self, TRUE);
}

static void
append_frame (PilotCompatClient *self,
              PilotWebsocketOpcode opcode,
              gconstpointer data,
              gsize length)
{
  guint8 header[PILOT_WEBSOCKET_MAX_HEADER];

  append (self, header, pilot_websocket_write_header (header, opcode, length));
  if (length > 0)
    append (self, data, length);
}

static gboolean
deliver (PilotBeaconLink *link,
         const guint8 *data,
         gsize length)
{
  PilotCompatClient *self = (PilotCompatClient *) ((guint8 *) link - G_STRUCT_OFFSET (PilotCompatClient, link));
  PilotCompat *compat = self->compat;

  if (length > PILOT_COMPAT_MAX_DELIVERY || get_waiting (self) + length > compat->limits.out_limit) {
    compat->statistics.dropped++;
    return FALSE;
  }
  append_frame (self, PILOT_WEBSOCKET_BINARY, data, length);
  return TRUE;
}

static void
begin_closing (PilotCompatClient *self)
{
  if (self->state == PILOT_COMPAT_OPEN)
    pilot_beacon_detach (self->compat->beacon, &self->link);
  enter (self, PILOT_COMPAT_CLOSING);
  set_dirty (self, TRUE); /* also with nothing to say: the flush shuts it */
}

void
pilot_compat_client_close (PilotCompatClient *self,
                           PilotWebsocketStatus status,
                           const gchar *reason)
{
  guint8 payload[PILOT_WEBSOCKET_MAX_CONTROL];
  gsize length = MIN (strlen (reason), sizeof payload - 2);

  pilot_bytes_put_u16 (payload, (guint16) status);
  memcpy (payload + 2, reason, length);
  append_frame (self, PILOT_WEBSOCKET_CLOSE, payload, 2 + length);
  begin_closing (self);
}

/* --- the request --- */

/* `extra`: header lines of their own, each ended, or "". */
static void
refuse (PilotCompatClient *self,
        const gchar *status,
        const gchar *extra,
        const gchar *body)
{
  g_autofree gchar *text = g_strdup_printf ("HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
                                            status, extra, strlen (body), body);

  append (self, text, strlen (text));
  begin_closing (self);
}

static void
send_challenge (PilotCompatClient *self)
{
  PilotCompat *compat = self->compat;
  guint8 nonce[NONCE_SIZE];
  gchar hex[2 * NONCE_SIZE + 1];
  g_autofree gchar *text = NULL;

  pilot_crypto_random (nonce, sizeof nonce);
  for (guint i = 0; i < NONCE_SIZE; i++)
    g_snprintf (hex + 2 * i, 3, "%02x", nonce[i]);
  self->challenged = compat->now != NULL ? compat->now () : g_get_real_time () / G_USEC_PER_SEC;
  self->challenge = g_strdup_printf ("%" G_GINT64_FORMAT ":%s", self->challenged, hex);
  text = g_strdup_printf ("{\"nonce\":\"%s\",\"ts\":%" G_GINT64_FORMAT ",\"type\":\"auth_challenge\"}", hex, self->challenged);
  append_frame (self, PILOT_WEBSOCKET_TEXT, text, strlen (text));
}

static void
upgrade (PilotCompatClient *self,
         const PilotHttpRequest *request)
{
  gchar accept[PILOT_WEBSOCKET_ACCEPT_SIZE];
  g_autofree gchar *text = NULL;

  pilot_websocket_accept (request->key, request->key_length, accept);
  text = g_strdup_printf ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                          accept, request->offers_pilot ? "Sec-WebSocket-Protocol: pilot.v1\r\n" : "");
  append (self, text, strlen (text));
  self->reader = pilot_websocket_reader_new (MAX_LOGIN);
  enter (self, PILOT_COMPAT_AUTH);
  send_challenge (self);
}

/* A page of somebody else's has no business here (notes, 7.1). */
static gboolean
is_foreign (const PilotHttpRequest *request)
{
  return request->origin_length > 0 && (request->origin_length < 8 || memcmp (request->origin, "pilot://", 8) != 0);
}

static void
take_request (PilotCompatClient *self,
              const gchar *head,
              gsize length)
{
  PilotCompat *compat = self->compat;
  PilotHttpRequest request;

  if (!pilot_http_request_parse (head, length, &request)) {
    compat->statistics.broken++;
    refuse (self, "400 Bad Request", "", "");
  } else if (!pilot_http_text_equal (request.method, request.method_length, "GET"))
    refuse (self, "405 Method Not Allowed", "Allow: GET\r\n", "");
  else if (pilot_http_text_equal (request.path, request.path_length, HEALTH_PATH))
    refuse (self, "200 OK", "", "");
  else if (!pilot_http_text_equal (request.path, request.path_length, PATH))
    refuse (self, "404 Not Found", "", "");
  else if (!request.wants_upgrade || !request.is_version_13)
    refuse (self, "426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "this is the beacon of a Pilot network\n");
  else if (!pilot_websocket_is_key (request.key, request.key_length))
    refuse (self, "400 Bad Request", "", "");
  else if (is_foreign (&request))
    refuse (self, "403 Forbidden", "", "");
  else if (compat->states[PILOT_COMPAT_AUTH].length + compat->states[PILOT_COMPAT_OPEN].length >= compat->limits.max_clients)
    refuse (self, "503 Service Unavailable", "Retry-After: 30\r\n", "wss: at capacity");
  else
    upgrade (self, &request);
}

/* --- the login --- */

static gboolean
check_login (PilotCompatClient *self,
             JsonObject *reply,
             guint32 *node)
{
  PilotCompat *compat = self->compat;
  gint64 now = compat->now != NULL ? compat->now () : g_get_real_time () / G_USEC_PER_SEC;
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];
  const PilotNodeRecord *record;
  g_autofree gchar *text = NULL;

  *node = pilot_json_get_uint32 (reply, "node_id");
  if (!g_str_equal (pilot_json_get_string (reply, "type"), "auth_reply") || *node == 0 || now < self->challenged ||
      now - self->challenged > CHALLENGE_LIFETIME || !pilot_json_read_base64 (reply, "sig", signature, sizeof signature))
    return FALSE;
  /* The key it sends along says nothing: the one on file counts. */
  record = pilot_directory_find (compat->directory, *node);
  if (record == NULL)
    return FALSE;
  text = g_strdup_printf ("compat_auth:%u:%s", *node, self->challenge);
  return pilot_ed25519_verify (record->key, text, strlen (text), signature);
}

static void
take_login (PilotCompatClient *self,
            const PilotWebsocketMessage *message)
{
  static const gchar ok[] = "{\"type\":\"auth_ok\"}";
  PilotCompat *compat = self->compat;
  g_autoptr (JsonObject) reply = NULL;
  PilotBeaconLink *former;
  guint32 node;

  if (message->opcode == PILOT_WEBSOCKET_TEXT)
    reply = pilot_json_parse_object ((const gchar *) message->data, message->length, MAX_LOGIN, NULL);
  if (reply != NULL && check_login (self, reply, &node)) {
    self->link.node = node;
    if (pilot_beacon_attach (compat->beacon, &self->link, &former)) {
      g_clear_pointer (&self->challenge, g_free);
      pilot_websocket_reader_set_max (self->reader, PILOT_COMPAT_MAX_MESSAGE);
      enter (self, PILOT_COMPAT_OPEN);
      compat->statistics.logins++;
      append_frame (self, PILOT_WEBSOCKET_TEXT, ok, sizeof ok - 1);
      if (former != NULL) {
        compat->statistics.replaced++;
        pilot_compat_client_close ((PilotCompatClient *) ((guint8 *) former - G_STRUCT_OFFSET (PilotCompatClient, link)),
                                   PILOT_WEBSOCKET_NORMAL, "replaced");
      }
      return;
    }
  }
  compat->statistics.refused++;
  pilot_compat_client_close (self, PILOT_WEBSOCKET_POLICY, "auth failed");
}

/* --- frames --- */

static gboolean
within_control_limit (PilotCompatClient *self)
{
  const guint limit = self->compat->limits.control_limit;

  return pilot_token_bucket_take (&self->controls, G_USEC_PER_SEC / limit, limit, g_get_monotonic_time ());
}

static void
take_close (PilotCompatClient *self,
            const PilotWebsocketMessage *message)
{
  /* Its code comes back (RFC 6455 section 5.5.1). */
  append_frame (self, PILOT_WEBSOCKET_CLOSE, message->data, message->length >= 2 ? 2 : 0);
  begin_closing (self);
}

static void
take_message (PilotCompatClient *self,
              const PilotWebsocketMessage *message)
{
  if (message->opcode == PILOT_WEBSOCKET_CLOSE)
    take_close (self, message);
  else if (message->opcode == PILOT_WEBSOCKET_PING || message->opcode == PILOT_WEBSOCKET_PONG) {
    if (!within_control_limit (self)) {
      self->compat->statistics.broken++;
      pilot_compat_client_close (self, PILOT_WEBSOCKET_POLICY, "too many pings");
    } else if (message->opcode == PILOT_WEBSOCKET_PING)
      append_frame (self, PILOT_WEBSOCKET_PONG, message->data, message->length);
  } else if (self->state == PILOT_COMPAT_AUTH)
    take_login (self, message);
  else if (message->opcode == PILOT_WEBSOCKET_BINARY)
    pilot_beacon_take (self->compat->beacon, &self->link, message->data, message->length);
}

static void
take_frames (PilotCompatClient *self,
             guint8 *data,
             gsize length)
{
  if (self->state == PILOT_COMPAT_OPEN && length > 0)
    enter (self, PILOT_COMPAT_OPEN); /* its silence begins anew */
  while (length > 0 && (self->state == PILOT_COMPAT_AUTH || self->state == PILOT_COMPAT_OPEN)) {
    PilotWebsocketMessage message;
    PilotWebsocketStatus status;
    gsize consumed;

    if (!pilot_websocket_reader_push (self->reader, data, length, &consumed, &message, &status)) {
      self->compat->statistics.broken++;
      pilot_compat_client_close (self, status, status == PILOT_WEBSOCKET_TOO_BIG ? "message too big" : "protocol error");
      return;
    }
    data += consumed;
    length -= consumed;
    if (message.opcode != PILOT_WEBSOCKET_NONE)
      take_message (self, &message);
  }
}

/* --- reading --- */

typedef enum {
  PROTOCOL_UNKNOWN,
  PROTOCOL_HTTP,
  PROTOCOL_REGISTRY,
} Protocol;

/* A request to the registry begins with its length, which is below 2^24, or with the mark of its binary form (registry notes, 3, 4). */
static Protocol
guess (const guint8 *data,
       gsize length)
{
  if (data[0] == 0)
    return PROTOCOL_REGISTRY;
  if (data[0] != 'P')
    return PROTOCOL_HTTP;
  if (length < 4)
    return PROTOCOL_UNKNOWN;
  return memcmp (data, "PILT", 4) == 0 ? PROTOCOL_REGISTRY : PROTOCOL_HTTP;
}

static void
hand_over (PilotCompatClient *self)
{
  PilotServer *server = self->compat->server;
  g_autoptr (GByteArray) data = g_steal_pointer (&self->head);
  PilotEndpoint remote = self->link.remote;
  gnutls_session_t tls = self->tls;
  int fd = self->watch.fd;

  release (self);
  pilot_server_adopt (server, fd, tls, &remote, data->data, data->len);
}

/* FALSE when the client is gone. */
static gboolean
take_head (PilotCompatClient *self,
           const guint8 *data,
           gsize length)
{
  g_autoptr (GByteArray) head = NULL;
  gsize end;

  if (self->head == NULL)
    self->head = g_byte_array_new ();
  g_byte_array_append (self->head, data, (guint) length);
  switch (guess (self->head->data, self->head->len)) {
  case PROTOCOL_REGISTRY:
    hand_over (self);
    return FALSE;
  case PROTOCOL_UNKNOWN:
    return TRUE;
  case PROTOCOL_HTTP:
  default:
    break;
  }
  end = pilot_http_find_end ((const gchar *) self->head->data, MIN (self->head->len, MAX_HEAD));
  if (end == 0) {
    if (self->head->len >= MAX_HEAD)
      refuse (self, "431 Request Header Fields Too Large", "", "");
    return TRUE;
  }
  head = g_steal_pointer (&self->head);
  take_request (self, (const gchar *) head->data, end);
  take_frames (self, head->data + end, head->len - end);
  return TRUE;
}

/* A few records a turn, so that nobody gets more of the loop than the others; what TLS has decrypted already is taken too, since no descriptor
 * would ever tell of it. */
static void
read_some (PilotCompatClient *self)
{
  PilotCompat *compat = self->compat;
  guint reads = 0;

  do {
    gssize n = pilot_tls_receive (self->tls, self->watch.fd, compat->buffer, sizeof compat->buffer);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (n <= 0) {
      pilot_compat_client_drop (self);
      return;
    }
    if (self->state == PILOT_COMPAT_HEAD) {
      if (!take_head (self, compat->buffer, (gsize) n))
        return;
    } else
      take_frames (self, compat->buffer, (gsize) n);
  } while (++reads < READS_PER_TURN || (self->tls != NULL && gnutls_record_check_pending (self->tls) > 0));
}

static gboolean
shake_hands (PilotCompatClient *self)
{
  if (!pilot_tls_shake_hands (self->tls, &self->handshaking)) {
    pilot_compat_client_drop (self);
    return FALSE;
  }
  update_events (self);
  return !self->handshaking;
}

static void
client_ready (PilotReactorWatch *watch,
              guint32 events)
{
  PilotCompatClient *self = (PilotCompatClient *) watch;

  if (self->handshaking && !shake_hands (self))
    return;
  if ((events & EPOLLOUT) != 0 && self->is_stalled)
    set_dirty (self, TRUE);
  if ((events & ~(guint32) EPOLLOUT) != 0 || self->tls != NULL)
    read_some (self);
}

void
pilot_compat_client_open (PilotCompat *compat,
                          PilotTls *tls,
                          int fd,
                          const PilotEndpoint *remote)
{
  PilotCompatClient *self = g_new0 (PilotCompatClient, 1);

  self->compat = compat;
  self->watch.ready = client_ready;
  self->watch.fd = fd;
  self->link.remote = *remote;
  self->link.deliver = deliver;
  self->place.data = self->dirty.data = self->stalled.data = self;
  self->since = g_get_monotonic_time ();
  if ((tls != NULL && (self->tls = pilot_tls_session_new (tls, fd)) == NULL) ||
      !pilot_reactor_add (compat->reactor, &self->watch, fd, EPOLLIN, NULL)) {
    if (self->tls != NULL)
      gnutls_deinit (self->tls);
    close (fd);
    g_free (self);
    return;
  }
  self->handshaking = tls != NULL;
  g_queue_push_tail_link (&compat->states[PILOT_COMPAT_HEAD], &self->place);
}
