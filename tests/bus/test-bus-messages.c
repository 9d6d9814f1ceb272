/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages on D-Bus: what is sent, what comes, and files as descriptors. */
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <string.h>
#include <unistd.h>

#include "protocol/exchange-frame.h"
#include "tests/bus/service.h"

#define BLOB 200000

/* The records of a list; how many there have to be. */
static GVariant *
ask_list (Service *service, const char *method, const char *arguments, guint n)
{
  g_autofree char *full = g_strconcat ("Messages.", method, NULL);
  g_autoptr (GVariant) reply = service_ask (service, "", full, "%s", arguments);
  GVariant *list = g_variant_get_child_value (reply, 0);

  g_assert_cmpuint (g_variant_n_children (list), ==, n);
  return list;
}

static char *
text_of (GVariant *dict, const char *key)
{
  char *text = NULL;

  g_assert_true (g_variant_lookup (dict, key, "s", &text));
  return text;
}

/* An unnamed file with so many bytes. */
static int
make_file (const guint8 *data, gsize length)
{
  g_autofree char *name = NULL;
  int fd = g_file_open_tmp ("pilot-bus-XXXXXX", &name, NULL);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (unlink (name), ==, 0);
  g_assert_cmpint (write (fd, data, length), ==, length);
  return fd;
}

static guint8 *
make_blob (void)
{
  guint8 *blob = g_malloc (BLOB);

  for (gsize i = 0; i < BLOB; i++)
    blob[i] = (guint8) (i * 7 + i / 251);
  return blob;
}

/* Out: the receipt. In: the signal, the list, the content, and gone. */
static void
test_messages (Service *service, gconstpointer via)
{
  const PilotExchangeSendOptions options = { PILOT_EXCHANGE_TEXT, "question-1", NULL, FALSE, FALSE, 20000 };
  g_autoptr (GBytes) hello = g_bytes_new_static ("hello <bus>", 11);
  g_autoptr (PilotExchangeReceipt) sent = NULL;
  g_autoptr (GVariant) reply = NULL, receipt = NULL, list = NULL, one = NULL, read = NULL, data = NULL, none = NULL;
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *ack = NULL, *id = NULL, *arguments = NULL, *gone = NULL, *type = NULL, *option = NULL;

  service_befriend (service);
  reply = service_ask (service, "", "Messages.SendMessage", "(uint32 %u, 'json', [byte 0x7b, 0x7d], {'message_id': <'answer-1'>})", service_id (service, 1));
  receipt = g_variant_get_child_value (reply, 0);
  ack = text_of (receipt, "ack");
  g_assert_cmpstr (ack, ==, "ACK JSON 2 bytes");
  type = service_refused (service, "", "Messages.SendMessage", "InvalidArgument", "(uint32 %u, 'file', b'x', @a{sv} {})", service_id (service, 1));
  option = service_refused (service, "", "Messages.SendMessage", "InvalidArgument", "(uint32 %u, 'text', b'x', {'colour': <'red'>})", service_id (service, 1));

  g_variant_unref (ask_list (service, "ListInbox", "(@a{sv} {},)", 0));
  pilot_exchange_send_async (service->world.hosts[1].exchange, service_id (service, 0), hello, &options, service_on_done, &result);
  WAIT (20, result != NULL);
  sent = pilot_exchange_send_finish (service->world.hosts[1].exchange, result, &error);
  g_assert_no_error (error);
  WAIT (LANDS, service_heard (service, " Messages.MessageReceived *'question-1'*") == 1);
  list = ask_list (service, "ListInbox", "(@a{sv} {},)", 1);
  one = g_variant_get_child_value (list, 0);
  id = text_of (one, "id");
  arguments = g_strdup_printf ("('%s',)", id);
  read = service_ask (service, "", "Messages.ReadMessage", "%s", arguments);
  data = g_variant_get_child_value (read, 1);
  g_assert_cmpmem (g_variant_get_data (data), g_variant_get_size (data), "hello <bus>", 11);
  g_variant_unref (service_ask (service, "", "Messages.DeleteMessage", "%s", arguments));
  gone = service_refused (service, "", "Messages.ReadMessage", "NotFound", "%s", arguments);
  none = ask_list (service, "ListInbox", "(@a{sv} {},)", 0);
}

/* Out: a descriptor, and signals until it is done. In: the signal, the list, a descriptor, and gone. */
static void
test_files (Service *service, gconstpointer via)
{
  g_autofree guint8 *blob = make_blob (), *got = g_malloc (BLOB + 1);
  g_autoptr (GUnixFDList) given = g_unix_fd_list_new (), opened = NULL;
  g_autoptr (GVariant) reply = NULL, list = NULL, one = NULL, open = NULL, none = NULL, transfers = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *name = NULL, *arguments = NULL, *gone = NULL, *no_file = NULL;
  int fd = make_file (blob, BLOB), copy;

  service_befriend (service);
  g_assert_cmpint (g_unix_fd_list_append (given, fd, &error), ==, 0);
  reply = service_call_fds (service, "Messages", "SendFile", g_variant_new ("(hus@a{sv})", 0, service_id (service, 1), "blob.bin", g_variant_new_parsed ("{'prefer_direct': <true>}")),
                            given, NULL, &error);
  g_assert_no_error (error);
  WAIT (20, service_heard (service, " Messages.TransferChanged *'out'*'done'*") + service_heard (service, " Messages.TransferChanged *'done'*'out'*") > 0);
  transfers = ask_list (service, "ListTransfers", "()", 1);
  no_file = service_refused (service, "", "Messages.SendFile", "InvalidArgument", "(@h 0, uint32 %u, 'x', @a{sv} {})", service_id (service, 1));

  g_variant_unref (ask_list (service, "ListReceived", "()", 0));
  copy = dup (fd);
  g_assert_cmpuint (pilot_exchange_send_file (service->world.hosts[1].exchange, copy, service_id (service, 0), "blob.bin", TRUE, 20000, &error), >, 0);
  WAIT (20, service_heard (service, " Messages.FileReceived *") == 1);
  list = ask_list (service, "ListReceived", "()", 1);
  one = g_variant_get_child_value (list, 0);
  name = text_of (one, "name");
  open = service_call_fds (service, "Messages", "OpenReceived", g_variant_new ("(s)", name), NULL, &opened, &error);
  g_assert_no_error (error);
  close (fd);
  fd = g_unix_fd_list_get (opened, 0, &error);
  g_assert_cmpint (read (fd, got, BLOB + 1), ==, BLOB);
  g_assert_cmpmem (got, BLOB, blob, BLOB);
  g_assert_cmpint (fcntl (fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
  close (fd);
  arguments = g_strdup_printf ("('%s',)", name);
  g_variant_unref (service_ask (service, "", "Messages.DeleteReceived", "%s", arguments));
  gone = service_refused (service, "", "Messages.DeleteReceived", "NotFound", "%s", arguments);
  none = ask_list (service, "ListReceived", "()", 0);
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/messages/messages", test_messages);
  service_add_test ("/bus/messages/files", test_files);
  return g_test_run ();
}
