/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trust on D-Bus: the methods of Node, TrustRequest and Peer objects, TrustChanged. */
#include <string.h>

#include "tests/bus/service.h"

#define ADDED " org.freedesktop.DBus.ObjectManager.InterfacesAdded "
#define REMOVED " org.freedesktop.DBus.ObjectManager.InterfacesRemoved "

typedef struct {
  char *request, *peer; /* paths */
  guint32 id;
} Names;

static void
names_clear (Names *names)
{
  g_free (names->request);
  g_free (names->peer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Names, names_clear)

static Names
names_of (Service *service)
{
  guint32 id = service_id (service, 1);

  return (Names) { g_strdup_printf ("/requests/%u", id), g_strdup_printf ("/peers/%u", id), id };
}

/* InterfacesAdded or InterfacesRemoved of an object below the root. */
static guint
heard_object (Service *service, const char *what, const char *path)
{
  g_autofree char *pattern = g_strdup_printf ("%s*'%s%s'*", what, ROOT, path);

  return service_heard (service, pattern);
}

static GVariant *
only_record (Service *service, const char *method)
{
  g_autofree char *full = g_strconcat ("Node.", method, NULL);
  g_autoptr (GVariant) reply = service_ask (service, "", full, "()");
  g_autoptr (GVariant) list = g_variant_get_child_value (reply, 0), record = NULL;

  if (g_variant_n_children (list) == 0)
    return NULL;
  g_assert_cmpuint (g_variant_n_children (list), ==, 1);
  record = g_variant_get_child_value (list, 0);
  service_assert_record (record, method);
  return g_steal_pointer (&record);
}

static void
assert_none (Service *service, const char *method)
{
  g_autoptr (GVariant) record = only_record (service, method);

  g_assert_null (record);
}

static void
assert_opened (GVariant *reply, const char *expected)
{
  const char *opened;

  g_variant_get (reply, "(&s)", &opened);
  g_assert_cmpstr (opened, ==, expected);
}

static void
assert_trust (Service *service, gboolean expected)
{
  g_assert_cmpint (pilot_trust_is_trusted (pilot_node_get_trust (service->world.hosts[0].node), service_id (service, 1)), ==, expected);
}

/* --- requests --- */

static void
test_request (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);
  g_autoptr (GVariant) record = NULL, reply = NULL, trusted = NULL;
  g_autofree char *id = g_strdup_printf ("%u", names.id), *address = g_strdup_printf ("'0:0000.0000.%04X'", names.id);
  g_autofree char *key = g_strdup_printf ("'%s'", pilot_node_get_public_key (service->world.hosts[1].node));
  g_autofree char *granted = g_strdup_printf (" Node.TrustChanged (%u, 'granted', *", names.id);

  assert_none (service, "ListPending");
  service_be_asked (service, "let me read your page");
  WAIT (LANDS, heard_object (service, ADDED, names.request) == 1);
  assert_property (service, names.request, "TrustRequest.NodeId", id);
  assert_property (service, names.request, "TrustRequest.Address", address);
  assert_property (service, names.request, "TrustRequest.PublicKey", key);
  assert_property (service, names.request, "TrustRequest.Justification", "'let me read your page'");
  {
    g_autofree char *received = service_get (service, names.request, "TrustRequest.Received");

    g_assert_cmpint (llabs (g_get_real_time () / G_USEC_PER_SEC - g_ascii_strtoll (received, NULL, 10)), <, 60);
  }
  record = only_record (service, "ListPending");
  g_assert_nonnull (record);
  /* By now it has come through the registry as well: that is the same request. */
  g_assert_cmpuint (heard_object (service, REMOVED, names.request), ==, 0);
  g_assert_cmpuint (heard_object (service, ADDED, names.request), ==, 1);
  /* Who asks has a session, and so may be shown as a peer, but not as a trusted one. */
  if (service_lists (service, names.peer, "Peer"))
    assert_property (service, names.peer, "Peer.Trusted", "false");
  assert_trust (service, FALSE);

  reply = service_ask (service, names.request, "TrustRequest.Approve", "(@a{sv} {},)");
  assert_opened (reply, "all");
  assert_trust (service, TRUE);
  WAIT (LANDS, heard_object (service, REMOVED, names.request) == 1);
  WAIT (LANDS, heard_object (service, ADDED, names.peer) == 1);
  WAIT (LANDS, service_heard (service, granted) == 1);
  g_assert_cmpuint (service_heard (service, "*TrustChanged*"), ==, 1);
  g_assert_false (service_lists (service, names.request, "TrustRequest"));
  assert_property (service, names.peer, "Peer.NodeId", id);
  assert_property (service, names.peer, "Peer.Address", address);
  assert_property (service, names.peer, "Peer.PublicKey", key);
  assert_property (service, names.peer, "Peer.Trusted", "true");
  assert_property (service, names.peer, "Peer.Access", "'all'");
  trusted = only_record (service, "ListTrusted");
  g_assert_nonnull (trusted);
}

static void
test_reject (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);

  service_be_asked (service, "please");
  g_variant_unref (service_ask (service, names.request, "TrustRequest.Reject", "('not today',)"));
  WAIT (LANDS, heard_object (service, REMOVED, names.request) == 1);
  assert_trust (service, FALSE);
  g_assert_cmpuint (service_heard (service, "*TrustChanged*"), ==, 0);
  g_free (service_refused (service, "", "Node.Reject", "NotFound", "(uint32 %u, '')", names.id));
  g_free (service_refused (service, "", "Node.Approve", "NotFound", "(uint32 %u, @a{sv} {})", names.id));
  /* What was an object is none any more. */
  g_free (service_refused (service, names.request, "TrustRequest.Approve", "org.freedesktop.DBus.Error.UnknownMethod", "(@a{sv} {},)"));
}

static void
test_node_reject (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);

  service_be_asked (service, "please");
  g_variant_unref (service_ask (service, "", "Node.Reject", "(uint32 %u, 'no')", names.id));
  WAIT (LANDS, heard_object (service, REMOVED, names.request) == 1);
  assert_trust (service, FALSE);
}

/* What opens ports is taken strictly, on each way to it; nothing has changed after a refusal. */
static void
test_strict_options (Service *service, gconstpointer via)
{
  static const char *const bad[] = { "{'ports': <''>}", "{'ports': <80>}", "{'ports': <@as ['80']>}", "{'port': <'80'>}", "{'Ports': <'80'>}",
                                     "{'ports': <'80'>, 'more': <true>}", "{'ports': <'0'>}", "{'ports': <'65536'>}", "{'ports': <'80-'>}",
                                     "{'ports': <'90-80'>}", "{'ports': <'http'>}", "{'ports': <'80,'>}", "{'ports': <'all,80'>}" };
  g_auto (Names) names = names_of (service);
  g_autoptr (GVariant) reply = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    g_free (service_refused (service, "", "Node.Handshake", "InvalidArgument", "(uint32 %u, '', %s)", names.id, bad[i]));
  assert_none (service, "ListOutgoing");
  service_be_asked (service, "please");
  service_forget_signals (service);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_free (service_refused (service, names.request, "TrustRequest.Approve", "InvalidArgument", "(%s,)", bad[i]));
    g_free (service_refused (service, "", "Node.Approve", "InvalidArgument", "(uint32 %u, %s)", names.id, bad[i]));
  }
  assert_trust (service, FALSE);
  g_assert_true (service_lists (service, names.request, "TrustRequest"));
  g_assert_cmpuint (service->signals->len, ==, 0);

  reply = service_ask (service, "", "Node.Approve", "(uint32 %u, {'ports': <'443,80,81'>})", names.id);
  assert_opened (reply, "80-81,443");
  assert_property (service, names.peer, "Peer.Access", "'80-81,443'");
}

/* --- asking --- */

static void
assert_handshake (Service *service, guint32 node, const char *expected)
{
  g_autoptr (GVariant) reply = service_ask (service, "", "Node.Handshake", "(uint32 %u, 'hello', {'ports': <'22'>})", node);
  const char *status;

  g_variant_get (reply, "(&s)", &status);
  g_assert_cmpstr (status, ==, expected);
}

static void
test_handshake (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);
  g_autoptr (GVariant) record = NULL, trusted = NULL;
  g_autoptr (GError) error = NULL;
  PilotTrust *theirs = pilot_node_get_trust (service->world.hosts[1].node);

  g_free (service_refused (service, "", "Node.Handshake", "InvalidArgument", "(uint32 %u, '', @a{sv} {})", service_id (service, 0)));
  g_free (service_refused (service, "", "Node.Handshake", "InvalidArgument", "(uint32 0, '', @a{sv} {})"));
  /* The registry has no such node: it cannot be asked, and is not on the list of those who were. */
  g_free (service_refused (service, "", "Node.Handshake", "NotFound", "(uint32 153, '', @a{sv} {})"));
  assert_none (service, "ListOutgoing");

  assert_handshake (service, names.id, "sent");
  assert_handshake (service, names.id, "pending");
  record = only_record (service, "ListOutgoing");
  g_assert_nonnull (record);
  /* Who only asked is no peer yet, and may reach nothing. */
  assert_trust (service, FALSE);
  WAIT (LANDS, pilot_trust_approve (theirs, service_id (service, 0), "none", NULL, NULL));
  WAIT (LANDS, heard_object (service, ADDED, names.peer) >= 1 && service_has (service, names.peer, "Peer.Trusted", "true"));
  WAIT_PROPERTY (service, names.peer, "Peer.Access", "'22'");
  assert_none (service, "ListOutgoing");
  assert_handshake (service, names.id, "trusted");
  trusted = only_record (service, "ListTrusted");
  g_assert_nonnull (trusted);
}

/* --- access --- */

static guint
heard_access (Service *service, const Names *names, const char *value)
{
  g_autofree char *pattern = g_strdup_printf ("%s org.freedesktop.DBus.Properties.PropertiesChanged ('" PREFIX "Peer', *'Access': <'%s'>*", names->peer, value);

  return service_heard (service, pattern);
}

static void
test_expose (Service *service, gconstpointer via)
{
  static const char *const bad[] = { "0", "65536", "80-", "x", "80,,81", " " };
  g_auto (Names) names = names_of (service);
  g_autoptr (GVariant) none = NULL, two = NULL, left = NULL, everything = NULL;

  g_free (service_refused (service, "", "Node.Expose", "TrustRequired", "(uint32 %u, '80')", names.id));
  service_befriend (service);

  none = service_ask (service, "", "Node.Unexpose", "(uint32 %u, '')", names.id);
  assert_opened (none, "none");
  assert_property (service, names.peer, "Peer.Access", "'none'");
  WAIT (LANDS, heard_access (service, &names, "none") == 1);
  two = service_ask (service, "", "Node.Expose", "(uint32 %u, '80,8000-8100')", names.id);
  assert_opened (two, "80,8000-8100");
  assert_property (service, names.peer, "Peer.Access", "'80,8000-8100'");
  WAIT (LANDS, heard_access (service, &names, "80,8000-8100") == 1);
  left = service_ask (service, "", "Node.Unexpose", "(uint32 %u, '8050')", names.id);
  assert_opened (left, "80,8000-8049,8051-8100");
  WAIT (LANDS, heard_access (service, &names, "80,8000-8049,8051-8100") == 1);
  service_forget_signals (service);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_free (service_refused (service, "", "Node.Expose", "InvalidArgument", "(uint32 %u, '%s')", names.id, bad[i]));
    g_free (service_refused (service, "", "Node.Unexpose", "InvalidArgument", "(uint32 %u, '%s')", names.id, bad[i]));
  }
  assert_property (service, names.peer, "Peer.Access", "'80,8000-8049,8051-8100'");
  g_assert_cmpuint (service_heard (service, "*'Access'*"), ==, 0);
  everything = service_ask (service, "", "Node.Expose", "(uint32 %u, '')", names.id);
  assert_opened (everything, "all");
}

/* --- peers --- */

static void
test_peer_state (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);
  g_autofree char *rtt = NULL, *seen = NULL;

  service_befriend (service);
  g_variant_unref (service_ask (service, "", "Node.Ping", "(uint32 %u, uint32 1, uint32 5000)", names.id));
  WAIT_PROPERTY (service, names.peer, "Peer.State", "'connected'");
  WAIT_PROPERTY (service, names.peer, "Peer.Encrypted", "true");
  WAIT_PROPERTY (service, names.peer, "Peer.Path", "'direct'");
  WAIT (LANDS, service_heard (service, "*PropertiesChanged ('" PREFIX "Peer', *'Trusted': <true>*") == 1);
  /* They change all the time: they are told to those who ask, at any time. */
  rtt = service_get (service, names.peer, "Peer.RoundTripTime");
  seen = service_get (service, names.peer, "Peer.LastSeen");
  g_assert_cmpint (g_ascii_strtoll (rtt, NULL, 10), >=, 0); /* 0 until the first keepalive */
  g_assert_cmpint (llabs (g_get_real_time () / G_USEC_PER_SEC - g_ascii_strtoll (seen, NULL, 10)), <, 60);
  g_assert_cmpuint (service_heard (service, "*PropertiesChanged*'RoundTripTime'*"), ==, 0);
  g_assert_cmpuint (service_heard (service, "*PropertiesChanged*'LastSeen'*"), ==, 0);
}

static void
test_untrust (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);
  g_autofree char *revoked = g_strdup_printf (" Node.TrustChanged (%u, 'revoked', 'local')", names.id);

  g_free (service_refused (service, "", "Node.Untrust", "NotFound", "(uint32 %u,)", names.id));
  service_befriend (service);
  g_variant_unref (service_ask (service, names.peer, "Peer.Untrust", "()"));
  assert_trust (service, FALSE);
  WAIT (LANDS, service_heard (service, revoked) == 1);
  assert_none (service, "ListTrusted");
  /* The peer hears of it, and its engine's session ends: then nothing is left to show. */
  WAIT (LANDS, !pilot_trust_is_trusted (pilot_node_get_trust (service->world.hosts[1].node), service_id (service, 0)));
  if (service_lists (service, names.peer, "Peer")) {
    assert_property (service, names.peer, "Peer.Trusted", "false");
    assert_property (service, names.peer, "Peer.Access", "'none'");
  } else
    g_assert_cmpuint (heard_object (service, REMOVED, names.peer), ==, 1);

  service_befriend (service);
  assert_trust (service, TRUE);
  g_variant_unref (service_ask (service, "", "Node.Untrust", "(uint32 %u,)", names.id));
  assert_trust (service, FALSE);
}

/* The peer ends it: the reason says so. */
static void
test_revoked_by_peer (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);
  g_autofree char *revoked = g_strdup_printf (" Node.TrustChanged (%u, 'revoked', 'by_peer')", names.id);
  g_autoptr (GError) error = NULL;

  service_befriend (service);
  g_assert_true (pilot_trust_untrust (pilot_node_get_trust (service->world.hosts[1].node), service_id (service, 0), &error));
  g_assert_no_error (error);
  WAIT (LANDS, service_heard (service, revoked) == 1);
  assert_trust (service, FALSE);
}

/* What is known when the bus comes up is there at once. */
static void
test_restart (Service *service, gconstpointer via)
{
  g_auto (Names) names = names_of (service);

  service_befriend (service);
  g_clear_object (&service->connection);
  service_stop_bus (service);
  service_start_bus (service);
  service->connection = service_connect (service, &service->name);
  WAIT (LANDS, service_answers (service));
  g_assert_true (service_lists (service, names.peer, "Peer"));
  assert_property (service, names.peer, "Peer.Trusted", "true");
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/trust/request", test_request);
  service_add_test ("/bus/trust/reject", test_reject);
  service_add_test ("/bus/trust/node-reject", test_node_reject);
  service_add_test ("/bus/trust/strict-options", test_strict_options);
  service_add_test ("/bus/trust/handshake", test_handshake);
  service_add_test ("/bus/trust/expose", test_expose);
  service_add_test ("/bus/trust/peer-state", test_peer_state);
  service_add_test ("/bus/trust/untrust", test_untrust);
  service_add_test ("/bus/trust/revoked-by-peer", test_revoked_by_peer);
  service_add_test ("/bus/trust/restart", test_restart);
  return g_test_run ();
}
