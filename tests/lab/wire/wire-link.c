/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire-link.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Slots come in chunks, so that an idle wire is small and a busy one grows without ever moving a frame. */
#define CHUNK_FRAMES 512

typedef struct
{
  size_t length;
  uint8_t bytes[WIRE_FRAME_MAX];
} Slot;

typedef struct
{
  uint64_t due_ns;
  uint64_t order; /* frames due at the same time leave in the order they came */
  uint32_t slot;
} Entry;

struct WireLink {
  WireSettings settings;
  WireCounters counters;
  uint64_t stream;
  uint64_t random;
  bool in_burst;
  uint64_t busy_until_ns; /* when the last bit accepted so far has left the rate limit */
  uint64_t last_due_ns;   /* of the frames that keep their order */
  uint64_t order;
  Entry heap[WIRE_FRAMES_MAX];
  size_t length;
  Slot *chunks[WIRE_FRAMES_MAX / CHUNK_FRAMES];
  size_t n_chunks;
  uint32_t free_slots[WIRE_FRAMES_MAX];
  size_t n_free;
};

void
wire_settings_init (WireSettings *settings)
{
  *settings = (WireSettings) { .burst = 1, .queue_kb = 256, .seed = 1 };
}

const char *
wire_settings_parse (WireSettings *settings,
                     const char *name,
                     const char *text)
{
  const struct
  {
    const char *name;
    double *value;
    double most;
    const char *wrong;
  } known[] = {
    { "delay", &settings->delay_ms, 60000, "delay is milliseconds, 0 to 60000" },
    { "jitter", &settings->jitter_ms, 60000, "jitter is milliseconds, 0 to 60000" },
    { "loss", &settings->loss_percent, 100, "loss is a percentage, 0 to 100" },
    { "burst", &settings->burst, 10000, "burst is a mean number of frames, 0 to 10000" },
    { "reorder", &settings->reorder_percent, 100, "reorder is a percentage, 0 to 100" },
    { "rate", &settings->rate_mbit, 100000, "rate is Mbit/s, 0 (no limit) to 100000" },
    { "queue", &settings->queue_kb, 40000, "queue is kB, 0 to 40000" },
  };
  char *end = NULL;

  if (strcmp (name, "seed") == 0) {
    errno = 0;
    uint64_t seed = strtoull (text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
      return "seed is a number from 0 to 18446744073709551615";
    settings->seed = seed;
    return NULL;
  }

  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp (name, known[i].name) != 0)
      continue;

    double value = strtod (text, &end);

    if (end == text || *end != '\0' || !isfinite (value) || value < 0 || value > known[i].most)
      return known[i].wrong;
    *known[i].value = value;
    return NULL;
  }

  return "unknown setting";
}

/* splitmix64: small, well distributed, and the same on every machine. */
static uint64_t
random_next (WireLink *link)
{
  uint64_t z = link->random += 0x9e3779b97f4a7c15u;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Uniform in [0, 1). */
static double
random_unit (WireLink *link)
{
  return (double) (random_next (link) >> 11) * 0x1p-53;
}

static void
random_start (WireLink *link)
{
  link->random = link->settings.seed;
  link->random = random_next (link) ^ (link->stream * 0xd1342543de82ef95u);
}

WireLink *
wire_link_new (const WireSettings *settings,
               uint64_t stream)
{
  WireLink *link = calloc (1, sizeof *link);

  if (link == NULL)
    return NULL;
  link->settings = *settings;
  link->stream = stream;
  random_start (link);
  return link;
}

void
wire_link_free (WireLink *link)
{
  if (link == NULL)
    return;
  for (size_t i = 0; i < link->n_chunks; i++)
    free (link->chunks[i]);
  free (link);
}

void
wire_link_set (WireLink *link,
               const WireSettings *settings)
{
  bool new_seed = link->settings.seed != settings->seed;

  link->settings = *settings;
  if (settings->rate_mbit <= 0)
    link->busy_until_ns = 0;
  if (new_seed)
    random_start (link);
}

static Slot *
slot_get (const WireLink *link,
          uint32_t slot)
{
  return &link->chunks[slot / CHUNK_FRAMES][slot % CHUNK_FRAMES];
}

/* Takes a free slot; false when the bound is reached or there is no memory. */
static bool
slot_take (WireLink *link,
           uint32_t *slot)
{
  if (link->n_free == 0) {
    if (link->n_chunks == WIRE_FRAMES_MAX / CHUNK_FRAMES)
      return false;

    Slot *chunk = malloc (CHUNK_FRAMES * sizeof (Slot));

    if (chunk == NULL)
      return false;
    for (uint32_t i = 0; i < CHUNK_FRAMES; i++)
      link->free_slots[link->n_free++] = (uint32_t) link->n_chunks * CHUNK_FRAMES + i;
    link->chunks[link->n_chunks++] = chunk;
  }

  *slot = link->free_slots[--link->n_free];
  return true;
}

static bool
entry_before (const Entry *a,
              const Entry *b)
{
  return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void
heap_push (WireLink *link,
           Entry entry)
{
  size_t i = link->length++;

  for (; i > 0; i = (i - 1) / 2) {
    Entry *parent = &link->heap[(i - 1) / 2];

    if (!entry_before (&entry, parent))
      break;
    link->heap[i] = *parent;
  }
  link->heap[i] = entry;
}

static void
heap_pop (WireLink *link)
{
  Entry last = link->heap[--link->length];
  size_t i = 0;

  for (;;) {
    size_t child = 2 * i + 1;

    if (child >= link->length)
      break;
    if (child + 1 < link->length && entry_before (&link->heap[child + 1], &link->heap[child]))
      child++;
    if (!entry_before (&link->heap[child], &last))
      break;
    link->heap[i] = link->heap[child];
    i = child;
  }
  link->heap[i] = last;
}

/* Independent losses, or the Gilbert model of two states whose bad one loses everything and lasts `burst` frames on average
 * (E. N. Gilbert, "Capacity of a Burst-Noise Channel", 1960). */
static bool
frame_is_lost (WireLink *link)
{
  double loss = link->settings.loss_percent / 100;
  double burst = link->settings.burst;

  if (loss <= 0)
    return false;
  if (loss >= 1)
    return true;
  if (burst <= 1)
    return random_unit (link) < loss;

  double leave = 1 / burst;
  double enter = fmin (1, leave * loss / (1 - loss));

  link->in_burst = random_unit (link) < (link->in_burst ? 1 - leave : enter);
  return link->in_burst;
}

/* Puts a frame through the rate limit: answers when its last bit has left, or UINT64_MAX when the queue is full. */
static uint64_t
serialise (WireLink *link,
           uint64_t now_ns,
           size_t length)
{
  double ns_per_byte;
  uint64_t start = link->busy_until_ns > now_ns ? link->busy_until_ns : now_ns;

  if (link->settings.rate_mbit <= 0)
    return now_ns;

  ns_per_byte = 8000 / link->settings.rate_mbit;
  /* The frame that is being sent is no longer in the queue: a queue of 0 still lets one frame pass. */
  if (start > now_ns && (double) (start - now_ns) / ns_per_byte > link->settings.queue_kb * 1000)
    return UINT64_MAX;
  link->busy_until_ns = start + (uint64_t) (ns_per_byte * (double) length);
  return link->busy_until_ns;
}

void
wire_link_push (WireLink *link,
                uint64_t now_ns,
                const uint8_t *frame,
                size_t length)
{
  Entry entry = { .order = link->order };
  uint64_t sent;
  double travel_ms = link->settings.delay_ms;

  link->counters.frames_in++;
  if (frame_is_lost (link)) {
    link->counters.lost++;
    return;
  }
  sent = serialise (link, now_ns, length);
  if (sent == UINT64_MAX) {
    link->counters.queue_full++;
    return;
  }
  if (length > WIRE_FRAME_MAX || !slot_take (link, &entry.slot)) {
    link->counters.overflow++;
    return;
  }

  if (link->settings.jitter_ms > 0)
    travel_ms += link->settings.jitter_ms * (2 * random_unit (link) - 1);
  entry.due_ns = sent + (uint64_t) (fmax (0, travel_ms) * 1e6);
  if (link->settings.reorder_percent > 0 && random_unit (link) < link->settings.reorder_percent / 100) {
    /* Held back, as on a longer way: those behind it overtake it. */
    entry.due_ns += (uint64_t) (fmax (1, fmax (link->settings.jitter_ms, link->settings.delay_ms / 8)) * 1e6);
    link->counters.reordered++;
  } else {
    if (entry.due_ns < link->last_due_ns)
      entry.due_ns = link->last_due_ns;
    link->last_due_ns = entry.due_ns;
  }

  link->order++;
  slot_get (link, entry.slot)->length = length;
  memcpy (slot_get (link, entry.slot)->bytes, frame, length);
  heap_push (link, entry);
}

uint64_t
wire_link_deadline (const WireLink *link)
{
  return link->length == 0 ? UINT64_MAX : link->heap[0].due_ns;
}

const uint8_t *
wire_link_peek (const WireLink *link,
                uint64_t now_ns,
                size_t *length)
{
  const Slot *slot;

  if (wire_link_deadline (link) > now_ns)
    return NULL;
  slot = slot_get (link, link->heap[0].slot);
  *length = slot->length;
  return slot->bytes;
}

void
wire_link_pop (WireLink *link)
{
  link->counters.frames_out++;
  link->counters.bytes_out += slot_get (link, link->heap[0].slot)->length;
  link->free_slots[link->n_free++] = link->heap[0].slot;
  heap_pop (link);
}

size_t
wire_link_length (const WireLink *link)
{
  return link->length;
}

const WireCounters *
wire_link_counters (const WireLink *link)
{
  return &link->counters;
}
