/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/plugin/call.h"
#include "daemon/gateway/gateway-state.h"
#include "daemon/gateway/inbound.h"
#include "daemon/gateway/mapping.h"
#include "daemon/gateway/port-list.h"
#include "daemon/helper/privileged.h"

G_BEGIN_DECLS

/* Shared by gateway.c (the object, what happens on connections, unmap, stop, restore), gateway-add.c (start and map), gateway-operation.c (one
 * after the other) and gateway-change.c (how a change is made). */

/* One mapping as it shall be after a change. */
typedef struct {
  guint32 node, local;
  char *hostname;
  GArray *ports;         /* guint16; empty = every port */
  guint32 uid;           /* PILOT_UID_ANY, or the only user who may connect */
  PilotMapping *mapping; /* (nullable): the one there is already */
  gboolean strict;       /* the change fails when no port of it can be listened on */
  gboolean allocated;    /* by this change: given back when it fails */
} PilotTarget;

PilotTarget *pilot_target_new (guint32 node, guint32 local, const char *hostname, const GArray *ports);
void pilot_target_free (PilotTarget *target);

struct _PilotGateway {
  GObject parent_instance;
  PilotNode *node;
  PilotPluginLoader *loader;
  PilotInbound *inbound;
  PilotPrivileged *privileged;
  PilotListener *redirect_listener;
  guint16 redirect_port;
  GHashTable *by_local; /* GUINT local → PilotMapping */
  GHashTable *by_node;  /* GUINT node → PilotMapping, not owned */
  char *path;           /* gateway.json */
  char *subnet, *ports;
  char *default_subnet; /* the allocator's own, before we set any */
  char *mode_wanted;    /* "", "redirect", "listen" */
  gboolean active, redirect, overlap_checked;
  gboolean shut_down;
  GQueue operations; /* GTask*: the first is under way */
  gboolean refresh_queued;
};

/* What a change shall lead to. */
typedef struct {
  char *subnet, *ports, *mode_wanted;
  GPtrArray *targets;   /* PilotTarget* */
  gboolean forget_down; /* may go on without a privilege: what goes away is not in force anyway */
  gboolean unsaved;     /* the file says it already */
} PilotChange;

PilotChange *pilot_change_new (PilotGateway *gateway);
void pilot_change_free (PilotChange *change);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotChange, pilot_change_free)

/* Gives back what was allocated for it. */
void pilot_change_give_back (PilotChange *change, PilotGateway *gateway);
/*
 * PilotOperation: operations run one after the other, in the order they were asked for. Each is a GTask of the gateway whose data begins with
 * this; it ends with pilot_operation_return().
 */
typedef struct {
  void (*begin) (GTask *task);
} PilotOperation;

/* Takes the task and its data. */
void pilot_operation_queue (GTask *task, PilotOperation *operation, GDestroyNotify free_operation);
/* One that needs no data. */
void pilot_operation_queue_simple (GTask *task, void (*begin) (GTask *task));
/* Ends the one under way and begins the next. @error (transfer full) NULL: it succeeded with @result, or with TRUE when that is NULL too. */
void pilot_operation_return (GTask *task, GError *error, gpointer result, GDestroyNotify free_result);

/* Makes it so, all or nothing: file first, then addresses, listeners and rules, then the objects. Takes the change. */
void pilot_gateway_change_async (PilotGateway *gateway, PilotChange *change, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_gateway_change_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);
/* Forgets everything that is in memory of the gateway being active. */
void pilot_gateway_deactivate (PilotGateway *gateway);
void pilot_gateway_emit_changed (PilotGateway *gateway);
void pilot_gateway_mapping_added (PilotGateway *gateway, PilotMapping *mapping);
void pilot_gateway_mapping_removed (PilotGateway *gateway, PilotMapping *mapping);
void pilot_gateway_redirected (int fd, guint32 address, guint16 port, gpointer user_data);
/* (nullable): NULL = the default place. */
const char *pilot_gateway_helper_socket (PilotGateway *gateway);
PilotAllocator *pilot_gateway_get_allocator (PilotGateway *gateway, GError **error);

G_END_DECLS
