/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/ipc-message.h"

#include <string.h>

#include "libpilot/pilot-error.h"

static guint16
get16 (const guint8 *data)
{
  return (guint16) (data[0] << 8 | data[1]);
}

static guint32
get32 (const guint8 *data)
{
  return (guint32) data[0] << 24 | (guint32) data[1] << 16 | (guint32) data[2] << 8 | data[3];
}

static void
set16 (guint8 *data, guint16 value)
{
  data[0] = (guint8) (value >> 8);
  data[1] = (guint8) value;
}

static void
set32 (guint8 *data, guint32 value)
{
  set16 (data, (guint16) (value >> 16));
  set16 (data + 2, (guint16) value);
}

/* --- in --- */

PilotIpcCut
pilot_ipc_cut (const guint8 *data, gsize length, const guint8 **frame, gsize *frame_length, gsize *consumed)
{
  gsize at = 0;

  *consumed = 0;
  while (length - at >= 4) {
    guint32 announced = get32 (data + at);

    if (announced > PILOT_IPC_MAX_LENGTH)
      return PILOT_IPC_CUT_TOO_LONG;
    if (length - at - 4 < announced)
      break;
    at += 4 + announced;
    *consumed = at;
    if (announced > 0) {
      *frame = data + at - announced;
      *frame_length = announced;
      return PILOT_IPC_CUT_FRAME;
    }
  }
  return PILOT_IPC_CUT_MORE;
}

/* What is left to read of a payload. */
typedef struct {
  const guint8 *data;
  gsize length;
} Rest;

static gboolean
fail (GError **error, const char *text)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, text);
  return FALSE;
}

static guint8
take8 (Rest *rest)
{
  rest->length--;
  return *rest->data++;
}

static guint16
take16 (Rest *rest)
{
  rest->data += 2;
  rest->length -= 2;
  return get16 (rest->data - 2);
}

static guint32
take32 (Rest *rest)
{
  rest->data += 4;
  rest->length -= 4;
  return get32 (rest->data - 4);
}

static void
take_target (Rest *rest, PilotIpcRequest *request)
{
  pilot_address_unpack (rest->data, &request->address);
  rest->data += PILOT_ADDRESS_SIZE;
  rest->length -= PILOT_ADDRESS_SIZE;
  request->port = take16 (rest);
}

/* token_len u16, token */
static gboolean
take_token (Rest *rest, PilotIpcRequest *request)
{
  gsize length;

  length = take16 (rest);
  if (rest->length < length)
    return FALSE;
  request->token = rest->data;
  request->token_length = length;
  rest->data += length;
  rest->length -= length;
  return TRUE;
}

static gboolean
parse_handshake (Rest *rest, PilotIpcRequest *request, GError **error)
{
  static const char *const missing[] = {
    [PILOT_IPC_HANDSHAKE_SEND] = "handshake request: missing node_id",
    [PILOT_IPC_HANDSHAKE_APPROVE] = "handshake approve: missing node_id",
    [PILOT_IPC_HANDSHAKE_REJECT] = "handshake reject: missing node_id",
    [PILOT_IPC_HANDSHAKE_REVOKE] = "handshake revoke: missing node_id",
    [PILOT_IPC_HANDSHAKE_WAIT] = "handshake wait: payload must be [nodeID(4)][timeoutMs(4)]",
  };

  if (rest->length < 1)
    return fail (error, "handshake: missing sub-command");
  request->sub = take8 (rest);
  if (request->sub < PILOT_IPC_HANDSHAKE_SEND || request->sub > PILOT_IPC_HANDSHAKE_WAIT) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "handshake: unknown sub-command 0x%02X", request->sub);
    return FALSE;
  }
  if (missing[request->sub] == NULL)
    return TRUE;
  if (rest->length < (request->sub == PILOT_IPC_HANDSHAKE_WAIT ? 8 : 4))
    return fail (error, missing[request->sub]);
  request->node = take32 (rest);
  if (request->sub == PILOT_IPC_HANDSHAKE_WAIT)
    request->timeout_ms = take32 (rest);
  return TRUE;
}

static gboolean
parse_network (Rest *rest, PilotIpcRequest *request, GError **error)
{
  static const struct {
    guint8 needed;
    const char *missing;
  } layouts[] = {
    [PILOT_IPC_NETWORK_LIST] = { 0, NULL },
    [PILOT_IPC_NETWORK_JOIN] = { 2, "network join: missing network_id" },
    [PILOT_IPC_NETWORK_LEAVE] = { 2, "network leave: missing network_id" },
    [PILOT_IPC_NETWORK_MEMBERS] = { 2, "network members: missing network_id" },
    [PILOT_IPC_NETWORK_INVITE] = { 6, "network invite: missing network_id or target_node_id" },
    [PILOT_IPC_NETWORK_POLL_INVITES] = { 0, NULL },
    [PILOT_IPC_NETWORK_RESPOND_INVITE] = { 3, "network respond-invite: missing network_id or accept flag" },
  };

  if (rest->length < 1)
    return fail (error, "network: missing sub-command");
  request->sub = take8 (rest);
  if (request->sub < PILOT_IPC_NETWORK_LIST || request->sub > PILOT_IPC_NETWORK_RESPOND_INVITE) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "network: unknown sub-command 0x%02X", request->sub);
    return FALSE;
  }
  if (rest->length < layouts[request->sub].needed)
    return fail (error, layouts[request->sub].missing);
  if (layouts[request->sub].needed > 0)
    request->network = take16 (rest);
  if (request->sub == PILOT_IPC_NETWORK_INVITE)
    request->node = take32 (rest);
  else if (request->sub == PILOT_IPC_NETWORK_RESPOND_INVITE)
    request->accept = take8 (rest) == 1;
  else if (request->sub == PILOT_IPC_NETWORK_JOIN) {
    request->token = rest->data;
    request->token_length = rest->length;
  }
  return TRUE;
}

static gboolean
parse_policy (Rest *rest, PilotIpcRequest *request, GError **error)
{
  if (rest->length < 3)
    return fail (error, "managed policy: missing sub-sub-command and network_id");
  request->action = take8 (rest);
  request->network = take16 (rest);
  if (request->action > 1) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "managed policy: unknown action 0x%02X", request->action);
    return FALSE;
  }
  if (request->action == 0)
    return TRUE;
  /* Until v1.9 the JSON stood here, without a token: no token is 31522 bytes long (ipc.md W15). */
  if (rest->length >= 2 && rest->data[0] == '{' && get16 (rest->data) > rest->length - 2)
    return TRUE;
  if (rest->length < 2)
    return fail (error, "managed policy set: missing token length");
  if (!take_token (rest, request))
    return fail (error, "managed policy set: truncated token");
  return rest->length > 0 || fail (error, "managed policy set: missing policy JSON");
}

static gboolean
parse_member_tags (Rest *rest, PilotIpcRequest *request, GError **error)
{
  if (rest->length < 7)
    return fail (error, "managed member-tags: missing action, network_id, or node_id");
  request->action = take8 (rest);
  request->network = take16 (rest);
  request->node = take32 (rest);
  if (request->action > 1) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "managed member-tags: unknown action 0x%02X", request->action);
    return FALSE;
  }
  return request->action == 0 || rest->length > 0 || fail (error, "managed member-tags set: missing tags JSON");
}

static gboolean
parse_managed (Rest *rest, PilotIpcRequest *request, GError **error)
{
  if (rest->length < 1)
    return fail (error, "managed: missing sub-command");
  request->sub = take8 (rest);
  switch (request->sub) {
  case PILOT_IPC_MANAGED_POLICY:
    return parse_policy (rest, request, error);
  case PILOT_IPC_MANAGED_MEMBER_TAGS:
    return parse_member_tags (rest, request, error);
  case PILOT_IPC_MANAGED_STATUS:
  case PILOT_IPC_MANAGED_CYCLE:
  case PILOT_IPC_MANAGED_RECONCILE:
    /* Absent means the first network. */
    request->network = rest->length >= 2 ? take16 (rest) : 0;
    return TRUE;
  default:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "managed: unknown sub-command 0x%02X", request->sub);
    return FALSE;
  }
}

static gboolean
parse_broadcast (Rest *rest, PilotIpcRequest *request, GError **error)
{
  if (rest->length < 6)
    return fail (error, "broadcast: missing header");
  request->network = take16 (rest);
  request->port = take16 (rest);
  return take_token (rest, request) || fail (error, "broadcast: truncated token");
}

static gboolean
parse_payload (Rest *rest, PilotIpcRequest *request, GError **error)
{
  switch (request->opcode) {
  case PILOT_IPC_BIND:
    if (rest->length < 2)
      return fail (error, "bind: missing port");
    request->port = take16 (rest);
    return TRUE;
  case PILOT_IPC_UNBIND:
    if (rest->length != 2)
      return fail (error, "unbind: port is required");
    request->port = take16 (rest);
    return TRUE;
  case PILOT_IPC_DIAL:
    if (rest->length < 8)
      return fail (error, "dial: missing address/port");
    take_target (rest, request);
    return TRUE;
  case PILOT_IPC_SEND:
    if (rest->length < 4)
      return fail (error, "send: missing conn_id");
    request->conn_id = take32 (rest);
    return TRUE;
  case PILOT_IPC_CLOSE:
    if (rest->length < 4)
      return fail (error, "close: missing conn_id");
    request->conn_id = take32 (rest);
    return TRUE;
  case PILOT_IPC_SEND_TO:
  case PILOT_IPC_SEND_TO_CONFIRM:
    if (rest->length < 8)
      return fail (error, "sendto: missing header");
    take_target (rest, request);
    return TRUE;
  case PILOT_IPC_HANDSHAKE:
    return parse_handshake (rest, request, error);
  case PILOT_IPC_RESOLVE_HOSTNAME:
    return rest->length > 0 || fail (error, "resolve_hostname: missing hostname");
  case PILOT_IPC_SET_VISIBILITY:
    if (rest->length < 1)
      return fail (error, "set_visibility: missing value");
    request->sub = take8 (rest) == 1;
    return TRUE;
  case PILOT_IPC_NETWORK:
    return parse_network (rest, request, error);
  case PILOT_IPC_MANAGED:
    return parse_managed (rest, request, error);
  case PILOT_IPC_BROADCAST:
    return parse_broadcast (rest, request, error);
  case PILOT_IPC_PREFER_DIRECT:
    if (rest->length != 4)
      return fail (error, "prefer_direct: payload must be 4 bytes (node_id)");
    request->node = take32 (rest);
    return TRUE;
  case PILOT_IPC_INFO:
  case PILOT_IPC_HEALTH:
  case PILOT_IPC_SET_HOSTNAME:
  case PILOT_IPC_DEREGISTER:
  case PILOT_IPC_SET_TAGS:
  case PILOT_IPC_SET_WEBHOOK:
  case PILOT_IPC_ROTATE_KEY:
  case PILOT_IPC_CANCEL:
  case PILOT_IPC_SUBMIT_BADGE:
  case PILOT_IPC_ENROLL_RECOVERY:
  case PILOT_IPC_SIGN_ENVELOPE:
  case PILOT_IPC_VERIFY_ENVELOPE:
    return TRUE;
  default:
    /* Matched to the letter by Go's driver and pilotctl. */
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unknown command: 0x%02X", request->opcode);
    return FALSE;
  }
}

gboolean
pilot_ipc_parse (const guint8 *frame, gsize length, PilotIpcRequest *request, GError **error)
{
  Rest rest = { frame + 1, length - 1 };

  *request = (PilotIpcRequest) { .opcode = frame[0] };
  if (!parse_payload (&rest, request, error))
    return FALSE;
  request->data = rest.data;
  request->data_length = rest.length;
  return TRUE;
}

gboolean
pilot_ipc_is_silent (guint8 opcode)
{
  /* A close is answered, but no client waits for the answer of a malformed one (ipc.md W2). */
  return opcode == PILOT_IPC_SEND || opcode == PILOT_IPC_SEND_TO || opcode == PILOT_IPC_CANCEL || opcode == PILOT_IPC_CLOSE;
}

/* --- out --- */

/* Room for a frame of @length bytes behind the opcode; answers where they go. */
static guint8 *
append (GByteArray *out, guint8 opcode, gsize length)
{
  guint at = out->len;

  g_return_val_if_fail (length < PILOT_IPC_MAX_LENGTH, NULL);
  g_byte_array_set_size (out, at + PILOT_IPC_HEADER_SIZE + (guint) length);
  set32 (out->data + at, (guint32) length + 1);
  out->data[at + 4] = opcode;
  return out->data + at + PILOT_IPC_HEADER_SIZE;
}

void
pilot_ipc_put (GByteArray *out, guint8 opcode, const void *payload, gsize length)
{
  guint8 *at = append (out, opcode, length);

  if (length > 0)
    memcpy (at, payload, length);
}

void
pilot_ipc_put_port (GByteArray *out, guint8 opcode, guint16 port)
{
  set16 (append (out, opcode, 2), port);
}

void
pilot_ipc_put_conn (GByteArray *out, guint8 opcode, guint32 conn_id)
{
  set32 (append (out, opcode, 4), conn_id);
}

void
pilot_ipc_put_error (GByteArray *out, const char *text)
{
  gsize length = MIN (strlen (text), PILOT_IPC_MAX_BODY);
  guint8 *at = append (out, PILOT_IPC_ERROR, 2 + length);

  set16 (at, 1);
  memcpy (at + 2, text, length);
}

void
pilot_ipc_put_accept (GByteArray *out, guint16 local_port, guint32 conn_id, const PilotAddress *remote, guint16 remote_port)
{
  guint8 *at = append (out, PILOT_IPC_ACCEPT, 14);

  set16 (at, local_port);
  set32 (at + 2, conn_id);
  pilot_address_pack (remote, at + 6);
  set16 (at + 12, remote_port);
}

void
pilot_ipc_put_recv_from (GByteArray *out, const PilotAddress *source, guint16 source_port, guint16 port, const void *data, gsize length)
{
  guint8 *at = append (out, PILOT_IPC_RECV_FROM, 10 + length);

  pilot_address_pack (source, at);
  set16 (at + 6, source_port);
  set16 (at + 8, port);
  memcpy (at + 10, data, length);
}

void
pilot_ipc_recv_header (guint8 header[PILOT_IPC_RECV_HEADER_SIZE], guint32 conn_id, gsize length)
{
  set32 (header, (guint32) length + 5);
  header[4] = PILOT_IPC_RECV;
  set32 (header + 5, conn_id);
}
