/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-link.h"
#include "daemon/services/exchange-private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

/* Pieces read by a worker at once, as frames ready to go. */
#define BLOCK_CHUNKS 8
/* Under way without an acknowledgement, toward our own kind: what the stream itself lets through. */
#define OWN_WINDOW (16 * 1024 * 1024)
/* Without an answer to INIT for so long the peer does not know FILESTREAM (services.md 3.7). */
#define INIT_LIMIT (5 * (gint64) G_USEC_PER_SEC)
#define RETRY_SECONDS 1
#define HASH_BLOCK (1024 * 1024)

typedef enum {
  PHASE_READING, /* digest */
  PHASE_OPENING, /* connection */
  PHASE_INIT,    /* INIT is sent */
  PHASE_CHUNKS,  /* CHUNKs go out, ACKs come in */
  PHASE_DONE,    /* DONE is sent */
  PHASE_FILE,    /* as one frame: data goes out, then one answer */
  PHASE_WAITING, /* for the next attempt */
} Phase;

typedef struct _ExchangeUpload {
  PilotExchange *exchange;
  PilotTransfer *transfer;
  GList link;
  int fd;
  guint idle_ms;
  Phase phase;
  gboolean known; /* the peer knows FILESTREAM: it is of our own kind, or has answered an INIT */
  gboolean again; /* after a mismatch it has been tried once more */
  gboolean cancelled;
  ExchangeLink *connection;
  guint64 sent, acked;
  GByteArray *block; /* frames, or data, that a worker has read; goes out next */
  guint64 read_to;   /* how far the worker has read, or is reading */
  gboolean busy;     /* a worker has the descriptor */
  gint stop;         /* read by the worker */
  gint64 moved_at, init_at;
  guint timer, retry_source;
} ExchangeUpload;

/* What a worker needs: numbers and a descriptor, and room for what it finds. */
typedef struct {
  ExchangeUpload *upload;
  int fd;
  guint64 offset, size;
  const gint *stop;
  gboolean framed;
  guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE];
  guint8 sha256[PILOT_SHA256_SIZE];
  GByteArray *data;
  GError *error;
} ReadWork;

static void upload_pump (ExchangeUpload *upload);
static void upload_connect (ExchangeUpload *upload);

/* --- end --- */

static void
upload_free (ExchangeUpload *upload)
{
  close (upload->fd);
  if (upload->block != NULL)
    g_byte_array_unref (upload->block);
  g_object_unref (upload->exchange);
  g_free (upload);
}

static void
upload_close (ExchangeUpload *upload, gboolean at_once)
{
  if (upload->connection != NULL)
    exchange_link_close (g_steal_pointer (&upload->connection), at_once);
}

/* Over; what a worker has is freed when it comes back. */
static void
upload_end (ExchangeUpload *upload, gboolean at_once)
{
  upload_close (upload, at_once);
  g_queue_unlink (&upload->exchange->uploads, &upload->link);
  g_clear_handle_id (&upload->timer, g_source_remove);
  g_clear_handle_id (&upload->retry_source, g_source_remove);
  upload->cancelled = TRUE;
  g_atomic_int_set (&upload->stop, 1);
  if (!upload->busy)
    upload_free (upload);
}

/* Takes @error. */
static void
upload_fail (ExchangeUpload *upload, GError *error)
{
  if (upload->connection != NULL && upload->known && upload->phase != PHASE_FILE) {
    pilot_exchange_append_stream_abort (exchange_link_get_out (upload->connection), upload->transfer->sha256, "the sender gave it up");
    exchange_link_flush (upload->connection);
  }
  pilot_transfer_failed (upload->exchange, upload->transfer, error);
  upload_end (upload, FALSE);
}

static void
upload_done (ExchangeUpload *upload)
{
  pilot_transfer_changed (upload->exchange, upload->transfer, PILOT_TRANSFER_DONE);
  upload_end (upload, FALSE);
}

static void
refused (ExchangeUpload *upload, const guint8 *text, gsize length)
{
  g_autofree char *quoted = exchange_link_quote (text, length);

  upload_fail (upload, g_error_new (PILOT_ERROR, PILOT_ERROR_REFUSED, "node %u did not take the file: %s", upload->transfer->node, quoted));
}

/* --- reading --- */

static gboolean
read_at (int fd, guint8 *data, gsize length, guint64 offset, GError **error)
{
  while (length > 0) {
    const gssize n = pread (fd, data, length, (off_t) offset);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot read the file: %s", n == 0 ? "it has become shorter" : g_strerror (errno));
      return FALSE;
    }
    data += n;
    offset += (guint64) n;
    length -= (gsize) n;
  }
  return TRUE;
}

static void
hash_work (gpointer data)
{
  ReadWork *work = data;
  g_autofree guint8 *block = g_malloc (HASH_BLOCK);
  g_autoptr (PilotSha256) hash = pilot_sha256_new ();

  for (guint64 at = 0; at < work->size && !g_atomic_int_get (work->stop);) {
    const gsize length = (gsize) MIN (HASH_BLOCK, work->size - at);

    if (!read_at (work->fd, block, length, at, &work->error))
      return;
    pilot_sha256_update (hash, block, length);
    at += length;
  }
  pilot_sha256_finish (hash, work->sha256);
}

static void
block_work (gpointer data)
{
  ReadWork *work = data;
  guint64 at = work->offset;
  const guint64 end = MIN (work->size, work->offset + BLOCK_CHUNKS * PILOT_EXCHANGE_CHUNK_SIZE);
  g_autofree guint8 *chunk = g_malloc (PILOT_EXCHANGE_CHUNK_SIZE);

  work->data = g_byte_array_sized_new ((guint) (end - at) + BLOCK_CHUNKS * 64);
  while (at < end) {
    const gsize length = (gsize) MIN (PILOT_EXCHANGE_CHUNK_SIZE, end - at);

    if (!read_at (work->fd, chunk, length, at, &work->error))
      return;
    if (work->framed)
      pilot_exchange_append_stream_offset (work->data, PILOT_EXCHANGE_CHUNK, work->id, at, chunk, length);
    else
      g_byte_array_append (work->data, chunk, (guint) length);
    at += length;
  }
}

static ReadWork *
read_work_new (ExchangeUpload *upload)
{
  ReadWork *work = g_new0 (ReadWork, 1);

  work->upload = upload;
  work->fd = upload->fd;
  work->size = upload->transfer->size;
  work->stop = &upload->stop;
  return work;
}

static void
read_work_free (ReadWork *work)
{
  if (work->data != NULL)
    g_byte_array_unref (work->data);
  g_clear_error (&work->error);
  g_free (work);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ReadWork, read_work_free)

/* FALSE: the upload is over, and is gone now. */
static gboolean
work_returned (ReadWork *work)
{
  ExchangeUpload *upload = work->upload;

  upload->busy = FALSE;
  if (upload->cancelled) {
    upload_free (upload);
    return FALSE;
  }
  if (work->error == NULL)
    return TRUE;
  upload_fail (upload, g_steal_pointer (&work->error));
  return FALSE;
}

static void
block_done (PilotExchange *exchange, gpointer data)
{
  g_autoptr (ReadWork) work = data;
  ExchangeUpload *upload = work->upload;

  if (!work_returned (work))
    return;
  /* The connection may have been lost meanwhile, and another attempt be elsewhere in the file. */
  if (work->offset == upload->sent && (upload->phase == PHASE_CHUNKS || upload->phase == PHASE_FILE) && work->framed == (upload->phase == PHASE_CHUNKS)) {
    upload->block = g_steal_pointer (&work->data);
    upload->read_to = MIN (work->size, work->offset + BLOCK_CHUNKS * PILOT_EXCHANGE_CHUNK_SIZE);
  }
  upload_pump (upload);
}

static void
read_block (ExchangeUpload *upload)
{
  ReadWork *work = read_work_new (upload);

  work->offset = upload->sent;
  work->framed = upload->phase == PHASE_CHUNKS;
  memcpy (work->id, upload->transfer->sha256, sizeof work->id);
  upload->busy = TRUE;
  pilot_exchange_run (upload->exchange, upload->transfer->node, block_work, block_done, work);
}

/* --- sending --- */

static guint64
window (ExchangeUpload *upload)
{
  return exchange_link_is_own_kind (upload->connection) ? OWN_WINDOW : PILOT_EXCHANGE_WINDOW;
}

/* Hands over what has been read and has another block read meanwhile. */
static void
upload_pump (ExchangeUpload *upload)
{
  PilotTransfer *transfer = upload->transfer;
  GByteArray *out;

  if ((upload->phase != PHASE_CHUNKS && upload->phase != PHASE_FILE) || upload->connection == NULL)
    return;
  /* What stays in there the stream has no room for: it will say so. */
  exchange_link_flush (upload->connection);
  out = exchange_link_get_out (upload->connection);
  if (upload->block != NULL && out->len == 0 &&
      (upload->phase == PHASE_FILE || upload->read_to - upload->acked <= window (upload))) {
    g_autoptr (GByteArray) block = g_steal_pointer (&upload->block);

    g_byte_array_append (out, block->data, block->len);
    upload->sent = upload->read_to;
  }
  if (upload->block == NULL && !upload->busy && upload->sent < transfer->size)
    read_block (upload);
  if (upload->phase == PHASE_CHUNKS && upload->sent == transfer->size && upload->block == NULL) {
    pilot_exchange_append_stream_done (out, transfer->sha256);
    upload->phase = PHASE_DONE;
    pilot_transfer_changed (upload->exchange, transfer, PILOT_TRANSFER_VERIFYING);
  }
  if (upload->phase == PHASE_FILE) {
    upload->moved_at = g_get_monotonic_time ();
    pilot_transfer_progress (upload->exchange, transfer, upload->sent);
  }
  exchange_link_flush (upload->connection);
}

static void
send_init (ExchangeUpload *upload)
{
  upload->phase = PHASE_INIT;
  upload->init_at = upload->moved_at = g_get_monotonic_time ();
  pilot_exchange_append_stream_init (exchange_link_get_out (upload->connection), upload->transfer->sha256, upload->transfer->size, upload->transfer->name);
  exchange_link_flush (upload->connection);
}

/* v1.9 takes no name with two dots in it. */
static char *
old_name (const char *name)
{
  g_auto (GStrv) parts = g_strsplit (name, "..", -1);

  return g_strjoinv ("__", parts);
}

static void
send_file_frame (ExchangeUpload *upload)
{
  g_autofree char *name = old_name (upload->transfer->name);

  upload->phase = PHASE_FILE;
  pilot_exchange_append_file_header (exchange_link_get_out (upload->connection), name, (gsize) upload->transfer->size);
  pilot_transfer_changed (upload->exchange, upload->transfer, PILOT_TRANSFER_SENDING);
  upload_pump (upload);
}

static void
on_opened (gpointer user_data)
{
  ExchangeUpload *upload = user_data;

  upload->moved_at = g_get_monotonic_time ();
  upload->known = upload->known || exchange_link_is_own_kind (upload->connection);
  if (upload->transfer->streamed)
    send_init (upload);
  else
    send_file_frame (upload);
}

static void
on_drained (gpointer user_data)
{
  upload_pump (user_data);
}

/* The peer does not know FILESTREAM: once more, as one frame, if it fits one. */
static void
fall_back (ExchangeUpload *upload)
{
  upload_close (upload, FALSE);
  if (upload->transfer->size + PILOT_EXCHANGE_MAX_NAME + 2 > PILOT_EXCHANGE_MAX_PAYLOAD) {
    upload_fail (upload, g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "node %u takes files up to 16 MiB only", upload->transfer->node));
    return;
  }
  upload->transfer->streamed = FALSE;
  upload->transfer->bytes = upload->sent = upload->acked = 0;
  upload_connect (upload);
}

/* --- answers --- */

static void
take_resume (ExchangeUpload *upload, guint64 offset)
{
  upload->known = TRUE;
  upload->phase = PHASE_CHUNKS;
  upload->sent = upload->acked = MIN (offset, upload->transfer->size);
  g_clear_pointer (&upload->block, g_byte_array_unref);
  upload->transfer->resumed = upload->transfer->bytes = upload->sent;
  pilot_transfer_changed (upload->exchange, upload->transfer, PILOT_TRANSFER_SENDING);
  upload_pump (upload);
}

static void
take_complete (ExchangeUpload *upload, const PilotExchangeStreamMessage *message)
{
  static const char mismatch[] = "sha256 mismatch";

  upload->known = TRUE;
  if (!message->failed) {
    upload->transfer->bytes = upload->transfer->size;
    upload_done (upload);
    return;
  }
  /* What lay there was not the beginning of this file. It is gone now, at our own kind. */
  if (upload->transfer->resumed > 0 && !upload->again && message->length >= strlen (mismatch) && memcmp (message->data, mismatch, strlen (mismatch)) == 0) {
    upload->again = TRUE;
    upload_close (upload, FALSE);
    upload_connect (upload);
    return;
  }
  refused (upload, message->data, message->length);
}

static void
take_stream_frame (ExchangeUpload *upload, const PilotExchangeStreamMessage *message)
{
  switch (message->kind) {
  case PILOT_EXCHANGE_INIT_ACK:
    if (upload->phase == PHASE_INIT)
      take_resume (upload, message->offset);
    break;
  case PILOT_EXCHANGE_ACK:
    if (message->offset > upload->acked && message->offset <= upload->sent) {
      upload->acked = message->offset;
      pilot_transfer_progress (upload->exchange, upload->transfer, upload->acked);
      upload_pump (upload);
    }
    break;
  case PILOT_EXCHANGE_COMPLETE:
    take_complete (upload, message);
    break;
  case PILOT_EXCHANGE_ABORT:
    refused (upload, message->data, message->length);
    break;
  default:
    break;
  }
}

static void
take_answer (ExchangeUpload *upload, const PilotExchangeFrame *frame)
{
  PilotExchangeReply reply = pilot_exchange_reply_classify ((const char *) frame->payload, frame->length);

  if (frame->type != PILOT_EXCHANGE_TEXT || (reply != PILOT_EXCHANGE_REPLY_ACCEPTED && reply != PILOT_EXCHANGE_REPLY_DUPLICATE)) {
    refused (upload, frame->payload, frame->length);
    return;
  }
  upload->transfer->answer = g_utf8_make_valid ((const char *) frame->payload, (gssize) frame->length);
  upload->transfer->bytes = upload->transfer->size;
  upload_done (upload);
}

static gboolean
begins (const PilotExchangeFrame *frame, const char *with)
{
  return frame->length >= strlen (with) && memcmp (frame->payload, with, strlen (with)) == 0;
}

static void
on_frame (const PilotExchangeFrame *frame, gpointer user_data)
{
  ExchangeUpload *upload = user_data;
  PilotExchangeStreamMessage message;

  upload->moved_at = g_get_monotonic_time ();
  if (upload->phase == PHASE_FILE) {
    take_answer (upload, frame);
    return;
  }
  if (frame->type == PILOT_EXCHANGE_FILESTREAM && pilot_exchange_parse_stream (frame->payload, frame->length, &message)) {
    if (memcmp (message.id, upload->transfer->sha256, PILOT_EXCHANGE_TRANSFER_ID_SIZE) == 0)
      take_stream_frame (upload, &message);
    return;
  }
  if (upload->phase != PHASE_INIT)
    return;
  /* "ACK UNKNOWN(7) …" says an old peer, "ERR mkdir: …" one that has no room for it. */
  if (frame->type == PILOT_EXCHANGE_TEXT && begins (frame, "ERR ") && !begins (frame, "ERR UNKNOWN(7) "))
    refused (upload, frame->payload, frame->length);
  else
    fall_back (upload);
}

/* --- the connection --- */

static gboolean
on_retry (gpointer user_data)
{
  ExchangeUpload *upload = user_data;

  upload->retry_source = 0;
  upload_connect (upload);
  return G_SOURCE_REMOVE;
}

/* What another attempt can mend: everything but what the other side, or the user, has decided. */
static gboolean
may_pass (const GError *error)
{
  return !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED) && !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_KEY_MISMATCH);
}

static void
on_ended (GError *error, gpointer user_data)
{
  ExchangeUpload *upload = user_data;

  upload_close (upload, FALSE);
  g_clear_pointer (&upload->block, g_byte_array_unref);
  /* Closed without a word upon INIT, by a peer that has never said that it knows it. */
  if (upload->phase == PHASE_INIT && !upload->known && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED)) {
    g_error_free (error);
    fall_back (upload);
    return;
  }
  if (!upload->known || !may_pass (error) || g_get_monotonic_time () - upload->moved_at > (gint64) upload->idle_ms * 1000) {
    upload_fail (upload, error);
    return;
  }
  g_debug ("file \"%s\" to node %u: %s; goes on", upload->transfer->name, upload->transfer->node, error->message);
  g_error_free (error);
  upload->phase = PHASE_WAITING;
  pilot_transfer_changed (upload->exchange, upload->transfer, PILOT_TRANSFER_CONNECTING);
  upload->retry_source = g_timeout_add_seconds (RETRY_SECONDS, on_retry, upload);
}

static const ExchangeLinkHandler upload_handler = { on_opened, on_frame, on_drained, on_ended };

static void
upload_connect (ExchangeUpload *upload)
{
  GError *error = NULL;

  upload->phase = PHASE_OPENING;
  pilot_transfer_changed (upload->exchange, upload->transfer, PILOT_TRANSFER_CONNECTING);
  upload->connection = exchange_link_new (upload->exchange->node, upload->transfer->node, &upload_handler, upload, &error);
  if (upload->connection == NULL)
    on_ended (error, upload);
}

static gboolean
on_timer (gpointer user_data)
{
  ExchangeUpload *upload = user_data;
  gint64 now = g_get_monotonic_time ();

  if (upload->phase == PHASE_INIT && !upload->known && now - upload->init_at > INIT_LIMIT) {
    fall_back (upload);
    return G_SOURCE_CONTINUE;
  }
  if (upload->phase == PHASE_READING || now - upload->moved_at <= (gint64) upload->idle_ms * 1000)
    return G_SOURCE_CONTINUE;
  upload->timer = 0;
  upload_fail (upload, g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u: nothing has moved for %u s", upload->transfer->node, upload->idle_ms / 1000));
  return G_SOURCE_REMOVE;
}

static void
hash_done (PilotExchange *exchange, gpointer data)
{
  g_autoptr (ReadWork) work = data;
  ExchangeUpload *upload = work->upload;

  if (!work_returned (work))
    return;
  memcpy (upload->transfer->sha256, work->sha256, PILOT_SHA256_SIZE);
  upload->moved_at = g_get_monotonic_time ();
  upload_connect (upload);
}

static gboolean
check_file (int fd, guint32 node, const char *name, gboolean streamed, guint64 *size, GError **error)
{
  struct stat info;

  if (!pilot_exchange_name_is_valid (name, strlen (name))) {
    g_autofree char *quoted = pilot_error_quote (name, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is no name for a file: 1 to 255 bytes of UTF-8, no slash", quoted);
    return FALSE;
  }
  if (fstat (fd, &info) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot look at the file: %s", g_strerror (errno));
    return FALSE;
  }
  if (!S_ISREG (info.st_mode)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "only regular files can be sent");
    return FALSE;
  }
  *size = (guint64) info.st_size;
  if (!streamed && *size + PILOT_EXCHANGE_MAX_NAME + 2 > PILOT_EXCHANGE_MAX_PAYLOAD) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "%" G_GUINT64_FORMAT " bytes are too long for one frame: leave --no-stream out", *size);
    return FALSE;
  }
  return TRUE;
}

guint64
pilot_exchange_send_file (PilotExchange *exchange, int fd, guint32 node, const char *name, gboolean streamed, guint idle_ms, GError **error)
{
  ExchangeUpload *upload;
  guint64 size;

  if (!check_file (fd, node, name, streamed, &size, error)) {
    close (fd);
    return 0;
  }
  upload = g_new0 (ExchangeUpload, 1);
  upload->exchange = g_object_ref (exchange);
  upload->transfer = pilot_exchange_add_transfer (exchange, FALSE, node, name, size);
  upload->transfer->streamed = streamed;
  upload->fd = fd;
  upload->idle_ms = CLAMP (idle_ms, 1000, 86400000);
  upload->moved_at = g_get_monotonic_time ();
  upload->link.data = upload;
  g_queue_push_tail_link (&exchange->uploads, &upload->link);
  upload->timer = g_timeout_add_seconds (1, on_timer, upload);
  upload->busy = TRUE;
  pilot_exchange_run (exchange, node, hash_work, hash_done, read_work_new (upload));
  return upload->transfer->id;
}

gboolean
pilot_exchange_cancel (PilotExchange *exchange, guint64 id, GError **error)
{
  for (GList *item = exchange->uploads.head; item != NULL; item = item->next) {
    ExchangeUpload *upload = item->data;

    if (upload->transfer->id != id)
      continue;
    upload_fail (upload, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "cancelled"));
    return TRUE;
  }
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no file goes out with the number %" G_GUINT64_FORMAT, id);
  return FALSE;
}

void
pilot_exchange_uploads_stop (PilotExchange *exchange)
{
  while (exchange->uploads.head != NULL)
    upload_fail (exchange->uploads.head->data, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "the daemon stops"));
}
