/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/plugin/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static GType
kind_get_type (guint32 kind)
{
  switch (kind) {
  case PILOT_PLUGIN_KIND_TRANSPORT:
    return PILOT_TYPE_TRANSPORT;
  case PILOT_PLUGIN_KIND_ALLOCATOR:
    return PILOT_TYPE_ALLOCATOR;
  case PILOT_PLUGIN_KIND_TRUST_STORE:
    return PILOT_TYPE_TRUST_STORE;
  default:
    return G_TYPE_INVALID;
  }
}

static gboolean
check_owner (const struct stat *info,
             const gchar *what,
             GError **error)
{
  if (info->st_uid != 0 && info->st_uid != geteuid ()) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                 "%s belongs to user %u, not to root or the daemon's user", what, (guint) info->st_uid);
    return FALSE;
  }
  if ((info->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                 "%s is writable by others (mode %04o), run \"chmod go-w\" on it", what,
                 (guint) info->st_mode & 07777);
    return FALSE;
  }
  return TRUE;
}

static void
set_errno_error (GError **error,
                 const gchar *what)
{
  gint saved = errno;

  g_set_error (error, PILOT_ERROR, saved == ENOENT ? PILOT_ERROR_NOT_FOUND : PILOT_ERROR_IO, "%s: %s", what,
               g_strerror (saved));
}

gint
pilot_module_open_directory (const gchar *directory,
                             GError **error)
{
  gint fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat info;

  if (fd < 0) {
    set_errno_error (error, "cannot open the plugin folder");
    return -1;
  }
  if (fstat (fd, &info) != 0) {
    set_errno_error (error, "cannot look at the plugin folder");
    close (fd);
    return -1;
  }
  if (!check_owner (&info, "the plugin folder", error)) {
    close (fd);
    return -1;
  }
  return fd;
}

/* What is checked is the open file, and the open file is what gets loaded: a name could change hands in between. */
static gint
open_checked (gint directory_fd,
              const gchar *file_name,
              GError **error)
{
  gint fd = openat (directory_fd, file_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat info;

  if (fd < 0) {
    if (errno == ELOOP)
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "not a regular file but a symbolic link");
    else
      set_errno_error (error, "cannot open");
    return -1;
  }
  if (fstat (fd, &info) != 0)
    set_errno_error (error, "cannot look at the file");
  else if (!S_ISREG (info.st_mode))
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "not a regular file");
  else if (check_owner (&info, "the file", error))
    return fd;
  close (fd);
  return -1;
}

/* Returns the handle. The descriptor stays open with the module: glibc tells modules apart by their path first, and this one's
 * path, /proc/self/fd/N, must not come to mean another file. */
static gpointer
open_module (gint fd,
             GError **error)
{
  g_autofree gchar *path = g_strdup_printf ("/proc/self/fd/%d", fd);
  gpointer handle = dlopen (path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

  if (handle == NULL) {
    const gchar *message = dlerror ();

    if (message == NULL)
      message = "no reason given";
    if (g_str_has_prefix (message, path) && g_str_has_prefix (message + strlen (path), ": "))
      message += strlen (path) + 2;
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not a loadable module: %s", message);
    close (fd);
  }
  return handle;
}

static gboolean
check_abi (const PilotPluginDescriptor *descriptor,
           GError **error)
{
  if (descriptor->magic != PILOT_PLUGIN_MAGIC) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not a pilot plugin: magic is 0x%08x instead of 0x%08x",
                 descriptor->magic, PILOT_PLUGIN_MAGIC);
    return FALSE;
  }
  if (descriptor->abi_major != PILOT_ABI_MAJOR) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED,
                 "built for plugin ABI %u.%u, this daemon has %u.%u: build it against this version",
                 descriptor->abi_major, descriptor->abi_minor, PILOT_ABI_MAJOR, PILOT_ABI_MINOR);
    return FALSE;
  }
  if (descriptor->abi_minor > PILOT_ABI_MINOR) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED,
                 "needs plugin ABI %u.%u, this daemon has %u.%u: update the daemon", descriptor->abi_major,
                 descriptor->abi_minor, PILOT_ABI_MAJOR, PILOT_ABI_MINOR);
    return FALSE;
  }
  /* Within one major the struct only grows. */
  if (descriptor->size < sizeof (PilotPluginDescriptor)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "descriptor of %u bytes instead of %u", descriptor->size,
                 (guint) sizeof (PilotPluginDescriptor));
    return FALSE;
  }
  return TRUE;
}

static gboolean
check_descriptor (const PilotPluginDescriptor *descriptor,
                  const gchar *file_name,
                  GError **error)
{
  g_autofree gchar *expected = NULL;

  if (kind_get_type (descriptor->kind) == G_TYPE_INVALID) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "unknown plugin kind %u", descriptor->kind);
    return FALSE;
  }
  if (descriptor->name == NULL || descriptor->get_type == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "the descriptor lacks the field \"%s\"",
                 descriptor->name == NULL ? "name" : "get_type");
    return FALSE;
  }
  expected = g_strconcat (descriptor->name, ".so", NULL);
  if (!g_str_equal (expected, file_name)) {
    g_autofree gchar *quoted = pilot_error_quote (descriptor->name, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "the plugin calls itself \"%s\", so its file must be \"%s.so\"", quoted, quoted);
    return FALSE;
  }
  return TRUE;
}

const PilotPluginDescriptor *
pilot_module_open (gint directory_fd,
                   const gchar *file_name,
                   GError **error)
{
  const PilotPluginDescriptor *descriptor;
  gpointer handle;
  gint fd;

  fd = open_checked (directory_fd, file_name, error);
  if (fd < 0)
    return NULL;
  handle = open_module (fd, error);
  if (handle == NULL)
    return NULL;

  descriptor = dlsym (handle, PILOT_PLUGIN_SYMBOL);
  if (descriptor == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not a pilot plugin: no symbol \"%s\"", PILOT_PLUGIN_SYMBOL);
    return NULL;
  }
  if (!check_abi (descriptor, error) || !check_descriptor (descriptor, file_name, error))
    return NULL;
  return descriptor;
}

PilotPlugin *
pilot_module_create (const PilotPluginDescriptor *descriptor,
                     const gchar *state_dir,
                     GVariant *settings,
                     GError **error)
{
  GType wanted = kind_get_type (descriptor->kind);
  GType type = descriptor->get_type ();

  if (type == G_TYPE_INVALID || !g_type_is_a (type, wanted) || type == wanted) {
    const gchar *type_name = type != G_TYPE_INVALID ? g_type_name (type) : NULL;

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "it says it is a plugin of kind \"%s\", but its type \"%s\" does not derive from \"%s\"",
                 pilot_plugin_kind_to_string (descriptor->kind), type_name != NULL ? type_name : "(none)",
                 g_type_name (wanted));
    return NULL;
  }
  if (G_TYPE_IS_ABSTRACT (type)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "its type \"%s\" is abstract", g_type_name (type));
    return NULL;
  }
  return g_object_new (type, "name", descriptor->name, "state-dir", state_dir, "settings", settings, NULL);
}
