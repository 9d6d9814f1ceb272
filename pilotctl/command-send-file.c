/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/duration.h"
#include "pilotctl/output.h"
#include "pilotctl/progress.h"
#include "pilotctl/trust-check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SECONDS 86400
/* Signals that do not come are asked for: nothing waits for ever. */
#define ASK_SECONDS 5

typedef struct {
  guint64 id;
  gboolean known;   /* the id is */
  GPtrArray *early; /* signals that came before it was */
  GVariant *last;   /* a{sv}: how the transfer stands */
  gboolean ask;
} Follow;

static void
take (Follow *follow, guint64 id, GVariant *transfer)
{
  if (id != follow->id)
    return;
  g_clear_pointer (&follow->last, g_variant_unref);
  follow->last = g_variant_ref (transfer);
}

static void
on_changed (GDBusConnection *connection,
            const char *sender,
            const char *path,
            const char *interface,
            const char *signal,
            GVariant *parameters,
            gpointer user_data)
{
  Follow *follow = user_data;
  g_autoptr (GVariant) transfer = g_variant_get_child_value (parameters, 1);
  guint64 id;

  g_variant_get_child (parameters, 0, "t", &id);
  if (follow->known)
    take (follow, id, transfer);
  else
    g_ptr_array_add (follow->early, g_variant_ref (parameters));
}

static gboolean
on_ask (gpointer user_data)
{
  ((Follow *) user_data)->ask = TRUE;
  return G_SOURCE_CONTINUE;
}

/* FALSE: the daemon does not answer, or knows nothing of it. */
static gboolean
ask (Client *client, Follow *follow, GError **error)
{
  g_autoptr (GVariant) list = client_list (client, "Messages", "ListTransfers", error);

  follow->ask = FALSE;
  if (list == NULL)
    return FALSE;
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) transfer = g_variant_get_child_value (list, i);

    if ((guint64) dict_int (transfer, "id") == follow->id) {
      take (follow, follow->id, transfer);
      return TRUE;
    }
  }
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon knows nothing of this transfer any more"));
  return FALSE;
}

static gboolean
is_over (Follow *follow)
{
  const char *state = follow->last != NULL ? dict_string (follow->last, "state") : "";

  return g_str_equal (state, "done") || g_str_equal (state, "failed");
}

static const char *
note (const char *state)
{
  if (g_str_equal (state, "reading"))
    return _("reading");
  if (g_str_equal (state, "connecting"))
    return _("connecting");
  if (g_str_equal (state, "verifying"))
    return _("verifying");
  return NULL;
}

static void
draw (Progress *progress, GVariant *transfer)
{
  progress_set_total (progress, (guint64) dict_int (transfer, "size"));
  progress_set_note (progress, note (dict_string (transfer, "state")));
  progress_update (progress, (guint64) dict_int (transfer, "bytes"));
}

static gboolean
follow_to_end (Client *client, Follow *follow, Progress *progress, GError **error)
{
  guint source = g_timeout_add_seconds (ASK_SECONDS, on_ask, follow);
  gboolean good = TRUE;

  while (good && !is_over (follow)) {
    g_main_context_iteration (NULL, TRUE);
    if (!client_is_connected (client)) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, _("the daemon has gone away; the same command goes on where it was"));
      good = FALSE;
    } else if (follow->ask)
      good = ask (client, follow, error);
    if (follow->last != NULL)
      draw (progress, follow->last);
  }
  g_source_remove (source);
  return good;
}

/* The transfer, over; NULL with an error when it could not be followed. */
static GVariant *
send_file (Client *client, guint32 node, const char *path, int fd, double seconds, gboolean stream, gboolean prefer_direct, GError **error)
{
  g_autoptr (GPtrArray) early = g_ptr_array_new_with_free_func ((GDestroyNotify) g_variant_unref);
  Follow follow = { .early = early };
  g_autofree char *base = g_path_get_basename (path), *name = g_utf8_make_valid (base, -1), *clean = output_clean (name);
  g_autoptr (Progress) progress = progress_new (0);
  g_autoptr (GVariant) reply = NULL;
  guint subscription = client_subscribe (client, "Messages", "TransferChanged", on_changed, &follow);
  GVariantDict options;
  gboolean good;

  progress_set_name (progress, clean);
  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert (&options, "timeout_ms", "u", (guint32) (seconds * 1000));
  g_variant_dict_insert (&options, "stream", "b", stream);
  if (prefer_direct)
    g_variant_dict_insert (&options, "prefer_direct", "b", TRUE);
  reply = client_call_long (client, "Messages", "SendFile", g_variant_new ("(hus@a{sv})", 0, node, name, g_variant_dict_end (&options)), fd, error);
  good = reply != NULL;
  if (good) {
    g_variant_get (reply, "(t)", &follow.id);
    follow.known = TRUE;
    for (guint i = 0; i < early->len; i++)
      on_changed (NULL, NULL, NULL, NULL, NULL, early->pdata[i], &follow);
    good = follow_to_end (client, &follow, progress, error);
  }
  client_unsubscribe (client, subscription);
  if (good)
    return follow.last;
  g_clear_pointer (&follow.last, g_variant_unref);
  return NULL;
}

static int
print_result (Invocation *invocation, const char *target, GVariant *transfer)
{
  const guint64 size = (guint64) dict_int (transfer, "size"), resumed = (guint64) dict_int (transfer, "resumed");
  const gint64 elapsed = dict_int (transfer, "elapsed_ms");
  const double megabits = elapsed > 0 ? (double) (size - MIN (resumed, size)) * 8 / 1000 / (double) elapsed : 0;
  const gboolean streamed = dict_boolean (transfer, "streamed");
  GVariantDict data;

  if (!invocation->json) {
    g_autofree char *bytes = output_bytes (size), *clean = output_clean (dict_string (transfer, "name"));

    g_print (_("sent %s (%s) to %s in %.1f s\n"), clean, bytes, target, (double) elapsed / 1000);
    if (resumed > 0) {
      g_autofree char *there = output_bytes (resumed);

      g_print (_("%s were there from an earlier attempt\n"), there);
    }
    if (streamed)
      g_print ("sha256 %s\n", dict_string (transfer, "sha256"));
    else
      g_print (_("the peer does not verify files: %s\n"), dict_string (transfer, "answer"));
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "filename", "s", dict_string (transfer, "name"));
  g_variant_dict_insert (&data, "bytes", "t", size);
  g_variant_dict_insert (&data, "destination", "s", target);
  if (streamed) {
    g_variant_dict_insert (&data, "bytes_sent", "t", size - MIN (resumed, size));
    g_variant_dict_insert (&data, "bytes_resumed", "t", resumed);
    g_variant_dict_insert (&data, "transport", "s", "filestream");
    g_variant_dict_insert (&data, "verified", "b", TRUE);
  } else
    g_variant_dict_insert (&data, "ack", "s", dict_string (transfer, "answer"));
  g_variant_dict_insert (&data, "sha256", "s", dict_string (transfer, "sha256"));
  g_variant_dict_insert (&data, "elapsed_ms", "x", elapsed);
  g_variant_dict_insert (&data, "throughput_mbps", "d", megabits);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static GError *
failure (GVariant *transfer)
{
  PilotError code = PILOT_ERROR_FAILED;

  pilot_error_code_from_string (dict_string (transfer, "code"), &code);
  return g_error_new_literal (PILOT_ERROR, (gint) code, dict_string (transfer, "error"));
}

int
command_send_file (Invocation *invocation)
{
  g_autofree char *timeout = NULL;
  gboolean no_stream = FALSE, prefer_direct = FALSE, unchecked = FALSE;
  const GOptionEntry entries[] = {
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("Give up when nothing has moved for so long (default 90s)"), "D" },
    { "no-stream", 0, 0, G_OPTION_ARG_NONE, &no_stream, N_("As one frame, as to an old peer: not resumed, not verified, at most 16 MiB"), NULL },
    { "prefer-direct", 0, 0, G_OPTION_ARG_NONE, &prefer_direct, N_("Look for a direct path first, though the relay is in use"), NULL },
    TRUST_UNCHECKED_ENTRY (&unchecked),
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) transfer = NULL;
  GError *error = NULL;
  guint32 node;
  char target[PILOT_ADDRESS_TEXT_SIZE];
  g_autofree char *shown = NULL;
  double seconds = 90;
  struct stat info;
  int exit_code, fd;

  if (!command_parse (invocation, entries, 2, 2, &exit_code))
    return exit_code;
  if (timeout != NULL)
    seconds = duration_parse (timeout);
  if (!(seconds >= 1 && seconds <= MAX_SECONDS))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--timeout needs a time from 1s to a day"));
  client = client_new (invocation, &error);
  if (client == NULL)
    return output_error (invocation, error);
  /* Opened here: the daemon reads nothing that its caller may not. */
  shown = g_filename_display_name (invocation->argv[2]);
  fd = open (invocation->argv[2], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return output_fail (invocation, errno == ENOENT ? PILOT_ERROR_NOT_FOUND : PILOT_ERROR_IO, NULL, _("cannot open \"%s\": %s"), shown, g_strerror (errno));
  if (fstat (fd, &info) == 0 && S_ISDIR (info.st_mode)) {
    close (fd);
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, _("send what is in it, or an archive of it"), _("\"%s\" is a directory"), shown);
  }
  if (!trust_reach (client, invocation->argv[1], unchecked, &node, target, &error)) {
    close (fd);
    return output_error (invocation, error);
  }
  transfer = send_file (client, node, invocation->argv[2], fd, seconds, !no_stream, prefer_direct, &error);
  close (fd);
  if (transfer == NULL)
    return output_error (invocation, error);
  if (g_str_equal (dict_string (transfer, "state"), "failed"))
    return output_error (invocation, failure (transfer));
  return print_result (invocation, target, transfer);
}
