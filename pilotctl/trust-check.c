/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/trust-check.h"

#include <string.h>

#include "pilotctl/output.h"

#define APPROVAL_STEP_US (250 * 1000)
#define APPROVAL_STEPS 40

const char *const trust_unchecked_help = N_("Do not look at trust first, nor ask a public node for it");

/* -1 with an error. */
static int
is_trusted (Client *client, guint32 node, GError **error)
{
  g_autoptr (GVariant) list = client_list (client, "Node", "ListTrusted", error);

  if (list == NULL)
    return -1;
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) one = g_variant_get_child_value (list, i);

    if (dict_int (one, "node_id") == node)
      return TRUE;
  }
  return FALSE;
}

static gboolean
ask_for_trust (Client *client, guint32 node, const char *address, GError **error)
{
  g_autoptr (GVariant) reply = client_call (client, "Node", "Handshake", g_variant_new ("(us@a{sv})", node, "", g_variant_new ("a{sv}", NULL)), error);
  int trusted = FALSE;

  if (reply == NULL)
    return FALSE;
  g_printerr (_("asking %s for trust\n"), address);
  for (guint i = 0; i < APPROVAL_STEPS && trusted == FALSE; i++) {
    g_usleep (APPROVAL_STEP_US);
    trusted = is_trusted (client, node, error);
  }
  return trusted >= 0;
}

gboolean
trust_check (Client *client, guint32 node, GError **error)
{
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GError) local = NULL;
  PilotAddress address = { 0, node };
  char text[PILOT_ADDRESS_TEXT_SIZE];
  gboolean is_public;
  int trusted = is_trusted (client, node, error);

  if (trusted != FALSE)
    return trusted > 0;
  pilot_address_format (&address, text);
  reply = client_call (client, "Node", "Lookup", g_variant_new ("(u)", node), &local);
  if (reply == NULL) {
    g_autofree char *why = pilot_error_dup_message (local);

    /* What comes from the registry itself says so. */
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED, _("cannot look up peer %s (registry: %s); refusing tunnel to untrusted node"), text,
                 g_str_has_prefix (why, "registry: ") ? why + strlen ("registry: ") : why);
    return FALSE;
  }
  g_variant_get (reply, "(&sb)", NULL, &is_public);
  if (is_public)
    return ask_for_trust (client, node, text, error);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED, _("refusing tunnel to private node %s without trust"), text);
  if (error != NULL)
    pilot_error_set_hint (*error, _("run: pilotctl handshake %s"), text);
  return FALSE;
}

gboolean
trust_reach (Client *client, const char *name, gboolean unchecked, guint32 *node, char text[PILOT_ADDRESS_TEXT_SIZE], GError **error)
{
  PilotAddress address = { 0 };

  if (!client_resolve (client, name, node, error))
    return FALSE;
  address.node = *node;
  pilot_address_format (&address, text);
  return unchecked || trust_check (client, *node, error);
}
