/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "identity-file.h"

#include <errno.h>
#include <string.h>
#include <glib/gstdio.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"

static gboolean
make_identity (const char *path, PilotIdentity *identity, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (path);
  guint8 seed[PILOT_ED25519_SEED_SIZE];
  char *text;
  gboolean stored;

  if (g_mkdir_with_parents (folder, 0700) < 0) {
    int error_number = errno;

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot create folder \"%s\": %s", folder, g_strerror (error_number));
    return FALSE;
  }
  pilot_crypto_random (seed, sizeof seed);
  pilot_identity_init (identity, seed);
  pilot_crypto_wipe (seed, sizeof seed);

  text = pilot_identity_print (identity);
  stored = pilot_file_replace (path, text, strlen (text), 0600, error);
  pilot_crypto_wipe (text, strlen (text));
  g_free (text);
  if (!stored) {
    pilot_identity_clear (identity);
    g_prefix_error (error, "cannot store a new identity in \"%s\": ", path);
  }
  return stored;
}

gboolean
pilot_identity_file_open (const char *path, PilotIdentity *identity, gboolean *created, GError **error)
{
  g_autoptr (GError) local = NULL;
  char *text = NULL;
  gsize length = 0;
  gboolean parsed;

  if (created != NULL)
    *created = FALSE;
  if (!pilot_file_load (path, PILOT_IDENTITY_MAX_LENGTH, 077, &text, &length, &local)) {
    if (!g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
      g_propagate_prefixed_error (error, g_steal_pointer (&local), "identity \"%s\": ", path);
      return FALSE;
    }
    if (created != NULL)
      *created = TRUE;
    return make_identity (path, identity, error);
  }

  parsed = pilot_identity_parse (identity, text, length, error);
  pilot_crypto_wipe (text, length);
  g_free (text);
  if (!parsed) {
    g_prefix_error (error, "identity \"%s\": ", path);
    if (error != NULL)
      pilot_error_set_hint (*error, "put back a copy of the file, or move it away to start as a new node that nobody trusts yet");
  }
  return parsed;
}
