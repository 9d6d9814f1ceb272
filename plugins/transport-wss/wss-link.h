/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

/* One connection to the beacon, for ever: dialled, logged in, watched, and dialled again when it is lost (beacon notes, section 7). */
typedef struct _WssLink WssLink;

typedef struct
{
  gchar *url;         /* wss://HOST[:PORT]/PATH */
  gchar *fingerprint; /* 64 hex digits of the one certificate that is taken; NULL: one that the system trusts for the host */
  gchar *proxy;       /* as pilot_proxy_normalize() takes it; NULL: none */
  gchar *command;     /* prints the URL of the proxy; NULL: none */
} WssLinkSettings;

typedef struct
{
  /* One datagram from the beacon. */
  void (*message) (gconstpointer data,
                   gsize length,
                   gpointer user_data);
  /* There is room again, after wss_link_is_full(). */
  void (*drained) (gpointer user_data);
  /* Logged in (trouble NULL), or not, and why. */
  void (*changed) (const gchar *trouble,
                   gpointer user_data);
  /* Answers a challenge, as pilot_transport_prove(). */
  gboolean (*prove) (const gchar *challenge,
                     PilotTransportProof *proof,
                     gpointer user_data,
                     GError **error);
} WssLinkFuncs;

/* (transfer full): dials when wss_link_reconnect() is called first. INVALID_ARGUMENT for settings that make no sense. */
WssLink *wss_link_new (const WssLinkSettings *settings,
                       const WssLinkFuncs *funcs,
                       gpointer user_data,
                       GError **error);
/* None of the functions is called after this. */
void wss_link_free (WssLink *self);
/* Drops what there is and dials now. */
void wss_link_reconnect (WssLink *self);
gboolean wss_link_is_open (WssLink *self);
/* As much waits for the network as may: drained() follows. */
gboolean wss_link_is_full (WssLink *self);
/* Queues one datagram. Only while it is open. */
void wss_link_send (WssLink *self,
                    gconstpointer data,
                    gsize length);
/* How often a connection was made. */
guint wss_link_get_logins (WssLink *self);

G_END_DECLS
