/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/netlink-address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "daemon/helper/netlink.h"
#include "libpilot/pilot-error.h"

/* How often a list is begun anew because it changed while it was read. */
#define DUMP_TRIES 10

/* Answers ≤ 15 characters for every uid: IFNAMSIZ counts the final zero. */
char *
pilot_netlink_label (guint32 uid, char buffer[PILOT_LABEL_SIZE])
{
  if (uid <= 9999999)
    g_snprintf (buffer, PILOT_LABEL_SIZE, "lo:pilot%u", uid);
  else
    g_snprintf (buffer, PILOT_LABEL_SIZE, "lo:p%u", uid);
  return buffer;
}

/* One request that changes something: 0, or the errno that the kernel answered. */
static int
send_request (struct nlmsghdr *message)
{
  g_autoptr (PilotNetlink) netlink = pilot_netlink_open (NETLINK_ROUTE);

  return netlink != NULL ? pilot_netlink_exchange (netlink, message, NULL, NULL) : errno;
}

static struct nlmsghdr *
address_message (char *buffer, guint16 type, guint16 flags, const char *label, guint32 address)
{
  struct nlmsghdr *message = mnl_nlmsg_put_header (buffer);
  struct ifaddrmsg *body;

  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  body = mnl_nlmsg_put_extra_header (message, sizeof *body);
  body->ifa_family = AF_INET;
  body->ifa_prefixlen = 32;
  /* Host scope: the address is never chosen as source toward another machine. */
  body->ifa_scope = RT_SCOPE_HOST;
  body->ifa_index = if_nametoindex ("lo");
  mnl_attr_put_u32 (message, IFA_LOCAL, htonl (address));
  mnl_attr_put_u32 (message, IFA_ADDRESS, htonl (address));
  mnl_attr_put_strz (message, IFA_LABEL, label);
  return message;
}

/* What a dump found out about one address of this machine. */
typedef void (*AddressFunc) (guint32 address, guint prefix, guint index, const char *label, gpointer user_data);

typedef struct {
  AddressFunc func;
  gpointer user_data;
} AddressDump;

/* Attributes of a message by their type, those that are known. */
typedef struct {
  const struct nlattr **table; /* of @max + 1 */
  guint16 max;
} Attributes;

static int
take_attribute (const struct nlattr *attribute, void *data)
{
  const Attributes *attributes = data;

  if (mnl_attr_type_valid (attribute, attributes->max) >= 0)
    attributes->table[mnl_attr_get_type (attribute)] = attribute;
  return MNL_CB_OK;
}

static int
address_received (const struct nlmsghdr *message, void *data)
{
  const AddressDump *dump = data;
  const struct nlattr *table[IFA_MAX + 1] = { NULL };
  Attributes attributes = { table, IFA_MAX };
  const struct ifaddrmsg *body = mnl_nlmsg_get_payload (message);
  const char *label = "";

  if (message->nlmsg_type != RTM_NEWADDR || body->ifa_family != AF_INET)
    return MNL_CB_OK;
  mnl_attr_parse (message, sizeof *body, take_attribute, &attributes);
  if (table[IFA_LOCAL] == NULL || mnl_attr_get_payload_len (table[IFA_LOCAL]) != 4)
    return MNL_CB_OK;
  if (table[IFA_LABEL] != NULL)
    label = mnl_attr_get_str (table[IFA_LABEL]);
  dump->func (ntohl (mnl_attr_get_u32 (table[IFA_LOCAL])), body->ifa_prefixlen, body->ifa_index, label, dump->user_data);
  return MNL_CB_OK;
}

/* Calls @callback for everything of a kind that has to do with IPv4; for some of it twice, when the list changes while it is read. @size: of the fixed part
 * of such a message; the family comes first in each. */
static gboolean
dump (guint16 type, gsize size, mnl_cb_t callback, gpointer user_data, const char *what, GError **error)
{
  int code = EINTR;

  for (guint tries = 0; tries < DUMP_TRIES && code == EINTR; tries++) {
    g_autoptr (PilotNetlink) netlink = pilot_netlink_open (NETLINK_ROUTE);
    char buffer[128];
    struct nlmsghdr *message = mnl_nlmsg_put_header (buffer);

    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    *(guint8 *) mnl_nlmsg_put_extra_header (message, size) = AF_INET;
    code = netlink != NULL ? pilot_netlink_exchange (netlink, message, callback, user_data) : errno;
  }
  if (code != 0)
    pilot_netlink_set_error (error, code, what);
  return code == 0;
}

static gboolean
dump_addresses (AddressFunc func, gpointer user_data, GError **error)
{
  AddressDump addresses = { func, user_data };

  return dump (RTM_GETADDR, sizeof (struct ifaddrmsg), address_received, &addresses, "list the addresses of this machine", error);
}

typedef struct {
  const char *label;
  GArray *addresses;
} LabelSearch;

static void
collect_labelled (guint32 address, guint prefix, guint index, const char *label, gpointer user_data)
{
  LabelSearch *search = user_data;

  if (strcmp (label, search->label) == 0 && !pilot_ipv4_contains (search->addresses, address))
    g_array_append_val (search->addresses, address);
}

GArray *
pilot_netlink_list_addresses (const char *label, GError **error)
{
  g_autoptr (GArray) addresses = g_array_new (FALSE, FALSE, sizeof (guint32));
  LabelSearch search = { label, addresses };

  if (!dump_addresses (collect_labelled, &search, error))
    return NULL;
  return g_steal_pointer (&addresses);
}

static gboolean
is_ours (const char *label, guint32 address)
{
  g_autoptr (GArray) addresses = pilot_netlink_list_addresses (label, NULL);

  return addresses != NULL && pilot_ipv4_contains (addresses, address);
}

gboolean
pilot_netlink_add_address (const char *label, guint32 address, GError **error)
{
  char buffer[256], text[PILOT_IPV4_TEXT_SIZE];
  g_autofree char *what = NULL;
  int code;

  /* EXCL: a replace would stamp our mark on somebody else's address. */
  code = send_request (address_message (buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, label, address));
  if (code == 0 || (code == EEXIST && is_ours (label, address)))
    return TRUE;
  pilot_ipv4_format (address, text);
  if (code == EEXIST) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS,
                 "address %s is on lo already and not ours: remove it, or choose another", text);
    return FALSE;
  }
  what = g_strdup_printf ("add address %s to lo", text);
  pilot_netlink_set_error (error, code, what);
  return FALSE;
}

gboolean
pilot_netlink_remove_address (const char *label, guint32 address, GError **error)
{
  char buffer[256], text[PILOT_IPV4_TEXT_SIZE];
  g_autofree char *what = NULL;
  int code = send_request (address_message (buffer, RTM_DELADDR, 0, label, address));

  if (code == 0)
    return TRUE;
  what = g_strdup_printf ("remove address %s from lo", pilot_ipv4_format (address, text));
  pilot_netlink_set_error (error, code, what);
  return FALSE;
}

typedef struct {
  const PilotSubnet *subnet;
  char *met; /* the first route that overlaps, for a message */
} RouteSearch;

static int
route_received (const struct nlmsghdr *message, void *data)
{
  RouteSearch *search = data;
  const struct nlattr *table[RTA_MAX + 1] = { NULL };
  Attributes attributes = { table, RTA_MAX };
  const struct rtmsg *body = mnl_nlmsg_get_payload (message);
  char device[IF_NAMESIZE] = "", text[PILOT_IPV4_TEXT_SIZE];
  guint32 destination;

  if (message->nlmsg_type != RTM_NEWROUTE || body->rtm_family != AF_INET || (body->rtm_flags & RTM_F_CLONED) != 0)
    return MNL_CB_OK;
  mnl_attr_parse (message, sizeof *body, take_attribute, &attributes);
  if (table[RTA_DST] == NULL || mnl_attr_get_payload_len (table[RTA_DST]) != 4)
    return MNL_CB_OK;
  destination = ntohl (mnl_attr_get_u32 (table[RTA_DST]));
  /* The local table says again what the list of addresses says; a default route overlaps everything and means nothing here. */
  if (search->met != NULL || body->rtm_dst_len == 0 || body->rtm_table == RT_TABLE_LOCAL ||
      !pilot_subnet_overlaps (search->subnet, destination, body->rtm_dst_len))
    return MNL_CB_OK;
  if (table[RTA_OIF] != NULL && if_indextoname (mnl_attr_get_u32 (table[RTA_OIF]), device) == NULL)
    g_strlcpy (device, "?", sizeof device);
  search->met = g_strdup_printf ("route %s/%u%s%s", pilot_ipv4_format (destination, text), body->rtm_dst_len,
                                 device[0] != '\0' ? " on " : "", device);
  return MNL_CB_OK;
}

typedef struct {
  const char *label;
  const PilotSubnet *subnet;
  char *met;
} OverlapSearch;

static void
find_overlap (guint32 address, guint prefix, guint index, const char *label, gpointer user_data)
{
  OverlapSearch *search = user_data;
  char device[IF_NAMESIZE], text[PILOT_IPV4_TEXT_SIZE];

  if (search->met != NULL || strcmp (label, search->label) == 0 || !pilot_subnet_contains (search->subnet, address))
    return;
  search->met = g_strdup_printf ("address %s/%u on %s", pilot_ipv4_format (address, text), prefix,
                                 if_indextoname (index, device) != NULL ? device : "?");
}

gboolean
pilot_netlink_check_overlap (const char *label, const PilotSubnet *subnet, GError **error)
{
  OverlapSearch addresses = { label, subnet, NULL };
  RouteSearch routes = { .subnet = subnet };
  g_autofree char *cidr = pilot_subnet_to_string (subnet), *met_address = NULL, *met_route = NULL;
  const char *met;
  gboolean listed;

  listed = dump_addresses (find_overlap, &addresses, error) &&
           dump (RTM_GETROUTE, sizeof (struct rtmsg), route_received, &routes, "list the routes of this machine", error);
  met_address = addresses.met;
  met_route = routes.met;
  met = met_address != NULL ? met_address : met_route;
  if (!listed || met == NULL)
    return listed;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, "subnet %s overlaps %s of this machine: choose another with --subnet", cidr, met);
  return FALSE;
}

gboolean
pilot_netlink_set_loopback_up (GError **error)
{
  char buffer[128];
  struct nlmsghdr *message = mnl_nlmsg_put_header (buffer);
  struct ifinfomsg *body;
  int code;

  message->nlmsg_type = RTM_NEWLINK;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  body = mnl_nlmsg_put_extra_header (message, sizeof *body);
  body->ifi_index = if_nametoindex ("lo");
  body->ifi_flags = IFF_UP;
  body->ifi_change = IFF_UP;
  code = send_request (message);
  if (code == 0)
    return TRUE;
  pilot_netlink_set_error (error, code, "bring lo up");
  return FALSE;
}
