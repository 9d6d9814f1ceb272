/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session.h"

#include <string.h>

/* Keys nobody uses any more that are remembered. */
#define MAX_UNUSED_KEYS 1024
/* Retired nonce prefixes of all keys together, beyond those that each key has room for. */
#define MAX_FORGOTTEN (256 * 1024)

struct _PilotKeyStore {
  GHashTable *keys; /* of PilotKeyState, by its first member */
  guint unused;
  guint n_forgotten;
  guint32 secret; /* of the hash of forgotten prefixes; 0 = not drawn yet */
  guint64 tick;
  PilotRandomFunc random;
  gpointer user_data;
};

static guint
key_hash (gconstpointer key)
{
  guint value;

  /* A public key is as good as random, but a peer may choose it: collisions cost that peer's own lookups only, as a key
   * gets here after authentication. */
  memcpy (&value, key, sizeof value);
  return value;
}

static gboolean
key_equal (gconstpointer a,
           gconstpointer b)
{
  return memcmp (a, b, PILOT_X25519_KEY_SIZE) == 0;
}

static void
key_state_free (gpointer data)
{
  PilotKeyState *state = data;

  g_clear_pointer (&state->forgotten, g_hash_table_unref);
  g_free (state);
}

PilotKeyStore *
pilot_key_store_new (PilotRandomFunc random,
                     gpointer user_data)
{
  PilotKeyStore *store = g_new0 (PilotKeyStore, 1);

  store->keys = g_hash_table_new_full (key_hash, key_equal, NULL, key_state_free);
  store->random = random;
  store->user_data = user_data;
  return store;
}

void
pilot_key_store_free (PilotKeyStore *store)
{
  g_hash_table_unref (store->keys);
  g_free (store);
}

/* Forgetting is safe: if the same key ever comes back its frames get a new prefix. */
static void
evict (PilotKeyStore *store)
{
  GHashTableIter iter;
  PilotKeyState *state;
  PilotKeyState *oldest = NULL;

  g_hash_table_iter_init (&iter, store->keys);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &state))
    if (state->references == 0 && (oldest == NULL || state->used < oldest->used))
      oldest = state;
  if (oldest != NULL) {
    if (oldest->forgotten != NULL)
      store->n_forgotten -= g_hash_table_size (oldest->forgotten);
    g_hash_table_remove (store->keys, oldest);
    store->unused--;
  }
}

static guint32
random_prefix (PilotKeyStore *store)
{
  guint32 prefix;

  store->random ((guint8 *) &prefix, sizeof prefix, store->user_data);
  return prefix;
}

static PilotKeyState *
key_state_ref (PilotKeyStore *store,
               const guint8 *peer_public,
               gboolean low)
{
  PilotKeyState *state = g_hash_table_lookup (store->keys, peer_public);

  if (state == NULL) {
    state = g_new0 (PilotKeyState, 1);
    memcpy (state->x25519, peer_public, sizeof state->x25519);
    state->prefix = random_prefix (store);
    /* One AES key serves both directions: the ends count in ranges that never meet each other's, nor a reference node's,
       * which counts from 1. Every version accepts a jump forward. */
    state->counter = low ? G_GUINT64_CONSTANT (1) << 62 : G_GUINT64_CONSTANT (1) << 63;
    g_hash_table_add (store->keys, state);
  } else if (state->references == 0)
    store->unused--;
  state->references++;
  return state;
}

static void
key_state_unref (PilotKeyStore *store,
                 PilotKeyState *state)
{
  if (--state->references > 0)
    return;
  state->used = ++store->tick;
  if (++store->unused > MAX_UNUSED_KEYS)
    evict (store);
}

PilotSession *
pilot_session_new (PilotKeyStore *store,
                   const guint8 private_key[PILOT_X25519_KEY_SIZE],
                   const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                   gboolean low,
                   gint64 now)
{
  guint8 key[PILOT_AEAD_KEY_SIZE];
  PilotAead *aead;
  PilotSession *session;

  if (!pilot_crypto_session_key (private_key, peer_public, key))
    return NULL;
  aead = pilot_aead_new (key);
  pilot_crypto_wipe (key, sizeof key);
  if (aead == NULL)
    return NULL;
  session = g_new0 (PilotSession, 1);
  session->aead = aead;
  session->store = store;
  session->key = key_state_ref (store, peer_public, low);
  session->installed = now;
  return session;
}

void
pilot_session_free (PilotSession *session)
{
  pilot_aead_free (session->aead);
  key_state_unref (session->store, session->key);
  g_free (session);
}

gsize
pilot_session_seal (PilotSession *session,
                    guint8 *frame,
                    guint32 own_node,
                    gsize packet_length)
{
  /* Advanced first: a counter is spent even if the library fails. */
  guint64 counter = session->key->counter++;

  return pilot_frame_seal_pils (frame, session->aead, own_node, session->key->prefix, counter, packet_length);
}

gsize
pilot_session_seal_gathered (PilotSession *session,
                             guint8 *frame,
                             guint32 own_node,
                             gsize head,
                             const PilotAeadRest *rest)
{
  guint64 counter = session->key->counter++;

  return pilot_frame_seal_pils_gathered (frame, session->aead, own_node, session->key->prefix, counter, head, rest);
}

gboolean
pilot_session_knows_prefix (const PilotSession *session,
                            guint32 prefix)
{
  const PilotReceiveEpochs *epochs = &session->key->epochs;

  if (epochs->newest.window.started && epochs->newest.prefix == prefix)
    return TRUE;
  for (guint i = 0; i < epochs->older_count; i++)
    if (epochs->older[i].prefix == prefix)
      return TRUE;
  return FALSE;
}

/* A bijection that nobody outside knows: the peer chooses its prefixes, and must not choose where they collide. */
static gpointer
scramble (PilotKeyStore *store,
          guint32 prefix)
{
  while (store->secret == 0)
    store->secret = random_prefix (store);
  return GUINT_TO_POINTER ((prefix ^ store->secret) * (store->secret | 1));
}

static gboolean
is_forgotten (PilotSession *session,
              guint32 prefix)
{
  GHashTable *forgotten = session->key->forgotten;

  return forgotten != NULL && g_hash_table_contains (forgotten, scramble (session->store, prefix));
}

/* A reference node takes a new prefix whenever it derives again, and a new session would have the same key: refusing the next
 * prefix would make us deaf to it for as long as both processes live. */
static void
make_room_for_prefix (PilotSession *session)
{
  PilotKeyState *key = session->key;

  if (key->forgotten == NULL)
    key->forgotten = g_hash_table_new (NULL, NULL);
  for (guint i = 0; i < key->epochs.retired_count; i++)
    session->store->n_forgotten += g_hash_table_add (key->forgotten, scramble (session->store, key->epochs.retired[i]));
  key->epochs.retired_count = 0;
}

PilotSessionVerdict
pilot_session_open (PilotSession *session,
                    const PilotSealedFrame *sealed,
                    gsize *plaintext_length,
                    PilotEpoch *epoch)
{
  PilotKeyState *key = session->key;
  PilotReplayVerdict verdict = pilot_receive_epochs_check (&key->epochs, sealed->prefix, sealed->counter, epoch);

  if (verdict == PILOT_REPLAY_EXHAUSTED ? session->store->n_forgotten + PILOT_RECEIVE_EPOCHS_RETIRED > MAX_FORGOTTEN
                                        : verdict != PILOT_REPLAY_ACCEPT)
    return PILOT_SESSION_REPLAY;
  if (is_forgotten (session, sealed->prefix))
    return PILOT_SESSION_REPLAY;
  if (!pilot_frame_open_pils (sealed, session->aead, plaintext_length)) {
    session->failures++;
    return PILOT_SESSION_FORGED;
  }
  if (verdict == PILOT_REPLAY_EXHAUSTED)
    make_room_for_prefix (session);
  if (pilot_receive_epochs_commit (&key->epochs, sealed->prefix, sealed->counter, epoch) != PILOT_REPLAY_ACCEPT)
    return PILOT_SESSION_REPLAY;
  session->failures = 0;
  /* The peer drew the prefix that we use: ours changes, so that no nonce can ever be shared. */
  if (sealed->prefix == key->prefix)
    key->prefix = random_prefix (session->store);
  return PILOT_SESSION_OPENED;
}
