/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gnutls/gnutls.h>
#include <json-glib/json-glib.h>

#include "protocol/identity.h"
#include "rendezvous/rendezvous.h"

G_BEGIN_DECLS

/* A rendezvous in a thread of its own, on loopback, and blocking clients for it. Requests are written here by hand, with
 * signatures made from texts written by hand, so that a mistake shared by client and server of the protocol library shows. */

typedef struct
{
  PilotRendezvousOptions options; /* may be changed between harness_init() and harness_start() */
  PilotStore *store;
  PilotRendezvous *rendezvous;
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  GAsyncQueue *started;
  PilotEndpoint registry;
  PilotEndpoint beacon;
  PilotEndpoint compat;
  PilotEndpoint compat_plain;
  gchar *failure; /* what the failed callback was told */
} Harness;

void harness_init (Harness *harness,
                   PilotStore *store); /* NULL: one in memory. Taken over */
void harness_start (Harness *harness);
/* Ends the server; the store stays. */
void harness_stop (Harness *harness);
void harness_clear (Harness *harness);
/* Runs a function in the server's thread and waits for it. */
void harness_run (Harness *harness,
                  void (*func) (Harness *harness, gpointer data),
                  gpointer data);
/* The server's clock, Unix seconds. */
extern gint harness_time;

typedef struct
{
  int fd;
  gnutls_session_t tls;
  gnutls_certificate_credentials_t credentials;
} Client;

/* Connected from `from` (NULL: any address). */
void client_open (Client *client,
                  const PilotEndpoint *to,
                  const gchar *from);
void client_open_tls (Client *client,
                      const PilotEndpoint *to);
void client_close (Client *client);
void client_write (Client *client,
                   gconstpointer data,
                   gsize length);
/* FALSE at end of file or reset. Fails the test after 20 s of silence. */
gboolean client_read (Client *client,
                      guint8 *data,
                      gsize length);
/* The body with its length before it. */
void client_send (Client *client,
                  const gchar *body);
/* (transfer full): NULL at end of file or reset. Fails the test after 20 s of silence. */
JsonObject *client_receive (Client *client);
JsonObject *client_call (Client *client,
                         const gchar *format,
                         ...) G_GNUC_PRINTF (2, 3);
/* The server closes without a byte. */
void client_expect_close (Client *client);
/* Calls; the answer must have this type, or this error. */
JsonObject *client_expect (Client *client,
                           const gchar *type,
                           const gchar *format,
                           ...) G_GNUC_PRINTF (3, 4);
void client_expect_error (Client *client,
                          const gchar *text,
                          const gchar *format,
                          ...) G_GNUC_PRINTF (3, 4);

/* --- datagrams --- */

/* A socket at this address that is connected to the beacon and waits 20 s: an answer from another address than the one asked is not seen, as in newer
 * daemons. */
int udp_open (const gchar *from,
              const PilotEndpoint *to);
/* Comes back when the beacon has handled everything before: there is one queue. */
void udp_settle (Harness *harness);

/* --- people --- */

typedef struct
{
  PilotIdentity identity;
  gchar key[64]; /* base64 */
  guint32 id;
} Person;

/* A key made from one letter. */
void person_init (Person *person,
                  gchar letter);
/* Registers, signed, as "127.0.0.1:PORT"; sets the id. */
void person_register (Person *person,
                      Client *client,
                      guint16 port);
/* base64 of the signature over the text. Valid until 32 calls later. */
const gchar *person_sign (Person *person,
                          const gchar *format,
                          ...) G_GNUC_PRINTF (2, 3);
/* Common calls. */
JsonObject *person_poll (Person *person,
                         Client *client);
void person_request (Person *person,
                     Client *client,
                     guint32 to,
                     const gchar *justification);
void person_report (Person *person,
                    Client *client,
                    guint32 peer);
gboolean check_trust (Client *client,
                      guint32 a,
                      guint32 b);

G_END_DECLS
