/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"
#include "protocol/registry-message.h"
#include "tests/unit/vectors.h"

static PilotIdentity identity_a;
static JsonObject *notes;

/* Takes a frame apart with the reader, `step` bytes at a time. */
static JsonObject *
read_frame (GBytes *frame, gsize step)
{
  g_autoptr (PilotRegistryReader) reader = pilot_registry_reader_new (PILOT_REGISTRY_MAX_REQUEST);
  g_autoptr (GError) error = NULL;
  JsonObject *message = NULL;
  gsize size, at = 0;
  const guint8 *data = g_bytes_get_data (frame, &size);

  while (at < size) {
    gsize consumed;

    g_assert_null (message);
    g_assert_true (pilot_registry_reader_push (reader, data + at, MIN (step, size - at), &consumed, &message, &error));
    g_assert_cmpuint (consumed, ==, MIN (step, size - at));
    at += consumed;
    g_assert_cmpuint (pilot_registry_reader_pending (reader), ==, at < size ? at : 0);
  }
  g_assert_nonnull (message);
  return message;
}

static void
test_framing (void)
{
  JsonArray *array = json_object_get_array_member (notes, "registry_frames");

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    const gchar *json = json_object_get_string_member (vector, "json");
    const gchar *hex = json_object_get_string_member_with_default (vector, "hex", NULL);
    g_autoptr (GBytes) frame = pilot_registry_frame_text (json);
    gsize length, size;
    g_autofree guint8 *want = vectors_unhex (hex != NULL ? hex : json_object_get_string_member (vector, "prefix"), &length);

    g_assert_cmpmem (g_bytes_get_data (frame, &size), length, want, length);
    for (gsize step = 1; step < 12; step++) {
      g_autoptr (JsonObject) object = read_frame (frame, step);
      g_autofree gchar *text = pilot_json_print (object);

      g_assert_cmpstr (text, ==, json);
    }
  }
}

/* Two messages in one read: the reader stops at the end of the first. */
static void
test_two_at_once (void)
{
  static const guint8 data[] = "\0\0\0\2{}\0\0\0\7{\"a\":1}";
  g_autoptr (PilotRegistryReader) reader = pilot_registry_reader_new (64);
  g_autoptr (JsonObject) first = NULL, second = NULL;
  gsize consumed;

  g_assert_true (pilot_registry_reader_push (reader, data, 17, &consumed, &first, NULL));
  g_assert_cmpuint (consumed, ==, 6);
  g_assert_nonnull (first);
  g_assert_true (pilot_registry_reader_push (reader, data + 6, 11, &consumed, &second, NULL));
  g_assert_cmpuint (consumed, ==, 11);
  g_assert_cmpuint (pilot_json_get_uint32 (second, "a"), ==, 1);
}

static void
assert_cut_off (const gchar *bytes, gsize length)
{
  g_autoptr (PilotRegistryReader) reader = pilot_registry_reader_new (16);
  g_autoptr (GError) error = NULL;
  JsonObject *message;
  gsize consumed;

  g_assert_false (pilot_registry_reader_push (reader, (const guint8 *) bytes, length, &consumed, &message, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_assert_null (message);
}

static void
test_rubbish (void)
{
  assert_cut_off ("\0\0\0\0", 4);
  assert_cut_off ("\0\0\0\2[]", 6);
  assert_cut_off ("\0\0\0\3{}x", 7);
  assert_cut_off ("\0\0\0\21", 4);
  assert_cut_off ("\4\0\0\0", 4);
  assert_cut_off ("GET / HTTP/1.1", 14);
}

/* The signature our builder makes is the one in the notes, and it verifies. */
static void
assert_signed (GBytes *taken, const gchar *text, guint32 signer)
{
  g_autoptr (GBytes) frame = taken;
  g_autoptr (JsonObject) request = read_frame (frame, 7);
  g_autofree gchar *challenge = pilot_registry_message_challenge (request);
  JsonArray *array = json_object_get_array_member (notes, "signatures");
  gboolean found = FALSE;

  g_assert_cmpstr (challenge, ==, text);
  g_assert_cmpuint (pilot_registry_message_signer (request), ==, signer);
  g_assert_cmpint (pilot_registry_message_verify (request, identity_a.public_key), ==, PILOT_REGISTRY_SIGNATURE_VALID);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);

    if (!g_str_equal (json_object_get_string_member (vector, "key"), "A") || !g_str_equal (json_object_get_string_member (vector, "text"), text))
      continue;
    g_assert_cmpstr (pilot_json_get_string (request, "signature"), ==, json_object_get_string_member (vector, "signature"));
    found = TRUE;
  }
  g_assert_true (found);
}

static void
test_requests (void)
{
  PilotRegistration registration = { .listen_addr = "203.0.113.7:4000" };
  guint8 key_c[32];
  const PilotIdentity *a = &identity_a;

  vectors_hex_into (json_object_get_object_member (json_object_get_object_member (notes, "public_keys"), "C"), "hex", key_c, 32);
  assert_signed (pilot_registry_request_register (a, &registration), "register:203.0.113.7:4000:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", 0);
  registration.listen_addr = NULL;
  assert_signed (pilot_registry_request_register (a, &registration), "register::11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", 0);
  assert_signed (pilot_registry_request_heartbeat (a, 893), "heartbeat:893", 893);
  assert_signed (pilot_registry_request_resolve (a, 893, 894), "resolve:893:894", 893);
  assert_signed (pilot_registry_request_request_handshake (a, 893, 894, "x"), "handshake:893:894", 893);
  assert_signed (pilot_registry_request_poll_handshakes (a, 893), "poll_handshakes:893", 893);
  assert_signed (pilot_registry_request_report_trust (a, 893, 894), "report_trust:893:894", 893);
  assert_signed (pilot_registry_request_revoke_trust (a, 893, 894), "revoke_trust:893:894", 893);
  assert_signed (pilot_registry_request_set_hostname (a, 893, "alpha"), "set_hostname:893", 893);
  assert_signed (pilot_registry_request_set_visibility (a, 893, TRUE), "set_visibility:893", 893);
  assert_signed (pilot_registry_request_set_tags (a, 893, (const gchar *const[]) { "web", NULL }), "set_tags:893", 893);
  assert_signed (pilot_registry_request_deregister (a, 893), "deregister:893", 893);
  assert_signed (pilot_registry_request_rotate_key (a, 893, key_c), "rotate:893:/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=", 893);
}

static void
assert_text (GBytes *taken, const gchar *want)
{
  g_autoptr (GBytes) frame = taken;
  g_autoptr (JsonObject) request = read_frame (frame, 1000);
  g_autofree gchar *text = pilot_json_print (request);

  g_assert_cmpstr (text, ==, want);
}

static void
test_unsigned (void)
{
  g_autoptr (GBytes) frame = pilot_registry_request_resolve_hostname (&identity_a, 893, "alpha");
  g_autoptr (JsonObject) request = read_frame (frame, 3);

  assert_text (pilot_registry_request_lookup (7), "{\"node_id\":7,\"type\":\"lookup\"}");
  assert_text (pilot_registry_request_check_trust (7, 8), "{\"node_id\":7,\"peer_id\":8,\"type\":\"check_trust\"}");
  assert_text (pilot_registry_request_beacon_list (), "{\"type\":\"beacon_list\"}");
  assert_text (pilot_registry_request_resolve_hostname (&identity_a, 0, "b"), "{\"hostname\":\"b\",\"type\":\"resolve_hostname\"}");
  assert_text (pilot_registry_frame_error ("node 4: node not found"), "{\"error\":\"node 4: node not found\",\"type\":\"error\"}");
  g_assert_cmpuint (pilot_json_get_uint32 (request, "requester_id"), ==, 893);
  g_assert_cmpint (pilot_registry_message_verify (request, identity_a.public_key), ==, PILOT_REGISTRY_SIGNATURE_VALID);
}

static void
test_verify (void)
{
  g_autoptr (JsonObject) request = json_object_new (), other = json_object_new ();
  guint8 wrong[32] = { 9 };

  json_object_set_string_member (request, "type", "heartbeat");
  json_object_set_int_member (request, "node_id", 893);
  g_assert_cmpint (pilot_registry_message_verify (request, wrong), ==, PILOT_REGISTRY_SIGNATURE_MISSING);
  json_object_set_string_member (request, "signature", "****");
  g_assert_cmpint (pilot_registry_message_verify (request, wrong), ==, PILOT_REGISTRY_SIGNATURE_ENCODING);
  g_assert_true (pilot_registry_message_sign (request, &identity_a));
  g_assert_cmpint (pilot_registry_message_verify (request, identity_a.public_key), ==, PILOT_REGISTRY_SIGNATURE_VALID);
  g_assert_cmpint (pilot_registry_message_verify (request, wrong), ==, PILOT_REGISTRY_SIGNATURE_WRONG);
  json_object_set_int_member (request, "node_id", 894);
  g_assert_cmpint (pilot_registry_message_verify (request, identity_a.public_key), ==, PILOT_REGISTRY_SIGNATURE_WRONG);
  json_object_set_string_member (other, "type", "list_networks");
  g_assert_cmpint (pilot_registry_message_verify (other, wrong), ==, PILOT_REGISTRY_SIGNATURE_NONE);
  g_assert_false (pilot_registry_message_sign (other, &identity_a));
}

static void
assert_response (const gchar *text, const gchar *type, gint code)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) response = pilot_json_parse_object (text, strlen (text), 1000, &error);

  g_assert_no_error (error);
  g_assert_cmpint (pilot_registry_response_check (response, type, &error), ==, code < 0);
  if (code >= 0)
    g_assert_error (error, PILOT_ERROR, code);
}

static void
test_responses (void)
{
  assert_response ("{\"type\":\"lookup_ok\"}", "lookup", -1);
  assert_response ("{\"type\":\"lookup_ok\"}", NULL, -1);
  assert_response ("{\"type\":\"lookup_ok\"}", "look", PILOT_ERROR_CORRUPT);
  assert_response ("{\"node_id\":1}", "lookup", PILOT_ERROR_CORRUPT);
  assert_response ("{\"type\":\"error\",\"error\":\"node 4: node not found\"}", "lookup", PILOT_ERROR_NOT_FOUND);
  assert_response ("{\"type\":\"error\",\"error\":\"handshake request already pending from node 3\"}", "lookup", PILOT_ERROR_ALREADY_EXISTS);
  assert_response ("{\"type\":\"error\",\"error\":\"request failed\"}", "lookup", PILOT_ERROR_REFUSED);
  assert_response ("{\"type\":\"lookup_ok\",\"error\":\"\"}", "lookup", PILOT_ERROR_REFUSED);
}

int
main (int argc, char **argv)
{
  guint8 seed[32];
  int status;

  g_test_init (&argc, &argv, NULL);
  notes = vectors_load ("notes.json");
  vectors_hex_into (json_object_get_object_member (notes, "seeds"), "A", seed, 32);
  pilot_identity_init (&identity_a, seed);
  g_test_add_func ("/registry-message/framing", test_framing);
  g_test_add_func ("/registry-message/two-at-once", test_two_at_once);
  g_test_add_func ("/registry-message/rubbish", test_rubbish);
  g_test_add_func ("/registry-message/requests", test_requests);
  g_test_add_func ("/registry-message/unsigned", test_unsigned);
  g_test_add_func ("/registry-message/verify", test_verify);
  g_test_add_func ("/registry-message/responses", test_responses);
  status = g_test_run ();
  json_object_unref (notes);
  return status;
}
