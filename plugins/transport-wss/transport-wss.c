/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport-wss.h"

#include <errno.h>
#include <string.h>

#include "wss-link.h"

/* The beacon's place among endpoints: an address nobody has (RFC 5737), which the reference uses too. */
#define BEACON_ADDRESS "192.0.2.2:443"
/* Messages of one size that came together are handed on together. */
#define BATCH_SIZE 65536
/* What the other end takes (beacon notes, 7.3). */
#define MAX_MESSAGE 65536

struct _PilotTransportWss {
  PilotTransport parent_instance;

  gboolean enabled;
  gchar *url;
  WssLink *link;
  PilotEndpoint beacon;

  guint8 *batch; /* while something is in it */
  gsize batch_length, batch_segment;
  GSource *batch_source;

  guint64 datagrams_sent, bytes_sent, datagrams_received, bytes_received, dropped;
};

G_DEFINE_FINAL_TYPE (PilotTransportWss, pilot_transport_wss, PILOT_TYPE_TRANSPORT)

static const PilotPluginSetting settings[] = {
  { "url", "s", "the beacon: \"wss://HOST[:PORT]/v1/compat\"" },
  { "trust", "s", "how its certificate is checked: \"system\" or \"pinned\"; default \"system\"" },
  { "fingerprint", "s", "SHA-256 of the pinned certificate, 64 hex digits" },
  { "proxy", "s", "a proxy to go through: \"http://[USER:PASSWORD@]HOST:PORT\", also https:// and socks5://; default none" },
  { "proxy-command", "s", "a shell command that prints the URL of the proxy, asked anew when that does not take the credentials; default none" },
  { NULL }
};

/* --- receiving --- */

static void
flush_batch (PilotTransportWss *self)
{
  g_autofree guint8 *data = g_steal_pointer (&self->batch);
  PilotReceivedDatagram item = { self->beacon, data, self->batch_length, self->batch_segment };

  if (self->batch_source != NULL) {
    g_source_destroy (self->batch_source);
    g_clear_pointer (&self->batch_source, g_source_unref);
  }
  self->batch_length = self->batch_segment = 0;
  if (data != NULL)
    pilot_transport_deliver (PILOT_TRANSPORT (self), &item, 1);
}

static gboolean
on_batch (gpointer user_data)
{
  g_autoptr (PilotTransportWss) self = g_object_ref (user_data);

  flush_batch (self);
  return G_SOURCE_REMOVE;
}

/* As UDP_GRO does it: equal segments, of which the last may be shorter. */
static gboolean
fits_batch (PilotTransportWss *self,
            gsize length)
{
  return self->batch != NULL && length <= self->batch_segment && self->batch_length % self->batch_segment == 0 &&
         self->batch_length + length <= BATCH_SIZE;
}

static void
on_message (gconstpointer data,
            gsize length,
            gpointer user_data)
{
  PilotTransportWss *self = user_data;

  if (length > MAX_MESSAGE)
    return;
  self->datagrams_received++;
  self->bytes_received += length;
  if (self->batch != NULL && !fits_batch (self, length))
    flush_batch (self);
  if (!self->enabled) /* whom it was delivered to may have stopped us */
    return;
  if (self->batch == NULL) {
    self->batch = g_malloc (BATCH_SIZE);
    self->batch_segment = length;
    /* When everything that has come is in: libsoup reports one message after the other from one dispatch. */
    self->batch_source = g_idle_source_new ();
    g_source_set_priority (self->batch_source, G_PRIORITY_DEFAULT);
    g_source_set_callback (self->batch_source, on_batch, self, NULL);
    g_source_attach (self->batch_source, g_main_context_get_thread_default ());
  }
  memcpy (self->batch + self->batch_length, data, length);
  self->batch_length += length;
}

/* --- the link --- */

static void
on_drained (gpointer user_data)
{
  pilot_transport_report_writable (user_data);
}

static void
on_changed (const gchar *trouble,
            gpointer user_data)
{
  g_autofree gchar *text = trouble != NULL ? g_strdup_printf ("beacon %s: %s", PILOT_TRANSPORT_WSS (user_data)->url, trouble) : NULL;

  if (text == NULL)
    g_message ("connected to the beacon at %s", PILOT_TRANSPORT_WSS (user_data)->url);
  else if (g_strcmp0 (text, pilot_transport_get_trouble (user_data)) != 0)
    g_message ("%s", text);
  pilot_transport_report_trouble (user_data, text);
  /* Who waited for room while the connection broke: what is sent now is lost, or goes out on the new one. */
  pilot_transport_report_writable (user_data);
}

static gboolean
on_prove (const gchar *challenge,
          PilotTransportProof *proof,
          gpointer user_data,
          GError **error)
{
  return pilot_transport_prove (user_data, challenge, proof, error);
}

static const WssLinkFuncs link_funcs = { on_message, on_drained, on_changed, on_prove };

/* Nothing is dialled before the node has an id to log in with, which reconnect() tells. */
static void
pilot_transport_wss_reconnect (PilotTransport *transport)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (transport);

  if (self->enabled)
    wss_link_reconnect (self->link);
}

/* --- sending --- */

static void
send_item (PilotTransportWss *self,
           const PilotSendBatch *item)
{
  gsize segment = item->segment_size == 0 ? item->length : item->segment_size;

  for (gsize offset = 0; offset < item->length; offset += segment) {
    gsize length = MIN (segment, item->length - offset);

    wss_link_send (self->link, item->data + offset, length);
    self->datagrams_sent++;
    self->bytes_sent += length;
  }
}

static gboolean
pilot_transport_wss_send (PilotTransport *transport,
                          const PilotSendBatch *items,
                          guint n_items,
                          guint *n_sent,
                          GError **error)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (transport);

  *n_sent = 0;
  if (!self->enabled) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the transport is not enabled");
    return FALSE;
  }
  for (guint i = 0; i < n_items; i++) {
    PilotEndpoint to = items[i].to;

    to.transport = 0;
    if (!pilot_endpoint_equal (&to, &self->beacon)) {
      self->dropped++;
      *n_sent = i + 1;
      pilot_transport_report_send_failed (transport, &items[i].to, EHOSTUNREACH);
      if (!self->enabled)
        return TRUE;
      continue;
    }
    /* Without a connection it is lost, as on any wire that is cut; an item that was begun goes out whole. */
    if (!wss_link_is_open (self->link))
      self->dropped++;
    else if (wss_link_is_full (self->link))
      return TRUE;
    else
      send_item (self, &items[i]);
    *n_sent = i + 1;
  }
  return TRUE;
}

/* --- what it is --- */

/* The beacon has one name here, its URL, and stands for an address that only this transport knows. */
static gboolean
pilot_transport_wss_parse_endpoint (PilotTransport *transport,
                                    const gchar *text,
                                    PilotEndpoint *endpoint,
                                    GError **error)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (transport);

  if (self->url != NULL && g_str_equal (text, self->url)) {
    *endpoint = self->beacon;
    return TRUE;
  }
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is not the beacon this transport is connected to", text);
  return FALSE;
}

static gchar *
pilot_transport_wss_format_endpoint (PilotTransport *transport,
                                     const PilotEndpoint *endpoint)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (transport);
  PilotEndpoint plain = *endpoint;

  plain.transport = 0;
  return self->url != NULL && pilot_endpoint_equal (&plain, &self->beacon) ? g_strdup (self->url) : pilot_endpoint_to_string (endpoint);
}

static guint
pilot_transport_wss_get_mtu (PilotTransport *transport)
{
  /* What the host would send on an Ethernet: the peer, at the other end of the relay, may be on one. TCP cuts as it needs to. */
  return 1500 - 8 - 40;
}

static PilotTransportKind
pilot_transport_wss_get_kind (PilotTransport *transport)
{
  return PILOT_TRANSPORT_RELAY;
}

static gint
pilot_transport_wss_get_preference (PilotTransport *transport)
{
  return 10;
}

static GVariant *
pilot_transport_wss_get_stats (PilotTransport *transport)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (transport);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "datagrams-sent", "t", self->datagrams_sent);
  g_variant_dict_insert (&dict, "bytes-sent", "t", self->bytes_sent);
  g_variant_dict_insert (&dict, "datagrams-received", "t", self->datagrams_received);
  g_variant_dict_insert (&dict, "bytes-received", "t", self->bytes_received);
  g_variant_dict_insert (&dict, "dropped", "t", self->dropped);
  g_variant_dict_insert (&dict, "logins", "t", (guint64) (self->link != NULL ? wss_link_get_logins (self->link) : 0));
  g_variant_dict_insert (&dict, "connected", "b", self->link != NULL && wss_link_is_open (self->link));
  return g_variant_dict_end (&dict);
}

/* --- life --- */

static gboolean
read_settings (PilotTransportWss *self,
               WssLinkSettings *link,
               GError **error)
{
  PilotPlugin *plugin = PILOT_PLUGIN (self);
  const gchar *trust = "system", *proxy = "", *command = "";

  *link = (WssLinkSettings) { NULL };
  if (!pilot_plugin_check_settings (plugin, settings, error))
    return FALSE;
  pilot_plugin_lookup_setting (plugin, "url", "&s", &link->url);
  pilot_plugin_lookup_setting (plugin, "trust", "&s", &trust);
  pilot_plugin_lookup_setting (plugin, "fingerprint", "&s", &link->fingerprint);
  pilot_plugin_lookup_setting (plugin, "proxy", "&s", &proxy);
  pilot_plugin_lookup_setting (plugin, "proxy-command", "&s", &command);
  if (*proxy != '\0')
    link->proxy = (gchar *) proxy;
  if (*command != '\0')
    link->command = (gchar *) command;
  if (link->url == NULL || *link->url == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "no beacon is given: set \"url\" to wss://HOST/v1/compat");
    return FALSE;
  }
  if (g_str_equal (trust, "system"))
    link->fingerprint = NULL;
  else if (!g_str_equal (trust, "pinned")) {
    g_autofree gchar *quoted = pilot_error_quote (trust, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"trust\" is \"%s\" (expected system or pinned)", quoted);
    return FALSE;
  } else if (link->fingerprint == NULL || *link->fingerprint == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "trust \"pinned\" needs a fingerprint");
    return FALSE;
  }
  return TRUE;
}

static gboolean
pilot_transport_wss_enable (PilotPlugin *plugin,
                            GError **error)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (plugin);
  WssLinkSettings link;

  if (!read_settings (self, &link, error))
    return FALSE;
  self->link = wss_link_new (&link, &link_funcs, self, error);
  if (self->link == NULL)
    return FALSE;
  self->url = g_strdup (link.url);
  self->enabled = TRUE;
  pilot_transport_report_trouble (PILOT_TRANSPORT (self), "not connected to the beacon yet");
  return TRUE;
}

static gboolean
pilot_transport_wss_disable (PilotPlugin *plugin,
                             GError **error)
{
  PilotTransportWss *self = PILOT_TRANSPORT_WSS (plugin);

  self->enabled = FALSE;
  if (self->batch_source != NULL)
    g_source_destroy (self->batch_source);
  g_clear_pointer (&self->batch_source, g_source_unref);
  g_clear_pointer (&self->batch, g_free);
  self->batch_length = self->batch_segment = 0;
  g_clear_pointer (&self->link, wss_link_free);
  g_clear_pointer (&self->url, g_free);
  return TRUE;
}

static void
pilot_transport_wss_finalize (GObject *object)
{
  pilot_transport_wss_disable (PILOT_PLUGIN (object), NULL);
  G_OBJECT_CLASS (pilot_transport_wss_parent_class)->finalize (object);
}

static void
pilot_transport_wss_class_init (PilotTransportWssClass *klass)
{
  PilotPluginClass *plugin_class = PILOT_PLUGIN_CLASS (klass);
  PilotTransportClass *transport_class = PILOT_TRANSPORT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_transport_wss_finalize;
  plugin_class->enable = pilot_transport_wss_enable;
  plugin_class->disable = pilot_transport_wss_disable;
  transport_class->send = pilot_transport_wss_send;
  transport_class->parse_endpoint = pilot_transport_wss_parse_endpoint;
  transport_class->format_endpoint = pilot_transport_wss_format_endpoint;
  transport_class->get_mtu = pilot_transport_wss_get_mtu;
  transport_class->get_kind = pilot_transport_wss_get_kind;
  transport_class->get_preference = pilot_transport_wss_get_preference;
  transport_class->get_stats = pilot_transport_wss_get_stats;
  transport_class->reconnect = pilot_transport_wss_reconnect;
}

static void
pilot_transport_wss_init (PilotTransportWss *self)
{
  pilot_endpoint_parse (BEACON_ADDRESS, &self->beacon, NULL);
}
