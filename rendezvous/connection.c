/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/server-private.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rendezvous/socket.h"

/* A request of this size is always taken, however much memory others hold. */
#define MODEST_REQUEST 4096

static void process (PilotConnection *self,
                     const guint8 *data,
                     gsize length);

static guint32
events_of (PilotConnection *self)
{
  switch (self->state) {
  case PILOT_CONNECTION_ANONYMOUS:
  case PILOT_CONNECTION_IDLE:
    return EPOLLIN;
  case PILOT_CONNECTION_FRAME:
    if (self->handshaking && gnutls_record_get_direction (self->tls) == 1)
      return EPOLLOUT;
    return EPOLLIN;
  case PILOT_CONNECTION_WRITE:
    return EPOLLOUT;
  case PILOT_CONNECTION_COMMIT:
  case PILOT_CONNECTION_PAUSE:
  case PILOT_CONNECTION_N_STATES:
  default:
    return 0;
  }
}

static void
enter (PilotConnection *self,
       PilotConnectionState state)
{
  PilotServer *server = self->server;

  g_queue_unlink (&server->states[self->state], &self->link);
  self->state = state;
  self->since = g_get_monotonic_time ();
  g_queue_push_tail_link (&server->states[state], &self->link);
  pilot_reactor_modify (server->reactor, &self->watch, events_of (self));
}

static void
enter_idle (PilotConnection *self)
{
  enter (self, self->session.node != 0 ? PILOT_CONNECTION_IDLE : PILOT_CONNECTION_ANONYMOUS);
}

static gboolean
is_reading (PilotConnection *self)
{
  return self->state == PILOT_CONNECTION_ANONYMOUS || self->state == PILOT_CONNECTION_IDLE || self->state == PILOT_CONNECTION_FRAME;
}

static gsize
get_pending (PilotConnection *self)
{
  return self->reader == NULL ? 0 : pilot_registry_reader_pending (self->reader);
}

static void
drop_reader (PilotConnection *self)
{
  self->server->frame_memory -= get_pending (self);
  g_clear_pointer (&self->reader, pilot_registry_reader_free);
}

/* Whether every byte we sent has been acknowledged by the peer's host: more than a successful write says, and all that can
 * be known without a word from the peer. */
static gboolean
is_delivered (PilotSession *session)
{
  PilotConnection *self = (PilotConnection *) ((guint8 *) session - G_STRUCT_OFFSET (PilotConnection, session));
  struct tcp_info info;
  socklen_t length = sizeof info;
  int unacknowledged;

  /* After a reset the peer may have thrown away what its host had acknowledged. */
  return self->out == NULL && ioctl (self->watch.fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0 &&
         getsockopt (self->watch.fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state != TCP_CLOSE;
}

void
pilot_connection_close (PilotConnection *self)
{
  PilotServer *server = self->server;

  pilot_service_end (server->service, &self->session);
  drop_reader (self);
  g_queue_unlink (&server->states[self->state], &self->link);
  server->n_connections--;
  pilot_reactor_remove (server->reactor, &self->watch);
  if (self->tls != NULL) {
    if (!self->handshaking)
      gnutls_bye (self->tls, GNUTLS_SHUT_WR); /* not blocking; what cannot be sent is not */
    gnutls_deinit (self->tls);
  }
  close (self->watch.fd);
  g_clear_pointer (&self->out, g_bytes_unref);
  g_clear_pointer (&self->held, g_byte_array_unref);
  g_free (self);
}

/* FALSE when the connection was closed. */
static gboolean
write_out (PilotConnection *self)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (self->out, &size);

  while (self->out_sent < size) {
    gssize n = pilot_tls_send (self->tls, self->watch.fd, data + self->out_sent, size - self->out_sent);

    if (n >= 0) {
      self->out_sent += (gsize) n;
      continue;
    }
    if (errno == EINTR)
      continue;
    if (errno == EAGAIN) {
      if (self->state != PILOT_CONNECTION_WRITE)
        enter (self, PILOT_CONNECTION_WRITE);
      return TRUE;
    }
    pilot_connection_close (self);
    return FALSE;
  }
  g_clear_pointer (&self->out, g_bytes_unref);
  return TRUE;
}

/* The answer is out: on with what came behind the request. */
static void
continue_reading (PilotConnection *self)
{
  g_autoptr (GByteArray) held = g_steal_pointer (&self->held);

  enter_idle (self);
  if (held != NULL)
    process (self, held->data, held->len);
}

void
pilot_connection_release (PilotConnection *self,
                          gboolean ok)
{
  if (!ok) {
    pilot_service_lost (self->server->service, &self->session);
    g_bytes_unref (self->out);
    self->out = pilot_registry_frame_error ("request failed: the registry cannot save its state");
  } else if (self->notify != 0 && self->server->beacon != NULL)
    pilot_beacon_notify (self->server->beacon, self->notify);
  if (write_out (self) && self->out == NULL)
    continue_reading (self);
}

static gboolean
take_token (PilotConnection *self)
{
  const PilotServerLimits *limits = &self->server->limits;

  return pilot_token_bucket_take (&self->requests, G_USEC_PER_SEC / limits->request_rate, limits->request_burst, g_get_monotonic_time ());
}

static void
answer (PilotConnection *self,
        JsonObject *request)
{
  PilotServer *server = self->server;
  PilotAnswer result = { 0 };

  pilot_service_handle (server->service, &self->session, request, &result);
  self->out = result.frame;
  self->out_sent = 0;
  self->ticket = result.ticket;
  self->notify = result.notify;
  if (self->ticket > pilot_journal_durable (server->journal))
    enter (self, PILOT_CONNECTION_COMMIT);
}

/* One message from `data`, or its beginning. FALSE when the connection was closed. */
static gboolean
take_bytes (PilotConnection *self,
            const guint8 *data,
            gsize length,
            gsize *consumed)
{
  PilotServer *server = self->server;
  g_autoptr (JsonObject) request = NULL;
  gsize before = get_pending (self);
  gsize pending;

  if (self->reader == NULL)
    self->reader = pilot_registry_reader_new (PILOT_REGISTRY_MAX_REQUEST);
  if (!pilot_registry_reader_push (self->reader, data, length, consumed, &request, NULL)) {
    /* Rubbish, or more than anybody needs to say. The pending bytes that were counted are those before the push. */
    server->frame_memory -= before;
    g_clear_pointer (&self->reader, pilot_registry_reader_free);
    pilot_connection_close (self);
    return FALSE;
  }
  pending = get_pending (self);
  server->frame_memory += pending;
  server->frame_memory -= before;
  if (pending > MODEST_REQUEST && server->frame_memory > server->limits.frame_memory) {
    pilot_connection_close (self);
    return FALSE;
  }
  if (request != NULL) {
    drop_reader (self);
    answer (self, request);
  } else if (self->state != PILOT_CONNECTION_FRAME)
    enter (self, PILOT_CONNECTION_FRAME); /* its deadline runs from the first byte, whatever follows */
  return TRUE;
}

static void
hold (PilotConnection *self,
      const guint8 *data,
      gsize length)
{
  if (length == 0)
    return;
  self->held = g_byte_array_sized_new ((guint) length);
  g_byte_array_append (self->held, data, (guint) length);
}

/* Handles what was read, until an answer cannot go out at once; the rest is held. */
static void
process (PilotConnection *self,
         const guint8 *data,
         gsize length)
{
  while (length > 0) {
    gsize consumed = 0;

    if (self->reader == NULL && !take_token (self)) {
      hold (self, data, length);
      enter (self, PILOT_CONNECTION_PAUSE);
      return;
    }
    if (!take_bytes (self, data, length, &consumed))
      return;
    data += consumed;
    length -= consumed;
    if (self->out == NULL)
      continue;
    if (self->state != PILOT_CONNECTION_COMMIT && !write_out (self))
      return;
    if (self->out != NULL) {
      hold (self, data, length); /* until the journal has it, or the peer has taken it */
      return;
    }
    enter_idle (self);
  }
}

void
pilot_connection_resume (PilotConnection *self)
{
  continue_reading (self);
}

static gboolean
shake_hands (PilotConnection *self)
{
  if (!pilot_tls_shake_hands (self->tls, &self->handshaking)) {
    pilot_connection_close (self);
    return FALSE;
  }
  if (self->handshaking)
    pilot_reactor_modify (self->server->reactor, &self->watch, events_of (self));
  else
    enter_idle (self);
  return !self->handshaking;
}

/* One buffer a turn, so that nobody gets more of the loop than the others; what TLS has decrypted already is taken too, since
 * no descriptor would ever tell of it. */
static void
read_some (PilotConnection *self)
{
  PilotServer *server = self->server;
  gsize size = sizeof server->buffer;
  g_autoptr (GByteArray) rest = NULL;
  gssize n = pilot_tls_receive (self->tls, self->watch.fd, server->buffer, size);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0) {
    pilot_connection_close (self);
    return;
  }
  if (self->tls == NULL || gnutls_record_check_pending (self->tls) == 0) {
    process (self, server->buffer, (gsize) n);
    return;
  }
  rest = g_byte_array_sized_new (4 * PILOT_SERVER_READ_SIZE); /* a record has 16 KiB at most */
  do
    g_byte_array_append (rest, server->buffer, (guint) n);
  while (gnutls_record_check_pending (self->tls) > 0 && (n = pilot_tls_receive (self->tls, self->watch.fd, server->buffer, size)) > 0);
  process (self, rest->data, rest->len);
}

static void
connection_ready (PilotReactorWatch *watch,
                  guint32 events)
{
  PilotConnection *self = (PilotConnection *) watch;

  if (self->handshaking && !shake_hands (self))
    return;
  if (is_reading (self))
    read_some (self);
  else if (self->state == PILOT_CONNECTION_WRITE) {
    if (write_out (self) && self->out == NULL)
      continue_reading (self);
  } else if (events & (EPOLLHUP | EPOLLERR))
    pilot_connection_close (self); /* nobody is left to wait for the answer */
}

/* Takes descriptor and TLS session. NULL when it could not be opened. */
static PilotConnection *
connection_new (PilotServer *server,
                int fd,
                gnutls_session_t tls,
                gboolean handshaking,
                const PilotEndpoint *remote)
{
  PilotConnection *self = g_new0 (PilotConnection, 1);

  self->server = server;
  self->watch.ready = connection_ready;
  self->watch.fd = fd;
  self->link.data = self;
  self->session.remote = *remote;
  self->session.is_delivered = is_delivered;
  pilot_socket_get_address (fd, &self->session.local);
  self->since = g_get_monotonic_time ();
  self->tls = tls;
  if (!pilot_reactor_add (server->reactor, &self->watch, fd, EPOLLIN, NULL)) {
    if (tls != NULL)
      gnutls_deinit (tls);
    close (fd);
    g_free (self);
    return NULL;
  }
  self->handshaking = handshaking;
  self->state = handshaking ? PILOT_CONNECTION_FRAME : PILOT_CONNECTION_ANONYMOUS;
  g_queue_push_tail_link (&server->states[self->state], &self->link);
  server->n_connections++;
  return self;
}

void
pilot_connection_open (PilotServer *server,
                       PilotTls *tls,
                       int fd,
                       const PilotEndpoint *remote)
{
  gnutls_session_t session = tls != NULL ? pilot_tls_session_new (tls, fd) : NULL;

  if (tls != NULL && session == NULL)
    close (fd);
  else
    connection_new (server, fd, session, tls != NULL, remote);
}

void
pilot_connection_adopt (PilotServer *server,
                        int fd,
                        gnutls_session_t tls,
                        const PilotEndpoint *remote,
                        const guint8 *data,
                        gsize length)
{
  PilotConnection *self = connection_new (server, fd, tls, FALSE, remote);

  if (self != NULL)
    process (self, data, length);
}
