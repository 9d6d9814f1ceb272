/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/command.h"

#include <gio/gio.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "libpilot/pilot-suggestion.h"
#include "pilotctl/output.h"

/* The one table of commands: it selects, and it writes the help. Man page and completion are checked against it (tests/pilotctl). */
const Command commands[] = {
  { "daemon start", "[OPTION…]", N_("Start the daemon"), command_daemon_start },
  { "daemon stop", "", N_("Stop the daemon"), command_daemon_stop },
  { "daemon status", "[--check]", N_("Show whether the daemon runs"), command_daemon_status },
  { "init", "[--registry A] [--beacon A] [--hostname H]", N_("Write the first configuration"), command_init },
  { "config", "[--set KEY=VALUE]", N_("Show or change the configuration"), command_config },
  { "info", "", N_("Show this node: address, state, counters"), command_info },
  { "netcheck", "", N_("Look at the network: UDP, NAT, addresses, round trips, and what to do"), command_netcheck },
  { "handshake", "NODE [JUSTIFICATION] [--ports LIST]", N_("Ask a node for trust"), command_handshake },
  { "pending", "[--outgoing]", N_("List requests for trust"), command_pending },
  { "approve", "NODE [--ports LIST]", N_("Trust a node that asked"), command_approve },
  { "reject", "NODE [REASON]", N_("Turn a request down"), command_reject },
  { "trust", "[--limit N] [--search TEXT]", N_("List trusted nodes"), command_trust },
  { "untrust", "NODE", N_("Take trust back"), command_untrust },
  { "expose", "NODE [--ports LIST]", N_("Let a trusted node reach ports of this machine"), command_expose },
  { "unexpose", "NODE [--ports LIST]", N_("Close ports to a node again"), command_unexpose },
  { "find", "HOSTNAME", N_("Look a host name up"), command_find },
  { "set-hostname", "NAME", N_("Set this node's host name"), command_set_hostname },
  { "clear-hostname", "", N_("Clear this node's host name"), command_clear_hostname },
  { "set-public", "", N_("Let strangers find this node"), command_set_public },
  { "set-private", "", N_("Hide this node from strangers"), command_set_private },
  { "peers", "[--limit N] [--search TEXT]", N_("List peers and their paths"), command_peers },
  { "connections", "", N_("List streams"), command_connections },
  { "ping", "NODE [--count N] [--timeout D]", N_("Measure the round trip to a node"), command_ping },
  { "traceroute", "NODE [--timeout D]", N_("Show the path to a node and its round trips"), command_traceroute },
  { "bench", "NODE [MIB] [--timeout D]", N_("Measure the throughput to a node and back"), command_bench },
  { "connect", "NODE [PORT] [--message TEXT] [--timeout D]", N_("Open a stream: stdin to the node, its answer to stdout"), command_connect },
  { "send", "NODE PORT --data TEXT [--timeout D]", N_("Send a text on a stream and print the answer"), command_send },
  { "recv", "PORT [--count N] [--timeout D]", N_("Wait for streams to a port and print what comes"), command_recv },
  { "dgram", "NODE PORT --data TEXT", N_("Send a datagram"), command_dgram },
  { "listen", "PORT [--count N] [--timeout D]", N_("Print the datagrams that come to a port"), command_listen },
  { "send-message", "NODE --data TEXT [--type TYPE] [--wait[=D]]", N_("Send a message to a node"), command_send_message },
  { "send-file", "NODE FILE [--timeout D]", N_("Send a file to a node"), command_send_file, 2 },
  { "inbox", "[read ID] [--latest] [--from NODE]", N_("Show messages that came"), command_inbox },
  { "received", "[--limit N] [--clear]", N_("List files that came"), command_received },
  { "subscribe", "NODE TOPIC [--count N] [--timeout D]", N_("Print the events of a topic at a node"), command_subscribe },
  { "publish", "NODE TOPIC --data TEXT", N_("Publish an event at a node"), command_publish },
  { "plugins", "[--set PLUGIN.KEY=VALUE]", N_("List plugins and their state"), command_plugins },
  { "gateway start", "[--ports LIST] [--subnet CIDR] [NODE…]", N_("Give nodes local IP addresses (with sudo)"), command_gateway_start },
  { "gateway stop", "", N_("Remove every address and rule, forget the mappings"), command_gateway_stop },
  { "gateway list", "", N_("List mappings"), command_gateway_list },
  { "gateway map", "NODE [IP]", N_("Map one more node"), command_gateway_map },
  { "gateway unmap", "IP", N_("Remove a mapping"), command_gateway_unmap },
  { NULL }
};

/* Is it one of the commands of a group, such as "gateway"? */
static gboolean
in_group (const Command *command, const char *group)
{
  gsize length = strlen (group);

  return strncmp (command->name, group, length) == 0 && command->name[length] == ' ';
}

static gboolean
is_group (const char *word)
{
  for (const Command *command = commands; command->name != NULL; command++)
    if (in_group (command, word))
      return TRUE;
  return FALSE;
}

/* @group NULL: every command. To stdout when it was asked for, so that it can be paged; to stderr when something is missing. */
static void
print_usage (const char *group, FILE *out)
{
  g_autoptr (GString) text = g_string_new (_("Usage: pilotctl [--json] [--bus PATH] COMMAND [ARGUMENT…]\n\nCommands:\n"));

  for (const Command *command = commands; command->name != NULL; command++)
    if (group == NULL || in_group (command, group))
      g_string_append_printf (text, "  %-16s %s\n", command->name, _(command->summary));
  g_string_append (text, _("\n\"extras\" may stand before any command. pilotctl help COMMAND says more; so does pilotctl(1).\n"));
  if (out == stdout)
    g_print ("%s", text->str);
  else
    g_printerr ("%s", text->str);
}

/* GLib's messages begin with a capital letter, ours do not. @entries: (nullable): the command's own, beside @common. */
static int
refuse_options (Invocation *invocation, const GError *error, const GOptionEntry *entries, const GOptionEntry *common)
{
  const char *message = error->message, *name = strstr (message, "--");
  gboolean word = g_ascii_isupper (message[0]) && g_ascii_islower (message[1]);
  g_autofree char *hint = NULL;
  PilotSuggestion option;

  pilot_suggestion_init (&option, name != NULL && g_error_matches (error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION) ? name + strlen ("--") : "");
  for (const GOptionEntry *entry = entries; entry != NULL && entry->long_name != NULL; entry++)
    if (!(entry->flags & G_OPTION_FLAG_HIDDEN))
      pilot_suggestion_consider (&option, entry->long_name);
  for (const GOptionEntry *entry = common; entry->long_name != NULL; entry++)
    pilot_suggestion_consider (&option, entry->long_name);
  if (option.nearest != NULL)
    hint = g_strdup_printf (_("did you mean --%s? pilotctl %s --help lists the options"), option.nearest, invocation->command->name);
  else
    hint = g_strdup_printf (_("pilotctl %s --help lists the options"), invocation->command->name);
  return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, hint, "%c%s", word ? g_ascii_tolower (message[0]) : message[0], message + 1);
}

/* D-Bus and JSON carry nothing else. (Of options GLib sees to it.) */
static gboolean
check_encoding (Invocation *invocation, int *exit_code)
{
  for (int i = 1; i < invocation->argc; i++)
    if (i != invocation->command->file && !g_utf8_validate (invocation->argv[i], -1, NULL)) {
      g_autofree char *quoted = pilot_error_quote (invocation->argv[i], -1);

      *exit_code = output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("\"%s\" is not UTF-8"), quoted);
      return FALSE;
    }
  return TRUE;
}

gboolean
command_parse (Invocation *invocation, const GOptionEntry *entries, int min, int max, int *exit_code)
{
  const GOptionEntry common[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &invocation->json, N_("Print JSON"), NULL },
    { "bus", 0, 0, G_OPTION_ARG_FILENAME, &invocation->bus, N_("The daemon's socket, \"session\" or \"system\""), "PATH" },
    { NULL }
  };
  g_autofree char *program = g_strconcat ("pilotctl ", invocation->command->name, NULL);
  g_autoptr (GOptionContext) context = g_option_context_new (invocation->command->arguments);
  g_autoptr (GError) error = NULL;
  gboolean help = FALSE;
  const GOptionEntry help_entry[] = {
    { "help", 'h', 0, G_OPTION_ARG_NONE, &help, N_("Show this help"), NULL },
    { NULL }
  };

  g_set_prgname (program);
  g_option_context_set_help_enabled (context, FALSE);
  g_option_context_set_summary (context, _(invocation->command->summary));
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, GETTEXT_PACKAGE);
  g_option_context_add_main_entries (context, common, GETTEXT_PACKAGE);
  g_option_context_add_main_entries (context, help_entry, GETTEXT_PACKAGE);
  /* A negative result must be told in the form that was asked for, wherever --json stands. */
  for (int i = 1; i < invocation->argc; i++)
    if (g_str_equal (invocation->argv[i], "--json"))
      invocation->json = TRUE;
  /* An empty variable of a script must not open, close or map what nobody named. */
  for (int i = 1; i < invocation->argc; i++)
    if (g_str_equal (invocation->argv[i], "--ports=") ||
        (g_str_equal (invocation->argv[i], "--ports") && i + 1 < invocation->argc && *invocation->argv[i + 1] == '\0')) {
      *exit_code = output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, _("leave it out to have the default"), _("the list of --ports is empty"));
      return FALSE;
    }
  if (!g_option_context_parse (context, &invocation->argc, &invocation->argv, &error)) {
    *exit_code = refuse_options (invocation, error, entries, common);
    return FALSE;
  }
  if (help) {
    g_autofree char *text = g_option_context_get_help (context, FALSE, NULL);

    g_print ("%s", text);
    *exit_code = EXIT_OK;
    return FALSE;
  }
  if (invocation->argc > 1 && g_str_equal (invocation->argv[1], "--")) {
    invocation->argv++;
    invocation->argc--;
  }
  if (invocation->argc - 1 < min || invocation->argc - 1 > max) {
    *exit_code = output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("usage: pilotctl %s%s%s"), invocation->command->name,
                              invocation->command->arguments[0] != '\0' ? " " : "", invocation->command->arguments);
    return FALSE;
  }
  return check_encoding (invocation, exit_code);
}

static const Command *
find_command (char **words, int n_words, int *used)
{
  for (const Command *command = commands; command->name != NULL; command++) {
    g_auto (GStrv) parts = g_strsplit (command->name, " ", -1);
    int n = (int) g_strv_length (parts), i = 0;

    while (i < n && i < n_words && g_str_equal (parts[i], words[i]))
      i++;
    if (i == n) {
      *used = n;
      return command;
    }
  }
  return NULL;
}

/* Options may stand before the command. */
static int
take_global_options (Invocation *invocation, char **argv, int argc)
{
  int i = 1;

  for (; i < argc && argv[i][0] == '-'; i++) {
    if (g_str_equal (argv[i], "--json"))
      invocation->json = TRUE;
    else if (g_str_equal (argv[i], "--verbose") || g_str_equal (argv[i], "-v"))
      g_setenv ("G_MESSAGES_DEBUG", "all", FALSE);
    else if (g_str_equal (argv[i], "--bus") && i + 1 < argc)
      invocation->bus = g_strdup (argv[++i]);
    else if (g_str_has_prefix (argv[i], "--bus="))
      invocation->bus = g_strdup (argv[i] + strlen ("--bus="));
    else
      break;
  }
  return i;
}

/* The command that @words most likely mean, one of them or two; NULL: none is near enough. */
static const char *
nearest_command (char **words)
{
  g_autofree char *two = words[1] != NULL && words[1][0] != '-' ? g_strconcat (words[0], " ", words[1], NULL) : NULL;
  PilotSuggestion of_one, of_two;

  pilot_suggestion_init (&of_one, is_group (words[0]) ? "" : words[0]);
  pilot_suggestion_init (&of_two, two != NULL ? two : "");
  for (const Command *command = commands; command->name != NULL; command++) {
    const char *space = strchr (command->name, ' ');
    g_autofree char *group = space != NULL ? g_strndup (command->name, (gsize) (space - command->name)) : NULL;

    pilot_suggestion_consider (space != NULL ? &of_two : &of_one, command->name);
    if (group != NULL)
      pilot_suggestion_consider (&of_one, g_intern_string (group));
  }
  return of_two.nearest != NULL && (of_one.nearest == NULL || of_two.distance <= of_one.distance) ? of_two.nearest : of_one.nearest;
}

/* No command has this name; @words ends with NULL. */
static int
refuse_command (Invocation *invocation, char **words)
{
  const char *group = is_group (words[0]) ? words[0] : NULL;
  gboolean names_one = group == NULL || (words[1] != NULL && words[1][0] != '-');
  g_autofree char *name = group != NULL && names_one ? g_strconcat (group, " ", words[1], NULL) : g_strdup (words[0]);
  g_autofree char *shown = g_utf8_make_valid (name, -1);
  const char *nearest = names_one ? nearest_command (words) : NULL;
  g_autofree char *hint = nearest != NULL ? g_strdup_printf (_("did you mean \"%s\"? pilotctl --help lists the commands"), nearest)
                                          : g_strdup (_("pilotctl --help lists the commands"));
  int exit_code;

  if (g_strv_contains ((const char *const *) words, "--json"))
    invocation->json = TRUE;
  if (!invocation->json && !names_one) {
    gboolean asked = g_strv_contains ((const char *const *) words, "--help") || g_strv_contains ((const char *const *) words, "-h");

    print_usage (group, asked ? stdout : stderr);
    return asked ? EXIT_OK : EXIT_USAGE;
  }
  exit_code = output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, hint,
                           words[0][0] == '-' ? _("unknown option %s") : names_one ? _("unknown command: %s")
                                                                                    : _("\"%s\" needs a command behind it"),
                           shown);
  return invocation->json ? exit_code : EXIT_USAGE;
}

/* "help gateway map" is "gateway map --help". (transfer container); ends with NULL. */
static char **
help_words (char **words)
{
  GPtrArray *asked = g_ptr_array_new ();

  for (char **word = words + (g_strcmp0 (words[1], "extras") == 0 ? 2 : 1); *word != NULL; word++)
    g_ptr_array_add (asked, *word);
  g_ptr_array_add (asked, (char *) "--help");
  g_ptr_array_add (asked, NULL);
  return (char **) g_ptr_array_free (asked, FALSE);
}

static int
run (Invocation *invocation, int argc, char **argv)
{
  char **words = argv + take_global_options (invocation, argv, argc);
  g_autofree char **asked = NULL;
  int used = 0;

  if (words[0] != NULL && (g_str_equal (words[0], "--version") || g_str_equal (words[0], "version"))) {
    g_print ("pilotctl %s\n", PILOT_VERSION);
    return EXIT_OK;
  }
  if (g_strcmp0 (words[0], "extras") == 0)
    words++;
  if (words[0] == NULL) {
    print_usage (NULL, stderr);
    return EXIT_USAGE;
  }
  if (g_str_equal (words[0], "--bus"))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, _("as in: pilotctl --bus PATH info"), _("--bus needs the path of a socket, \"session\" or \"system\""));
  if (g_str_equal (words[0], "help"))
    words = asked = help_words (words);
  if (g_str_equal (words[0], "-h") || g_str_equal (words[0], "--help")) {
    print_usage (NULL, stdout);
    return EXIT_OK;
  }
  invocation->command = find_command (words, (int) g_strv_length (words), &used);
  if (invocation->command == NULL)
    return refuse_command (invocation, words);
  invocation->argv = words + used - 1;
  invocation->argc = (int) g_strv_length (invocation->argv);
  return invocation->command->run (invocation);
}

/* With its first socket GIO ignores SIGPIPE for good. But what writes into a pipe that nobody reads any more ("| head") has to end, as every tool does. */
static void
keep_sigpipe (void)
{
  struct sigaction before;

  sigaction (SIGPIPE, NULL, &before);
  g_type_class_ref (G_TYPE_SOCKET); /* never unreferenced: its initialisation is what counts */
  sigaction (SIGPIPE, &before, NULL);
}

/* What did not get there is no success, whatever else was done. */
static int
check_output (Invocation *invocation, int exit_code)
{
  if (fflush (stdout) == 0 && !ferror (stdout))
    return exit_code;
  return output_fail (invocation, PILOT_ERROR_IO, _("is the disk full?"), _("not all of the output could be written"));
}

int
main (int argc, char **argv)
{
  Invocation invocation = { 0 };
  int exit_code;

  setlocale (LC_ALL, "");
  bindtextdomain (GETTEXT_PACKAGE, PILOT_LOCALE_DIR);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
  textdomain (GETTEXT_PACKAGE);
  keep_sigpipe ();
  output_guard_terminal ();
  /* Registers the names of our errors, so that what the daemon sends is recognised. */
  (void) PILOT_ERROR;

  /* Debug messages are not part of the answer. */
  g_log_writer_default_set_use_stderr (TRUE);
  exit_code = check_output (&invocation, run (&invocation, argc, argv));
  g_free (invocation.bus);
  return exit_code;
}
