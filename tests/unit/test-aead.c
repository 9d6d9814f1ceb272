/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/crypto.h"
#include "tests/unit/ipsec-mb.h"

#define MOST 65535

static const PilotAeadKind kinds[] = { PILOT_AEAD_GNUTLS, PILOT_AEAD_IPSEC_MB };
static const guint8 key[PILOT_AEAD_KEY_SIZE] = "thirty-two bytes that are no key";
static const guint8 nonce[PILOT_AEAD_NONCE_SIZE] = { 2 };

static void
fill (guint8 *data, gsize length)
{
  for (gsize i = 0; i < length; i++)
    data[i] = (guint8) (i * 7 + length);
}

/* NULL, and the test is skipped, where this build has no such implementation. */
static PilotAead *
new_of (gconstpointer kind)
{
  PilotAead *aead = pilot_aead_new_of (*(const PilotAeadKind *) kind, key);

  if (aead == NULL && *(const PilotAeadKind *) kind == PILOT_AEAD_IPSEC_MB)
    g_test_skip ("no IPsec-MB in this build");
  else
    g_assert_nonnull (aead);
  return aead;
}

/* The published vectors have no associated data or more than a frame: this one has the four bytes of it, and was reckoned with OpenSSL. */
static void
test_vector (gconstpointer kind)
{
  static const guint8 aad[4] = { 0, 0, 0, 42 };
  static const guint8 want[24 + 16] = { 0x90, 0xe1, 0xd3, 0xf8, 0x4e, 0x8f, 0x88, 0x6a, 0xf9, 0x3f, 0x7f, 0xe5, 0xa2, 0x10, 0x44, 0xb6, 0x9e, 0xd3, 0xed, 0x46, 0x6d, 0x79, 0xd4, 0x4b, 0x3c, 0xd9, 0x72, 0xf7, 0xa3, 0x02, 0x87, 0x55, 0x65, 0xff, 0xff, 0x00, 0x5d, 0x3b, 0x4d, 0x6c };
  g_autoptr (PilotAead) aead = new_of (kind);
  guint8 data[sizeof want] = "twenty-four bytes, plain";

  if (aead == NULL)
    return;
  g_assert_cmpint (pilot_aead_get_kind (aead), ==, *(const PilotAeadKind *) kind);
  g_assert_true (pilot_aead_seal (aead, nonce, aad, data, 24));
  g_assert_cmpmem (data, sizeof data, want, sizeof want);
  g_assert_true (pilot_aead_open (aead, nonce, aad, data, sizeof data));
  g_assert_cmpmem (data, 24, "twenty-four bytes, plain", 24);
}

static void
test_ends (gconstpointer kind)
{
  guint8 aad[4] = { 3 }, data[16];
  g_autoptr (PilotAead) aead = new_of (kind);

  if (aead == NULL)
    return;
  g_assert_true (pilot_aead_seal (aead, nonce, aad, data, 0));
  g_assert_true (pilot_aead_open (aead, nonce, aad, data, 16));
  g_assert_false (pilot_aead_open (aead, nonce, aad, data, 15));
  g_assert_false (pilot_aead_open (aead, nonce, aad, data, 0));
}

/* Nothing but what was sealed opens, and of the rest no plaintext is left in the buffer. */
static void
test_forged (gconstpointer kind)
{
  const gsize length = 83, whole = length + PILOT_AEAD_TAG_SIZE;
  guint8 aad[4] = { 3 }, plain[83], sealed[99], data[99], other[12] = { 3 };
  g_autoptr (PilotAead) aead = new_of (kind);

  if (aead == NULL)
    return;
  fill (plain, length);
  memcpy (sealed, plain, length);
  g_assert_true (pilot_aead_seal (aead, nonce, aad, sealed, length));
  for (gsize bit = 0; bit < whole * 8; bit++) {
    guint same = 0;

    memcpy (data, sealed, whole);
    data[bit / 8] ^= (guint8) (1u << bit % 8);
    g_assert_false (pilot_aead_open (aead, nonce, aad, data, whole));
    for (gsize i = 0; i < length; i++)
      same += data[i] == plain[i];
    g_assert_cmpuint (same, <, 8);
  }
  for (gsize cut = 0; cut < whole; cut++) {
    memcpy (data, sealed, whole);
    g_assert_false (pilot_aead_open (aead, nonce, aad, data, cut));
  }
  memcpy (data, sealed, whole);
  g_assert_false (pilot_aead_open (aead, other, aad, data, whole));
  memcpy (data, sealed, whole);
  aad[0] ^= 1;
  g_assert_false (pilot_aead_open (aead, nonce, aad, data, whole));
  aad[0] ^= 1;
  memcpy (data, sealed, whole);
  g_assert_true (pilot_aead_open (aead, nonce, aad, data, whole));
  g_assert_cmpmem (data, length, plain, length);
}

/* What one seals the other opens, at every length around the blocks and batches of blocks, and from any place in memory. */
static void
test_agree (void)
{
  static const gsize larger[] = { 767, 768, 769, 1152, 1186, 1402, 1436, 4096, 8902, 65000, MOST };
  g_autoptr (PilotAead) gnutls = new_of (&kinds[0]), other = new_of (&kinds[1]);
  g_autofree guint8 *plain = g_malloc (MOST), *a = g_malloc (MOST + 32), *b = g_malloc (MOST + 32);
  guint8 aad[4] = { 9 };

  if (other == NULL)
    return;
  for (guint i = 0; i < 530 + G_N_ELEMENTS (larger); i++) {
    const gsize length = i < 530 ? i : larger[i - 530], whole = length + PILOT_AEAD_TAG_SIZE;
    guint8 *at = a + i % 16, *to = b + i / 16 % 16;

    fill (plain, length);
    memcpy (at, plain, length);
    memcpy (to, plain, length);
    g_assert_true (pilot_aead_seal (gnutls, nonce, aad, at, length));
    g_assert_true (pilot_aead_seal (other, nonce, aad, to, length));
    g_assert_cmpmem (at, whole, to, whole);
    g_assert_true (pilot_aead_open (other, nonce, aad, at, whole));
    g_assert_true (pilot_aead_open (gnutls, nonce, aad, to, whole));
    g_assert_cmpmem (at, length, plain, length);
    g_assert_cmpmem (to, length, plain, length);
  }
}

/* A head that is put before its rest for so long: the same bytes as of one piece, and what stood there is there again. */
static void
test_lent (gconstpointer kind)
{
  static const gsize lengths[] = { 1, 255, 256, 1368, 1404, 4096, 64966 };
  static const gsize heads[] = { 16, 34, PILOT_AEAD_HEAD_MOST, PILOT_AEAD_HEAD_MOST + 1 };
  g_autoptr (PilotAead) aead = new_of (kind);
  g_autofree guint8 *ring = g_malloc (MOST), *before = g_malloc (MOST), *want = g_malloc (MOST), *got = g_malloc (MOST);
  guint8 aad[4] = { 7 };

  if (aead == NULL)
    return;
  fill (ring, MOST);
  fill (before, MOST);
  for (guint h = 0; h < G_N_ELEMENTS (heads); h++)
    for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
      for (gsize at = 0; at <= 2 * heads[h]; at += heads[h] / 2) {
        const struct iovec vector = { ring + at, lengths[i] };
        const PilotAeadRest rest = { &vector, 1, at };
        const gsize whole = heads[h] + lengths[i];

        memset (want, 0xa5, heads[h]);
        memset (got, 0xa5, heads[h]);
        memcpy (want + heads[h], ring + at, lengths[i]);
        g_assert_true (pilot_aead_seal (aead, nonce, aad, want, whole));
        g_assert_true (pilot_aead_seal_gathered (aead, nonce, aad, got, heads[h], &rest));
        g_assert_cmpmem (got, whole + PILOT_AEAD_TAG_SIZE, want, whole + PILOT_AEAD_TAG_SIZE);
        g_assert_cmpmem (ring, MOST, before, MOST);
        g_assert_cmpint (pilot_aead_rest_pays (&rest, heads[h], lengths[i]), ==,
                         lengths[i] >= (at >= heads[h] && heads[h] <= PILOT_AEAD_HEAD_MOST ? 256 : PILOT_AEAD_GATHER_LEAST));
      }
}

/* A plaintext in pieces becomes the same bytes as one in one piece, and the pieces stay as they were. */
static void
test_gathered (gconstpointer kind)
{
  static const gsize lengths[] = { 0, 1, 13, 14, 15, 1368, 4061, 4062, 4063, 8868, 64966 };
  g_autoptr (PilotAead) aead = new_of (kind);
  g_autofree guint8 *plain = g_malloc (MOST), *want = g_malloc (MOST), *got = g_malloc (MOST);
  guint8 aad[4] = { 9 };

  if (aead == NULL)
    return;
  fill (plain, MOST);
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    for (guint part = 0; part < 5; part++) {
      const gsize head = 34, length = lengths[i], first = part < 4 ? length * part / 3 : length / 2 + 1;
      const struct iovec vectors[] = { { plain + head, MIN (first, length) }, { plain + head + MIN (first, length), length - MIN (first, length) } };
      const PilotAeadRest rest = { vectors, part == 0 ? 2 : 1 + (length > first), 0 };

      memcpy (want, plain, head + length);
      memcpy (got, plain, head);
      g_assert_true (pilot_aead_seal (aead, nonce, aad, want, head + length));
      g_assert_true (pilot_aead_seal_gathered (aead, nonce, aad, got, head, &rest));
      g_assert_cmpmem (got, head + length + PILOT_AEAD_TAG_SIZE, want, head + length + PILOT_AEAD_TAG_SIZE);
    }
  fill (want, MOST);
  g_assert_cmpmem (plain, MOST, want, MOST);
}

typedef struct
{
  guint8 head[16], *place;
  gsize length;
  guint asked;
} Place;

static guint8 *
place (const guint8 *head, gsize length, gpointer user_data)
{
  Place *self = user_data;

  self->asked++;
  g_assert_cmpuint (length, ==, self->length);
  g_assert_cmpmem (head, sizeof self->head, self->head, sizeof self->head);
  return self->place;
}

/* The rest of what is long goes where its beginning says, or stays; of what is forged nothing is left in either place. */
static void
test_placed (gconstpointer kind)
{
  static const gsize lengths[] = { 0, 1, 1404, 4095, 4096, 4097, 8868, 65000 };
  g_autoptr (PilotAead) aead = new_of (kind);
  g_autofree guint8 *plain = g_malloc (MOST), *data = g_malloc (MOST + 32), *elsewhere = g_malloc (MOST);
  guint8 aad[4] = { 9 };

  if (aead == NULL)
    return;
  fill (plain, MOST);
  for (guint i = 0; i < G_N_ELEMENTS (lengths) * 4; i++) {
    const gsize head = 16, length = lengths[i / 4], whole = head + length + PILOT_AEAD_TAG_SIZE;
    const gboolean stays = (i & 1) != 0, forged = (i & 2) != 0;
    const gboolean asks = *(const PilotAeadKind *) kind == PILOT_AEAD_IPSEC_MB && length >= PILOT_AEAD_GATHER_LEAST;
    Place self = { .place = stays ? NULL : elsewhere, .length = length };
    PilotAeadPlacement placement = { .head = head, .place = place, .user_data = &self, .placed = plain };
    guint same = 0;

    memcpy (self.head, plain, head);
    memcpy (data, plain, head + length);
    memset (elsewhere, 0, MOST);
    g_assert_true (pilot_aead_seal (aead, nonce, aad, data, head + length));
    data[whole - 1] ^= forged;
    g_assert_cmpint (pilot_aead_open_placed (aead, nonce, aad, data, whole, &placement), ==, !forged);
    g_assert_cmpuint (self.asked, ==, asks);
    g_assert_true (placement.placed == (asks && !stays && !forged ? elsewhere : NULL));
    if (!forged) {
      g_assert_cmpmem (data, head, plain, head);
      g_assert_cmpmem (placement.placed != NULL ? elsewhere : data + head, length, plain + head, length);
      continue;
    }
    for (gsize k = 0; k < length; k++)
      same += (data[head + k] == plain[head + k]) + (elsewhere[k] == plain[head + k] && elsewhere[k] != 0);
    g_assert_cmpuint (same, <=, 8 + length / 64);
    g_assert_false (pilot_aead_open_placed (aead, nonce, aad, data, PILOT_AEAD_TAG_SIZE - 1, &placement));
  }
}

/* The key of a busy session changes over without a break, as soon as it has carried much and not for what is forged. */
static void
test_auto (void)
{
  g_autoptr (PilotAead) aead = pilot_aead_new (key), peer = new_of (&kinds[0]), fast = pilot_aead_new_of (PILOT_AEAD_IPSEC_MB, key);
  const PilotAeadKind last = fast != NULL ? PILOT_AEAD_IPSEC_MB : PILOT_AEAD_GNUTLS;
  g_autofree guint8 *data = g_malloc (MOST);
  guint8 aad[4] = { 9 };

  for (guint i = 0; i < 40; i++) {
    memset (data, 1, MOST);
    g_assert_false (pilot_aead_open (aead, nonce, aad, data, MOST));
  }
  g_assert_cmpint (pilot_aead_get_kind (aead), ==, PILOT_AEAD_GNUTLS);
  for (guint i = 0; i < 40; i++) {
    memset (data, (int) i, 60000);
    g_assert_true (pilot_aead_seal (i % 2 ? aead : peer, nonce, aad, data, 60000));
    g_assert_true (pilot_aead_open (i % 2 ? peer : aead, nonce, aad, data, 60016));
    g_assert_true (data[0] == i && data[59999] == i);
    g_assert_cmpint (pilot_aead_get_kind (aead), ==, i < 10 ? PILOT_AEAD_GNUTLS : i > 20 ? last
                                                                                         : pilot_aead_get_kind (aead));
  }
}

int
main (int argc, char **argv)
{
  static const gchar *const names[] = { "gnutls", "ipsec-mb" };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < (processor_suits_ipsec_mb () ? 2 : 1); i++) {
    g_autofree gchar *vector = g_strdup_printf ("/aead/%s/vector", names[i]), *ends = g_strdup_printf ("/aead/%s/ends", names[i]),
                     *forged = g_strdup_printf ("/aead/%s/forged", names[i]), *gathered = g_strdup_printf ("/aead/%s/gathered", names[i]), *placed = g_strdup_printf ("/aead/%s/placed", names[i]),
                     *lent = g_strdup_printf ("/aead/%s/lent", names[i]);

    g_test_add_data_func (vector, &kinds[i], test_vector);
    g_test_add_data_func (ends, &kinds[i], test_ends);
    g_test_add_data_func (forged, &kinds[i], test_forged);
    g_test_add_data_func (gathered, &kinds[i], test_gathered);
    g_test_add_data_func (lent, &kinds[i], test_lent);
    g_test_add_data_func (placed, &kinds[i], test_placed);
  }
  if (processor_suits_ipsec_mb ())
    g_test_add_func ("/aead/agree", test_agree);
  g_test_add_func ("/aead/auto", test_auto);
  return g_test_run ();
}
