/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/topic-message.h"

#include <string.h>

#include "protocol/bytes.h"
#include "tests/unit/vectors.h"

/* services.md section 11. */
static const struct {
  const char *topic, *payload, *hex;
} vectors[] = {
  { "alerts", "", "0006616c6572747300000000" },
  { "*", "", "00012a00000000" },
  { "alerts", "fire", "0006616c657274730000000466697265" },
  { "", "", "000000000000" },
};

static void
test_vectors (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (vectors); i++) {
    g_autoptr (GBytes) frame = pilot_topic_message_encode (vectors[i].topic, strlen (vectors[i].topic), vectors[i].payload, strlen (vectors[i].payload));
    gsize length;
    const guint8 *data = g_bytes_get_data (frame, &length);
    g_autoptr (GString) hex = g_string_new (NULL);
    PilotTopicMessage message;

    for (gsize k = 0; k < length; k++)
      g_string_append_printf (hex, "%02x", data[k]);
    g_assert_cmpstr (hex->str, ==, vectors[i].hex);
    /* Every beginning of it is incomplete, and says that it needs more. */
    for (gsize k = 0; k < length; k++) {
      g_assert_cmpint (pilot_topic_message_decode (&message, data, k), ==, PILOT_TOPIC_MESSAGE_INCOMPLETE);
      g_assert_cmpuint (message.size, >, k);
    }
    g_assert_cmpint (pilot_topic_message_decode (&message, data, length), ==, PILOT_TOPIC_MESSAGE_OK);
    g_assert_cmpuint (message.size, ==, length);
    g_assert_cmpmem (message.topic, message.topic_length, vectors[i].topic, strlen (vectors[i].topic));
    g_assert_cmpmem (message.payload, message.payload_length, vectors[i].payload, strlen (vectors[i].payload));
  }
}

static void
assert_decodes (guint topic_length, const char *topic, guint32 payload_length, PilotTopicMessageStatus expected)
{
  g_autofree guint8 *data = g_malloc0 (2 + (gsize) topic_length + 4);
  PilotTopicMessage message;

  pilot_bytes_put_u16 (data, (guint16) topic_length);
  memset (data + 2, 'x', topic_length);
  if (topic != NULL)
    memcpy (data + 2, topic, topic_length);
  pilot_bytes_put_u32 (data + 2 + topic_length, payload_length);
  g_assert_cmpint (pilot_topic_message_decode (&message, data, 2 + (gsize) topic_length + 4), ==, expected);
}

static void
test_limits (void)
{
  assert_decodes (1024, NULL, 0, PILOT_TOPIC_MESSAGE_OK);
  assert_decodes (1025, NULL, 0, PILOT_TOPIC_MESSAGE_INVALID);
  assert_decodes (65535, NULL, 0, PILOT_TOPIC_MESSAGE_INVALID);
  assert_decodes (1, NULL, 16777216, PILOT_TOPIC_MESSAGE_INCOMPLETE);
  assert_decodes (1, NULL, 16777217, PILOT_TOPIC_MESSAGE_INVALID);
  assert_decodes (1, NULL, G_MAXUINT32, PILOT_TOPIC_MESSAGE_INVALID);
  assert_decodes (2, "\xc3\x28", 0, PILOT_TOPIC_MESSAGE_INVALID);
  assert_decodes (2, "\xc3\xa9", 0, PILOT_TOPIC_MESSAGE_OK);
  assert_decodes (18, "\0pilot.governed.v1", 0, PILOT_TOPIC_MESSAGE_INVALID);
}

static void
test_encode_limits (void)
{
  g_autofree char *topic = g_strnfill (1025, 'x');

  g_assert_null (pilot_topic_message_encode (topic, 1025, NULL, 0));
  g_assert_null (pilot_topic_message_encode ("\xff", 1, NULL, 0));
  g_assert_null (pilot_topic_message_encode ("x", 1, topic, PILOT_TOPIC_PAYLOAD_MAX + 1));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/topic-message/vectors", test_vectors);
  g_test_add_func ("/topic-message/limits", test_limits);
  g_test_add_func ("/topic-message/encode-limits", test_encode_limits);
  return g_test_run ();
}
