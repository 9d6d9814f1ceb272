/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/topic-message.h"

#include <string.h>

#include "protocol/bytes.h"

PilotTopicMessageStatus
pilot_topic_message_decode (PilotTopicMessage *message, const guint8 *data, gsize length)
{
  gsize topic_length, payload_length;

  message->size = 2;
  if (length < message->size)
    return PILOT_TOPIC_MESSAGE_INCOMPLETE;
  topic_length = pilot_bytes_get_u16 (data);
  if (topic_length > PILOT_TOPIC_MAX)
    return PILOT_TOPIC_MESSAGE_INVALID;
  message->size = PILOT_TOPIC_OVERHEAD + topic_length;
  if (length < message->size)
    return PILOT_TOPIC_MESSAGE_INCOMPLETE;
  payload_length = pilot_bytes_get_u32 (data + 2 + topic_length);
  /* NUL is refused with what is no UTF-8: the topic of a protocol that is not ours begins with one, and is not to be delivered (services.md 4.2). */
  if (payload_length > PILOT_TOPIC_PAYLOAD_MAX || (topic_length > 0 && !g_utf8_validate_len ((const char *) data + 2, topic_length, NULL)))
    return PILOT_TOPIC_MESSAGE_INVALID;
  message->size += payload_length;
  if (length < message->size)
    return PILOT_TOPIC_MESSAGE_INCOMPLETE;
  message->topic = (const char *) data + 2;
  message->topic_length = topic_length;
  message->payload = data + PILOT_TOPIC_OVERHEAD + topic_length;
  message->payload_length = payload_length;
  return PILOT_TOPIC_MESSAGE_OK;
}

GBytes *
pilot_topic_message_encode (const char *topic, gsize topic_length, const void *payload, gsize payload_length)
{
  guint8 *data;

  if (topic_length > PILOT_TOPIC_MAX || payload_length > PILOT_TOPIC_PAYLOAD_MAX || (topic_length > 0 && !g_utf8_validate_len (topic, topic_length, NULL)))
    return NULL;
  data = g_malloc (PILOT_TOPIC_OVERHEAD + topic_length + payload_length);
  pilot_bytes_put_u16 (data, (guint16) topic_length);
  if (topic_length > 0)
    memcpy (data + 2, topic, topic_length);
  pilot_bytes_put_u32 (data + 2 + topic_length, (guint32) payload_length);
  if (payload_length > 0)
    memcpy (data + PILOT_TOPIC_OVERHEAD + topic_length, payload, payload_length);
  return g_bytes_new_take (data, PILOT_TOPIC_OVERHEAD + topic_length + payload_length);
}
