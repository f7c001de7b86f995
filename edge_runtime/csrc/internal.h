/* What the C files share and no one else sees. */
#ifndef FACEGATE_INTERNAL_H
#define FACEGATE_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "facegate.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define FG_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#define FG_ARM64 1
#include <arm_neon.h>
#elif defined(__arm__) && __ARM_ARCH >= 7 && (defined(__clang__) || defined(__ARM_NEON))
/* ARMv7 with NEON in some functions and not in the rest, by clang; or everywhere, if the compiler is told so. */
#define FG_ARM32 1
#include <arm_neon.h>
#ifdef __clang__
#define FG_TARGET_NEON __attribute__((target("neon,d32")))
#else
#define FG_TARGET_NEON
#endif
#endif

#ifndef FG_ARM32
#define FG_ARM32 0
#endif

/* A body that is compiled once for every instruction set that calls it. */
#define FG_BODY static inline __attribute__((always_inline))

/* The path to take for `path` (never FG_AUTO), or a negative fg_status. */
int fg_resolve_path(int path);

/* Bytes of an element of `type`, or 0. */
static inline size_t fg_type_size(int type)
{
    return type == FG_FLOAT32 ? 4 : type == FG_INT8 || type == FG_UINT8 ? 1 : 0;
}

static inline bool fg_aligned(const void *pointer, size_t alignment)
{
    return (uintptr_t)pointer % alignment == 0;
}

/* FG_OK if `tensor` is well formed and holds exactly `elements`. */
int fg_check_tensor(const fg_tensor *tensor, uint64_t elements);

#endif
