/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/nft-rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <string.h>

#include "daemon/helper/netlink.h"
#include "libpilot/pilot-error.h"

typedef struct nft_ctx PilotNft;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotNft, nft_ctx_free)

PilotRedirect *
pilot_redirect_new (guint32 address, gboolean every_port)
{
  PilotRedirect *redirect = g_new0 (PilotRedirect, 1);

  redirect->address = address;
  redirect->every_port = every_port;
  redirect->ports = g_array_new (FALSE, FALSE, sizeof (guint16));
  return redirect;
}

void
pilot_redirect_free (PilotRedirect *redirect)
{
  g_array_unref (redirect->ports);
  g_free (redirect);
}

/* A set's definition with the addresses that @wanted picks; an empty set may not have an elements clause. */
static void
append_set (GString *text, const char *name, const GPtrArray *redirects, gboolean (*wanted) (const PilotRedirect *redirect))
{
  char address[PILOT_IPV4_TEXT_SIZE];
  const char *separator = " elements = { ";

  g_string_append_printf (text, "  set %s { type ipv4_addr;", name);
  for (guint i = 0; i < redirects->len; i++) {
    const PilotRedirect *redirect = g_ptr_array_index (redirects, i);

    if (!wanted (redirect))
      continue;
    g_string_append_printf (text, "%s%s", separator, pilot_ipv4_format (redirect->address, address));
    separator = ", ";
  }
  g_string_append (text, separator[0] == ',' ? " }; }\n" : " }\n");
}

static void
append_port_set (GString *text, const GPtrArray *redirects)
{
  char address[PILOT_IPV4_TEXT_SIZE];
  const char *separator = " elements = { ";

  g_string_append (text, "  set some { type ipv4_addr . inet_service;");
  for (guint i = 0; i < redirects->len; i++) {
    const PilotRedirect *redirect = g_ptr_array_index (redirects, i);

    if (redirect->every_port)
      continue;
    pilot_ipv4_format (redirect->address, address);
    for (guint j = 0; j < redirect->ports->len; j++) {
      g_string_append_printf (text, "%s%s . %u", separator, address, g_array_index (redirect->ports, guint16, j));
      separator = ", ";
    }
  }
  g_string_append (text, separator[0] == ',' ? " }; }\n" : " }\n");
}

static gboolean
is_any (const PilotRedirect *redirect)
{
  return TRUE;
}

static gboolean
is_every_port (const PilotRedirect *redirect)
{
  return redirect->every_port;
}

static gboolean
is_silent (const PilotRedirect *redirect)
{
  return redirect->silent;
}

/*
 * A local program's connection to a redirected port is turned to our listener in the nat hook, before any socket is looked up: a
 * server of the user's own on 0.0.0.0 never sees it. What was not turned is refused, UDP too (else a query to the peer's address
 * would be answered by this machine's own server). What comes from outside for a mapped address is dropped: Linux answers on
 * any interface for any local address.
 */
char *
pilot_nft_rules_format (guint32 uid, guint16 listener, const GPtrArray *redirects)
{
  GString *text = g_string_new (NULL);

  /* Adding it first makes the deletion valid when there was none: the whole is one transaction. */
  g_string_append_printf (text, "add table ip pilot_%u\ndelete table ip pilot_%u\n", uid, uid);
  g_string_append_printf (text, "table ip pilot_%u {\n  comment \"pilot gateway of uid %u\"\n", uid, uid);
  append_set (text, "mapped", redirects, is_any);
  append_set (text, "every", redirects, is_every_port);
  append_set (text, "silent", redirects, is_silent);
  append_port_set (text, redirects);
  g_string_append (text, "  chain nat_output {\n    type nat hook output priority -100; policy accept;\n");
  if (listener != 0) {
    g_string_append (text, "    ip daddr @silent return\n");
    g_string_append_printf (text, "    ip daddr @every meta l4proto tcp redirect to :%u\n", listener);
    g_string_append_printf (text, "    ip daddr . tcp dport @some redirect to :%u\n", listener);
  }
  g_string_append (text,
                   "  }\n"
                   "  chain filter_output {\n"
                   "    type filter hook output priority 0; policy accept;\n"
                   "    oifname \"lo\" ip daddr @mapped ct status dnat accept\n"
                   "    ip daddr @mapped ct state new meta l4proto tcp reject with tcp reset\n"
                   "    ip daddr @mapped meta l4proto udp ct direction original reject\n"
                   "  }\n"
                   "  chain filter_input {\n"
                   "    type filter hook input priority -10; policy accept;\n"
                   "    iifname != \"lo\" ip daddr @mapped drop\n"
                   "  }\n"
                   "}\n");
  return g_string_free (text, FALSE);
}

/* Asks the kernel itself for the table: 0 = it is there, ENOENT = it is not, or what is in the way. libnftables has words for that, and in the language of
 * the user. */
static int
look_for_table (guint32 uid)
{
  g_autoptr (PilotNetlink) netlink = pilot_netlink_open (NETLINK_NETFILTER);
  char buffer[128], name[32];
  struct nlmsghdr *message;
  struct nfgenmsg *body;

  if (netlink == NULL)
    return errno;
  g_snprintf (name, sizeof name, "pilot_%u", uid);
  message = mnl_nlmsg_put_header (buffer);
  message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  body = mnl_nlmsg_put_extra_header (message, sizeof *body);
  *body = (struct nfgenmsg) { .nfgen_family = NFPROTO_IPV4, .version = NFNETLINK_V0 };
  mnl_attr_put_strz (message, NFTA_TABLE_NAME, name);
  return pilot_netlink_exchange (netlink, message, NULL, NULL);
}

/* A kernel that was built without nfnetlink has no such protocol; one that cannot load nf_tables does not know the message. */
static gboolean
means_no_nftables (int code)
{
  return code == EPROTONOSUPPORT || code == EAFNOSUPPORT || code == EINVAL || code == EOPNOTSUPP;
}

static gboolean
run_commands (guint32 uid, const char *commands, GError **error)
{
  g_autoptr (PilotNft) nft = nft_ctx_new (NFT_CTX_DEFAULT);
  g_autofree char *line = NULL;
  const char *output, *end;

  if (nft == NULL || nft_ctx_buffer_error (nft) != 0 || nft_ctx_buffer_output (nft) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "cannot use nftables here");
    return FALSE;
  }
  if (nft_run_cmd_from_buffer (nft, commands) == 0)
    return TRUE;
  output = nft_ctx_get_error_buffer (nft);
  end = strchr (output, '\n');
  line = pilot_error_quote (output, end != NULL ? end - output : -1);
  if (look_for_table (uid) == EPERM)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "cannot set nftables rules: CAP_NET_ADMIN is needed (%s)", line);
  else
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "cannot set nftables rules: %s", line);
  return FALSE;
}

gboolean
pilot_nft_rules_apply (guint32 uid, guint16 listener, const GPtrArray *redirects, GError **error)
{
  g_autofree char *commands = pilot_nft_rules_format (uid, listener, redirects);

  return run_commands (uid, commands, error);
}

gboolean
pilot_nft_rules_clear (guint32 uid, gboolean *found, GError **error)
{
  const int code = look_for_table (uid);
  g_autofree char *commands = NULL;

  if (code == ENOENT || means_no_nftables (code))
    return TRUE;
  if (code != 0) {
    pilot_netlink_set_error (error, code, "look for the gateway's nftables rules");
    return FALSE;
  }
  if (found != NULL)
    *found = TRUE;
  commands = g_strdup_printf ("delete table ip pilot_%u\n", uid);
  return run_commands (uid, commands, error);
}
