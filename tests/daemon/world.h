/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/config.h"
#include "daemon/core/plugin/loader.h"
#include "daemon/core/poller.h"
#include "daemon/node/node.h"
#include "daemon/services/echo.h"
#include "daemon/services/exchange.h"
#include "rendezvous/rendezvous.h"

G_BEGIN_DECLS

/* A rendezvous and some nodes in one process and one main loop, on loopback: the real engine, transport, store and registry. */

typedef struct {
  char *folder;
  PilotConfig *config;
  PilotPoller *poller;
  PilotPluginLoader *plugins;
  PilotNode *node;
  PilotEcho *echo;
  PilotExchange *exchange;
  GString *events; /* "trust N granted mutual;" … */
} Host;

typedef struct {
  char *folder;
  PilotStore *store;
  PilotRendezvous *rendezvous;
  PilotEndpoint registry, beacon;
  const char *beacon_name; /* NULL: hosts are given its address */
  Host hosts[3];
} World;

void world_init (World *world);
void world_clear (World *world);
void world_stop_rendezvous (World *world);
void world_start_rendezvous (World *world);

/* Makes the host's folder, or uses it again; comes back when it is registered. */
void host_start (World *world, guint index);
/* The same without waiting for the registry. FALSE with the start's error. */
gboolean host_try_start (World *world, guint index, GError **error);
void host_stop (Host *host);

/* Runs the main loop until the condition holds; fails the test after @seconds. */
#define WAIT(seconds, condition)                                                                    \
  G_STMT_START                                                                                      \
  {                                                                                                 \
    gint64 world_end = g_get_monotonic_time () + (gint64) ((seconds) *G_USEC_PER_SEC);              \
    guint world_tick = g_timeout_add (20, world_tick_cb, NULL);                                     \
    while (!(condition)) {                                                                          \
      g_main_context_iteration (NULL, TRUE);                                                        \
      if (g_get_monotonic_time () > world_end)                                                      \
        g_error ("%s:%d: not within %g s: %s", __FILE__, __LINE__, (double) (seconds), #condition); \
    }                                                                                               \
    g_source_remove (world_tick);                                                                   \
  }                                                                                                 \
  G_STMT_END
gboolean world_tick_cb (gpointer user_data);

/* "" when the echo came back, else the error's word. */
char *host_ping (Host *host, guint32 peer, guint timeout_ms);

G_END_DECLS
