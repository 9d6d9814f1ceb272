/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/x509.h>

#include "libpilot/pilot-error.h"
#include "protocol/crypto.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define LIFETIME (10 * 365 * 24 * 60 * 60)

struct _PilotTls {
  gnutls_certificate_credentials_t credentials;
  gnutls_priority_t priority;
  gchar *fingerprint;
};

static gboolean
fail (GError **error,
      const gchar *what,
      const gchar *file,
      int result)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot %s \"%s\": %s", what, file, gnutls_strerror (result));
  return FALSE;
}

static gboolean
load (PilotTls *self,
      const gchar *certificate,
      const gchar *key,
      GError **error)
{
  gnutls_datum_t der;
  int result;

  if (access (certificate, R_OK) != 0 || access (key, R_OK) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot read TLS file \"%s\": %s",
                 access (certificate, R_OK) != 0 ? certificate : key, g_strerror (errno));
    return FALSE;
  }
  result = gnutls_certificate_allocate_credentials (&self->credentials);
  if (result >= 0)
    result = gnutls_priority_init2 (&self->priority, PRIORITY, NULL, 0);
  if (result < 0)
    return fail (error, "set up TLS with", certificate, result);
  result = gnutls_certificate_set_x509_key_file2 (self->credentials, certificate, key, GNUTLS_X509_FMT_PEM, NULL, 0);
  if (result < 0)
    return fail (error, "use TLS certificate", certificate, result);
  result = gnutls_certificate_get_crt_raw (self->credentials, 0, 0, &der);
  if (result < 0)
    return fail (error, "read TLS certificate", certificate, result);
  self->fingerprint = pilot_crypto_fingerprint (der.data, der.size);
  return TRUE;
}

PilotTls *
pilot_tls_new (const gchar *certificate,
               const gchar *key,
               GError **error)
{
  g_autoptr (PilotTls) self = g_new0 (PilotTls, 1);

  return load (self, certificate, key, error) ? g_steal_pointer (&self) : NULL;
}

void
pilot_tls_free (PilotTls *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->credentials, gnutls_certificate_free_credentials);
  g_clear_pointer (&self->priority, gnutls_priority_deinit);
  g_free (self->fingerprint);
  g_free (self);
}

const gchar *
pilot_tls_get_fingerprint (PilotTls *self)
{
  return self->fingerprint;
}

gnutls_session_t
pilot_tls_session_new (PilotTls *self,
                       int fd)
{
  gnutls_session_t session;

  if (gnutls_init (&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
    return NULL;
  if (gnutls_priority_set (session, self->priority) < 0 ||
      gnutls_credentials_set (session, GNUTLS_CRD_CERTIFICATE, self->credentials) < 0) {
    gnutls_deinit (session);
    return NULL;
  }
  gnutls_transport_set_int (session, fd);
  gnutls_handshake_set_timeout (session, 0); /* the connection has a deadline of its own */
  return session;
}

gboolean
pilot_tls_shake_hands (gnutls_session_t session,
                       gboolean *handshaking)
{
  int result;

  do
    result = gnutls_handshake (session);
  while (result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED);
  *handshaking = result == GNUTLS_E_AGAIN;
  return result >= 0 || *handshaking;
}

static gssize
settle (gssize result)
{
  if (result >= 0)
    return result;
  errno = result == GNUTLS_E_AGAIN ? EAGAIN : result == GNUTLS_E_INTERRUPTED ? EINTR
                                                                             : EIO;
  return -1;
}

gssize
pilot_tls_receive (gnutls_session_t session,
                   int fd,
                   guint8 *data,
                   gsize size)
{
  return session != NULL ? settle (gnutls_record_recv (session, data, size)) : recv (fd, data, size, 0);
}

gssize
pilot_tls_send (gnutls_session_t session,
                int fd,
                const guint8 *data,
                gsize size)
{
  return session != NULL ? settle (gnutls_record_send (session, data, size)) : send (fd, data, size, MSG_NOSIGNAL);
}

/* Making a certificate */

static int
fill (gnutls_x509_crt_t certificate,
      gnutls_x509_privkey_t key)
{
  guint8 serial[16];
  time_t now = time (NULL);
  int result;

  pilot_crypto_random (serial, sizeof serial);
  serial[0] &= 0x7f; /* positive */
  if ((result = gnutls_x509_privkey_generate (key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0)) < 0 ||
      (result = gnutls_x509_crt_set_version (certificate, 3)) < 0 ||
      (result = gnutls_x509_crt_set_serial (certificate, serial, sizeof serial)) < 0 ||
      (result = gnutls_x509_crt_set_dn (certificate, "O=Pilot,CN=pilot-rendezvous", NULL)) < 0 ||
      (result = gnutls_x509_crt_set_activation_time (certificate, now - 24 * 60 * 60)) < 0 ||
      (result = gnutls_x509_crt_set_expiration_time (certificate, now + LIFETIME)) < 0 ||
      (result = gnutls_x509_crt_set_subject_alt_name (certificate, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET)) < 0 ||
      (result = gnutls_x509_crt_set_key_usage (certificate, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
      (result = gnutls_x509_crt_set_key_purpose_oid (certificate, GNUTLS_KP_TLS_WWW_SERVER, 0)) < 0 ||
      (result = gnutls_x509_crt_set_key (certificate, key)) < 0 ||
      (result = gnutls_x509_crt_sign2 (certificate, certificate, key, GNUTLS_DIG_SHA256, 0)) < 0)
    return result;
  return 0;
}

static gboolean
write_new (const gchar *path,
           const gnutls_datum_t *data,
           mode_t mode,
           GError **error)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  gboolean ok;

  if (fd < 0) {
    g_set_error (error, PILOT_ERROR, errno == EEXIST ? PILOT_ERROR_ALREADY_EXISTS : PILOT_ERROR_IO,
                 "cannot create TLS file \"%s\": %s", path, g_strerror (errno));
    return FALSE;
  }
  ok = write (fd, data->data, data->size) == (gssize) data->size && fsync (fd) == 0;
  if (!ok) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot write TLS file \"%s\": %s", path, g_strerror (errno));
    unlink (path);
  }
  close (fd);
  return ok;
}

gboolean
pilot_tls_generate (const gchar *certificate,
                    const gchar *key,
                    GError **error)
{
  gnutls_x509_crt_t crt = NULL;
  gnutls_x509_privkey_t private_key = NULL;
  gnutls_datum_t crt_text = { 0 }, key_text = { 0 };
  gboolean ok = FALSE;
  int result;

  if ((result = gnutls_x509_crt_init (&crt)) < 0 || (result = gnutls_x509_privkey_init (&private_key)) < 0 ||
      (result = fill (crt, private_key)) < 0 || (result = gnutls_x509_crt_export2 (crt, GNUTLS_X509_FMT_PEM, &crt_text)) < 0 ||
      (result = gnutls_x509_privkey_export2 (private_key, GNUTLS_X509_FMT_PEM, &key_text)) < 0)
    fail (error, "make TLS certificate", certificate, result);
  else if (write_new (key, &key_text, 0600, error)) {
    ok = write_new (certificate, &crt_text, 0644, error);
    if (!ok)
      unlink (key);
  }
  if (key_text.data != NULL)
    pilot_crypto_wipe (key_text.data, key_text.size);
  gnutls_free (key_text.data);
  gnutls_free (crt_text.data);
  if (private_key != NULL)
    gnutls_x509_privkey_deinit (private_key);
  if (crt != NULL)
    gnutls_x509_crt_deinit (crt);
  return ok;
}
