/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

#include <string.h>

void
fixture_init (Fixture *fixture)
{
  harness_init (&fixture->harness, NULL);
  harness_start (&fixture->harness);
  client_open (&fixture->client, &fixture->harness.registry, NULL);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
}

void
fixture_clear (Fixture *fixture)
{
  client_close (&fixture->client);
  harness_stop (&fixture->harness);
  g_assert_null (fixture->harness.failure);
  harness_clear (&fixture->harness);
}

void
register_both (Fixture *fixture)
{
  person_register (&fixture->alice, &fixture->client, 4001);
  person_register (&fixture->bob, &fixture->client, 4002);
}

JsonObject *
lookup (Client *client,
        guint32 id)
{
  return client_expect (client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", id);
}

JsonObject *
resolve (Client *client,
         Person *who,
         guint32 target)
{
  return client_call (client, "{\"type\":\"resolve\",\"requester_id\":%u,\"node_id\":%u,\"signature\":\"%s\"}", who->id, target,
                      person_sign (who, "resolve:%u:%u", who->id, target));
}

gboolean
can_resolve (Client *client,
             Person *who,
             guint32 target)
{
  g_autoptr (JsonObject) response = resolve (client, who, target);

  if (!json_object_has_member (response, "error"))
    return TRUE;
  g_assert_nonnull (strstr (json_object_get_string_member (response, "error"), "is private"));
  return FALSE;
}

JsonObject *
respond (Client *client,
         Person *who,
         guint32 peer,
         gboolean accept)
{
  return client_call (client, "{\"type\":\"respond_handshake\",\"node_id\":%u,\"peer_id\":%u,\"accept\":%s,\"signature\":\"%s\"}",
                      who->id, peer, accept ? "true" : "false", person_sign (who, "respond:%u:%u", who->id, peer));
}

void
expect_ok (JsonObject *response)
{
  if (json_object_has_member (response, "error"))
    g_error ("unexpected: %s", json_object_get_string_member (response, "error"));
  json_object_unref (response);
}
