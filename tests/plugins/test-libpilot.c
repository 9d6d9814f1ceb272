/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Address, endpoint and error types. */
#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <netinet/in.h>
#include <string.h>

#include "libpilot/pilot.h"

static JsonObject *
load_addresses (JsonParser *parser)
{
  g_autofree gchar *path = g_test_build_filename (G_TEST_DIST, "vectors", "packets.json", NULL);
  g_autoptr (GError) error = NULL;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_object_get_object_member (json_node_get_object (json_parser_get_root (parser)), "addresses");
}

static JsonArray *
section (JsonObject *addresses,
         const gchar *name)
{
  JsonArray *array = json_object_get_array_member (addresses, name);

  g_assert_nonnull (array);
  g_assert_cmpuint (json_array_get_length (array), >, 0);
  return array;
}

static void
test_address_format (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonArray *array = section (load_addresses (parser), "format");

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *o = json_array_get_object_element (array, i);
    PilotAddress address = { (guint16) json_object_get_int_member (o, "network"),
                             (guint32) json_object_get_int_member (o, "node") };
    g_autofree gchar *text = pilot_address_to_string (&address);
    guint8 bytes[PILOT_ADDRESS_SIZE];
    GString *hex = g_string_new (NULL);
    PilotAddress again = PILOT_ADDRESS_INIT;

    g_assert_cmpstr (text, ==, json_object_get_string_member (o, "text"));
    pilot_address_pack (&address, bytes);
    for (guint j = 0; j < sizeof bytes; j++)
      g_string_append_printf (hex, "%02x", bytes[j]);
    g_assert_cmpstr (hex->str, ==, json_object_get_string_member (o, "bytes"));
    g_string_free (hex, TRUE);
    pilot_address_unpack (bytes, &again);
    g_assert_true (pilot_address_equal (&address, &again));
  }
}

static void
test_address_parse (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *addresses = load_addresses (parser);
  JsonArray *good = section (addresses, "parse_ok");
  JsonArray *bad = section (addresses, "parse_error");

  for (guint i = 0; i < json_array_get_length (good); i++) {
    JsonObject *o = json_array_get_object_element (good, i);
    g_autoptr (GError) error = NULL;
    PilotAddress address = PILOT_ADDRESS_INIT;

    g_assert_true (pilot_address_parse (json_object_get_string_member (o, "text"), &address, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (address.network, ==, json_object_get_int_member (o, "network"));
    g_assert_cmpuint (address.node, ==, json_object_get_int_member (o, "node"));
  }
  for (guint i = 0; i < json_array_get_length (bad); i++) {
    JsonObject *o = json_array_get_object_element (bad, i);
    g_autoptr (GError) error = NULL;
    PilotAddress address = { 7, 7 };

    g_assert_false (pilot_address_parse (json_object_get_string_member (o, "text"), &address, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, json_object_get_string_member (o, "contains")));
    g_assert_cmpuint (address.node, ==, 7);
  }
}

static void
test_address_socket (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *addresses = load_addresses (parser);
  JsonArray *good = section (addresses, "socket_ok");
  JsonArray *bad = section (addresses, "socket_error");

  for (guint i = 0; i < json_array_get_length (good); i++) {
    JsonObject *o = json_array_get_object_element (good, i);
    const gchar *text = json_object_get_string_member (o, "text");
    const gchar *prints = json_object_get_string_member_with_default (o, "prints", text);
    gchar buffer[PILOT_SOCKET_ADDRESS_TEXT_SIZE];
    g_autoptr (GError) error = NULL;
    PilotAddress address;
    guint16 port;

    g_assert_true (pilot_address_parse_socket (text, &address, &port, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (address.node, ==, json_object_get_int_member (o, "node"));
    g_assert_cmpuint (port, ==, json_object_get_int_member (o, "port"));
    g_assert_cmpstr (pilot_address_format_socket (&address, port, buffer), ==, prints);
  }
  for (guint i = 0; i < json_array_get_length (bad); i++) {
    JsonObject *o = json_array_get_object_element (bad, i);
    g_autoptr (GError) error = NULL;
    PilotAddress address;
    guint16 port;

    g_assert_false (pilot_address_parse_socket (json_object_get_string_member (o, "text"), &address, &port, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, json_object_get_string_member (o, "contains")));
  }
}

static void
test_address_cli (void)
{
  PilotAddress address = { 9, 9 };
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_address_parse_cli ("893", &address, NULL));
  g_assert_cmpuint (address.network, ==, 0);
  g_assert_cmpuint (address.node, ==, 893);
  g_assert_true (pilot_address_parse_cli ("4294967295", &address, NULL));
  g_assert_true (pilot_address_is_broadcast (&address));
  g_assert_true (pilot_address_parse_cli ("0", &address, NULL));
  g_assert_true (pilot_address_is_zero (&address));
  g_assert_true (pilot_address_parse_cli ("0:0000.0000.037D", &address, NULL));
  g_assert_cmpuint (address.node, ==, 893);
  g_assert_false (pilot_address_parse_cli ("4294967296", &address, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_assert_cmpuint (address.node, ==, 893);
}

/* Messages go to D-Bus, which takes valid UTF-8 only. */
static void
test_address_hostile (void)
{
  g_autofree gchar *full = g_strnfill (200, 'x');
  const gchar *texts[] = { "\xff\xfe\x01:1", full, "1:\xc3", "\x1b[31m", "0:0000.00\xc3\xa4.0001",
                           "7777777777777777777777777:0000.0000.0000" };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GError) error = NULL;
    PilotAddress address;

    g_assert_false (pilot_address_parse (texts[i], &address, &error));
    g_assert_true (g_utf8_validate (error->message, -1, NULL));
    g_assert_null (strpbrk (error->message, "\x1b\x01"));
    g_assert_cmpuint (strlen (error->message), <, 400);
  }
}

static void
test_endpoint_text (void)
{
  const gchar *good[] = { "1.2.3.4:5", "255.255.255.255:65535", "0.0.0.0:0", "[2001:db8::1]:443", "[::]:0", "[::1]:1",
                          "[fe80::1%7]:9" };
  const gchar *bad[] = { "", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3:4", "01.2.3.4.5:1", "::1:5",
                         "[::1]", "[::1]5", "[::1:5", "[1.2.3.4]:5", "example.com:80", " 1.2.3.4:5", "1.2.3.4:5 ", "1.2.3.4: 5",
                         "[fe80::1%]:1", "[::1%no-such-interface]:1", "[]:1", "]:1" };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    PilotEndpoint endpoint;
    g_autoptr (GError) error = NULL;
    g_autofree gchar *text = NULL;

    g_assert_true (pilot_endpoint_parse (good[i], &endpoint, &error));
    g_assert_no_error (error);
    text = pilot_endpoint_to_string (&endpoint);
    g_assert_cmpstr (text, ==, good[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    PilotEndpoint endpoint = { .port = 77 };
    g_autoptr (GError) error = NULL;

    if (pilot_endpoint_parse (bad[i], &endpoint, &error))
      g_error ("\"%s\" was accepted", bad[i]);
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint (endpoint.port, ==, 77);
  }
}

static void
test_endpoint_mapped (void)
{
  PilotEndpoint plain, mapped, back;
  struct sockaddr_storage address;
  socklen_t length;

  g_assert_true (pilot_endpoint_parse ("192.0.2.7:4000", &plain, NULL));
  g_assert_true (pilot_endpoint_parse ("[::ffff:192.0.2.7]:4000", &mapped, NULL));
  g_assert_cmpuint (mapped.family, ==, PILOT_ENDPOINT_IPV4);
  g_assert_true (pilot_endpoint_equal (&plain, &mapped));
  g_assert_cmpuint (pilot_endpoint_hash (&plain), ==, pilot_endpoint_hash (&mapped));

  length = pilot_endpoint_to_sockaddr (&plain, TRUE, &address);
  g_assert_cmpuint (length, ==, sizeof (struct sockaddr_in6));
  g_assert_true (pilot_endpoint_from_sockaddr (&back, (struct sockaddr *) &address, length));
  g_assert_true (pilot_endpoint_equal (&plain, &back));
  length = pilot_endpoint_to_sockaddr (&plain, FALSE, &address);
  g_assert_cmpuint (length, ==, sizeof (struct sockaddr_in));
  g_assert_true (pilot_endpoint_from_sockaddr (&back, (struct sockaddr *) &address, length));
  g_assert_true (pilot_endpoint_equal (&plain, &back));
  /* Too short for its family: nothing is read. */
  g_assert_false (pilot_endpoint_from_sockaddr (&back, (struct sockaddr *) &address, length - 1));
  g_assert_true (pilot_endpoint_is_none (&back));
  address.ss_family = AF_UNIX;
  g_assert_false (pilot_endpoint_from_sockaddr (&back, (struct sockaddr *) &address, sizeof address));
  g_assert_cmpuint (pilot_endpoint_to_sockaddr (&back, FALSE, &address), ==, 0);
}

static void
test_endpoint_kinds (void)
{
  static const struct
  {
    const gchar *text;
    const gchar *kinds; /* any, loopback, link-local, private, multicast */
  } cases[] = {
    { "0.0.0.0:1", "a" },
    { "[::]:1", "a" },
    { "127.9.8.7:1", "o" },
    { "[::1]:1", "o" },
    { "169.254.0.1:1", "l" },
    { "[fe80::1]:1", "l" },
    { "[febf::1]:1", "l" },
    { "[fec0::1]:1", "" },
    { "10.255.0.1:1", "p" },
    { "172.15.0.1:1", "" },
    { "172.16.0.1:1", "p" },
    { "172.31.255.1:1", "p" },
    { "172.32.0.1:1", "" },
    { "192.168.0.1:1", "p" },
    { "100.63.0.1:1", "" },
    { "100.64.0.1:1", "p" },
    { "100.128.0.1:1", "" },
    { "[fd00::1]:1", "p" },
    { "[fc00::1]:1", "p" },
    { "[2001:db8::1]:1", "g" },
    { "[1fff::1]:1", "" },
    { "[3fff::1]:1", "g" },
    { "[4000::1]:1", "" },
    { "32.1.13.184:1", "" },
    { "8.8.8.8:1", "" },
    { "224.0.0.1:1", "m" },
    { "[ff02::1]:1", "m" },
    { "[::ffff:10.0.0.1]:1", "p" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    PilotEndpoint e;
    g_autoptr (GString) kinds = g_string_new (NULL);

    g_assert_true (pilot_endpoint_parse (cases[i].text, &e, NULL));
    g_string_append (kinds, pilot_endpoint_is_any (&e) ? "a" : "");
    g_string_append (kinds, pilot_endpoint_is_loopback (&e) ? "o" : "");
    g_string_append (kinds, pilot_endpoint_is_link_local (&e) ? "l" : "");
    g_string_append (kinds, pilot_endpoint_is_private (&e) ? "p" : "");
    g_string_append (kinds, pilot_endpoint_is_multicast (&e) ? "m" : "");
    g_string_append (kinds, pilot_endpoint_is_global_ipv6 (&e) ? "g" : "");
    g_assert_cmpstr (kinds->str, ==, cases[i].kinds);
  }
}

static void
test_error_words (void)
{
  for (guint i = 0; i < PILOT_ERROR_N_CODES; i++) {
    g_autoptr (GError) error = g_error_new_literal (PILOT_ERROR, (gint) i, "what went wrong");
    g_autofree gchar *name = g_dbus_error_encode_gerror (error);
    g_autoptr (GError) remote = NULL;
    g_autofree gchar *message = NULL;
    PilotError code;

    g_assert_true (pilot_error_code_from_string (pilot_error_code_to_string ((PilotError) i), &code));
    g_assert_cmpuint (code, ==, i);
    g_assert_true (g_str_has_prefix (name, "network.pilotprotocol.Pilot1.Error."));
    remote = g_dbus_error_new_for_dbus_error (name, error->message);
    g_assert_error (remote, PILOT_ERROR, (gint) i);
    message = pilot_error_dup_message (remote);
    g_assert_cmpstr (message, ==, "what went wrong");
  }
  g_assert_false (pilot_error_code_from_string ("no_such_word", &(PilotError) { 0 }));
  g_assert_cmpstr (pilot_error_code_to_string ((PilotError) 999), ==, "internal");
}

static void
test_error_hint (void)
{
  GError *raw = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no such peer");
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) remote = NULL;
  g_autofree gchar *name = NULL;
  g_autofree gchar *message = NULL;

  g_assert_null (pilot_error_get_hint (raw));
  pilot_error_set_hint (raw, "run %s", "pilotctl find");
  g_assert_cmpstr (pilot_error_get_hint (raw), ==, "run pilotctl find");
  pilot_error_set_hint (raw, "try %d", 2);
  g_assert_cmpstr (pilot_error_get_hint (raw), ==, "try 2");
  g_propagate_prefixed_error (&error, raw, "lookup: ");
  g_assert_cmpstr (pilot_error_get_hint (error), ==, "try 2");

  name = g_dbus_error_encode_gerror (error);
  remote = g_dbus_error_new_for_dbus_error (name, error->message);
  g_assert_cmpstr (pilot_error_get_hint (remote), ==, "try 2");
  message = pilot_error_dup_message (remote);
  g_assert_cmpstr (message, ==, "lookup: no such peer");
  pilot_error_set_hint (error, NULL);
  g_assert_null (pilot_error_get_hint (error));
  g_assert_cmpstr (error->message, ==, "lookup: no such peer");
}

static void
test_error_fold (void)
{
  g_autoptr (GError) io = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "x");
  g_autoptr (GError) file = g_error_new_literal (G_FILE_ERROR, G_FILE_ERROR_NOSPC, "x");
  g_autoptr (GError) foreign = g_error_new_literal (G_MARKUP_ERROR, 0, "x");

  g_assert_cmpint (pilot_error_code (io), ==, PILOT_ERROR_NOT_FOUND);
  g_assert_cmpint (pilot_error_code (file), ==, PILOT_ERROR_IO);
  g_assert_cmpint (pilot_error_code (foreign), ==, PILOT_ERROR_FAILED);
}

static void
test_subnet (void)
{
  const gchar *good[] = { "10.4.0.0/16", "127.0.0.0/8", "fd00::/8", "10.4.0.0/30" };
  const gchar *bad[] = { "", "10.4.0.0", "10.4.0.1/16", "10.4.0.0/33", "10.4.0.0/", "10.4.0.0/016", "10.4.0.0/+16", "10.4.0.0/-1",
                         "10.4.0.0/16 ", "x/8", "/8", "10.4.0.0/16/8" };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GInetAddressMask) mask = pilot_subnet_parse (good[i], &error);

    g_assert_no_error (error);
    g_assert_nonnull (mask);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GInetAddressMask) mask = pilot_subnet_parse (bad[i], &error);

    if (mask != NULL)
      g_error ("\"%s\" was accepted", bad[i]);
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

/* What comes from outside and goes to a terminal: nothing in it is obeyed there, whatever bytes it has and wherever it is cut. */
static void
test_error_quote (void)
{
  static const struct {
    const gchar *text;
    gssize length;
    const gchar *quoted;
  } cases[] = {
    { "anna", -1, "anna" },
    { "anna", 2, "an" },
    { "w\303\244ter", -1, "w\303\244ter" },
    { "\033[2J\007\037\177", -1, "\\x1b[2J\\x07\\x1f\\x7f" },
    /* CSI in one character, and the override that turns text round. */
    { "a\302\2332Jb", -1, "a\\x9b2Jb" },
    { "a\342\200\256b", -1, "a\\u202eb" },
    { "\377\376", -1, "\357\277\275\357\277\275" },
    { "w\303\244", 2, "w\357\277\275" },
    { "", -1, "" },
  };
  g_autofree gchar *many = g_strnfill (81, 'x'), *cut = pilot_error_quote (many, -1), *fits = pilot_error_quote (many, 80);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *quoted = pilot_error_quote (cases[i].text, cases[i].length);

    g_assert_cmpstr (quoted, ==, cases[i].quoted);
  }
  g_assert_true (g_str_has_suffix (cut, "x\342\200\246") && strlen (cut) == 83);
  g_assert_cmpstr (fits, ==, many + 1);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/address/format", test_address_format);
  g_test_add_func ("/address/parse", test_address_parse);
  g_test_add_func ("/address/socket", test_address_socket);
  g_test_add_func ("/address/cli", test_address_cli);
  g_test_add_func ("/address/hostile", test_address_hostile);
  g_test_add_func ("/endpoint/text", test_endpoint_text);
  g_test_add_func ("/endpoint/mapped", test_endpoint_mapped);
  g_test_add_func ("/endpoint/kinds", test_endpoint_kinds);
  g_test_add_func ("/error/words", test_error_words);
  g_test_add_func ("/error/hint", test_error_hint);
  g_test_add_func ("/error/fold", test_error_fold);
  g_test_add_func ("/error/quote", test_error_quote);
  g_test_add_func ("/subnet", test_subnet);
  return g_test_run ();
}
