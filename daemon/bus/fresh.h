/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * Skeletons with properties that do not signal: counters, times. They would be as old as the last change that did signal; these are brought
 * up to date whenever somebody asks (Properties.Get, GetAll, GetManagedObjects).
 */
typedef void (*PilotFreshFunc) (GDBusInterfaceSkeleton *skeleton, gpointer user_data);

/* A skeleton of @skeleton_type (a generated one) that calls @refresh before its properties are read. Takes @user_data. */
gpointer pilot_fresh_new (GType skeleton_type, PilotFreshFunc refresh, gpointer user_data, GDestroyNotify free_user_data);

G_END_DECLS
