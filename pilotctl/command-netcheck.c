/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

#include <string.h>

/* What the tunnel asks the kernel for, see transport-udp. */
#define WANTED_BUFFER (4 * 1024 * 1024)
/* The largest datagram of a relayed stream segment, with IPv6 and UDP headers. */
#define LEAST_MTU 1280

/* Sentences for a person: what is wrong (exit code 1), and what to know. */
typedef struct {
  GStrvBuilder *problems, *advice;
} Findings;

static void
add (GStrvBuilder *builder, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_strv_builder_add (builder, text);
}

static const char *
mapping_text (const char *mapping)
{
  if (g_str_equal (mapping, "none"))
    return _("no translation");
  if (g_str_equal (mapping, "endpoint-independent"))
    return _("one outside port for all peers (endpoint-independent mapping)");
  if (g_str_equal (mapping, "port-preserving"))
    return _("keeps port numbers: very likely one outside port for all peers (endpoint-independent mapping)");
  if (g_str_equal (mapping, "address-dependent"))
    return _("another outside port for each peer (symmetric: address-dependent mapping)");
  if (g_str_equal (mapping, "address-and-port-dependent"))
    return _("another outside port for each peer (symmetric: address and port-dependent mapping)");
  return _("changes port numbers; whether to others for each peer (symmetric), one beacon cannot tell");
}

static gboolean
is_symmetric (const char *mapping)
{
  return g_str_equal (mapping, "address-dependent") || g_str_equal (mapping, "address-and-port-dependent");
}

static gboolean
is_compat (GVariant *facts)
{
  return g_str_equal (dict_string (facts, "transport"), "compat");
}

/* The beacon is how peers are found and, behind some NATs, reached: UDP that does not get there gets nowhere. */
static gboolean
is_cut_off (GVariant *facts)
{
  return dict_double (facts, "beacon_rtt_ms") < 0 && !g_str_equal (dict_string (facts, "udp"), "not-tried");
}

/* "no", "some", "always": whether traffic has to pass the beacon. */
static const char *
judge_relay (GVariant *facts)
{
  const char *mapping = dict_string (facts, "mapping");

  if (is_compat (facts) || dict_boolean (facts, "relay_only") || !g_str_equal (dict_string (facts, "udp"), "open"))
    return "always";
  return is_symmetric (mapping) ? "some" : g_str_equal (mapping, "unknown") ? "unknown"
                                                                            : "no";
}

static void
judge_registry (GVariant *facts, Findings *findings)
{
  const char *registry = dict_string (facts, "registry"), *error = dict_string (facts, "registry_error");
  g_autofree char *prefix = g_strdup_printf ("registry %s: ", registry);

  /* Which one, most errors say themselves. */
  add (findings->problems, _("the registry %s does not answer: %s"), registry, g_str_has_prefix (error, prefix) ? error + strlen (prefix) : error);
}

static void
judge_compat_beacon (GVariant *facts, Findings *findings)
{
  const char *error = dict_string (facts, "beacon_error");

  if (dict_double (facts, "beacon_rtt_ms") >= 0)
    return;
  if (*error != '\0')
    add (findings->problems, _("the compat beacon does not answer: %s"), error);
  else
    add (findings->problems, _("the compat beacon %s does not answer"), dict_string (facts, "beacon"));
}

static void
judge_reachability (GVariant *facts, Findings *findings)
{
  const char *udp = dict_string (facts, "udp"), *mapping = dict_string (facts, "mapping");

  if (dict_double (facts, "registry_rtt_ms") < 0)
    judge_registry (facts, findings);
  if (is_compat (facts))
    judge_compat_beacon (facts, findings);
  else if (*dict_string (facts, "beacon") == '\0')
    add (findings->problems, _("no beacon is configured: peers behind NAT cannot be reached. Set one: pilotctl config --set beacon=HOST:9001"));
  else if (g_str_equal (udp, "no-answer"))
    add (findings->problems, _("no UDP comes back from the beacon %s: a firewall drops it, or the beacon is down. If UDP is blocked here, restart the daemon with --transport auto --compat-beacon wss://HOST/v1/compat"), dict_string (facts, "beacon"));
  else if (g_str_equal (udp, "not-tried"))
    add (findings->problems, _("the address of the beacon %s is not known yet: does its name resolve?"), dict_string (facts, "beacon"));
  if (is_symmetric (mapping))
    add (findings->advice, _("peers behind a port-restricted or symmetric NAT are reached through the beacon; to have them direct, forward a UDP port of the router to this machine and start the daemon with --listen :PORT --endpoint ADDRESS:PORT"));
  if (g_str_equal (mapping, "unknown") && g_str_equal (udp, "open"))
    add (findings->advice, _("to learn whether the NAT is symmetric, start the daemon with a second beacon on another address: --beacon A:9001,B:9001"));
}

static gboolean
has_offload (GVariant *facts, const char *key, gboolean *known)
{
  g_autoptr (GVariant) transports = g_variant_lookup_value (facts, "transports", G_VARIANT_TYPE_VARDICT);
  g_autoptr (GVariant) udp = transports != NULL ? g_variant_lookup_value (transports, "transport-udp", G_VARIANT_TYPE_VARDICT) : NULL;
  gboolean on = FALSE;

  *known = udp != NULL && g_variant_lookup (udp, key, "b", &on);
  return on;
}

static void
judge_speed (GVariant *facts, Findings *findings)
{
  gint64 receive = dict_int (facts, "receive_buffer_limit"), send = dict_int (facts, "send_buffer_limit"), mtu = dict_int (facts, "mtu");
  gboolean known;

  /* It is TCP that carries it, and what that needs the kernel knows. */
  if (is_compat (facts))
    return;
  if (mtu > 0 && mtu < LEAST_MTU)
    add (findings->problems, _("the way to the beacon carries %d bytes only, less than the %d that packets need"), (int) mtu, LEAST_MTU);
  if (receive >= 0 && receive < WANTED_BUFFER)
    add (findings->advice, _("bursts may be lost: sudo sysctl -w net.core.rmem_max=%d (it is %d)"), WANTED_BUFFER, (int) receive);
  if (send >= 0 && send < WANTED_BUFFER)
    add (findings->advice, _("sudo sysctl -w net.core.wmem_max=%d (it is %d) lets more be sent at once"), WANTED_BUFFER, (int) send);
  if (!has_offload (facts, "segmentation-offload", &known) && known)
    add (findings->advice, _("segmentation offload is off: the kernel lacks UDP_SEGMENT, the device refused it, or the plugin's setting \"offload\" is \"off\""));
}

static void
print_time (const char *what, const char *where, double ms)
{
  g_autofree char *clean = output_clean (where);

  if (ms < 0)
    g_print ("  %-11s %s  %s\n", what, clean, _("no answer"));
  else
    g_print ("  %-11s %s  %.1f ms\n", what, clean, ms);
}

/* Its own global address; else what it has instead, as seen from outside. */
static const char *
ipv6_text (GVariant *facts)
{
  if (*dict_string (facts, "ipv6") != '\0')
    return dict_string (facts, "ipv6");
  return *dict_string (facts, "outside") == '[' ? _("a local address, which the router translates") : _("no address on the internet");
}

static void
print_buffers (GVariant *facts)
{
  gint64 receive = dict_int (facts, "receive_buffer_limit"), send = dict_int (facts, "send_buffer_limit");
  g_autofree char *in = output_bytes ((guint64) receive), *out = output_bytes ((guint64) send);

  /* Negative: the kernel did not tell. */
  if (receive >= 0 && send >= 0)
    g_print (_("  Buffers:    at most %s in, %s out\n"), in, out);
}

static const char *
udp_text (const char *udp)
{
  if (g_str_equal (udp, "open"))
    return _("gets out and back");
  if (g_str_equal (udp, "no-answer"))
    return _("no answer");
  return g_str_equal (udp, "not-used") ? _("not used: everything goes through the compat beacon") : _("not tried");
}

static void
print_text (GVariant *facts, const char *relay)
{
  const char *udp = dict_string (facts, "udp");
  gboolean known, gso = has_offload (facts, "segmentation-offload", &known), gro = has_offload (facts, "receive-offload", &known);

  g_print ("  %-11s %s\n", _("UDP:"), udp_text (udp));
  print_time (_("Registry:"), dict_string (facts, "registry"), dict_double (facts, "registry_rtt_ms"));
  if (!g_str_equal (udp, "not-tried"))
    print_time (_("Beacon:"), dict_string (facts, "beacon"), dict_double (facts, "beacon_rtt_ms"));
  if (!is_compat (facts))
    g_print ("  %-11s %s\n", _("Outside:"), *dict_string (facts, "outside") != '\0' ? dict_string (facts, "outside") : _("unknown"));
  g_print ("  %-11s %s\n", _("IPv6:"), ipv6_text (facts));
  if (g_str_equal (udp, "open")) {
    g_print ("  %-11s %s\n", _("NAT:"), dict_boolean (facts, "nat") ? mapping_text (dict_string (facts, "mapping")) : _("none"));
    if (dict_boolean (facts, "nat"))
      g_print ("  %-11s %s\n", _("Filtering:"), _("cannot be known: a beacon answers only from where it was asked"));
  }
  g_print ("  %-11s %s\n", _("Relay:"),
           is_cut_off (facts)              ? _("not reached: it is the beacon, and most peers cannot be reached either")
           : g_str_equal (relay, "always") ? _("for every peer")
           : g_str_equal (relay, "some")   ? _("for peers behind a port-restricted or symmetric NAT")
           : g_str_equal (relay, "no")     ? (dict_boolean (facts, "nat") ? _("only for peers behind a symmetric NAT, if this one filters by port") : _("for no peer"))
                                           : _("depends on the NAT"));
  if (dict_int (facts, "mtu") > 0)
    g_print ("  %-11s %d\n", _("MTU:"), (int) dict_int (facts, "mtu"));
  if (known)
    g_print (_("  Offloads:   sending (GSO) %s, receiving (GRO) %s\n"), gso ? _("on") : _("off"), gro ? _("on") : _("off"));
  if (!is_compat (facts))
    print_buffers (facts);
}

static void
print_list (const char *mark, char **texts)
{
  for (guint i = 0; texts[i] != NULL; i++) {
    g_autofree char *clean = output_clean (texts[i]);

    g_print ("%s %s\n", mark, clean);
  }
}

int
command_netcheck (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) facts = NULL;
  g_autoptr (GStrvBuilder) problems = g_strv_builder_new (), advice = g_strv_builder_new ();
  Findings findings = { problems, advice };
  g_auto (GStrv) wrong = NULL, hints = NULL;
  GError *error = NULL;
  GVariantDict data;
  const char *relay;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  facts = client_list (client, "Node", "NetCheck", &error);
  if (facts == NULL)
    return output_error (invocation, error);
  relay = judge_relay (facts);
  judge_reachability (facts, &findings);
  judge_speed (facts, &findings);
  wrong = g_strv_builder_end (problems);
  hints = g_strv_builder_end (advice);
  if (!invocation->json) {
    print_text (facts, relay);
    print_list ("!", wrong);
    print_list ("-", hints);
    if (*wrong == NULL)
      g_print (_("Nothing is wrong.\n"));
  }
  g_variant_dict_init (&data, facts);
  g_variant_dict_insert (&data, "relay", "s", relay);
  g_variant_dict_insert_value (&data, "problems", g_variant_new_strv ((const char *const *) wrong, -1));
  g_variant_dict_insert_value (&data, "advice", g_variant_new_strv ((const char *const *) hints, -1));
  output_ok (invocation, g_variant_dict_end (&data));
  return *wrong == NULL ? EXIT_OK : EXIT_FAILED;
}
