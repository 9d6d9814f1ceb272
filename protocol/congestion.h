/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Congestion control as a table of functions. One is chosen per stream when its peer's kind is known. */
typedef struct _PilotCongestion PilotCongestion;

/* What one acknowledgement (or a batch of them) told. Bytes and microseconds. */
typedef struct {
  gint64 now;
  guint64 delivered;       /* of the connection, ever */
  guint64 newly_delivered; /* by this acknowledgement, SACKed bytes included */
  guint64 newly_lost;
  guint64 in_flight;       /* after it */
  guint64 prior_delivered; /* of the connection when the newest segment acknowledged here was sent */
  guint64 rate;            /* bytes a second; 0 = no sample */
  gboolean app_limited;
  gint64 rtt; /* -1 = no sample */
  gint64 srtt, min_rtt;
  gboolean in_recovery;
  gboolean shared; /* other streams to the same peer have something to say, too */
  gboolean asked;  /* while shared: one of them exchanges short messages, whose round trip is as long as what stands in front of them */
  gint64 way_rtt;  /* while shared: the shortest that any stream to the peer has seen of late; else, or if none has, -1 */
} PilotCongestionSample;

typedef struct {
  const char *name;
  void (*init) (PilotCongestion *self, gint64 now);
  void (*acked) (PilotCongestion *self, const PilotCongestionSample *sample);
  /* A loss episode begins; @in_flight before the loss. */
  void (*lost) (PilotCongestion *self, guint64 in_flight, gint64 now);
  void (*timeout) (PilotCongestion *self, guint64 in_flight, gint64 now);
  /* Something is sent after nothing was in flight since @idle_since. */
  void (*restart) (PilotCongestion *self, gint64 idle_since, gint64 now);
} PilotCongestionClass;

/* The window of RFC 9438 after a reduction. Bytes and microseconds. */
typedef struct {
  guint64 origin;       /* where the curve is flat: W_max */
  guint64 linear;       /* what Reno would have: W_est, in thousandths of bytes */
  gint64 epoch;         /* when the reduction was */
  gint64 k;             /* how long until the origin is reached again */
  guint alpha_permille; /* thousandths of a segment by which that grows in a round trip; a reduction sets it to what its beta asks for */
} PilotCongestionCurve;

/* The alpha_permille of Reno itself. */
#define PILOT_CURVE_RENO 1000
/* Without a loss: it grows from the flat part on. */
void pilot_congestion_curve_begin (PilotCongestionCurve *self, guint64 window, gint64 now);
/* A loss: returns the window from now on, @beta_percent of the old one, and remembers how it grows. */
guint64 pilot_congestion_curve_reduce (PilotCongestionCurve *self, guint64 window, guint beta_percent, gint64 now);
/* Where the window should be at @now, when @acked bytes more have arrived. */
guint64 pilot_congestion_curve_grow (PilotCongestionCurve *self, guint64 window, guint64 acked, gint64 now);

/* A limit of the rate that drops what exceeds it. Bytes and microseconds. */
typedef struct {
  guint64 rate;          /* what it lets through, bytes a second; 0 = there is none, or it is asked for again */
  guint64 known_rate;    /* the last that proved right */
  guint64 interval_rate; /* of the last interval that lost much; 0 = it did not */
  guint64 share_before;  /* lost before the limit was kept, in a million */
  guint64 delivered, lost;
  gint64 since;
  guint rounds, queued;    /* of this interval; of them stood in a queue */
  guint held, tries;       /* rounds at the limit; how often it was found too high */
  guint pause, next_pause; /* intervals in which it is not asked for */
} PilotCongestionPolicer;

/* A round is over in which so much arrived and was lost, and which stood in a @queued or did not. Sets and clears rate. */
void pilot_congestion_policer_round (PilotCongestionPolicer *self, guint64 delivered, guint64 lost, gboolean queued, gint64 now);
/* Too little was sent to tell: what was counted does not count. */
void pilot_congestion_policer_forget (PilotCongestionPolicer *self);

#define PILOT_BBR_ROUNDS 10
#define PILOT_BBR_RTT_ROUNDS 16

typedef struct {
  gint state;
  guint64 rate_rounds[PILOT_BBR_ROUNDS]; /* the best sample of each of the last rounds */
  guint64 rate;                          /* the best of them */
  guint64 full_rate;
  guint full_rate_rounds;
  gboolean full; /* the pipe was filled */
  guint64 next_round_delivered, round;
  gboolean round_started;
  gint64 min_rtt, min_rtt_at, probe_rtt_end;
  gint64 doubted_rtt; /* looked for a newer one before its time; 0 = not yet */
  guint64 probe_rtt_round;
  guint cycle;
  gint64 cycle_at;
  guint64 round_lost, round_lost_events, round_delivered_at, round_flight;
  guint64 inflight_high; /* 0 = no bound learned from loss */
  guint64 rtt_sum, rtt_count;
  gint64 rtt_rounds[PILOT_BBR_RTT_ROUNDS]; /* mean of each of the last rounds; 0 = none */
  gint64 emptiest;                         /* the shortest of them */
  PilotCongestionCurve curve;              /* how the bound grows again */
  guint64 bound_round;                     /* in which loss last lowered it */
  PilotCongestionPolicer policer;
  guint64 random_loss; /* in a million: share lost in rounds without a queue */
  gint64 extra_at;
  guint64 extra_base, extra[2]; /* bytes acknowledged beyond what the rate explains */
  guint64 extra_round;
} PilotCongestionBbr;

typedef struct {
  guint64 threshold; /* ssthresh */
  PilotCongestionCurve curve;
  guint64 next_round_delivered;
  gint64 round_rtt, last_round_rtt, baseline_rtt; /* shortest of this round, of the last, when growth was slowed down */
  guint n_samples;
  guint conservative_rounds; /* 0 = not slowed down */
} PilotCongestionCubic;

struct _PilotCongestion {
  const PilotCongestionClass *class;
  guint segment_size;
  guint64 window;      /* bytes that may be in flight */
  guint64 pacing_rate; /* bytes a second; 0 = not paced */
  guint64 quantum;     /* bytes of one burst */
  union {
    PilotCongestionBbr bbr;
    PilotCongestionCubic cubic;
  };
};

/* Model-based, after draft-ietf-ccwg-bbr: delivery rate and shortest round trip set rate and window, random loss does not; loss while a queue
 * stands bounds the window as it does CUBIC's. */
extern const PilotCongestionClass pilot_congestion_bbr;
/* RFC 9438 with HyStart++ (RFC 9406). */
extern const PilotCongestionClass pilot_congestion_cubic;

/* The one of that name ("bbr", "cubic"), or NULL. */
const PilotCongestionClass *pilot_congestion_by_name (const char *name);

/* Bytes: where the window grows slowly from, or the bound that loss has taught; 0 = none yet. */
guint64 pilot_congestion_get_threshold (const PilotCongestion *self);
void pilot_congestion_init (PilotCongestion *self, const PilotCongestionClass *class, guint segment_size, gint64 now);
/* The path carries segments of this size from now on, in bytes. @initial: nothing was acknowledged yet, and the window is to hold two of them at least. */
void pilot_congestion_set_segment_size (PilotCongestion *self, guint segment_size, gboolean initial);

G_END_DECLS
