/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/socket.h>

G_BEGIN_DECLS

/* What a server does with a listening socket that is readable, whoever watches it. When the process has no descriptors left a connection stays in the
 * socket's queue, and the socket readable: whoever went on looking would do nothing else. So it looks away for a moment, and again, until there is room. */
typedef struct _PilotAcceptor PilotAcceptor;

typedef struct {
  /* Takes @fd, which is non-blocking; @remote is borrowed. */
  void (*accepted) (int fd, const struct sockaddr *remote, socklen_t length, gpointer user_data);
  /* Whether the socket is to be watched. */
  void (*watch) (gboolean wanted, gpointer user_data);
  /* (nullable) Gives up something for a descriptor. FALSE: there is nothing. */
  gboolean (*make_room) (gpointer user_data);
} PilotAcceptorFuncs;

/* (transfer full): @funcs is borrowed. The socket @fd listens, does not block, is the caller's, and watched from the beginning. */
PilotAcceptor *pilot_acceptor_new (int fd, const PilotAcceptorFuncs *funcs, gpointer user_data);
/* Watches nothing any more; not from within a function of @acceptor. */
void pilot_acceptor_free (PilotAcceptor *acceptor);
/* The socket is readable: takes what is there, but not more than others can wait for. No error ends it. */
void pilot_acceptor_ready (PilotAcceptor *acceptor);

G_END_DECLS
