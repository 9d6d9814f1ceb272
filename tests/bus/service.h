/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gunixfdlist.h>

#include "daemon/bus/bus.h"
#include "tests/daemon/world.h"

G_BEGIN_DECLS

/*
 * The D-Bus face on real objects: host 0 of a world has a gateway and a bus, host 1 is its peer. A client of its own looks at them from
 * outside, through the private socket or through a message bus (GTestDBus). In a network namespace: host 0 has the right to map.
 */

#define ROOT "/network/pilotprotocol/Pilot1"
#define PREFIX "network.pilotprotocol.Pilot1."
#define BUS_NAME "network.pilotprotocol.Pilot1"
#define LANDS 5.0 /* seconds in which trust is promised to land */

typedef enum {
  SERVICE_PRIVATE,     /* peer to peer */
  SERVICE_MESSAGE_BUS, /* through dbus-daemon */
} ServiceVia;

typedef struct {
  World world;
  PilotGateway *gateway;
  PilotBus *bus;
  GTestDBus *test_bus;
  char *bus_address; /* of the message bus; NULL = there is none */
  gboolean system;   /* it is that of the machine */
  char *socket;

  GDBusConnection *connection;
  const char *name;   /* NULL on the private socket */
  GPtrArray *signals; /* "PATH INTERFACE.MEMBER ARGUMENTS", PATH below ROOT, without PREFIX */
} Service;

/* Two hosts, online; a client connected as @via (ServiceVia) says. For g_test_add(). */
void service_set_up (Service *service, gconstpointer via);
void service_tear_down (Service *service, gconstpointer via);
/* The same with a message bus of the test's own, whose address stands in bus_address and in the environment; or with none. */
void service_begin (Service *service);
void service_end (Service *service);
/* Adds a test for both kinds of connection: PATH/private and PATH/message-bus. */
void service_add_test (const char *path, void (*test) (Service *service, gconstpointer via));
/* First thing in main(): the namespace, GTest. */
void service_init (int *argc, char ***argv);

/* The bus alone, without clients. */
void service_start_bus (Service *service);
void service_stop_bus (Service *service);
GDBusConnection *service_connect (Service *service, const char **name);

/* Whether somebody answers on the client's connection. */
gboolean service_answers (Service *service);

guint32 service_id (Service *service, guint host);

/*
 * Calls, with the main loop running meanwhile, as the daemon lives in it. @path is below ROOT ("" is the root object), @method is
 * "Interface.Method" without PREFIX, or any full name. @format and what follows are a GVariant text ("(%u, 'text', @a{sv} {})").
 */
GVariant *service_call (Service *service, const char *path, const char *method, GError **error, const char *format, ...);
/* It has to succeed. */
GVariant *service_ask (Service *service, const char *path, const char *method, const char *format, ...);
/* The same of a method of the root object that takes or hands out descriptors, *@got (out) (nullable) (transfer full). */
GVariant *service_call_fds (Service *service, const char *interface, const char *method, GVariant *arguments, GUnixFDList *given, GUnixFDList **got, GError **error);
/* A GAsyncReadyCallback that keeps the result in *(GAsyncResult **) user_data. */
void service_on_done (GObject *source, GAsyncResult *result, gpointer user_data);
/* It has to fail with this error ("InvalidArgument", or a full D-Bus name); answers its message. */
char *service_refused (Service *service, const char *path, const char *method, const char *name, const char *format, ...);
/* The value of "Interface.Property" as text (g_variant_print()). */
char *service_get (Service *service, const char *path, const char *property);
#define assert_property(service, path, property, expected)                \
  G_STMT_START                                                            \
  {                                                                       \
    g_autofree char *found_value = service_get (service, path, property); \
    g_assert_cmpstr (found_value, ==, expected);                          \
  }                                                                       \
  G_STMT_END
/* Waits until the property has this value. */
#define WAIT_PROPERTY(service, path, property, expected) WAIT (LANDS, service_has (service, path, property, expected))
gboolean service_has (Service *service, const char *path, const char *property, const char *expected);
/* Whether the ObjectManager lists an object (with this interface). */
gboolean service_lists (Service *service, const char *path, const char *interface);

/* The record has the keys and types that the comment above this method ("ListPeers") in data/network.pilotprotocol.Pilot1.xml states, and no others. */
void service_assert_record (GVariant *record, const char *method);
/* The stated interfaces: data/network.pilotprotocol.Pilot1.xml. */
GDBusNodeInfo *service_load_interface (void);

/* How many of the signals so far match (GPatternSpec: '*' and '?'). */
guint service_heard (Service *service, const char *pattern);
void service_forget_signals (Service *service);

/* The peer asks host 0 for trust; comes back when the request lies here. The other: whether one of a host does. */
void service_be_asked (Service *service, const char *justification);
gboolean service_is_asked (Service *service, guint host);
/* Both trust each other; host 1 is what host 0 approved. */
void service_befriend (Service *service);

G_END_DECLS
