/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"
#include "rendezvous/reactor.h"
#include "rendezvous/tls.h"

G_BEGIN_DECLS

/* A listening TCP socket in the reactor. One failed accept never ends it. */
typedef struct _PilotServerListener PilotServerListener;

typedef struct
{
  /* Takes the descriptor, which is non-blocking. */
  void (*accepted) (int fd,
                    PilotTls *tls,
                    const PilotEndpoint *remote,
                    gpointer user_data);
  /* No descriptor is left: end one connection. FALSE when there is none. */
  gboolean (*evict) (gpointer user_data);
} PilotServerListenerFuncs;

/* One more in `listeners`, whose elements pilot_server_listener_free() frees. `tls` (NULL: plain) and `funcs` are borrowed. `bound` (out): the real address. */
gboolean pilot_server_listener_add (GPtrArray *listeners,
                                    PilotReactor *reactor,
                                    const PilotEndpoint *address,
                                    PilotTls *tls,
                                    const PilotServerListenerFuncs *funcs,
                                    gpointer user_data,
                                    PilotEndpoint *bound,
                                    GError **error);
void pilot_server_listener_free (PilotServerListener *listener);

G_END_DECLS
