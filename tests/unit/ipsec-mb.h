/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/* Whether IPsec-MB would be used on this processor, were it in the build. Where it would not there is nothing to test; where it would, a build without it skips
 * the cases, which CI does not accept. */
static inline gboolean
processor_suits_ipsec_mb (void)
{
#ifdef __x86_64__
  return __builtin_cpu_supports ("avx512f") && __builtin_cpu_supports ("avx512cd") && __builtin_cpu_supports ("avx512bw") && __builtin_cpu_supports ("avx512dq") &&
         __builtin_cpu_supports ("avx512vl") && __builtin_cpu_supports ("vaes") && __builtin_cpu_supports ("vpclmulqdq");
#else
  return FALSE;
#endif
}
