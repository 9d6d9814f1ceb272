/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <glib/gi18n.h>

#include "libpilot/pilot-address.h"
#include "libpilot/pilot-error.h"

G_BEGIN_DECLS

/* Exit codes, as in pilotctl(1). */
typedef enum {
  EXIT_OK = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
} PilotctlExit;

typedef struct _Invocation Invocation;

/**
 * Command:
 * @name: the words that select it ("gateway start")
 * @arguments: for the help text
 * @summary: one line, translatable
 * @run: parses its own options (command_parse()) and answers an exit code
 * @file: which argument is the name of a file, and may be of any bytes; 0 = none
 */
typedef struct {
  const char *name;
  const char *arguments;
  const char *summary;
  int (*run) (Invocation *invocation);
  int file;
} Command;

struct _Invocation {
  const Command *command;
  gboolean json;
  char *bus; /* --bus */
  int argc;  /* argv[0] is the command's name */
  char **argv;
};

extern const Command commands[];

/* Parses the options of a command strictly, with --json and --bus added; what is left are positional arguments, @min to @max of them.
 * FALSE: *exit_code says how to end (help was printed, or an error). */
gboolean command_parse (Invocation *invocation, const GOptionEntry *entries, int min, int max, int *exit_code);

int command_daemon_start (Invocation *invocation);
int command_daemon_stop (Invocation *invocation);
int command_daemon_status (Invocation *invocation);
int command_init (Invocation *invocation);
int command_config (Invocation *invocation);
int command_info (Invocation *invocation);
int command_handshake (Invocation *invocation);
int command_pending (Invocation *invocation);
int command_approve (Invocation *invocation);
int command_reject (Invocation *invocation);
int command_trust (Invocation *invocation);
int command_untrust (Invocation *invocation);
int command_expose (Invocation *invocation);
int command_unexpose (Invocation *invocation);
int command_find (Invocation *invocation);
int command_set_hostname (Invocation *invocation);
int command_clear_hostname (Invocation *invocation);
int command_set_public (Invocation *invocation);
int command_set_private (Invocation *invocation);
int command_peers (Invocation *invocation);
int command_connections (Invocation *invocation);
int command_netcheck (Invocation *invocation);
int command_ping (Invocation *invocation);
int command_connect (Invocation *invocation);
int command_send (Invocation *invocation);
int command_recv (Invocation *invocation);
int command_dgram (Invocation *invocation);
int command_listen (Invocation *invocation);
int command_subscribe (Invocation *invocation);
int command_publish (Invocation *invocation);
int command_bench (Invocation *invocation);
int command_traceroute (Invocation *invocation);
int command_plugins (Invocation *invocation);
int command_send_message (Invocation *invocation);
int command_send_file (Invocation *invocation);
int command_inbox (Invocation *invocation);
int command_received (Invocation *invocation);
int command_gateway_start (Invocation *invocation);
int command_gateway_stop (Invocation *invocation);
int command_gateway_list (Invocation *invocation);
int command_gateway_map (Invocation *invocation);
int command_gateway_unmap (Invocation *invocation);

G_END_DECLS
