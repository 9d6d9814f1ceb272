/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "tests/unit/vectors.h"

static void
test_round_trip (void)
{
  g_autoptr (JsonObject) notes = vectors_load ("notes.json");
  JsonArray *array = json_object_get_array_member (notes, "beacon_messages");
  guint seen = 0;

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);
    PilotBeaconMessage message;
    guint8 out[128];

    if (g_str_equal (json_object_get_string_member (vector, "name"), "PILP"))
      continue;
    g_assert_true (pilot_beacon_message_decode (&message, bytes, length));
    g_assert_cmpuint (pilot_beacon_message_encode (&message, out, sizeof out), ==, length);
    g_assert_cmpmem (out, length, bytes, length);
    /* No room: nothing written beyond, 0 returned. */
    for (gsize size = 0; size < length; size++)
      g_assert_cmpuint (pilot_beacon_message_encode (&message, out, size), ==, 0);
    seen |= 1u << message.type;
  }
  /* Every type but 08, whose layout is that of 01. */
  g_assert_cmphex (seen, ==, 0x6fe);
}

static PilotBeaconMessage
decode_hex (const gchar *hex, gboolean want, guint8 **bytes)
{
  PilotBeaconMessage message;
  gsize length;

  *bytes = vectors_unhex (hex, &length);
  g_assert_cmpint (pilot_beacon_message_decode (&message, *bytes, length), ==, want);
  return message;
}

static void
test_fields (void)
{
  g_autofree guint8 *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL;
  static const guint8 mapped[] = { 203, 0, 113, 5, 0 };
  PilotBeaconMessage message;

  message = decode_hex ("0204cb0071059368", TRUE, &a);
  g_assert_cmpint (message.endpoint.family, ==, PILOT_ENDPOINT_IPV4);
  g_assert_cmpmem (message.endpoint.address, 5, mapped, 5);
  g_assert_cmpint (message.endpoint.port, ==, 37736);
  /* An IPv4-mapped address is IPv4, decoded and encoded. */
  message = decode_hex ("021000000000000000000000ffffcb0071059368", TRUE, &b);
  g_assert_cmpint (message.endpoint.family, ==, PILOT_ENDPOINT_IPV4);
  g_assert_cmpmem (message.endpoint.address, 5, mapped, 5);
  message = decode_hex ("0600000003aabb", TRUE, &c);
  g_assert_cmpint (message.node, ==, 3);
  g_assert_cmpint (message.frame_length, ==, 2);
  message = decode_hex ("07000000020002000010010000100277", TRUE, &d);
  g_assert_cmpint (message.node_count, ==, 2);
  g_assert_cmpint (pilot_beacon_message_sync_node (&message, 1), ==, 4098);
  message = decode_hex ("0a01ffff", TRUE, &e);
  g_assert_cmpint (message.kind, ==, PILOT_BEACON_NOTIFY_HANDSHAKE);
}

static void
test_mapped_encode (void)
{
  PilotBeaconMessage message = { .type = PILOT_BEACON_PUNCH_COMMAND,
                                 .endpoint = { .family = PILOT_ENDPOINT_IPV6, .port = 1, .address = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4 } } };
  static const guint8 want[] = { 4, 4, 1, 2, 3, 4, 0, 1 };
  guint8 out[32];
  gsize length = pilot_beacon_message_encode (&message, out, sizeof out);

  g_assert_cmpmem (out, length, want, sizeof want);
  message.endpoint.family = PILOT_ENDPOINT_NONE;
  g_assert_cmpuint (pilot_beacon_message_encode (&message, out, sizeof out), ==, 0);
}

static void
test_bad (void)
{
  static const gchar *const bad[] = {
    "",
    "00",
    "0b",
    "0f01020304",
    "01000000",
    "02",
    "0204cb007105",
    "0205cb007105936800",
    "0210cb007105",
    "0300001001000010",
    "0500000000000000",
    "0600000003",
    "07000000000001000000",
    "0700000000",
    "0a",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree guint8 *bytes = NULL;

    decode_hex (bad[i], FALSE, &bytes);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/beacon-message/round-trip", test_round_trip);
  g_test_add_func ("/beacon-message/fields", test_fields);
  g_test_add_func ("/beacon-message/mapped", test_mapped_encode);
  g_test_add_func ("/beacon-message/bad", test_bad);
  return g_test_run ();
}
