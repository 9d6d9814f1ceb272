/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linked into a test, it keeps GLib's idle worker threads (of GTask, so of resolvers and of g_task_run_in_thread) for as long as the test runs.
 * GLib ends the third one half a second after its last task, and any after 15 s; if the test ends in that instant, LeakSanitizer no longer counts the
 * thread as one and takes what it still holds for a leak. */
#include <glib.h>

__attribute__ ((constructor)) static void
keep_threads (void)
{
  g_thread_pool_set_max_unused_threads (-1);
  g_thread_pool_set_max_idle_time (0);
}
