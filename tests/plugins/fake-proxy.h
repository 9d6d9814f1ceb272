/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* A proxy on loopback, in the thread's main context: HTTP CONNECT (also over TLS, with a certificate for "localhost") and SOCKS 5 on one port, each
 * with the credentials "user" and whatever password is set. Every target is on loopback, whatever its name. */
typedef struct _FakeProxy FakeProxy;

FakeProxy *fake_proxy_new (GTlsCertificate *certificate);
void fake_proxy_free (FakeProxy *proxy);
guint fake_proxy_get_port (FakeProxy *proxy);
void fake_proxy_set_password (FakeProxy *proxy,
                              const gchar *password);
/* HTTP requests are answered with this, whatever they say; NULL: as they deserve. */
void fake_proxy_set_answer (FakeProxy *proxy,
                            const gchar *answer);
/* What was asked since the last call, one a word: the status (SOCKS: 200 or 407), a colon, the target. */
gchar *fake_proxy_take_log (FakeProxy *proxy);

G_END_DECLS
