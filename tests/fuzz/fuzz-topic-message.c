/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/topic-message.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  PilotTopicMessage message;
  size_t at = 0;

  /* Frames one after the other, as a connection brings them. */
  while (pilot_topic_message_decode (&message, data + at, size - at) == PILOT_TOPIC_MESSAGE_OK) {
    GBytes *frame = pilot_topic_message_encode (message.topic, message.topic_length, message.payload, message.payload_length);

    g_assert (message.size >= PILOT_TOPIC_OVERHEAD && message.size <= size - at);
    g_assert (g_bytes_get_size (frame) == message.size && memcmp (g_bytes_get_data (frame, NULL), data + at, message.size) == 0);
    g_bytes_unref (frame);
    at += message.size;
  }
  return 0;
}
