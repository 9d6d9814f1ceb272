/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-address.h"

G_BEGIN_DECLS

/* The protocol that the Go tools and SDKs speak with their daemon over a Unix socket (ipc.md): 4 bytes of length, big endian, one opcode, a payload. */

#define PILOT_IPC_HEADER_SIZE 5
/* What the length may say: opcode and payload. */
#define PILOT_IPC_MAX_LENGTH (1024 * 1024)
/* The longest JSON reply, and the most stream data in one frame (ipc.md section 1). */
#define PILOT_IPC_MAX_BODY (PILOT_IPC_MAX_LENGTH - 64)

/* A request's answer has the next number (ipc.md section 3). */
typedef enum {
  PILOT_IPC_BIND = 0x01,
  PILOT_IPC_BIND_OK,
  PILOT_IPC_DIAL,
  PILOT_IPC_DIAL_OK,
  PILOT_IPC_ACCEPT,
  PILOT_IPC_SEND,
  PILOT_IPC_RECV,
  PILOT_IPC_CLOSE,
  PILOT_IPC_CLOSE_OK,
  PILOT_IPC_ERROR,
  PILOT_IPC_SEND_TO,
  PILOT_IPC_RECV_FROM,
  PILOT_IPC_INFO,
  PILOT_IPC_HANDSHAKE = 0x0F,
  PILOT_IPC_RESOLVE_HOSTNAME = 0x11,
  PILOT_IPC_SET_HOSTNAME = 0x13,
  PILOT_IPC_SET_VISIBILITY = 0x15,
  PILOT_IPC_DEREGISTER = 0x17,
  PILOT_IPC_SET_TAGS = 0x19,
  PILOT_IPC_SET_WEBHOOK = 0x1B,
  PILOT_IPC_NETWORK = 0x1F,
  PILOT_IPC_HEALTH = 0x21,
  PILOT_IPC_MANAGED = 0x23,
  PILOT_IPC_ROTATE_KEY = 0x25,
  PILOT_IPC_BROADCAST = 0x29,
  PILOT_IPC_CANCEL = 0x2B,
  PILOT_IPC_PREFER_DIRECT = 0x2D,
  PILOT_IPC_SUBMIT_BADGE = 0x2F,
  PILOT_IPC_ENROLL_RECOVERY = 0x31,
  PILOT_IPC_SIGN_ENVELOPE = 0x33,
  PILOT_IPC_VERIFY_ENVELOPE = 0x35,
  PILOT_IPC_UNBIND = 0x37,
  PILOT_IPC_SEND_TO_CONFIRM = 0x39,
  PILOT_IPC_SEND_TO_OK,
} PilotIpcOpcode;

typedef enum {
  PILOT_IPC_HANDSHAKE_SEND = 1,
  PILOT_IPC_HANDSHAKE_APPROVE,
  PILOT_IPC_HANDSHAKE_REJECT,
  PILOT_IPC_HANDSHAKE_PENDING,
  PILOT_IPC_HANDSHAKE_TRUSTED,
  PILOT_IPC_HANDSHAKE_REVOKE,
  PILOT_IPC_HANDSHAKE_WAIT,
} PilotIpcHandshake;

typedef enum {
  PILOT_IPC_NETWORK_LIST = 1,
  PILOT_IPC_NETWORK_JOIN,
  PILOT_IPC_NETWORK_LEAVE,
  PILOT_IPC_NETWORK_MEMBERS,
  PILOT_IPC_NETWORK_INVITE,
  PILOT_IPC_NETWORK_POLL_INVITES,
  PILOT_IPC_NETWORK_RESPOND_INVITE,
} PilotIpcNetwork;

typedef enum {
  PILOT_IPC_MANAGED_STATUS = 2,
  PILOT_IPC_MANAGED_CYCLE = 4,
  PILOT_IPC_MANAGED_POLICY,
  PILOT_IPC_MANAGED_MEMBER_TAGS,
  PILOT_IPC_MANAGED_RECONCILE,
} PilotIpcManaged;

typedef enum {
  PILOT_IPC_CUT_MORE,     /* the frame is not complete */
  PILOT_IPC_CUT_FRAME,    /* there is one */
  PILOT_IPC_CUT_TOO_LONG, /* the connection is to be abandoned */
} PilotIpcCut;

/* Cuts the first frame off a byte stream. @frame (out) points into @data, at the opcode, @frame_length bytes long; @consumed (out) is what to take
 * away, frames of length 0 included, which mean nothing. */
PilotIpcCut pilot_ipc_cut (const guint8 *data, gsize length, const guint8 **frame, gsize *frame_length, gsize *consumed);

/**
 * PilotIpcRequest: what a client says, taken apart. Only the fields of its opcode are set.
 * @sub: of handshake, network, managed; 1 or 0 of set-visibility
 * @action: of managed policy and member-tags
 * @accept: of network respond-invite
 * @timeout_ms: of handshake wait
 * @data: what follows (text, JSON, stream data), not terminated; points into the frame
 * @token: of broadcast and network join, likewise
 */
typedef struct {
  guint8 opcode, sub, action;
  gboolean accept;
  guint16 network, port;
  guint32 node, conn_id, timeout_ms;
  PilotAddress address;
  const guint8 *data, *token;
  gsize data_length, token_length;
} PilotIpcRequest;

/* @frame as pilot_ipc_cut() gave it, 1 byte at least. FALSE with PILOT_ERROR_INVALID_ARGUMENT and the text that the client gets, exactly as in ipc.md. The
 * opcode is set in either case. */
gboolean pilot_ipc_parse (const guint8 *frame, gsize length, PilotIpcRequest *request, GError **error);
/* Whether this opcode is never answered: an error in it is to be passed over, since a client would take it for the answer of something else. */
gboolean pilot_ipc_is_silent (guint8 opcode);

/* Frames, appended to @out. */
void pilot_ipc_put (GByteArray *out, guint8 opcode, const void *payload, gsize length);
void pilot_ipc_put_port (GByteArray *out, guint8 opcode, guint16 port);
void pilot_ipc_put_conn (GByteArray *out, guint8 opcode, guint32 conn_id);
/* Code 1, as always. A text too long for a frame is cut. */
void pilot_ipc_put_error (GByteArray *out, const char *text);
void pilot_ipc_put_accept (GByteArray *out, guint16 local_port, guint32 conn_id, const PilotAddress *remote, guint16 remote_port);
void pilot_ipc_put_recv_from (GByteArray *out, const PilotAddress *source, guint16 source_port, guint16 port, const void *data, gsize length);
/* What goes before @length bytes of stream data. */
#define PILOT_IPC_RECV_HEADER_SIZE 9
void pilot_ipc_recv_header (guint8 header[PILOT_IPC_RECV_HEADER_SIZE], guint32 conn_id, gsize length);

G_END_DECLS
