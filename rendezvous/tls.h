/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>

G_BEGIN_DECLS

/* Our certificate and key. GnuTLS is used directly: its sessions live on the non-blocking descriptors of the reactor. */
typedef struct _PilotTls PilotTls;

/* (transfer full): PEM files. Errors name the file. */
PilotTls *pilot_tls_new (const gchar *certificate,
                         const gchar *key,
                         GError **error);
void pilot_tls_free (PilotTls *tls);
/* 64 lower-case hex digits: SHA-256 of the certificate's DER, what clients pin (registry notes, section 2). */
const gchar *pilot_tls_get_fingerprint (PilotTls *tls);
/* (transfer full): a server session on a non-blocking descriptor, TLS 1.2 and up. NULL when GnuTLS cannot. */
gnutls_session_t pilot_tls_session_new (PilotTls *tls,
                                        int fd);
/* Goes on with the handshake of a session. FALSE when it has failed; `handshaking` (out): it is not over, and waits for the direction that
 * gnutls_record_get_direction() tells. */
gboolean pilot_tls_shake_hands (gnutls_session_t session,
                                gboolean *handshaking);
/* Moves bytes on a non-blocking descriptor, through its session or (NULL) as they are: how many; 0 for end of file; -1 with EAGAIN, EINTR or
 * another errno. After EAGAIN the bytes that were to be sent must be the first of the next call: TLS has taken them already. */
gssize pilot_tls_receive (gnutls_session_t session,
                          int fd,
                          guint8 *data,
                          gsize size);
gssize pilot_tls_send (gnutls_session_t session,
                       int fd,
                       const guint8 *data,
                       gsize size);
/* Makes a self-signed certificate for ten years and its key, the key readable for its owner only. Existing files are an error. */
gboolean pilot_tls_generate (const gchar *certificate,
                             const gchar *key,
                             GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotTls, pilot_tls_free)

G_END_DECLS
