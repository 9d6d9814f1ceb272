/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/config-file.h"
#include "pilotctl/leftovers.h"
#include "pilotctl/output.h"
#include "pilotctl/sudo.h"

#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_SUBNET "10.4.0.0/16"

static char *
find_helper (void)
{
  const char *given = sudo_getenv ("PILOT_HELPER_BIN");

  return g_strdup (given != NULL ? given : PILOT_HELPER_DIR "/pilot-helper");
}

/* The helper's exit status tells the PilotError (pilot-helper.c, EXIT_ERROR_BASE); any other status is a fault nobody classified. */
#define HELPER_EXIT_ERROR_BASE 64

static PilotError
helper_error_code (int wait_status)
{
  int code = WIFEXITED (wait_status) ? WEXITSTATUS (wait_status) - HELPER_EXIT_ERROR_BASE : -1;

  return code >= 0 && code < PILOT_ERROR_N_CODES ? (PilotError) code : PILOT_ERROR_FAILED;
}

/* Runs the helper program for the daemon's user. @value may be NULL. */
static gboolean
run_helper (guint32 uid, const char *option, const char *value, GError **error)
{
  g_autofree char *helper = find_helper (), *uid_text = g_strdup_printf ("%u", uid), *output = NULL;
  const char *argv[] = { helper, "--uid", uid_text, option, value, NULL };
  int status;

  if (!g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &output, &status, error)) {
    g_prefix_error (error, "cannot start \"%s\": ", helper);
    return FALSE;
  }
  if (!WIFEXITED (status) || WEXITSTATUS (status) != 0) {
    g_autofree char *clean = output_clean (g_strstrip (output));

    g_set_error (error, PILOT_ERROR, helper_error_code (status), _("the helper failed: %s"), clean);
    return FALSE;
  }
  return TRUE;
}

/* A helper is for a daemon that has no privileges, and root alone can start one. */
static gboolean
needs_helper (guint32 uid)
{
  return geteuid () == 0 && uid != 0;
}

/* The daemon's word for a subnet goes into a line that a person may copy behind "sudo": only as what it is, or not at all. */
static gboolean
refuse_subnet (const char *subnet, GError **error)
{
  g_autoptr (GInetAddressMask) mask = g_inet_address_mask_new_from_string (subnet, NULL);
  g_autofree char *plain = mask != NULL ? g_inet_address_mask_to_string (mask) : NULL;

  if (plain == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("the daemon says that its gateway is in \"%s\", which is no subnet"), subnet);
    return FALSE;
  }
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("the daemon says that its gateway is in \"%s\""), plain);
  if (error != NULL)
    pilot_error_set_hint (*error, _("if it shall be: sudo pilotctl gateway start --subnet %s"), plain);
  return FALSE;
}

/* Root has started one before: the folder is root's. */
static gboolean
has_helper (guint32 uid)
{
  g_autofree char *path = g_strdup_printf ("/run/pilot-helper/%u.sock", uid);
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocketConnection) connection = g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, NULL);

  return connection != NULL;
}

/* The helper does what needs privileges; it outlives this command and the daemon. Root lets it have the subnet that was typed, or the default. Another one
 * that the daemon says it is in is the word of whoever runs as its user, who could so come by any address, for everybody on this machine: it holds when
 * root has let it before. */
static gboolean
start_helper (Client *client, const char *subnet, gboolean typed, GError **error)
{
  guint32 uid;

  if (!client_get_uid (client, &uid, error))
    return FALSE;
  if (!needs_helper (uid))
    return TRUE;
  if (typed || g_str_equal (subnet, DEFAULT_SUBNET))
    return run_helper (uid, "--subnet", subnet, error);
  if (has_helper (uid))
    return TRUE;
  return refuse_subnet (subnet, error);
}

/* A start that came to nothing leaves no helper behind, or whoever may use the daemon could start the gateway without root ever after. */
static void
drop_idle_helper (Client *client)
{
  g_autoptr (GVariant) active = client_get_property (client, "Gateway", "Active", NULL);
  g_autoptr (GError) error = NULL;
  guint32 uid;

  if (active != NULL && !g_variant_get_boolean (active) &&
      (!client_get_uid (client, &uid, &error) || (needs_helper (uid) && !run_helper (uid, "--stop", NULL, &error))))
    g_printerr (_("warning: %s\n"), error->message);
}

/* What start and map are told; each NULL when it was not said. */
typedef struct {
  char *ports, *subnet, *mode, *user;
} Wishes;

static void
wishes_clear (Wishes *wishes)
{
  g_free (wishes->ports);
  g_free (wishes->subnet);
  g_free (wishes->mode);
  g_free (wishes->user);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Wishes, wishes_clear)

/* As options of the call; "alice" or "1000" becomes the option "uid". (transfer full); NULL with an error. */
static GVariant *
wishes_to_options (const Wishes *wishes, GError **error)
{
  const struct passwd *entry = wishes->user != NULL ? getpwnam (wishes->user) : NULL;
  guint64 uid = entry != NULL ? entry->pw_uid : 0;
  GVariantDict options;

  if (wishes->user != NULL && entry == NULL && !g_ascii_string_to_unsigned (wishes->user, 10, 0, G_MAXUINT32 - 1, &uid, NULL)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("no user \"%s\" on this machine"), wishes->user);
    return NULL;
  }
  g_variant_dict_init (&options, NULL);
  if (wishes->ports != NULL)
    g_variant_dict_insert (&options, "ports", "s", wishes->ports);
  if (wishes->subnet != NULL)
    g_variant_dict_insert (&options, "subnet", "s", wishes->subnet);
  if (wishes->mode != NULL)
    g_variant_dict_insert (&options, "mode", "s", wishes->mode);
  if (wishes->user != NULL)
    g_variant_dict_insert (&options, "uid", "u", (guint32) uid);
  return g_variant_ref_sink (g_variant_dict_end (&options));
}

/* (transfer full): his name, or the number of one without. */
static char *
describe_user (GVariant *mapping)
{
  uid_t uid = (uid_t) dict_int (mapping, "uid");
  const struct passwd *entry = getpwuid (uid);

  return entry != NULL ? g_strdup (entry->pw_name) : g_strdup_printf ("%u", (guint) uid);
}

static gboolean
is_limited (GVariant *mapping)
{
  g_autoptr (GVariant) uid = g_variant_lookup_value (mapping, "uid", G_VARIANT_TYPE_UINT32);

  return uid != NULL;
}

static char *
describe_ports (GVariant *mapping)
{
  g_autoptr (GVariant) ports = g_variant_lookup_value (mapping, "ports", G_VARIANT_TYPE ("aa{sv}"));
  GString *text = g_string_new (NULL);

  if (dict_boolean (mapping, "all_ports"))
    return g_string_free (g_string_append (text, _("all ports")), FALSE);
  for (gsize i = 0; ports != NULL && i < g_variant_n_children (ports); i++) {
    g_autoptr (GVariant) port = g_variant_get_child_value (ports, i);
    const char *state = dict_string (port, "state");

    g_string_append_printf (text, "%s%d", i > 0 ? "," : "", (int) dict_int (port, "port"));
    if (g_str_equal (state, "held") || g_str_equal (state, "failed"))
      g_string_append_printf (text, "(%s)", state);
  }
  return g_string_free (text, FALSE);
}

/* Warnings belong to a person, not to a pipe: stderr. */
static void
warn_about_ports (GVariant *mapping)
{
  g_autoptr (GVariant) ports = g_variant_lookup_value (mapping, "ports", G_VARIANT_TYPE ("aa{sv}"));

  for (gsize i = 0; ports != NULL && i < g_variant_n_children (ports); i++) {
    g_autoptr (GVariant) port = g_variant_get_child_value (ports, i);
    g_autofree char *detail = output_clean (dict_string (port, "detail"));

    if (*detail != '\0')
      g_printerr (_("warning: %s port %d: %s\n"), dict_string (mapping, "local_ip"), (int) dict_int (port, "port"), detail);
  }
}

static void
print_user (GVariant *mapping)
{
  g_autofree char *user = is_limited (mapping) ? describe_user (mapping) : NULL;

  if (user != NULL)
    g_print (_("  only %s"), user);
}

/* A mapping is up whether or not its peer is there. (transfer full): what keeps the peer from being reached, or "". */
static char *
describe_peer (GVariant *mapping)
{
  const char *state = dict_string (mapping, "peer_state");

  if (g_str_equal (state, "untrusted"))
    return g_strdup (_("not trusted"));
  if (g_str_equal (state, "quiet") || g_str_equal (state, "silent") || g_str_equal (state, "unreachable") || g_str_equal (state, "key-mismatch"))
    return g_strdup_printf (_("peer %s"), state);
  return g_strdup ("");
}

static void
warn_about_peer (GVariant *mapping)
{
  if (g_str_equal (dict_string (mapping, "peer_state"), "untrusted"))
    g_printerr (_("warning: %s does not lead anywhere before node %u is trusted; run: pilotctl handshake %u\n"), dict_string (mapping, "local_ip"),
                (guint) dict_int (mapping, "node_id"), (guint) dict_int (mapping, "node_id"));
}

static void
print_mapped (GVariant *mapping)
{
  g_autofree char *ports = describe_ports (mapping);
  const char *state = dict_string (mapping, "state");

  g_print (_("mapped %s → %s  %s"), dict_string (mapping, "local_ip"), dict_string (mapping, "pilot_addr"), ports);
  print_user (mapping);
  if (g_str_equal (state, "up"))
    g_print ("\n");
  else
    g_print ("  (%s)\n", state);
  warn_about_peer (mapping);
  warn_about_ports (mapping);
}

static char *
choose_subnet (Client *client)
{
  g_autoptr (GVariant) active = client_get_property (client, "Gateway", "Active", NULL);
  g_autoptr (GVariant) subnet = NULL;

  subnet = client_get_property (client, "Gateway", "Subnet", NULL);
  if (active != NULL && g_variant_get_boolean (active) && subnet != NULL && *g_variant_get_string (subnet, NULL) != '\0')
    return g_variant_dup_string (subnet, NULL);
  return g_strdup (DEFAULT_SUBNET);
}

static gboolean
stop_waiting (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static int
stay (Invocation *invocation, Client *client)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;

  g_unix_signal_add (SIGINT, stop_waiting, loop);
  g_unix_signal_add (SIGTERM, stop_waiting, loop);
  g_main_loop_run (loop);
  reply = client_call (client, "Gateway", "Stop", NULL, &error);
  return reply != NULL ? EXIT_OK : output_error (invocation, error);
}

static void
print_started (GVariant *mappings)
{
  for (gsize i = 0; i < g_variant_n_children (mappings); i++) {
    g_autoptr (GVariant) mapping = g_variant_get_child_value (mappings, i);

    print_mapped (mapping);
  }
  g_print (_("gateway running\n"));
}

static GVariant *
start_result (Client *client, GVariant *mappings, const char *subnet)
{
  g_autoptr (GVariant) pid = client_get_property (client, "Node", "Pid", NULL);
  GVariantDict data;

  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "mappings", mappings);
  g_variant_dict_insert (&data, "subnet", "s", subnet);
  if (pid != NULL)
    g_variant_dict_insert_value (&data, "pid", pid);
  return g_variant_dict_end (&data);
}

/* The mappings; NULL with an error. @wishes: its subnet is filled in when none was said. */
static GVariant *
start (Client *client, Wishes *wishes, char **nodes, GError **error)
{
  const gboolean typed = wishes->subnet != NULL;
  g_autoptr (GVariant) options = NULL, reply = NULL;

  if (!typed)
    wishes->subnet = choose_subnet (client);
  options = wishes_to_options (wishes, error);
  if (options == NULL || !start_helper (client, wishes->subnet, typed, error))
    return NULL;
  /* Each name is asked of the registry: no limit of time fits all, and to give up early would leave a gateway that nobody was told of. */
  reply = client_call_long (client, "Gateway", "Start", g_variant_new ("(@a{sv}^as)", options, nodes), -1, error);
  if (reply == NULL)
    drop_idle_helper (client);
  return reply != NULL ? g_variant_get_child_value (reply, 0) : NULL;
}

int
command_gateway_start (Invocation *invocation)
{
  g_auto (Wishes) wishes = { NULL };
  gboolean foreground = FALSE;
  const GOptionEntry entries[] = {
    { "ports", 0, 0, G_OPTION_ARG_STRING, &wishes.ports, N_("Ports to map (default: all)"), "LIST" },
    { "subnet", 0, 0, G_OPTION_ARG_STRING, &wishes.subnet, N_("Where local addresses come from"), "CIDR" },
    { "mode", 0, 0, G_OPTION_ARG_STRING, &wishes.mode, N_("\"redirect\" (nftables) or \"listen\""), "MODE" },
    { "user", 0, 0, G_OPTION_ARG_STRING, &wishes.user, N_("The only user of this machine who may connect (default: everybody)"), "USER" },
    { "foreground", 0, 0, G_OPTION_ARG_NONE, &foreground, N_("Stay, and clean up on Ctrl-C"), NULL },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) mappings = NULL;
  GError *error = NULL;
  int exit_code;

  client = client_open (invocation, entries, 0, 4096, &exit_code);
  if (client == NULL)
    return exit_code;
  mappings = start (client, &wishes, invocation->argv + 1, &error);
  if (mappings == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    print_started (mappings);
  output_ok (invocation, start_result (client, mappings, wishes.subnet));
  return foreground ? stay (invocation, client) : EXIT_OK;
}

/* What a gateway of @uid left that nobody is there for any more. FALSE without an error: nothing. */
static gboolean
remove_leftovers (guint32 uid, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (run_helper (uid, "--cleanup", NULL, &local))
    return TRUE;
  /* Where no helper is installed none was killed. */
  if (!g_error_matches (local, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING) && !g_error_matches (local, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT))
    g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* Addresses and rules: those of the user who typed sudo, and those of root's own daemon, which sudo may have started. */
static gboolean
remove_all_leftovers (gboolean *found, GError **error)
{
  guint32 uids[] = { 0, 0 };
  GError *local = NULL;

  sudo_get_user (&uids[0]);
  for (guint i = uids[0] == 0; i < G_N_ELEMENTS (uids) && local == NULL; i++)
    *found |= remove_leftovers (uids[i], &local);
  if (local != NULL)
    g_propagate_error (error, local);
  return local == NULL;
}

static gboolean
forget_mappings_in (const char *folder, gboolean *found, GError **error)
{
  g_autofree char *state = config_file_state_folder (folder);

  return sudo_check_folder (state, error) && leftovers_forget_mappings (state, found, error);
}

static gboolean
forget_mappings_of (guint32 uid, gboolean *found, GError **error)
{
  const struct passwd *user = getpwuid (uid);
  g_autofree char *folder = user != NULL ? g_build_filename (user->pw_dir, ".pilot", NULL) : NULL;

  return folder == NULL || forget_mappings_in (folder, found, error);
}

/* A user's files are looked at as that user, for good: this comes last. */
static gboolean
forget_all_mappings (gboolean *found, GError **error)
{
  g_autofree char *own = config_file_folder ();
  guint32 user;

  if (!sudo_get_user (&user))
    return forget_mappings_in (own, found, error);
  return forget_mappings_of (0, found, error) && sudo_become (user, error) && forget_mappings_of (user, found, error);
}

/* No daemon answers. One that was stopped has its mappings written down, and would have them again; one that was killed leaves its addresses too, and with its
 * helper killed nobody takes those away but root, who asks nobody what they are. */
static int
stop_without_daemon (Invocation *invocation, GError *not_running)
{
  g_autoptr (GError) owned = not_running;
  gboolean found = FALSE;
  GError *error = NULL;
  GVariantDict data;

  /* A place that was named and does not answer is a mistake. */
  if (client_get_given_place (invocation) != NULL || !g_error_matches (not_running, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING))
    return output_error (invocation, g_steal_pointer (&owned));
  if (geteuid () != 0 && leftovers_has_addresses (geteuid ()))
    return output_fail (invocation, PILOT_ERROR_NOT_RUNNING, _("run: sudo pilotctl gateway stop"), _("daemon is not running, and its gateway left addresses that only root can remove"));
  if ((geteuid () == 0 && !remove_all_leftovers (&found, &error)) || !forget_all_mappings (&found, &error))
    return output_error (invocation, error);
  if (!found)
    return output_error (invocation, g_steal_pointer (&owned));
  if (!invocation->json)
    g_print (_("gateway stopped: no daemon runs, what one left behind was removed\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "left_behind", "b", TRUE);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static gboolean
stop_gateway (Client *client, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GVariant) reply = client_call (client, "Gateway", "Stop", NULL, &local);
  guint32 uid;

  /* Its helper was killed. Root does that one's work; then the daemon has nothing left that it could not do. */
  if (reply == NULL && g_error_matches (local, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED) && client_get_uid (client, &uid, NULL) && needs_helper (uid) &&
      remove_leftovers (uid, NULL)) {
    g_clear_error (&local);
    reply = client_call (client, "Gateway", "Stop", NULL, &local);
  }
  if (reply == NULL)
    g_propagate_error (error, g_steal_pointer (&local));
  return reply != NULL;
}

int
command_gateway_stop (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) pid = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  if (!command_parse (invocation, NULL, 0, 0, &exit_code))
    return exit_code;
  client = client_new (invocation, &error);
  if (client == NULL)
    return stop_without_daemon (invocation, error);
  if (!stop_gateway (client, &error))
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("gateway stopped\n"));
  pid = client_get_property (client, "Node", "Pid", NULL);
  g_variant_dict_init (&data, NULL);
  if (pid != NULL)
    g_variant_dict_insert_value (&data, "pid", pid);
  return output_ok (invocation, g_variant_dict_end (&data));
}

static void
add_row (GPtrArray *table, GVariant *mapping)
{
  g_autofree char *ports = describe_ports (mapping);
  g_autofree char *user = is_limited (mapping) ? describe_user (mapping) : NULL;
  g_autofree char *only = user != NULL ? g_strdup_printf (_("only %s"), user) : g_strdup ("");
  g_autofree char *in = output_bytes ((guint64) dict_int (mapping, "bytes_in"));
  g_autofree char *out = output_bytes ((guint64) dict_int (mapping, "bytes_out"));
  g_autofree char *hostname = output_clean (dict_string (mapping, "hostname")), *obstacle = describe_peer (mapping);
  g_autofree char *peer = g_strconcat ("→ ", dict_string (mapping, "pilot_addr"), NULL);
  g_autofree char *figures = g_strdup_printf (_("open %d, total %d, in %s, out %s"), (int) dict_int (mapping, "open"),
                                              (int) dict_int (mapping, "total"), in, out);

  output_table_add (table, dict_string (mapping, "local_ip"), peer, hostname, dict_string (mapping, "state"), ports, only, dict_string (mapping, "path"),
                    obstacle, figures, NULL);
}

static void
print_mappings (GVariant *mappings)
{
  g_autoptr (GPtrArray) table = output_table_new ();
  g_auto (GStrv) lines = NULL;
  gsize total = g_variant_n_children (mappings);

  for (gsize i = 0; i < total; i++) {
    g_autoptr (GVariant) mapping = g_variant_get_child_value (mappings, i);

    add_row (table, mapping);
  }
  lines = output_table_lines (table);
  for (gsize i = 0; i < total; i++) {
    g_autoptr (GVariant) mapping = g_variant_get_child_value (mappings, i);
    g_autofree char *last_error = output_clean (dict_string (mapping, "last_error"));

    g_print ("%s\n", lines[i]);
    if (*last_error != '\0')
      g_print (_("    last error: %s\n"), last_error);
    warn_about_ports (mapping);
  }
  if (total == 0)
    g_print (_("no mappings\n"));
  else
    g_print (_("total: %u\n"), (guint) total);
}

int
command_gateway_list (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) mappings = NULL, active = NULL;
  GError *error = NULL;
  GVariantDict data;
  gsize total;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  active = client_get_property (client, "Gateway", "Active", &error);
  if (active == NULL)
    return output_error (invocation, error);
  if (!g_variant_get_boolean (active))
    return output_fail (invocation, PILOT_ERROR_NOT_RUNNING, _("run: sudo pilotctl gateway start NODE"), _("gateway is not running"));
  mappings = client_list (client, "Gateway", "ListMappings", &error);
  if (mappings == NULL)
    return output_error (invocation, error);
  total = g_variant_n_children (mappings);
  if (!invocation->json)
    print_mappings (mappings);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "mappings", mappings);
  g_variant_dict_insert (&data, "total", "u", (guint32) total);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_gateway_map (Invocation *invocation)
{
  g_auto (Wishes) wishes = { NULL };
  const GOptionEntry entries[] = {
    { "ports", 0, 0, G_OPTION_ARG_STRING, &wishes.ports, N_("Ports to map (default: as at start)"), "LIST" },
    { "user", 0, 0, G_OPTION_ARG_STRING, &wishes.user, N_("The only user of this machine who may connect (default: everybody)"), "USER" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) options = NULL, reply = NULL, mapping = NULL;
  GError *error = NULL;
  int exit_code;

  client = client_open (invocation, entries, 1, 2, &exit_code);
  if (client == NULL)
    return exit_code;
  if (invocation->argc > 2 && *invocation->argv[2] == '\0')
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, _("leave it out to have the next free one"), _("the IP address is empty"));
  options = wishes_to_options (&wishes, &error);
  if (options != NULL)
    reply = client_call (client, "Gateway", "Map",
                         g_variant_new ("(ss@a{sv})", invocation->argv[1], invocation->argc > 2 ? invocation->argv[2] : "", options), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  mapping = g_variant_get_child_value (reply, 0);
  if (!invocation->json)
    print_mapped (mapping);
  return output_ok (invocation, mapping);
}

int
command_gateway_unmap (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  client = client_open (invocation, NULL, 1, 1, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Gateway", "Unmap", g_variant_new ("(s)", invocation->argv[1]), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("unmapped %s\n"), invocation->argv[1]);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "unmapped", "s", invocation->argv[1]);
  return output_ok (invocation, g_variant_dict_end (&data));
}
