/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/ipc-message.h"
#include "tests/unit/vectors.h"

#define NODE 893

static JsonObject *frames; /* name -> hex */

static guint8 *
vector (const char *name, gsize *length)
{
  return vectors_hex_member (frames, name, length);
}

static void
parse_vector (const char *name, guint8 **bytes, PilotIpcRequest *request)
{
  g_autoptr (GError) error = NULL;
  const guint8 *frame;
  gsize length, frame_length, consumed;

  *bytes = vector (name, &length);
  g_assert_cmpint (pilot_ipc_cut (*bytes, length, &frame, &frame_length, &consumed), ==, PILOT_IPC_CUT_FRAME);
  g_assert_cmpuint (consumed, ==, length);
  pilot_ipc_parse (frame, frame_length, request, &error);
  g_assert_no_error (error);
}

static void
test_requests (void)
{
  static const struct {
    const char *name;
    PilotIpcRequest wanted; /* data and token: as strings below */
    const char *data, *token;
  } cases[] = {
    { "Info request", { .opcode = PILOT_IPC_INFO }, "", "" },
    { "Health request", { .opcode = PILOT_IPC_HEALTH }, "", "" },
    { "Bind 1000", { .opcode = PILOT_IPC_BIND, .port = 1000 }, "", "" },
    { "Dial 0:0000.0000.037D port 7", { .opcode = PILOT_IPC_DIAL, .address = { 0, NODE }, .port = 7 }, "", "" },
    { "Send conn 1 \"ping-0\"", { .opcode = PILOT_IPC_SEND, .conn_id = 1 }, "ping-0", "" },
    { "Close conn 1", { .opcode = PILOT_IPC_CLOSE, .conn_id = 1 }, "", "" },
    { "SendTo …037D:5000 \"hi\"", { .opcode = PILOT_IPC_SEND_TO, .address = { 0, NODE }, .port = 5000 }, "hi", "" },
    { "SendToConfirm …037D:5000 \"hi\"", { .opcode = PILOT_IPC_SEND_TO_CONFIRM, .address = { 0, NODE }, .port = 5000 }, "hi", "" },
    { "Handshake send 893 \"hello\"", { .opcode = PILOT_IPC_HANDSHAKE, .sub = PILOT_IPC_HANDSHAKE_SEND, .node = NODE }, "hello", "" },
    { "Handshake trusted", { .opcode = PILOT_IPC_HANDSHAKE, .sub = PILOT_IPC_HANDSHAKE_TRUSTED }, "", "" },
    { "Handshake wait 893, 0 ms", { .opcode = PILOT_IPC_HANDSHAKE, .sub = PILOT_IPC_HANDSHAKE_WAIT, .node = NODE }, "", "" },
    { "ResolveHostname \"alpha\"", { .opcode = PILOT_IPC_RESOLVE_HOSTNAME }, "alpha", "" },
    { "SetTags [\"a\"]", { .opcode = PILOT_IPC_SET_TAGS }, "[\"a\"]", "" },
    { "Network join 5 token \"tok\"", { .opcode = PILOT_IPC_NETWORK, .sub = PILOT_IPC_NETWORK_JOIN, .network = 5 }, "tok", "tok" },
    { "Network invite 5, 893", { .opcode = PILOT_IPC_NETWORK, .sub = PILOT_IPC_NETWORK_INVITE, .network = 5, .node = NODE }, "", "" },
    { "Managed status 5", { .opcode = PILOT_IPC_MANAGED, .sub = PILOT_IPC_MANAGED_STATUS, .network = 5 }, "", "" },
    { "Managed policy get 5", { .opcode = PILOT_IPC_MANAGED, .sub = PILOT_IPC_MANAGED_POLICY, .network = 5 }, "", "" },
    { "Managed policy set 5, token \"s\", {}", { .opcode = PILOT_IPC_MANAGED, .sub = PILOT_IPC_MANAGED_POLICY, .action = 1, .network = 5 }, "{}", "s" },
    { "Managed member-tags get 5, 893", { .opcode = PILOT_IPC_MANAGED, .sub = PILOT_IPC_MANAGED_MEMBER_TAGS, .network = 5, .node = NODE }, "", "" },
    { "Broadcast net 5 port 5000 token \"s\" \"hi\"", { .opcode = PILOT_IPC_BROADCAST, .network = 5, .port = 5000 }, "hi", "s" },
    { "Cancel", { .opcode = PILOT_IPC_CANCEL }, "", "" },
    { "PreferDirect 893", { .opcode = PILOT_IPC_PREFER_DIRECT, .node = NODE }, "", "" },
    { "Unbind 1000", { .opcode = PILOT_IPC_UNBIND, .port = 1000 }, "", "" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    const PilotIpcRequest *wanted = &cases[i].wanted;
    g_autofree guint8 *bytes = NULL;
    PilotIpcRequest request;

    g_test_message ("%s", cases[i].name);
    parse_vector (cases[i].name, &bytes, &request);
    g_assert_cmpuint (request.opcode, ==, wanted->opcode);
    g_assert_cmpuint (request.sub, ==, wanted->sub);
    g_assert_cmpuint (request.action, ==, wanted->action);
    g_assert_cmpuint (request.network, ==, wanted->network);
    g_assert_cmpuint (request.port, ==, wanted->port);
    g_assert_cmpuint (request.node, ==, wanted->node);
    g_assert_cmpuint (request.conn_id, ==, wanted->conn_id);
    g_assert_cmpuint (request.timeout_ms, ==, wanted->timeout_ms);
    g_assert_true (pilot_address_equal (&request.address, &wanted->address));
    g_assert_cmpmem (request.data, request.data_length, cases[i].data, strlen (cases[i].data));
    g_assert_cmpmem (request.token, request.token_length, cases[i].token, strlen (cases[i].token));
  }
}

static void
check_frame (GByteArray *out, const char *name)
{
  gsize length;
  g_autofree guint8 *wanted = vector (name, &length);

  g_test_message ("%s", name);
  g_assert_cmpmem (out->data, out->len, wanted, length);
  g_byte_array_set_size (out, 0);
}

static void
test_replies (void)
{
  g_autoptr (GByteArray) out = g_byte_array_new ();
  const PilotAddress remote = { 0, NODE };
  guint8 header[PILOT_IPC_RECV_HEADER_SIZE];

  pilot_ipc_put_port (out, PILOT_IPC_BIND_OK, 1000);
  check_frame (out, "BindOK 1000");
  pilot_ipc_put_port (out, PILOT_IPC_UNBIND + 1, 1000);
  check_frame (out, "UnbindOK 1000");
  pilot_ipc_put_conn (out, PILOT_IPC_DIAL_OK, 1);
  check_frame (out, "DialOK conn 1");
  pilot_ipc_put_conn (out, PILOT_IPC_CLOSE_OK, 1);
  check_frame (out, "CloseOK conn 1");
  pilot_ipc_put_accept (out, 1000, 2, &remote, 49152);
  check_frame (out, "Accept port 1000 conn 2 from …037D:49152");
  pilot_ipc_recv_header (header, 1, 6);
  g_byte_array_append (out, header, sizeof header);
  g_byte_array_append (out, (const guint8 *) "ping-0", 6);
  check_frame (out, "Recv conn 1 \"ping-0\"");
  pilot_ipc_put_recv_from (out, &remote, 49153, 5000, "hi", 2);
  check_frame (out, "RecvFrom …037D:49153 to 5000 \"hi\"");
  pilot_ipc_put_error (out, "dial timeout");
  check_frame (out, "Error \"dial timeout\"");
  pilot_ipc_put (out, PILOT_IPC_BROADCAST + 1, NULL, 0);
  check_frame (out, "BroadcastOK");
  pilot_ipc_put (out, PILOT_IPC_SEND_TO_OK, NULL, 0);
  check_frame (out, "SendToOK");
}

static void
test_errors (void)
{
  static const struct {
    const char *frame; /* hex, from the opcode on */
    const char *text;
  } cases[] = {
    { "3f", "unknown command: 0x3F" },
    { "1d01", "unknown command: 0x1D" },
    { "02", "unknown command: 0x02" },
    { "0101", "bind: missing port" },
    { "3701", "unbind: port is required" },
    { "37010203", "unbind: port is required" },
    { "0300000000037d00", "dial: missing address/port" },
    { "08000000", "close: missing conn_id" },
    { "06000000", "send: missing conn_id" },
    { "0b00000000037d13", "sendto: missing header" },
    { "3900000000037d13", "sendto: missing header" },
    { "11", "resolve_hostname: missing hostname" },
    { "15", "set_visibility: missing value" },
    { "0f", "handshake: missing sub-command" },
    { "0f7f", "handshake: unknown sub-command 0x7F" },
    { "0f00", "handshake: unknown sub-command 0x00" },
    { "0f01000003", "handshake request: missing node_id" },
    { "0f070000037d000000", "handshake wait: payload must be [nodeID(4)][timeoutMs(4)]" },
    { "1f", "network: missing sub-command" },
    { "1f7f", "network: unknown sub-command 0x7F" },
    { "1f0200", "network join: missing network_id" },
    { "1f050005000003", "network invite: missing network_id or target_node_id" },
    { "1f070005", "network respond-invite: missing network_id or accept flag" },
    { "23", "managed: missing sub-command" },
    { "237f", "managed: unknown sub-command 0x7F" },
    { "2301", "managed: unknown sub-command 0x01" },
    { "23050000", "managed policy: missing sub-sub-command and network_id" },
    { "2305020005", "managed policy: unknown action 0x02" },
    { "2305010005", "managed policy set: missing token length" },
    { "2305010005000573", "managed policy set: truncated token" },
    { "2305010005000173", "managed policy set: missing policy JSON" },
    { "23060000050000", "managed member-tags: missing action, network_id, or node_id" },
    { "23060100050000037d", "managed member-tags set: missing tags JSON" },
    { "2900051388", "broadcast: missing header" },
    { "29000513880005", "broadcast: truncated token" },
    { "2d0000037d00", "prefer_direct: payload must be 4 bytes (node_id)" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree guint8 *frame = NULL;
    PilotIpcRequest request;
    gsize length;

    frame = vectors_unhex (cases[i].frame, &length);
    g_assert_false (pilot_ipc_parse (frame, length, &request, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpstr (error->message, ==, cases[i].text);
    g_assert_cmpuint (request.opcode, ==, frame[0]);
  }
}

/* Clients until v1.9 put the JSON where the token is now. */
static void
test_old_policy (void)
{
  static const char frame[] = "\x23\x05\x01\x00\x05{\"a\":1}";
  g_autoptr (GError) error = NULL;
  PilotIpcRequest request;

  pilot_ipc_parse ((const guint8 *) frame, sizeof frame - 1, &request, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (request.data, request.data_length, "{\"a\":1}", 7);
  g_assert_cmpuint (request.token_length, ==, 0);
}

static void
test_cut (void)
{
  static const guint8 stream[] = { 0, 0, 0, 0, 0, 0, 0, 1, 0x0d, 0, 0, 0, 3, 0x01, 3, 0xe8, 0, 0 };
  guint8 longest[] = { 0, 0x10, 0, 0 }, too_long[] = { 0, 0x10, 0, 1, 0x0d };
  const guint8 *frame = NULL;
  gsize length = 0, consumed;

  for (gsize given = 0; given < 9; given++) {
    g_assert_cmpint (pilot_ipc_cut (stream, given, &frame, &length, &consumed), ==, PILOT_IPC_CUT_MORE);
    g_assert_cmpuint (consumed, ==, given >= 4 ? 4 : 0);
  }
  g_assert_cmpint (pilot_ipc_cut (stream, sizeof stream, &frame, &length, &consumed), ==, PILOT_IPC_CUT_FRAME);
  g_assert_true (frame == stream + 8 && length == 1 && consumed == 9);
  g_assert_cmpint (pilot_ipc_cut (stream + 9, sizeof stream - 9, &frame, &length, &consumed), ==, PILOT_IPC_CUT_FRAME);
  g_assert_true (frame == stream + 13 && length == 3 && consumed == 7);
  g_assert_cmpint (pilot_ipc_cut (stream + 16, 2, &frame, &length, &consumed), ==, PILOT_IPC_CUT_MORE);
  g_assert_cmpint (pilot_ipc_cut (longest, sizeof longest, &frame, &length, &consumed), ==, PILOT_IPC_CUT_MORE);
  g_assert_cmpint (pilot_ipc_cut (too_long, sizeof too_long, &frame, &length, &consumed), ==, PILOT_IPC_CUT_TOO_LONG);
}

int
main (int argc, char **argv)
{
  g_autoptr (JsonObject) vectors = NULL;
  JsonArray *list;

  g_test_init (&argc, &argv, NULL);
  vectors = vectors_load ("ipc.json");
  frames = json_object_new ();
  list = json_object_get_array_member (vectors, "frames");
  for (guint i = 0; i < json_array_get_length (list); i++) {
    JsonObject *entry = json_array_get_object_element (list, i);

    json_object_set_string_member (frames, json_object_get_string_member (entry, "name"), json_object_get_string_member (entry, "hex"));
  }
  g_test_add_func ("/ipc-message/requests", test_requests);
  g_test_add_func ("/ipc-message/replies", test_replies);
  g_test_add_func ("/ipc-message/errors", test_errors);
  g_test_add_func ("/ipc-message/old-policy", test_old_policy);
  g_test_add_func ("/ipc-message/cut", test_cut);
  return g_test_run ();
}
