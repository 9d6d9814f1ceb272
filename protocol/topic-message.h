/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The event stream's frame, the same both ways (services.md 4.1): topic length u16, topic, payload length u32, payload. */

#define PILOT_TOPIC_MAX 1024
#define PILOT_TOPIC_PAYLOAD_MAX (16 * 1024 * 1024)
#define PILOT_TOPIC_OVERHEAD 6

typedef enum {
  PILOT_TOPIC_MESSAGE_OK,
  PILOT_TOPIC_MESSAGE_INCOMPLETE, /* more has to come */
  PILOT_TOPIC_MESSAGE_INVALID,    /* topic too long or no UTF-8, payload too long: nothing after it can be read */
} PilotTopicMessageStatus;

typedef struct {
  const char *topic; /* borrowed, not terminated, UTF-8 without NUL */
  gsize topic_length;
  const guint8 *payload; /* borrowed */
  gsize payload_length;
  gsize size; /* of the whole frame; while it is incomplete, the bytes that are certainly needed */
} PilotTopicMessage;

/* Allocates nothing. */
PilotTopicMessageStatus pilot_topic_message_decode (PilotTopicMessage *message, const guint8 *data, gsize length);
/* A whole frame (transfer full); NULL when topic or payload is not fit for one. */
GBytes *pilot_topic_message_encode (const char *topic, gsize topic_length, const void *payload, gsize payload_length);

G_END_DECLS
