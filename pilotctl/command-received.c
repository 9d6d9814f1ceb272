/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/mailbox.h"
#include "pilotctl/output.h"

#define DEFAULT_LIMIT 10

static char *
time_text (gint64 modified)
{
  g_autoptr (GDateTime) date = g_date_time_new_from_unix_utc (modified / G_USEC_PER_SEC);

  return g_date_time_format (date, "%Y-%m-%dT%H:%M:%SZ");
}

static int
clear (Invocation *invocation, const char *state, GPtrArray *files, gint64 since, gint64 before)
{
  guint cleared = 0, partials = 0;
  GVariantDict data;
  GError *error = NULL;

  for (guint i = 0; i < files->len; i++) {
    const PilotMailboxEntry *file = files->pdata[i];

    if (file->modified < since || file->modified > before)
      continue;
    if (!pilot_mailbox_delete (state, PILOT_MAILBOX_RECEIVED, file->name, &error) && !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
      return output_error (invocation, error);
    g_clear_error (&error);
    cleared++;
  }
  if (since == G_MININT64)
    partials = pilot_mailbox_delete_partials (state, before);
  if (!invocation->json)
    g_print (_("%u files deleted, %u left; %u that came in part deleted\n"), cleared, files->len - cleared, partials);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "cleared", "u", cleared);
  g_variant_dict_insert (&data, "remaining", "u", files->len - cleared);
  g_variant_dict_insert (&data, "cleared_partial", "u", partials);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static GVariant *
describe (const PilotMailboxEntry *file, const char *folder)
{
  g_autofree char *path = g_build_filename (folder, file->name, NULL), *modified = time_text (file->modified);
  g_autofree char *name = g_filename_display_name (file->name), *shown_path = g_filename_display_name (path);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "name", "s", name);
  g_variant_dict_insert (&dict, "bytes", "t", file->bytes);
  g_variant_dict_insert (&dict, "modified", "s", modified);
  g_variant_dict_insert (&dict, "path", "s", shown_path);
  return g_variant_dict_end (&dict);
}

static int
list (Invocation *invocation, const char *state, GPtrArray *files, gint64 since, guint limit)
{
  g_autofree char *folder = pilot_mailbox_folder (state, PILOT_MAILBOX_RECEIVED);
  GVariantBuilder shown;
  GVariantDict data;
  guint n = 0;

  g_variant_builder_init (&shown, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < files->len && (limit == 0 || n < limit); i++) {
    const PilotMailboxEntry *file = files->pdata[i];

    if (file->modified < since)
      break; /* the newest come first */
    n++;
    g_variant_builder_add_value (&shown, describe (file, folder));
    if (!invocation->json) {
      g_autofree char *name = g_filename_display_name (file->name), *clean = output_clean (name), *bytes = output_bytes (file->bytes);
      g_autofree char *age = output_age ((g_get_real_time () - file->modified) / G_USEC_PER_SEC);

      g_print (_("%s\n  %s · %s ago\n"), clean, bytes, age);
    }
  }
  if (!invocation->json && n == 0)
    g_print (files->len == 0 ? _("no files\n") : _("no file matches\n"));
  else if (!invocation->json)
    g_print (_("%u of %u files in %s\n"), n, files->len, folder);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "files", g_variant_builder_end (&shown));
  g_variant_dict_insert (&data, "total", "u", files->len);
  g_variant_dict_insert (&data, "shown", "u", n);
  g_variant_dict_insert (&data, "dir", "s", folder);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_received (Invocation *invocation)
{
  g_autofree char *since_text = NULL, *before_text = NULL, *state = NULL;
  gboolean clear_them = FALSE;
  int limit = -1;
  const GOptionEntry entries[] = {
    { "limit", 0, 0, G_OPTION_ARG_INT, &limit, N_("At most so many (default 10, with --json all; 0 = all)"), "N" },
    { "since", 0, 0, G_OPTION_ARG_STRING, &since_text, N_("Only those of the last 5m, 1h, or since a date"), "TIME" },
    { "clear", 0, 0, G_OPTION_ARG_NONE, &clear_them, N_("Delete those that match, all when nothing is said"), NULL },
    { "before", 0, 0, G_OPTION_ARG_STRING, &before_text, N_("With --clear: only those older than 24h, or a date"), "TIME" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GPtrArray) files = NULL;
  gint64 since = G_MININT64, before = G_MAXINT64;
  GError *error = NULL;
  int exit_code;

  if (!command_parse (invocation, entries, 0, 0, &exit_code))
    return exit_code;
  if (limit < -1 || (before_text != NULL && !clear_them))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--limit needs a number from 0 up, and --before goes with --clear"));
  if ((since_text != NULL && !mailbox_parse_time (since_text, &since, &error)) || (before_text != NULL && !mailbox_parse_time (before_text, &before, &error)))
    return output_error (invocation, error);
  state = mailbox_find (invocation, &client, &error);
  files = state != NULL ? pilot_mailbox_list (state, PILOT_MAILBOX_RECEIVED, &error) : NULL;
  if (files == NULL)
    return output_error (invocation, error);
  if (clear_them)
    return clear (invocation, state, files, since, before);
  return list (invocation, state, files, since, limit >= 0 ? (guint) limit : invocation->json ? 0
                                                                                              : DEFAULT_LIMIT);
}
