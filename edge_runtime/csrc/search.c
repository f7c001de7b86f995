/* Templates and the exact scan of a gallery; and which code path this machine takes. */

#include "internal.h"

#include <stdatomic.h>

#if FG_X86
#include <cpuid.h>
#elif (FG_ARM64 || FG_ARM32) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* ---------------------------------------------------------------- paths */

#if FG_X86
static unsigned supported(void)
{
    unsigned a, b, c, d, mask = 1u << FG_SCALAR;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return mask;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return mask;
    if ((low & 0x06) == 0x06 && (b & bit_AVX2))
        mask |= 1u << FG_AVX2;
    if ((low & 0xe6) == 0xe6 && (b & bit_AVX512F) && (b & bit_AVX512BW) && (c & (1u << 11)) && (b & bit_AVX2))
        mask |= 1u << FG_AVX512VNNI;
    return mask;
}
#elif FG_ARM64
static unsigned supported(void)
{
    unsigned mask = 1u << FG_SCALAR | 1u << FG_NEON;
#ifdef __linux__
    if (getauxval(AT_HWCAP) & (1u << 20)) /* HWCAP_ASIMDDP */
        mask |= 1u << FG_DOTPROD;
#endif
    return mask;
}
#elif FG_ARM32 && defined(__linux__)
static unsigned supported(void)
{
    return 1u << FG_SCALAR | (getauxval(AT_HWCAP) & (1u << 12) ? 1u << FG_NEON : 0); /* HWCAP_NEON */
}
#else
static unsigned supported(void)
{
    return 1u << FG_SCALAR;
}
#endif

/* What the processor can do. Remembered, as cpuid takes microseconds on a virtual machine; it never changes. */
static unsigned paths(void)
{
    static atomic_uint known;
    unsigned mask = atomic_load_explicit(&known, memory_order_relaxed);
    if (!mask) {
        mask = supported();
        atomic_store_explicit(&known, mask, memory_order_relaxed);
    }
    return mask;
}

int fg_check_path(int path)
{
    if (path < FG_AUTO || path > FG_DOTPROD)
        return FG_EFORMAT;
    return path == FG_AUTO || paths() >> path & 1 ? FG_OK : FG_EPATH;
}

int fg_active_path(void)
{
    unsigned mask = paths();
    int path = FG_DOTPROD;
    while (!(mask >> path & 1)) /* FG_SCALAR always stands */
        path--;
    return path;
}

int fg_resolve_path(int path)
{
    int status = fg_check_path(path);
    return status != FG_OK ? status : path == FG_AUTO ? fg_active_path() : path;
}

const char *fg_status_name(int status)
{
    switch (status) {
    case FG_OK:
        return "ok";
    case FG_ENULL:
        return "a pointer is null";
    case FG_ESIZE:
        return "a buffer's size does not fit";
    case FG_ERANGE:
        return "a value is out of range";
    case FG_EFORMAT:
        return "unknown format";
    case FG_EALIGN:
        return "a buffer is not aligned";
    case FG_EDEGENERATE:
        return "degenerate input";
    case FG_EPATH:
        return "this machine lacks the instructions";
    default:
        return "unknown status";
    }
}

/* ---------------------------------------------------------------- templates */

/* The elements of an embedding, up to the tensor's scale. One loop a type. */
static void read_elements(const fg_tensor *tensor, size_t from, size_t count, double *out)
{
    const int32_t zero = tensor->zero_point;
    if (tensor->type == FG_FLOAT32)
        for (size_t i = 0; i < count; i++)
            out[i] = (double)((const float *)tensor->data)[from + i];
    else if (tensor->type == FG_INT8)
        for (size_t i = 0; i < count; i++)
            out[i] = ((const int8_t *)tensor->data)[from + i] - zero;
    else
        for (size_t i = 0; i < count; i++)
            out[i] = ((const uint8_t *)tensor->data)[from + i] - zero;
}

enum { ELEMENTS = 64 }; /* read together */

int fg_template(const fg_tensor *embedding, int8_t *out, size_t length)
{
    double e[ELEMENTS], largest = 0;
    if (!out)
        return FG_ENULL;
    if (length < 1 || length > FG_MAX_LENGTH)
        return FG_ERANGE;
    int status = fg_check_tensor(embedding, length);
    if (status != FG_OK)
        return status;
    for (size_t from = 0; from < length; from += ELEMENTS) {
        const size_t count = length - from < ELEMENTS ? length - from : ELEMENTS;
        read_elements(embedding, from, count, e);
        bool finite = true;
        for (size_t i = 0; i < count; i++) {
            const double magnitude = fabs(e[i]);
            finite &= magnitude < INFINITY; /* NaN is not */
            largest = magnitude > largest ? magnitude : largest;
        }
        if (!finite)
            return FG_ERANGE;
    }
    if (largest == 0)
        return FG_EDEGENERATE;
    for (size_t from = 0; from < length; from += ELEMENTS) {
        const size_t count = length - from < ELEMENTS ? length - from : ELEMENTS;
        read_elements(embedding, from, count, e);
        for (size_t i = 0; i < count; i++)
            out[from + i] = (int8_t)(int)rint(e[i] * 127.0 / largest);
    }
    return FG_OK;
}

/* FG_OK if a row is a template: not all zero, and without -128. In bytes: sixteen at a time where the sum has four. */
static int check_row(const int8_t *row, size_t length)
{
    int8_t least = 0, any = 0;
    for (size_t i = 0; i < length; i++) {
        least = row[i] < least ? row[i] : least;
        any |= row[i];
    }
    return least < -127 ? FG_ERANGE : any == 0 ? FG_EDEGENERATE : FG_OK;
}

static int32_t sum_of_squares(const int8_t *row, size_t length)
{
    int32_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += row[i] * row[i];
    return sum;
}

/* The sum of squares of a row, or a negative fg_status. */
static int32_t squared_norm(const int8_t *row, size_t length)
{
    const int status = check_row(row, length);
    return status != FG_OK ? status : sum_of_squares(row, length);
}

int fg_norm(const int8_t *rows, size_t rows_size, size_t stride, int length, int count, int32_t *norms,
            size_t norms_size)
{
    if (!rows || !norms)
        return FG_ENULL;
    if (length < 1 || length > FG_MAX_LENGTH || count < 0 || stride < (size_t)length || stride > 4 * FG_MAX_LENGTH)
        return FG_ERANGE;
    if ((uint64_t)rows_size != (uint64_t)stride * (uint64_t)count || (uint64_t)norms_size != 4 * (uint64_t)count)
        return FG_ESIZE;
    if (!fg_aligned(norms, 4))
        return FG_EALIGN;
    for (int i = 0; i < count; i++) {
        const int status = check_row(rows + (size_t)i * stride, (size_t)length);
        if (status != FG_OK)
            return status;
    }
    for (int i = 0; i < count; i++)
        norms[i] = sum_of_squares(rows + (size_t)i * stride, (size_t)length);
    return FG_OK;
}

/* ---------------------------------------------------------------- dot products */

/* dots[i] = probe . row i, for `count` rows. */
typedef void dot_rows(const int8_t *probe, const int8_t *rows, size_t stride, size_t count, size_t length,
                      int32_t *dots);

FG_BODY int32_t dot_tail(const int8_t *a, const int8_t *b, size_t from, size_t length)
{
    int32_t sum = 0;
    for (size_t i = from; i < length; i++)
        sum += a[i] * b[i];
    return sum;
}

static void dot_scalar(const int8_t *probe, const int8_t *rows, size_t stride, size_t count, size_t length,
                       int32_t *dots)
{
    for (size_t i = 0; i < count; i++)
        dots[i] = dot_tail(probe, rows + i * stride, 0, length);
}

#if FG_X86

/*
 * maddubs multiplies unsigned by signed bytes: |probe| by row with the probe's sign. Two products are at most
 * 2 * 127 * 127 < 2^15, so nothing saturates.
 */
__attribute__((target("avx2"))) static void dot_avx2(const int8_t *probe, const int8_t *rows, size_t stride,
                                                     size_t count, size_t length, int32_t *dots)
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t i = 0; i < count; i++) {
        const int8_t *row = rows + i * stride;
        __m256i sum = _mm256_setzero_si256();
        size_t j = 0;
        for (; j + 32 <= length; j += 32) {
            __m256i p = _mm256_loadu_si256((const __m256i *)(probe + j));
            __m256i t = _mm256_sign_epi8(_mm256_loadu_si256((const __m256i *)(row + j)), p);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(p), t), ones));
        }
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        dots[i] = _mm_cvtsi128_si32(s) + dot_tail(probe, row, j, length);
    }
}

/* dpbusd multiplies unsigned by signed bytes: (row + 128) . probe = row . probe + 128 * sum(probe). */
__attribute__((target("avx512f,avx512bw,avx512vnni"))) static void dot_avx512vnni(const int8_t *probe,
                                                                                  const int8_t *rows, size_t stride,
                                                                                  size_t count, size_t length,
                                                                                  int32_t *dots)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    const size_t whole = length - length % 64;
    int32_t excess = 0;
    for (size_t j = 0; j < whole; j++)
        excess += 128 * probe[j];
    for (size_t i = 0; i < count; i++) {
        const int8_t *row = rows + i * stride;
        __m512i sum = _mm512_setzero_si512();
        for (size_t j = 0; j < whole; j += 64)
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_loadu_si512(row + j), flip),
                                      _mm512_loadu_si512(probe + j));
        dots[i] = _mm512_reduce_add_epi32(sum) - excess + dot_tail(probe, row, whole, length);
    }
}

#elif FG_ARM64 || FG_ARM32

#if FG_ARM64
#define FG_TARGET_NEON
#endif
#define DOT_OP static inline __attribute__((always_inline))

/* Four rows at a time: a piece of the probe is loaded once for all of them. */
enum { TOGETHER = 4 };

DOT_OP FG_TARGET_NEON int32_t sum_lanes(int32x4_t a)
{
#if FG_ARM64
    return vaddvq_s32(a);
#else
    const int32x2_t halves = vadd_s32(vget_low_s32(a), vget_high_s32(a));
    return vget_lane_s32(vpadd_s32(halves, halves), 0);
#endif
}

/* a + the products of 16 values: each fits int16, and so do two, as neither factor is -128. */
DOT_OP FG_TARGET_NEON int32x4_t add_products(int32x4_t a, int8x16_t p, int8x16_t t)
{
    const int16x8_t low = vmull_s8(vget_low_s8(p), vget_low_s8(t));
    return vpadalq_s16(a, vmlal_s8(low, vget_high_s8(p), vget_high_s8(t)));
}

/* `rows` rows, a number that the compiler knows. */
DOT_OP FG_TARGET_NEON void dot_neon_some(const int8_t *probe, const int8_t *row, size_t stride, size_t rows,
                                         size_t length, int32_t *dots)
{
    int32x4_t sums[TOGETHER];
    for (size_t r = 0; r < rows; r++)
        sums[r] = vdupq_n_s32(0);
    size_t j = 0;
    for (; j + 32 <= length; j += 32) {
        const int8x16_t p = vld1q_s8(probe + j), q = vld1q_s8(probe + j + 16);
        for (size_t r = 0; r < rows; r++) {
            sums[r] = add_products(sums[r], p, vld1q_s8(row + r * stride + j));
            sums[r] = add_products(sums[r], q, vld1q_s8(row + r * stride + j + 16));
        }
    }
    for (size_t r = 0; r < rows; r++)
        dots[r] = sum_lanes(sums[r]) + dot_tail(probe, row + r * stride, j, length);
}

FG_TARGET_NEON static void dot_neon(const int8_t *probe, const int8_t *rows, size_t stride, size_t count,
                                    size_t length, int32_t *dots)
{
    size_t i = 0;
    for (; i + TOGETHER <= count; i += TOGETHER)
        dot_neon_some(probe, rows + i * stride, stride, TOGETHER, length, dots + i);
    for (; i < count; i++)
        dot_neon_some(probe, rows + i * stride, stride, 1, length, dots + i);
}

#if FG_ARM64

#ifdef __clang__
#define FG_TARGET_DOTPROD __attribute__((target("dotprod")))
#else
#define FG_TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

DOT_OP FG_TARGET_DOTPROD void dot_dotprod_some(const int8_t *probe, const int8_t *row, size_t stride, size_t rows,
                                               size_t length, int32_t *dots)
{
    int32x4_t sums[TOGETHER];
    const int8_t *at[TOGETHER];
    for (size_t r = 0; r < rows; r++) {
        sums[r] = vdupq_n_s32(0);
        at[r] = row + r * stride;
    }
    size_t j = 0;
    for (; j + 64 <= length; j += 64) {
        const int8x16_t p = vld1q_s8(probe + j), q = vld1q_s8(probe + j + 16);
        const int8x16_t s = vld1q_s8(probe + j + 32), t = vld1q_s8(probe + j + 48);
        for (size_t r = 0; r < rows; r++) {
            sums[r] = vdotq_s32(vdotq_s32(sums[r], p, vld1q_s8(at[r])), q, vld1q_s8(at[r] + 16));
            sums[r] = vdotq_s32(vdotq_s32(sums[r], s, vld1q_s8(at[r] + 32)), t, vld1q_s8(at[r] + 48));
            at[r] += 64;
        }
    }
    for (size_t r = 0; r < rows; r++)
        dots[r] = sum_lanes(sums[r]) + dot_tail(probe, row + r * stride, j, length);
}

FG_TARGET_DOTPROD static void dot_dotprod(const int8_t *probe, const int8_t *rows, size_t stride, size_t count,
                                          size_t length, int32_t *dots)
{
    size_t i = 0;
    for (; i + TOGETHER <= count; i += TOGETHER)
        dot_dotprod_some(probe, rows + i * stride, stride, TOGETHER, length, dots + i);
    for (; i < count; i++)
        dot_dotprod_some(probe, rows + i * stride, stride, 1, length, dots + i);
}

#endif

#endif

static dot_rows *dot_for(int path)
{
    switch (path) {
#if FG_X86
    case FG_AVX2:
        return dot_avx2;
    case FG_AVX512VNNI:
        return dot_avx512vnni;
#elif FG_ARM64 || FG_ARM32
    case FG_NEON:
        return dot_neon;
#if FG_ARM64
    case FG_DOTPROD:
        return dot_dotprod;
#endif
#endif
    default:
        return dot_scalar;
    }
}

/* ---------------------------------------------------------------- search */

static double cosine(int32_t dot, int32_t norm_a, int32_t norm_b)
{
    return (double)dot / sqrt((double)norm_a * (double)norm_b);
}

enum { ROWS = 64 };

int fg_search(const fg_gallery *gallery, const int8_t *probe, size_t probe_size, int k, int path, int32_t *indices,
              size_t indices_size, double *similarities, size_t similarities_size, int *found)
{
    if (!gallery || !gallery->rows || !gallery->norms || !probe || !indices || !similarities || !found)
        return FG_ENULL;
    if (gallery->length < 1 || gallery->length > FG_MAX_LENGTH || gallery->count < 0 || k < 1 || k > FG_MAX_K)
        return FG_ERANGE;
    const size_t length = (size_t)gallery->length, stride = gallery->stride;
    const uint64_t count = (uint64_t)gallery->count;
    if (stride < length || stride > 4 * FG_MAX_LENGTH)
        return FG_ERANGE;
    /* A gallery may have room for more rows than it has. */
    if (gallery->rows_size < stride * count || gallery->norms_size < 4 * count
        || (gallery->mask && gallery->mask_size < count) || probe_size != length
        || indices_size != (size_t)k * sizeof(int32_t) || similarities_size != (size_t)k * sizeof(double))
        return FG_ESIZE;
    if (!fg_aligned(gallery->norms, 4) || !fg_aligned(indices, 4) || !fg_aligned(similarities, 8))
        return FG_EALIGN;
    const int32_t probe_norm = squared_norm(probe, length);
    if (probe_norm < 0)
        return probe_norm;
    path = fg_resolve_path(path);
    if (path < 0)
        return path;
    dot_rows *const dot = dot_for(path);
    const uint8_t *const mask = gallery->mask;

    /*
     * similarity >= worst means dot |dot| >= worst |worst| norm_a norm_b: no root and no division for a row that is
     * clearly not among the best. `bar` is a little low, so that rounding loses no row; what passes is computed.
     */
    int kept = 0;
    double bar = -INFINITY;
    for (size_t first = 0; first < count; first += ROWS) {
        const size_t n = count - first < ROWS ? (size_t)(count - first) : ROWS;
        int32_t dots[ROWS];
        bool any = !mask;
        for (size_t i = 0; i < n && !any; i++)
            any = mask[first + i] != 0;
        if (!any)
            continue;
        dot(probe, gallery->rows + first * stride, stride, n, length, dots);
        for (size_t i = 0; i < n; i++) {
            const int32_t norm = gallery->norms[first + i];
            const double d = (double)dots[i];
            if (d * fabs(d) < bar * (double)norm || (mask && !mask[first + i]))
                continue;
            const double similarity = cosine(dots[i], probe_norm, norm);
            if (kept == k && !(similarity > similarities[k - 1]))
                continue; /* an equal one has a higher index */
            int at = kept < k ? kept++ : k - 1;
            for (; at > 0 && similarity > similarities[at - 1]; at--) {
                similarities[at] = similarities[at - 1];
                indices[at] = indices[at - 1];
            }
            similarities[at] = similarity;
            indices[at] = (int32_t)(first + i);
            if (kept == k) {
                const double worst = similarities[k - 1];
                bar = (worst * fabs(worst) - 1e-12) * (double)probe_norm;
            }
        }
    }
    *found = kept;
    return FG_OK;
}

int fg_compare(const int8_t *a, const int8_t *b, size_t length, double *similarity)
{
    if (!a || !b || !similarity)
        return FG_ENULL;
    if (length < 1 || length > FG_MAX_LENGTH)
        return FG_ERANGE;
    int32_t norm_a = squared_norm(a, length), norm_b = squared_norm(b, length);
    if (norm_a < 0 || norm_b < 0)
        return norm_a < 0 ? norm_a : norm_b;
    *similarity = cosine(dot_tail(a, b, 0, length), norm_a, norm_b);
    return FG_OK;
}
