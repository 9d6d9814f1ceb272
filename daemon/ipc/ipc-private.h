/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-glib/json-glib.h>

#include "daemon/ipc/ipc.h"
#include "protocol/ipc-message.h"

G_BEGIN_DECLS

/* Shared by the files ipc*.c; nobody else includes it. */

/* ipc.md section 2, "Limits". */
#define PILOT_IPC_MAX_CLIENTS 1024
#define PILOT_IPC_MAX_CONNS 4096
#define PILOT_IPC_MAX_CALLS 1024

typedef struct _PilotIpcClient PilotIpcClient;
typedef struct _PilotIpcConn PilotIpcConn;
typedef struct _PilotIpcCall PilotIpcCall;

struct _PilotIpc {
  PilotNode *node;
  GPtrArray *sockets;  /* Socket, of ipc.c */
  GQueue clients;      /* PilotIpcClient */
  GHashTable *conns;   /* conn_id -> PilotIpcConn: those that some client owns */
  GQueue closing;      /* PilotIpcConn: nobody's any more, but not everything written has gone out; the newest last */
  gsize closing_bytes; /* what has not, in all of them */
  gulong node_handler;
  gboolean datagrams; /* we take those nothing else is bound to */
  guint64 refused;    /* connections of other users */
};

/* One program at the socket. */
struct _PilotIpcClient {
  PilotIpc *ipc;
  GList link;
  int fd;
  PilotPollerWatch *watch;
  GByteArray *in;
  GByteArray *out; /* frames from out_at on */
  gsize out_at;
  gboolean broken; /* the socket failed: it is closed in its next turn */
  gboolean woken;  /* a limit was met, and is no more: go on */
  gint64 turn_end; /* when the others come, at the latest */
  GQueue calls;    /* PilotIpcCall, the oldest first */

  /* ipc-streams.c */
  GHashTable *ports;    /* port -> PilotIpcPort */
  GQueue conns;         /* PilotIpcConn */
  GQueue readable;      /* those of them that have something to say */
  PilotIpcConn *dial;   /* the one that is not answered yet */
  gsize send_queued;    /* bytes of Send that streams have no room for yet */
  GHashTable *finished; /* conn_id -> Finished: ended by the peer, and not yet closed by the client */
};

/* A request that is answered once. Answering frees it; when the client is gone by then, that is all. */
struct _PilotIpcCall {
  GList link;
  PilotIpcClient *client; /* NULL = gone */
  guint8 opcode;
  GByteArray *reply; /* made, but an older request of this kind comes first */
  GCancellable *cancellable;
  /* For the use of whoever answers. @abandon: the client is gone, answer now; NULL: cancelling is enough. */
  void (*abandon) (PilotIpcCall *call);
  guint32 node;
  PilotTrust *trust;
  guint source;
  gulong handler;
};

/* --- ipc.c --- */
void pilot_ipc_client_gone (PilotIpc *ipc);

/* --- ipc-client.c: the bytes, and the order of answers --- */
PilotIpcClient *pilot_ipc_client_new (PilotIpc *ipc, int fd);
void pilot_ipc_client_free (PilotIpcClient *client);
/* Sends what was put into client->out, and stream data after it, as far as the socket takes it. */
void pilot_ipc_client_flush (PilotIpcClient *client);
/* Only the first of that. TRUE when nothing is left. */
gboolean pilot_ipc_client_write (PilotIpcClient *client);
/* Bytes that wait for the client to read. */
gsize pilot_ipc_client_backlog (PilotIpcClient *client);
/* Something a client waits for may have changed: looks at its frames again in the next turn. */
void pilot_ipc_client_wake (PilotIpcClient *client);

PilotIpcCall *pilot_ipc_call_new (PilotIpcClient *client, guint8 opcode);
/* (transfer full): all of these take the call. */
void pilot_ipc_call_reply (PilotIpcCall *call, JsonObject *body); /* takes the body too */
void pilot_ipc_call_reply_empty (PilotIpcCall *call);
void pilot_ipc_call_reply_port (PilotIpcCall *call, guint16 port);
void pilot_ipc_call_reply_conn (PilotIpcCall *call, guint32 conn_id);
void pilot_ipc_call_fail (PilotIpcCall *call, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* "<label>: <the error's message>"; takes the error. */
void pilot_ipc_call_fail_error (PilotIpcCall *call, const char *label, GError *error);

/* --- ipc-commands.c: the table --- */
void pilot_ipc_dispatch (PilotIpcClient *client, const guint8 *frame, gsize length);

/* --- ipc-handshake.c --- */
void pilot_ipc_handshake (PilotIpcCall *call, const PilotIpcRequest *request);

/* --- ipc-envelope.c --- */
void pilot_ipc_sign_envelope (PilotIpcCall *call, const PilotIpcRequest *request);
void pilot_ipc_verify_envelope (PilotIpcCall *call, const PilotIpcRequest *request);

/* --- ipc-streams.c: ports and streams of clients --- */
void pilot_ipc_bind (PilotIpcCall *call, const PilotIpcRequest *request);
void pilot_ipc_unbind (PilotIpcCall *call, const PilotIpcRequest *request);
void pilot_ipc_close (PilotIpcCall *call, const PilotIpcRequest *request);
void pilot_ipc_dial (PilotIpcClient *client, const PilotIpcRequest *request);
void pilot_ipc_cancel (PilotIpcClient *client);
void pilot_ipc_send (PilotIpcClient *client, const PilotIpcRequest *request);
/* Moves stream data to the client while its socket takes it. */
void pilot_ipc_client_push (PilotIpcClient *client);
/* Gives up everything the client had. */
void pilot_ipc_client_release (PilotIpcClient *client);
void pilot_ipc_conn_reset (PilotIpcConn *conn); /* of ipc->closing */
void pilot_ipc_client_init_streams (PilotIpcClient *client);

/* --- ipc-report.c: JSON --- */
JsonObject *pilot_ipc_info (PilotIpc *ipc);
JsonObject *pilot_ipc_health (PilotIpc *ipc);
JsonObject *pilot_ipc_trust_list (PilotIpc *ipc, PilotTrustKind kind);
/* Keeps as many rows of array @list as let the whole stay below @max bytes, and says so by "@list_truncated". */
void pilot_ipc_cut_list (JsonObject *body, const char *list, gsize max);

G_END_DECLS
