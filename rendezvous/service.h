/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-glib/json-glib.h>

#include "rendezvous/beacon.h"
#include "rendezvous/directory.h"

G_BEGIN_DECLS

/**
 * PilotService:
 *
 * Answers the registry's requests (registry notes, section 7): checks signatures, asks the directory, makes the response. It
 * knows no sockets; a connection is a PilotSession to it.
 */
typedef struct _PilotService PilotService;

typedef struct
{
  gchar *admin_token;       /* NULL: none is accepted */
  gchar *advertised_beacon; /* "host:port" told to nodes; NULL: the address the client reached us at */
  guint16 beacon_port;      /* for that */
  gint64 created;           /* Unix seconds: when the backbone began */
  guint registration_burst; /* new keys from one host at once, */
  guint registration_rate;  /* and then a minute */
} PilotServiceOptions;

/* The peer of one connection. The owner fills in what stands above the line. */
typedef struct _PilotSession PilotSession;
struct _PilotSession {
  PilotEndpoint remote;
  PilotEndpoint local;
  /* Whether all that was answered has reached the peer's host. */
  gboolean (*is_delivered) (PilotSession *session);
  /* --- */
  guint32 node;     /* that authenticated last here, 0 for none */
  guint32 polled;   /* node whose inbox was handed out here, 0 for none */
  GArray *delivery; /* PilotDirectoryItem handed out and not known to have arrived */
};

typedef struct
{
  GBytes *frame;  /* (transfer full) */
  guint64 ticket; /* send it when the journal has this one */
  guint32 notify; /* then tell this node that something waits for it; 0 for none */
} PilotAnswer;

/* (transfer full). `beacon` may be NULL. Everything is borrowed. `now` is for tests: NULL for the real time. */
PilotService *pilot_service_new (PilotDirectory *directory,
                                 PilotJournal *journal,
                                 PilotBeacon *beacon,
                                 const PilotServiceOptions *options,
                                 gint64 (*now) (void));
void pilot_service_free (PilotService *service);
void pilot_service_handle (PilotService *service,
                           PilotSession *session,
                           JsonObject *request,
                           PilotAnswer *answer);
/* The response of this session will never be sent: what it handed out stays in the inboxes. */
void pilot_service_lost (PilotService *service,
                         PilotSession *session);
/* Before the connection is closed: settles what was handed out. */
void pilot_service_end (PilotService *service,
                        PilotSession *session);
/* Settles whatever has arrived meanwhile. Call now and then. */
void pilot_service_settle (PilotService *service);
gint64 pilot_service_now (PilotService *service);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotService, pilot_service_free)

G_END_DECLS
