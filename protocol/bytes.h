/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <string.h>

/* Big-endian integers at any alignment. The caller has checked the length. */

static inline guint16
pilot_bytes_get_u16 (const guint8 *data)
{
  guint16 value;

  memcpy (&value, data, sizeof value);
  return GUINT16_FROM_BE (value);
}

static inline guint32
pilot_bytes_get_u32 (const guint8 *data)
{
  guint32 value;

  memcpy (&value, data, sizeof value);
  return GUINT32_FROM_BE (value);
}

static inline guint64
pilot_bytes_get_u64 (const guint8 *data)
{
  guint64 value;

  memcpy (&value, data, sizeof value);
  return GUINT64_FROM_BE (value);
}

static inline void
pilot_bytes_put_u16 (guint8 *data, guint16 value)
{
  value = GUINT16_TO_BE (value);
  memcpy (data, &value, sizeof value);
}

static inline void
pilot_bytes_put_u32 (guint8 *data, guint32 value)
{
  value = GUINT32_TO_BE (value);
  memcpy (data, &value, sizeof value);
}

static inline void
pilot_bytes_put_u64 (guint8 *data, guint64 value)
{
  value = GUINT64_TO_BE (value);
  memcpy (data, &value, sizeof value);
}
