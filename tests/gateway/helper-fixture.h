/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/helper/privileged.h"

G_BEGIN_DECLS

/* The real pilot-helper on a socket of the test's own, and what one looks at from outside. In a network namespace (namespace.h). */

#define HELPER_UID 12345
#define HELPER_CIDR "10.77.0.0/16"

/* The program; main() says where it is. */
extern const char *helper_program;

typedef struct {
  char *folder, *socket;
  int watcher; /* ends the helper, which outlives whoever started it, when this descriptor is closed: with the test, however that ends */
} Helper;

void helper_set_up (Helper *helper, gconstpointer data);
/* Makes sure that nothing is left behind. */
void helper_tear_down (Helper *helper, gconstpointer data);
/* Exit status; @errors (nullable): what it said. */
int helper_start (Helper *helper, guint uid, const char *cidr, char **errors);
/* The same with "--stop" or "--cleanup". */
int helper_ask (Helper *helper, const char *option, char **errors);
void helper_wait_gone (Helper *helper);
PilotPrivileged *helper_connect (Helper *helper);
/* Of every thread: capabilities are a thread's own, and what one was born with it keeps. */
void helper_assert_few_privileges (Helper *helper);

guint32 helper_ip (const char *text);
PilotSubnet helper_subnet (const char *cidr);
/* A command that must succeed. */
void helper_run (const char *command);
char *helper_output (const char *command);
/* 0 = connected, else the errno. */
int helper_try_connect (const char *address, guint16 port);

G_END_DECLS
