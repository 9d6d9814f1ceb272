/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/compat-private.h"

PilotCompat *
pilot_compat_new (PilotReactor *reactor,
                  PilotDirectory *directory,
                  PilotBeacon *beacon,
                  PilotServer *server,
                  const PilotCompatLimits *limits,
                  gint64 (*now) (void))
{
  PilotCompat *self = g_new0 (PilotCompat, 1);

  self->reactor = reactor;
  self->directory = directory;
  self->beacon = beacon;
  self->server = server;
  self->limits = *limits;
  self->now = now;
  self->listeners = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_server_listener_free);
  for (guint i = 0; i < PILOT_COMPAT_N_STATES; i++)
    g_queue_init (&self->states[i]);
  g_queue_init (&self->dirty);
  g_queue_init (&self->stalled);
  return self;
}

void
pilot_compat_free (PilotCompat *self)
{
  PilotCompatClient *client;

  if (self == NULL)
    return;
  while ((client = g_queue_peek_head (&self->states[PILOT_COMPAT_OPEN])) != NULL)
    pilot_compat_client_close (client, PILOT_WEBSOCKET_GOING_AWAY, "the server stops");
  pilot_compat_flush (self);
  for (guint i = 0; i < PILOT_COMPAT_N_STATES; i++)
    while ((client = g_queue_peek_head (&self->states[i])) != NULL)
      pilot_compat_client_drop (client);
  g_ptr_array_unref (self->listeners);
  g_free (self);
}

/* Makes room: who has not said who he is goes first, the longest of them. */
static gboolean
evict (gpointer user_data)
{
  static const PilotCompatState order[] = { PILOT_COMPAT_HEAD, PILOT_COMPAT_CLOSING, PILOT_COMPAT_AUTH };
  PilotCompat *self = user_data;

  for (guint i = 0; i < G_N_ELEMENTS (order); i++) {
    PilotCompatClient *client = g_queue_peek_head (&self->states[order[i]]);

    if (client == NULL)
      continue;
    pilot_compat_client_drop (client);
    return TRUE;
  }
  return FALSE;
}

static void
accepted (int fd,
          PilotTls *tls,
          const PilotEndpoint *remote,
          gpointer user_data)
{
  PilotCompat *self = user_data;
  guint strangers = self->states[PILOT_COMPAT_HEAD].length + self->states[PILOT_COMPAT_AUTH].length +
                    self->states[PILOT_COMPAT_CLOSING].length;

  if (strangers >= self->limits.max_strangers)
    evict (self);
  pilot_compat_client_open (self, tls, fd, remote);
}

static const PilotServerListenerFuncs listener_funcs = { accepted, evict };

gboolean
pilot_compat_listen (PilotCompat *self,
                     const PilotEndpoint *address,
                     PilotTls *tls,
                     PilotEndpoint *bound,
                     GError **error)
{
  return pilot_server_listener_add (self->listeners, self->reactor, address, tls, &listener_funcs, self, bound, error);
}

void
pilot_compat_flush (PilotCompat *self)
{
  PilotCompatClient *client;

  while ((client = g_queue_peek_head (&self->dirty)) != NULL)
    pilot_compat_client_flush (client);
}

/* The first of a list, when it has been there for too long. */
static PilotCompatClient *
find_late (PilotCompat *self,
           PilotCompatState state,
           guint timeout,
           gint64 now)
{
  PilotCompatClient *client = g_queue_peek_head (&self->states[state]);

  return client != NULL && now - client->since >= (gint64) timeout * G_USEC_PER_SEC ? client : NULL;
}

void
pilot_compat_sweep (PilotCompat *self)
{
  gint64 now = g_get_monotonic_time ();
  PilotCompatClient *client;

  while ((client = find_late (self, PILOT_COMPAT_HEAD, self->limits.head_timeout, now)) != NULL)
    pilot_compat_client_drop (client);
  while ((client = find_late (self, PILOT_COMPAT_CLOSING, self->limits.close_timeout, now)) != NULL)
    pilot_compat_client_drop (client);
  while ((client = g_queue_peek_head (&self->stalled)) != NULL &&
         now - client->stalled_since >= (gint64) self->limits.write_timeout * G_USEC_PER_SEC)
    pilot_compat_client_drop (client);
  while ((client = find_late (self, PILOT_COMPAT_AUTH, self->limits.auth_timeout, now)) != NULL)
    pilot_compat_client_close (client, PILOT_WEBSOCKET_POLICY, "auth failed");
  while ((client = find_late (self, PILOT_COMPAT_OPEN, self->limits.idle_timeout, now)) != NULL)
    pilot_compat_client_close (client, PILOT_WEBSOCKET_POLICY, "idle");
  pilot_compat_flush (self);
}

guint
pilot_compat_count (PilotCompat *self)
{
  return self->states[PILOT_COMPAT_OPEN].length;
}

const PilotCompatStatistics *
pilot_compat_get_statistics (PilotCompat *self)
{
  return &self->statistics;
}
