/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One source for all modules of the loader's test. Which rule a module breaks is said by the macro BREAK; its name by NAME. */
#include <signal.h>

#include <pilot.h>

#define NONE 0
#define NO_SYMBOL 1
#define ABI_MAJOR 2
#define ABI_MINOR 3
#define MAGIC 4
#define KIND 5
#define TYPE 6
#define OTHER_NAME 7
#define NO_NAME 8
#define ENABLE_FALSE 9
#define ENABLE_BOTH 10
#define ENABLE_NEVER 11
#define ENABLE_FAILS 12
#define NO_TYPE 13
#define UNRESOLVED 14
#define DISABLE_NEVER 15
#define BREACHES 16
#define ABSTRACT 17
#define CRASH 18

#if BREAK == UNRESOLVED
void pilot_function_that_exists_nowhere (void);
#endif

G_GNUC_UNUSED static gboolean
enable (PilotPlugin *plugin,
        GError **error)
{
#if BREAK == ENABLE_FALSE
  return FALSE;
#elif BREAK == ENABLE_BOTH
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "both");
  return TRUE;
#elif BREAK == ENABLE_FAILS
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "the cable is not plugged in");
  return FALSE;
#elif BREAK == UNRESOLVED
  pilot_function_that_exists_nowhere ();
  return TRUE;
#else
  return TRUE;
#endif
}

G_GNUC_UNUSED static void
never_async (PilotPlugin *plugin,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
}

#if BREAK == BREACHES || BREAK == CRASH
static GInetAddress *
allocate (PilotAllocator *self,
          const PilotAddress *address,
          GInetAddress *wanted,
          GError **error)
{
  /* Node 1: NULL without an error; node 2: outside the subnet; node 3: both. */
  if (address->node == 1)
    return NULL;
  if (address->node == 3)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "both");
  return g_inet_address_new_from_string (address->node == 2 ? "192.0.2.1" : "10.9.0.1");
}

static const gchar *
get_subnet (PilotAllocator *self)
{
  return "10.9.0.0/16";
}

static gboolean
release (PilotAllocator *self,
         const PilotAddress *address,
         GError **error)
{
#if BREAK == CRASH
  raise (SIGKILL); /* what no sanitizer makes something else of */
#endif
  return FALSE;
}
#endif

static void
class_init (gpointer klass,
            gpointer data)
{
#if BREAK == ENABLE_NEVER
  PILOT_PLUGIN_CLASS (klass)->enable_async = never_async;
#elif BREAK == DISABLE_NEVER
  PILOT_PLUGIN_CLASS (klass)->disable_async = never_async;
#else
  PILOT_PLUGIN_CLASS (klass)->enable = enable;
#endif
#if BREAK == BREACHES || BREAK == CRASH
  PILOT_ALLOCATOR_CLASS (klass)->allocate = allocate;
  PILOT_ALLOCATOR_CLASS (klass)->get_subnet = get_subnet;
  PILOT_ALLOCATOR_CLASS (klass)->release = release;
#endif
}

G_GNUC_UNUSED static GType
get_type (void)
{
  static GType type;

#if BREAK == NO_TYPE
  return G_TYPE_INVALID;
#endif
  /* The tests load copies of one module, several in one process; a real plugin never meets its own type. */
  if (type == 0)
    type = g_type_from_name ("Broken" NAME);
  if (type == 0)
    type = g_type_register_static_simple (BREAK == TYPE ? G_TYPE_OBJECT : PILOT_TYPE_ALLOCATOR, "Broken" NAME,
                                          BREAK == TYPE ? sizeof (GObjectClass) : sizeof (PilotAllocatorClass),
                                          BREAK == TYPE ? NULL : class_init,
                                          BREAK == TYPE ? sizeof (GObject) : sizeof (PilotAllocator), NULL,
                                          BREAK == ABSTRACT ? G_TYPE_FLAG_ABSTRACT : G_TYPE_FLAG_NONE);
  return type;
}

#if BREAK == NO_SYMBOL
PILOT_API gint some_other_symbol;
gint some_other_symbol = 1;
gpointer unused_type_function = get_type;
#else
const PilotPluginDescriptor pilot_plugin_descriptor = {
  .magic = BREAK == MAGIC ? 0x12345678 : PILOT_PLUGIN_MAGIC,
  .size = sizeof (PilotPluginDescriptor),
  .abi_major = PILOT_ABI_MAJOR + (BREAK == ABI_MAJOR),
  .abi_minor = PILOT_ABI_MINOR + (BREAK == ABI_MINOR),
  .kind = BREAK == KIND ? 99 : PILOT_PLUGIN_KIND_ALLOCATOR,
  .name = BREAK == NO_NAME ? NULL : BREAK == OTHER_NAME ? "somebody-else"
                                                        : NAME,
  .description = "test data",
  .get_type = get_type,
};
#endif
