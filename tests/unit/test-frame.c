/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/frame.h"
#include "tests/unit/ipsec-mb.h"
#include "tests/unit/vectors.h"

static JsonObject *tunnel;

static PilotAead *
new_vector_aead (PilotAeadKind kind)
{
  guint8 key[PILOT_AEAD_KEY_SIZE];

  vectors_hex_into (json_object_get_object_member (tunnel, "key_derivation"), "aes_256_gcm_key", key, sizeof key);
  return pilot_aead_new_of (kind, key);
}

static void
test_classify (void)
{
  static const struct
  {
    const gchar *prefix;
    PilotFrameKind kind;
  } kinds[] = {
    { "ignored", PILOT_FRAME_IGNORED },
    { "unknown", PILOT_FRAME_IGNORED },
    { "beacon", PILOT_FRAME_BEACON },
    { "PILP", PILOT_FRAME_PILP },
  };
  g_autoptr (JsonObject) file = vectors_load ("packets.json");
  JsonArray *array = json_object_get_array_member (file, "classify");

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    const gchar *as = json_object_get_string_member (vector, "as");
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);
    gboolean found = FALSE;

    for (guint k = 0; k < G_N_ELEMENTS (kinds); k++)
      if (g_str_has_prefix (as, kinds[k].prefix)) {
        g_assert_cmpint (pilot_frame_classify (bytes, length), ==, kinds[k].kind);
        found = TRUE;
      }
    g_assert_true (found);
  }
}

static void
test_build (void)
{
  JsonObject *a = json_object_get_object_member (json_object_get_object_member (tunnel, "nodes"), "A");
  JsonArray *pila = json_object_get_array_member (tunnel, "pila"), *pilk = json_object_get_array_member (tunnel, "pilk");
  guint8 seed[32], x25519[32], want[PILOT_FRAME_PILA_SIZE], frame[PILOT_FRAME_PILA_SIZE];
  PilotIdentity identity;

  vectors_hex_into (a, "ed25519_seed", seed, sizeof seed);
  vectors_hex_into (a, "x25519_public", x25519, sizeof x25519);
  pilot_identity_init (&identity, seed);
  pilot_frame_build_pila (frame, 893, x25519, &identity);
  vectors_hex_into (json_array_get_object_element (pila, 0), "frame", want, PILOT_FRAME_PILA_SIZE);
  g_assert_cmpmem (frame, PILOT_FRAME_PILA_SIZE, want, PILOT_FRAME_PILA_SIZE);
  pilot_frame_build_pilk (frame, 893, x25519);
  vectors_hex_into (json_array_get_object_element (pilk, 0), "frame", want, PILOT_FRAME_PILK_SIZE);
  g_assert_cmpmem (frame, PILOT_FRAME_PILK_SIZE, want, PILOT_FRAME_PILK_SIZE);
}

/* Too short does not parse, the rest parses and verifies unless the vector says otherwise. */
static void
test_pila (void)
{
  JsonArray *array = json_object_get_array_member (tunnel, "pila");
  guint drops = 0;

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    const gchar *name = json_object_get_string_member (vector, "name");
    const gchar *expect = json_object_get_string_member_with_default (vector, "expect", "accept");
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "frame", &length);
    PilotKeyExchange exchange;
    gboolean good = pilot_frame_parse_key_exchange (&exchange, bytes, length) && pilot_frame_verify_pila (&exchange);

    g_test_message ("%s", name);
    /* That the key is another one than the registry's is not the codec's to see. */
    if (g_str_equal (name, "A-key-not-registered"))
      g_assert_true (good);
    else
      g_assert_cmpint (good, ==, g_str_equal (expect, "accept"));
    drops += !good;
  }
  g_assert_cmpuint (drops, ==, 3);
}

static void
check_sealed (JsonObject *vector, PilotAead *aead)
{
  gsize length, plain_length, opened;
  g_autofree guint8 *bytes = vectors_hex_member (vector, "frame", &length);
  g_autofree guint8 *plain = vectors_hex_member (vector, "plaintext", &plain_length);
  g_autofree guint8 *frame = g_malloc0 (length);
  PilotSealedFrame sealed;

  g_assert_true (pilot_frame_parse_pils (&sealed, bytes, length));
  g_assert_cmpuint (sealed.node, ==, json_object_get_int_member (vector, "sender"));
  memcpy (frame + PILOT_FRAME_PILS_HEADER_SIZE, plain, plain_length);
  g_assert_cmpuint (pilot_frame_seal_pils (frame, aead, sealed.node, sealed.prefix, sealed.counter, plain_length), ==, length);
  g_assert_cmpmem (frame, length, bytes, length);
  g_assert_true (pilot_frame_open_pils (&sealed, aead, &opened));
  g_assert_cmpmem (sealed.sealed, opened, plain, plain_length);
}

static const PilotAeadKind gnutls = PILOT_AEAD_GNUTLS, ipsec_mb = PILOT_AEAD_IPSEC_MB;

static void
test_pils (gconstpointer kind)
{
  g_autoptr (PilotAead) aead = new_vector_aead (*(const PilotAeadKind *) kind);
  JsonArray *array = json_object_get_array_member (tunnel, "pils");
  guint seals = 0;

  if (aead == NULL && kind == &ipsec_mb) {
    g_test_skip ("no IPsec-MB in this build");
    return;
  }
  g_assert_nonnull (aead);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    const gchar *expect = json_object_get_string_member_with_default (vector, "expect", "");
    gsize length, opened;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "frame", &length);
    PilotSealedFrame sealed;

    g_test_message ("%s", json_object_get_string_member (vector, "name"));
    if (json_object_has_member (vector, "plaintext")) {
      check_sealed (vector, aead);
      seals++;
    } else if (g_str_equal (expect, "silent drop"))
      g_assert_false (pilot_frame_parse_pils (&sealed, bytes, length));
    else {
      g_assert_true (pilot_frame_parse_pils (&sealed, bytes, length));
      g_assert_cmpint (pilot_frame_open_pils (&sealed, aead, &opened), ==, !g_str_has_prefix (expect, "AEAD failure"));
    }
  }
  g_assert_cmpuint (seals, ==, 5);
}

static void
test_relay (void)
{
  JsonArray *array = json_object_get_array_member (tunnel, "relay");
  gsize length, want_length, deliver_length;
  g_autofree guint8 *relay = vectors_hex_member (json_array_get_object_element (array, 0), "datagram", &length);
  g_autofree guint8 *want = vectors_hex_member (json_array_get_object_element (array, 1), "datagram", &want_length);
  guint8 header[PILOT_BEACON_RELAY_HEADER_SIZE], *deliver;

  pilot_beacon_write_relay_header (header, 893, 126989);
  g_assert_cmpmem (header, sizeof header, relay, sizeof header);
  deliver = pilot_beacon_relay_to_deliver (relay, length, &deliver_length);
  g_assert_cmpmem (deliver, deliver_length, want, want_length);
}

/* Every cut of a good frame is refused or parsed, never read beyond: the sanitizers watch. */
static void
test_cuts (void)
{
  JsonArray *array = json_object_get_array_member (tunnel, "pila");
  gsize length;
  g_autofree guint8 *bytes = vectors_hex_member (json_array_get_object_element (array, 0), "frame", &length);

  for (gsize cut = 0; cut <= length; cut++) {
    g_autofree guint8 *copy = g_memdup2 (bytes, cut);
    PilotKeyExchange exchange;

    g_assert_cmpint (pilot_frame_parse_key_exchange (&exchange, copy, cut), ==, cut == length);
  }
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  tunnel = vectors_load ("tunnel.json");
  g_test_add_func ("/frame/classify", test_classify);
  g_test_add_func ("/frame/build", test_build);
  g_test_add_func ("/frame/pila", test_pila);
  g_test_add_data_func ("/frame/pils/gnutls", &gnutls, test_pils);
  if (processor_suits_ipsec_mb ())
    g_test_add_data_func ("/frame/pils/ipsec-mb", &ipsec_mb, test_pils);
  g_test_add_func ("/frame/relay", test_relay);
  g_test_add_func ("/frame/cuts", test_cuts);
  status = g_test_run ();
  json_object_unref (tunnel);
  return status;
}
