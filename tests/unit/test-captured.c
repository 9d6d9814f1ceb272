/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/frame.h"
#include "protocol/json.h"
#include "protocol/registry-message.h"
#include "tests/unit/vectors.h"

/* What Go nodes really sent (verified-live.md), through our codecs. */

static guint key_exchanges, sealed_frames;

/* The keys of the two nodes by id. */
static void
public_key_of (JsonObject *keys, guint32 node, guint8 key[32])
{
  g_autofree gchar *name = g_strdup_printf ("%u", node);

  g_assert_true (pilot_json_read_base64 (keys, name, key, 32));
}

static void
check_frame (JsonObject *keys, guint8 *bytes, gsize length)
{
  PilotKeyExchange exchange;
  PilotSealedFrame sealed;
  guint8 key[32];

  switch (pilot_frame_classify (bytes, length)) {
  case PILOT_FRAME_PILA:
    g_assert_true (pilot_frame_parse_key_exchange (&exchange, bytes, length));
    g_assert_true (pilot_frame_verify_pila (&exchange));
    public_key_of (keys, exchange.node, key);
    g_assert_cmpmem (exchange.ed25519_public, 32, key, 32);
    key_exchanges++;
    break;
  case PILOT_FRAME_PILK: {
    guint8 frame[PILOT_FRAME_PILK_SIZE];

    g_assert_true (pilot_frame_parse_key_exchange (&exchange, bytes, length));
    pilot_frame_build_pilk (frame, exchange.node, exchange.x25519_public);
    g_assert_cmpmem (frame, sizeof frame, bytes, length);
    break;
  }
  case PILOT_FRAME_PILS:
    g_assert_true (pilot_frame_parse_pils (&sealed, bytes, length));
    g_assert_true (sealed.node == 3 || sealed.node == 4);
    g_assert_cmpuint (sealed.counter, >=, 1);
    sealed_frames++;
    break;
  case PILOT_FRAME_PILP:
    g_assert_cmpuint (length, ==, PILOT_FRAME_PILP_SIZE);
    break;
  default:
    g_assert_not_reached ();
  }
}

static void
test_datagrams (void)
{
  g_autoptr (JsonObject) file = vectors_load ("captured-datagrams.json");
  JsonObject *keys = json_object_get_object_member (file, "public_keys");
  JsonArray *array = json_object_get_array_member (file, "datagrams");

  g_assert_cmpuint (json_array_get_length (array), ==, 22);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *datagram = json_array_get_object_element (array, i);
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (datagram, "hex", &length);
    PilotBeaconMessage message;
    guint8 out[512];

    g_test_message ("%s", json_object_get_string_member (datagram, "what"));
    if (pilot_frame_classify (bytes, length) != PILOT_FRAME_BEACON) {
      check_frame (keys, bytes, length);
      continue;
    }
    g_assert_true (pilot_beacon_message_decode (&message, bytes, length));
    g_assert_cmpuint (pilot_beacon_message_encode (&message, out, sizeof out), ==, length);
    g_assert_cmpmem (out, length, bytes, length);
    if (message.frame != NULL)
      check_frame (keys, bytes + (message.frame - bytes), message.frame_length);
  }
  g_assert_cmpuint (key_exchanges, ==, 5);
  g_assert_cmpuint (sealed_frames, ==, 6);
}

/* Whether our table says the same challenge as Go signed. */
static gboolean
check_request (JsonObject *keys, JsonObject *request)
{
  guint32 signer = pilot_registry_message_signer (request);
  guint8 key[32];

  if (!json_object_has_member (request, "signature"))
    return FALSE;
  if (signer == 0)
    g_assert_true (pilot_json_read_base64 (request, "public_key", key, 32));
  else
    public_key_of (keys, signer, key);
  g_assert_cmpint (pilot_registry_message_verify (request, key), ==, PILOT_REGISTRY_SIGNATURE_VALID);
  return TRUE;
}

/* Every object framed, cut into bytes and read back is the same. */
static void
check_framing (JsonObject *object)
{
  g_autoptr (PilotRegistryReader) reader = pilot_registry_reader_new (PILOT_REGISTRY_MAX_RESPONSE);
  g_autoptr (GBytes) frame = pilot_registry_frame_object (object);
  g_autoptr (JsonObject) back = NULL;
  g_autofree gchar *before = pilot_json_print (object), *after = NULL;
  gsize size, consumed;
  const guint8 *data = g_bytes_get_data (frame, &size);

  /* As Go writes it: the length, then the body. */
  g_assert_true (pilot_registry_reader_push (reader, data, 4, &consumed, &back, NULL));
  g_assert_null (back);
  g_assert_true (pilot_registry_reader_push (reader, data + 4, size - 4, &consumed, &back, NULL));
  g_assert_nonnull (back);
  after = pilot_json_print (back);
  g_assert_cmpstr (before, ==, after);
}

static void
test_session (void)
{
  g_autoptr (JsonObject) file = vectors_load ("captured-datagrams.json");
  JsonObject *keys = json_object_get_object_member (file, "public_keys");
  g_autofree gchar *text = vectors_load_text ("registry-session.jsonl");
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  guint verified = 0, answers = 0;

  for (gchar **line = lines; *line != NULL && **line != '\0'; line++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (JsonObject) entry = pilot_json_parse_object (*line, strlen (*line), 65536, &error);
    JsonObject *request, *response;

    g_assert_no_error (error);
    request = pilot_json_get_object (entry, "request");
    response = pilot_json_get_object (entry, "response");
    g_test_message ("%s", pilot_json_get_string (request, "type"));
    verified += check_request (keys, request);
    check_framing (request);
    check_framing (response);
    if (g_str_equal (pilot_json_get_string (response, "type"), "error"))
      g_assert_false (pilot_registry_response_check (response, pilot_json_get_string (request, "type"), NULL));
    else
      g_assert_true (pilot_registry_response_check (response, pilot_json_get_string (request, "type"), NULL));
    answers++;
  }
  g_assert_cmpuint (answers, >=, 40);
  g_assert_cmpuint (verified, >=, 25);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/captured/datagrams", test_datagrams);
  g_test_add_func ("/captured/session", test_session);
  return g_test_run ();
}
