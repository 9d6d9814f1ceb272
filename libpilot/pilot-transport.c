/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-transport.h"

#include "pilot-error.h"

typedef struct
{
  PilotTransportReceiver receiver;
  gpointer user_data;
  GDestroyNotify destroy;
  PilotTransportProver prover;
  gpointer prover_data;
  gchar *trouble;
} PilotTransportPrivate;

enum {
  SIGNAL_WRITABLE,
  SIGNAL_SEND_FAILED,
  SIGNAL_TROUBLE_CHANGED,
  N_SIGNALS
};

static guint signals[N_SIGNALS];

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE (PilotTransport, pilot_transport, PILOT_TYPE_PLUGIN)

static gboolean
pilot_transport_real_send (PilotTransport *self,
                           const PilotSendBatch *items,
                           guint n_items,
                           guint *n_sent,
                           GError **error)
{
  *n_sent = 0;
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "this transport cannot send");
  return FALSE;
}

static GArray *
pilot_transport_real_get_endpoints (PilotTransport *self)
{
  return g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));
}

static gboolean
pilot_transport_real_parse_endpoint (PilotTransport *self,
                                     const gchar *text,
                                     PilotEndpoint *endpoint,
                                     GError **error)
{
  return pilot_endpoint_parse (text, endpoint, error);
}

static gchar *
pilot_transport_real_format_endpoint (PilotTransport *self,
                                      const PilotEndpoint *endpoint)
{
  return pilot_endpoint_to_string (endpoint);
}

static gint
pilot_transport_real_get_poll_fd (PilotTransport *self)
{
  return -1;
}

static GIOCondition
pilot_transport_real_get_poll_events (PilotTransport *self)
{
  return G_IO_IN;
}

static void
pilot_transport_real_dispatch (PilotTransport *self,
                               GIOCondition ready)
{
}

static guint
pilot_transport_real_get_mtu (PilotTransport *self)
{
  /* What every IPv6 path must carry in one piece (RFC 8200 section 5), less the IPv6 and UDP headers. */
  return 1280 - 40 - 8;
}

static PilotTransportKind
pilot_transport_real_get_kind (PilotTransport *self)
{
  return PILOT_TRANSPORT_DIRECT;
}

static gint
pilot_transport_real_get_preference (PilotTransport *self)
{
  return 0;
}

static GVariant *
pilot_transport_real_get_stats (PilotTransport *self)
{
  return g_variant_new ("a{sv}", NULL);
}

static void
pilot_transport_finalize (GObject *object)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (PILOT_TRANSPORT (object));

  pilot_transport_set_receiver (PILOT_TRANSPORT (object), NULL, NULL, NULL);
  g_free (priv->trouble);
  G_OBJECT_CLASS (pilot_transport_parent_class)->finalize (object);
}

static void
pilot_transport_class_init (PilotTransportClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = pilot_transport_finalize;
  klass->send = pilot_transport_real_send;
  klass->get_endpoints = pilot_transport_real_get_endpoints;
  klass->parse_endpoint = pilot_transport_real_parse_endpoint;
  klass->format_endpoint = pilot_transport_real_format_endpoint;
  klass->get_poll_fd = pilot_transport_real_get_poll_fd;
  klass->get_poll_events = pilot_transport_real_get_poll_events;
  klass->dispatch = pilot_transport_real_dispatch;
  klass->get_mtu = pilot_transport_real_get_mtu;
  klass->get_kind = pilot_transport_real_get_kind;
  klass->get_preference = pilot_transport_real_get_preference;
  klass->get_stats = pilot_transport_real_get_stats;

  /**
   * PilotTransport::writable:
   *
   * After a send that took less than all: it can be tried again.
   */
  signals[SIGNAL_WRITABLE] = g_signal_new ("writable", PILOT_TYPE_TRANSPORT, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                           G_TYPE_NONE, 0);
  /**
   * PilotTransport::send-failed:
   * @to: (type PilotEndpoint): where to; valid during the emission
   * @error_number: an errno value
   *
   * See pilot_transport_report_send_failed().
   */
  signals[SIGNAL_SEND_FAILED] = g_signal_new ("send-failed", PILOT_TYPE_TRANSPORT, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                              G_TYPE_NONE, 2, G_TYPE_POINTER, G_TYPE_INT);
  /**
   * PilotTransport::trouble-changed:
   *
   * See pilot_transport_get_trouble(). Since ABI 1.1.
   */
  signals[SIGNAL_TROUBLE_CHANGED] = g_signal_new ("trouble-changed", PILOT_TYPE_TRANSPORT, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                                  G_TYPE_NONE, 0);
}

static void
pilot_transport_init (PilotTransport *self)
{
}

gboolean
pilot_transport_send (PilotTransport *self,
                      const PilotSendBatch *items,
                      guint n_items,
                      guint *n_sent,
                      GError **error)
{
  return PILOT_TRANSPORT_GET_CLASS (self)->send (self, items, n_items, n_sent, error);
}

GArray *
pilot_transport_get_endpoints (PilotTransport *self)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), NULL);

  return PILOT_TRANSPORT_GET_CLASS (self)->get_endpoints (self);
}

gboolean
pilot_transport_parse_endpoint (PilotTransport *self,
                                const gchar *text,
                                PilotEndpoint *endpoint,
                                GError **error)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), FALSE);
  g_return_val_if_fail (text != NULL && endpoint != NULL, FALSE);

  return PILOT_TRANSPORT_GET_CLASS (self)->parse_endpoint (self, text, endpoint, error);
}

gchar *
pilot_transport_format_endpoint (PilotTransport *self,
                                 const PilotEndpoint *endpoint)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), NULL);

  return PILOT_TRANSPORT_GET_CLASS (self)->format_endpoint (self, endpoint);
}

gint
pilot_transport_get_poll_fd (PilotTransport *self)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), -1);

  return PILOT_TRANSPORT_GET_CLASS (self)->get_poll_fd (self);
}

GIOCondition
pilot_transport_get_poll_events (PilotTransport *self)
{
  return PILOT_TRANSPORT_GET_CLASS (self)->get_poll_events (self);
}

void
pilot_transport_dispatch (PilotTransport *self,
                          GIOCondition ready)
{
  PILOT_TRANSPORT_GET_CLASS (self)->dispatch (self, ready);
}

guint
pilot_transport_get_mtu (PilotTransport *self)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), 0);

  return PILOT_TRANSPORT_GET_CLASS (self)->get_mtu (self);
}

PilotTransportKind
pilot_transport_get_kind (PilotTransport *self)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), PILOT_TRANSPORT_RELAY);

  return PILOT_TRANSPORT_GET_CLASS (self)->get_kind (self);
}

gint
pilot_transport_get_preference (PilotTransport *self)
{
  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), 0);

  return PILOT_TRANSPORT_GET_CLASS (self)->get_preference (self);
}

GVariant *
pilot_transport_get_stats (PilotTransport *self)
{
  GVariant *stats;

  g_return_val_if_fail (PILOT_IS_TRANSPORT (self), NULL);

  stats = PILOT_TRANSPORT_GET_CLASS (self)->get_stats (self);
  if (stats == NULL || !g_variant_is_of_type (stats, G_VARIANT_TYPE_VARDICT)) {
    if (stats != NULL)
      g_variant_unref (g_variant_take_ref (stats));
    stats = g_variant_new ("a{sv}", NULL);
  }
  return g_variant_take_ref (stats);
}

void
pilot_transport_reconnect (PilotTransport *self)
{
  g_return_if_fail (PILOT_IS_TRANSPORT (self));

  if (PILOT_TRANSPORT_GET_CLASS (self)->reconnect != NULL)
    PILOT_TRANSPORT_GET_CLASS (self)->reconnect (self);
}

const gchar *
pilot_transport_get_trouble (PilotTransport *self)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);

  return priv->trouble;
}

void
pilot_transport_report_trouble (PilotTransport *self,
                                const gchar *trouble)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);

  g_return_if_fail (PILOT_IS_TRANSPORT (self));

  if (g_strcmp0 (priv->trouble, trouble) == 0)
    return;
  g_free (priv->trouble);
  priv->trouble = g_strdup (trouble);
  g_signal_emit (self, signals[SIGNAL_TROUBLE_CHANGED], 0);
}

void
pilot_transport_set_prover (PilotTransport *self,
                            PilotTransportProver prover,
                            gpointer user_data)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);

  priv->prover = prover;
  priv->prover_data = user_data;
}

gboolean
pilot_transport_prove (PilotTransport *self,
                       const gchar *challenge,
                       PilotTransportProof *proof,
                       GError **error)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);

  if (priv->prover != NULL)
    return priv->prover (self, challenge, proof, priv->prover_data, error);
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "nobody answers for this node");
  return FALSE;
}

void
pilot_transport_set_receiver (PilotTransport *self,
                              PilotTransportReceiver receiver,
                              gpointer user_data,
                              GDestroyNotify destroy)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);
  GDestroyNotify old_destroy = priv->destroy;
  gpointer old_user_data = priv->user_data;

  priv->receiver = receiver;
  priv->user_data = user_data;
  priv->destroy = destroy;
  if (old_destroy != NULL)
    old_destroy (old_user_data);
}

void
pilot_transport_deliver (PilotTransport *self,
                         PilotReceivedDatagram *items,
                         guint n_items)
{
  PilotTransportPrivate *priv = pilot_transport_get_instance_private (self);

  if (n_items > 0 && priv->receiver != NULL)
    priv->receiver (self, items, n_items, priv->user_data);
}

void
pilot_transport_report_writable (PilotTransport *self)
{
  g_return_if_fail (PILOT_IS_TRANSPORT (self));

  g_signal_emit (self, signals[SIGNAL_WRITABLE], 0);
}

void
pilot_transport_report_send_failed (PilotTransport *self,
                                    const PilotEndpoint *to,
                                    gint error_number)
{
  g_return_if_fail (PILOT_IS_TRANSPORT (self));
  g_return_if_fail (to != NULL);

  g_signal_emit (self, signals[SIGNAL_SEND_FAILED], 0, to, error_number);
}
