/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/rendezvous.h"

#include "libpilot/pilot-error.h"

#define SWEEP_INTERVAL 1 /* seconds */
#define REAP_INTERVAL 10
#define SEEN_INTERVAL 30

struct _PilotRendezvous {
  PilotRendezvousOptions options;
  PilotRendezvousFailed failed;
  gpointer user_data;
  PilotStore *store;
  PilotReactor *reactor;
  PilotDirectory *directory;
  PilotJournal *journal;
  PilotBeacon *beacon;
  PilotService *service;
  PilotServer *server;
  PilotCompat *compat; /* (nullable) */
  PilotEndpoint registry;
  PilotEndpoint registry_plain;
  PilotEndpoint compat_address;
  PilotEndpoint compat_plain_address;
  GSource *timer;
  guint ticks;       /* of the timer */
  gint64 reap_after; /* Unix seconds: nobody is reaped before */
};

void
pilot_rendezvous_options_init (PilotRendezvousOptions *options)
{
  *options = (PilotRendezvousOptions){
    .stale_threshold = 30 * 60,
    .service = { .registration_burst = 100, .registration_rate = 10 },
    .server = PILOT_SERVER_LIMITS_INIT,
    .beacon_limits = PILOT_BEACON_LIMITS_INIT,
    .compat_limits = PILOT_COMPAT_LIMITS_INIT,
  };
}

/* What the beacon asks the registry */

static gboolean
is_known (guint32 node,
          gpointer user_data)
{
  PilotRendezvous *self = user_data;

  return pilot_directory_find (self->directory, node) != NULL;
}

static const PilotEndpoint *
get_source (guint32 node,
            gpointer user_data)
{
  PilotRendezvous *self = user_data;

  return pilot_directory_get_source (self->directory, node);
}

static gboolean
may_punch (guint32 requester,
           guint32 target,
           gpointer user_data)
{
  PilotRendezvous *self = user_data;
  const PilotNodeRecord *record = pilot_directory_find (self->directory, target);

  return record != NULL && !record->relay_only && pilot_directory_may_resolve (self->directory, requester, target);
}

static const PilotBeaconPolicy beacon_policy = { is_known, get_source, may_punch };

static void
flush_compat (PilotRendezvous *self)
{
  if (self->compat != NULL)
    pilot_compat_flush (self->compat);
}

/* Commits */

static void
journal_settled (PilotJournal *journal,
                 guint64 ticket,
                 const GError *error,
                 gpointer user_data)
{
  PilotRendezvous *self = user_data;
  g_autoptr (GError) reload_error = NULL;

  if (error == NULL) {
    pilot_server_committed (self->server);
    flush_compat (self); /* a notification may be among it */
    return;
  }
  g_warning ("cannot save: %s; what was asked for meanwhile is refused", error->message);
  /* Last-seen times may now be old: nobody shall be reaped for that. */
  self->reap_after = pilot_service_now (self->service) + self->options.stale_threshold;
  if (!pilot_directory_reload (self->directory, &reload_error)) {
    self->failed (reload_error, self->user_data);
    return;
  }
  pilot_server_commit_failed (self->server);
}

static void
turn_ended (gpointer user_data)
{
  PilotRendezvous *self = user_data;

  flush_compat (self);
  pilot_journal_flush (self->journal);
}

static gboolean
tick (gpointer user_data)
{
  PilotRendezvous *self = user_data;
  gint64 now = pilot_service_now (self->service);

  self->ticks++;
  pilot_server_sweep (self->server);
  if (self->compat != NULL)
    pilot_compat_sweep (self->compat);
  if (self->ticks % REAP_INTERVAL == 0) {
    pilot_service_settle (self->service);
    pilot_beacon_expire (self->beacon);
    if (now >= self->reap_after)
      pilot_directory_reap (self->directory, now, self->options.stale_threshold);
  }
  if (self->ticks % SEEN_INTERVAL == 0)
    pilot_directory_write_seen (self->directory);
  pilot_journal_flush (self->journal);
  return G_SOURCE_CONTINUE;
}

/* Life */

static gboolean
listen_compat (PilotRendezvous *self,
               GError **error)
{
  PilotRendezvousOptions *options = &self->options;
  gboolean with_tls = !pilot_endpoint_is_none (&options->compat), plain = !pilot_endpoint_is_none (&options->compat_plain);

  if (!with_tls && !plain)
    return TRUE;
  self->compat = pilot_compat_new (self->reactor, self->directory, self->beacon, self->server, &options->compat_limits, options->now);
  return (!with_tls || pilot_compat_listen (self->compat, &options->compat, options->tls, &self->compat_address, error)) &&
         (!plain || pilot_compat_listen (self->compat, &options->compat_plain, NULL, &self->compat_plain_address, error));
}

static gboolean
start (PilotRendezvous *self,
       GError **error)
{
  PilotRendezvousOptions *options = &self->options;
  PilotEndpoint bound;

  self->reactor = pilot_reactor_new (error);
  if (self->reactor == NULL)
    return FALSE;
  self->directory = pilot_directory_new (self->store, options->reference_consent, error);
  if (self->directory == NULL)
    return FALSE;
  self->beacon = pilot_beacon_new (self->reactor, &options->beacon, &options->beacon_limits,
                                   options->beacon_open ? NULL : &beacon_policy, self, error);
  if (self->beacon == NULL)
    return FALSE;
  self->journal = pilot_journal_new (self->store, journal_settled, self);
  pilot_directory_set_journal (self->directory, self->journal);
  pilot_beacon_get_address (self->beacon, &bound);
  options->service.beacon_port = bound.port;
  options->service.created = self->store->created;
  self->service = pilot_service_new (self->directory, self->journal, self->beacon, &options->service, options->now);
  self->server = pilot_server_new (self->reactor, self->journal, self->service, self->beacon, &options->server);
  self->reap_after = pilot_service_now (self->service) + options->stale_threshold;
  if (!pilot_server_listen (self->server, &options->registry, options->tls, &self->registry, error) ||
      (!pilot_endpoint_is_none (&options->registry_plain) &&
       !pilot_server_listen (self->server, &options->registry_plain, NULL, &self->registry_plain, error)) ||
      !listen_compat (self, error))
    return FALSE;
  pilot_reactor_set_turn_func (self->reactor, turn_ended, self);
  self->timer = g_timeout_source_new_seconds (SWEEP_INTERVAL);
  g_source_set_callback (self->timer, tick, self, NULL);
  g_source_attach (self->timer, g_main_context_get_thread_default ());
  return TRUE;
}

PilotRendezvous *
pilot_rendezvous_new (PilotStore *store,
                      const PilotRendezvousOptions *options,
                      PilotRendezvousFailed failed,
                      gpointer user_data,
                      GError **error)
{
  PilotRendezvous *self = g_new0 (PilotRendezvous, 1);

  self->options = *options;
  self->store = store;
  self->failed = failed;
  self->user_data = user_data;
  if (start (self, error))
    return self;
  pilot_rendezvous_close (self, NULL);
  return NULL;
}

gboolean
pilot_rendezvous_close (PilotRendezvous *self,
                        GError **error)
{
  gboolean ok = TRUE;

  if (self->timer != NULL) {
    g_source_destroy (self->timer);
    g_source_unref (self->timer);
  }
  /* Connections first: what they handed out is settled while there is a journal. */
  pilot_compat_free (self->compat);
  pilot_server_free (self->server);
  if (self->timer != NULL)
    pilot_directory_write_seen (self->directory);
  if (self->journal != NULL)
    ok = pilot_journal_close (self->journal, error);
  pilot_service_free (self->service);
  pilot_beacon_free (self->beacon);
  pilot_directory_free (self->directory);
  pilot_reactor_free (self->reactor);
  g_free (self);
  return ok;
}

void
pilot_rendezvous_get_registry (PilotRendezvous *self,
                               PilotEndpoint *address)
{
  *address = self->registry;
}

void
pilot_rendezvous_get_registry_plain (PilotRendezvous *self,
                                     PilotEndpoint *address)
{
  *address = self->registry_plain;
}

void
pilot_rendezvous_get_beacon (PilotRendezvous *self,
                             PilotEndpoint *address)
{
  pilot_beacon_get_address (self->beacon, address);
}

void
pilot_rendezvous_get_compat (PilotRendezvous *self,
                             PilotEndpoint *address)
{
  *address = self->compat_address;
}

void
pilot_rendezvous_get_compat_plain (PilotRendezvous *self,
                                   PilotEndpoint *address)
{
  *address = self->compat_plain_address;
}

PilotDirectory *
pilot_rendezvous_get_directory (PilotRendezvous *self)
{
  return self->directory;
}

PilotServer *
pilot_rendezvous_get_server (PilotRendezvous *self)
{
  return self->server;
}

PilotBeacon *
pilot_rendezvous_get_beacon_object (PilotRendezvous *self)
{
  return self->beacon;
}

PilotCompat *
pilot_rendezvous_get_compat_object (PilotRendezvous *self)
{
  return self->compat;
}
