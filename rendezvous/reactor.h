/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/epoll.h>

G_BEGIN_DECLS

/**
 * PilotReactor:
 *
 * Many descriptors behind one GSource. GMainContext polls all of its descriptors at every turn, which with ten thousand idle
 * connections costs more than the work; one epoll descriptor costs nothing for those that are idle.
 */
typedef struct _PilotReactor PilotReactor;

/* Part of whoever owns the descriptor. */
typedef struct _PilotReactorWatch PilotReactorWatch;
struct _PilotReactorWatch {
  /* `events` as of epoll. May remove any watch, its own too. */
  void (*ready) (PilotReactorWatch *watch,
                 guint32 events);
  int fd;
  guint32 events;
  gboolean added;
};

/* (transfer full): attached to the thread's default main context. */
PilotReactor *pilot_reactor_new (GError **error);
void pilot_reactor_free (PilotReactor *reactor);
/* Called at the end of each turn, after all ready descriptors were served. */
void pilot_reactor_set_turn_func (PilotReactor *reactor,
                                  void (*turn) (gpointer user_data),
                                  gpointer user_data);
gboolean pilot_reactor_add (PilotReactor *reactor,
                            PilotReactorWatch *watch,
                            int fd,
                            guint32 events,
                            GError **error);
void pilot_reactor_modify (PilotReactor *reactor,
                           PilotReactorWatch *watch,
                           guint32 events);
/* The descriptor stays open. */
void pilot_reactor_remove (PilotReactor *reactor,
                           PilotReactorWatch *watch);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotReactor, pilot_reactor_free)

G_END_DECLS
