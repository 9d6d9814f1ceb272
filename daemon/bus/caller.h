/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* Who called a method: a connection, and on a message bus a name on it. What is bound to a caller ends when it leaves. */
typedef struct _PilotCaller PilotCaller;

/* @gone: called once, from the main loop, when the caller has left; the handle must still be freed. */
PilotCaller *pilot_caller_new (GDBusMethodInvocation *invocation, void (*gone) (gpointer user_data), gpointer user_data);
void pilot_caller_free (PilotCaller *caller);
/* Whether this call comes from the same. */
gboolean pilot_caller_is (PilotCaller *caller, GDBusMethodInvocation *invocation);

G_END_DECLS
