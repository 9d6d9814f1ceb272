/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-tls.h"

void
pilot_tls_hide_address (GIOStream *connection)
{
  GSocketConnectable *identity = G_IS_TLS_CLIENT_CONNECTION (connection) ? g_tls_client_connection_get_server_identity (G_TLS_CLIENT_CONNECTION (connection)) : NULL;
  GNetworkAddress *named = G_IS_NETWORK_ADDRESS (identity) ? G_NETWORK_ADDRESS (identity) : NULL;
  g_autoptr (GInetAddress) address = named != NULL ? g_inet_address_new_from_string (g_network_address_get_hostname (named)) : NULL;
  g_autoptr (GSocketConnectable) nobody = NULL, literal = NULL;

  if (address == NULL)
    return;
  /* A name without letters empties what is sent; an address that is no name leaves it empty. */
  nobody = g_network_address_new (".", g_network_address_get_port (named));
  literal = G_SOCKET_CONNECTABLE (g_inet_socket_address_new (address, g_network_address_get_port (named)));
  g_tls_client_connection_set_server_identity (G_TLS_CLIENT_CONNECTION (connection), nobody);
  g_tls_client_connection_set_server_identity (G_TLS_CLIENT_CONNECTION (connection), literal);
}
