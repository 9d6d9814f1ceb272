/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

/* The plainest transport that keeps the rules of its class: queues in memory between the transports of this process, endpoints 192.0.2.1:N.
 * Takes at most 16 datagrams at a time, so that a sender meets "not now". */
#define MOCK_TYPE_TRANSPORT (mock_transport_get_type ())
G_DECLARE_FINAL_TYPE (MockTransport, mock_transport, MOCK, TRANSPORT, PilotTransport)
