/* Templates and the exact scan of a gallery; and which code path this machine takes. */

#include "internal.h"

#include <stdatomic.h>

#if FG_X86
#include <cpuid.h>
#elif FG_ARM64 && defined(__linux__)
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

/* Element i of an embedding, up to the tensor's scale. */
static double element(const fg_tensor *tensor, size_t i)
{
    switch (tensor->type) {
    case FG_FLOAT32:
        return (double)((const float *)tensor->data)[i];
    case FG_INT8:
        return ((const int8_t *)tensor->data)[i] - tensor->zero_point;
    default:
        return ((const uint8_t *)tensor->data)[i] - tensor->zero_point;
    }
}

int fg_template(const fg_tensor *embedding, int8_t *out, size_t length)
{
    if (!out)
        return FG_ENULL;
    if (length < 1 || length > FG_MAX_LENGTH)
        return FG_ERANGE;
    int status = fg_check_tensor(embedding, length);
    if (status != FG_OK)
        return status;
    double largest = 0;
    for (size_t i = 0; i < length; i++) {
        double magnitude = fabs(element(embedding, i));
        if (!isfinite(magnitude))
            return FG_ERANGE;
        if (magnitude > largest)
            largest = magnitude;
    }
    if (largest == 0)
        return FG_EDEGENERATE;
    for (size_t i = 0; i < length; i++)
        out[i] = (int8_t)(int)rint(element(embedding, i) * 127.0 / largest);
    return FG_OK;
}

/* The sum of squares of a row, or a negative fg_status. */
static int32_t squared_norm(const int8_t *row, size_t length)
{
    int32_t sum = 0, least = 0;
    for (size_t i = 0; i < length; i++) {
        sum += row[i] * row[i];
        least = row[i] < least ? row[i] : least;
    }
    return least < -127 ? FG_ERANGE : sum == 0 ? FG_EDEGENERATE : sum;
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
        int32_t norm = squared_norm(rows + (size_t)i * stride, (size_t)length);
        if (norm < 0)
            return norm;
    }
    for (int i = 0; i < count; i++)
        norms[i] = squared_norm(rows + (size_t)i * stride, (size_t)length);
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

#elif FG_ARM64

/* Products of int8 fit int16; two of them still do, as neither factor is -128. */
static void dot_neon(const int8_t *probe, const int8_t *rows, size_t stride, size_t count, size_t length,
                     int32_t *dots)
{
    for (size_t i = 0; i < count; i++) {
        const int8_t *row = rows + i * stride;
        int32x4_t a = vdupq_n_s32(0), b = a;
        size_t j = 0;
        for (; j + 32 <= length; j += 32) {
            int8x16_t p0 = vld1q_s8(probe + j), t0 = vld1q_s8(row + j);
            int8x16_t p1 = vld1q_s8(probe + j + 16), t1 = vld1q_s8(row + j + 16);
            a = vpadalq_s16(a, vmlal_s8(vmull_s8(vget_low_s8(p0), vget_low_s8(t0)), vget_high_s8(p0),
                                        vget_high_s8(t0)));
            b = vpadalq_s16(b, vmlal_s8(vmull_s8(vget_low_s8(p1), vget_low_s8(t1)), vget_high_s8(p1),
                                        vget_high_s8(t1)));
        }
        dots[i] = vaddvq_s32(vaddq_s32(a, b)) + dot_tail(probe, row, j, length);
    }
}

#ifdef __clang__
#define FG_TARGET_DOTPROD __attribute__((target("dotprod")))
#else
#define FG_TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

FG_TARGET_DOTPROD static void dot_dotprod(const int8_t *probe, const int8_t *rows, size_t stride, size_t count,
                                          size_t length, int32_t *dots)
{
    for (size_t i = 0; i < count; i++) {
        const int8_t *row = rows + i * stride;
        int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
        size_t j = 0;
        for (; j + 64 <= length; j += 64) {
            a = vdotq_s32(a, vld1q_s8(probe + j), vld1q_s8(row + j));
            b = vdotq_s32(b, vld1q_s8(probe + j + 16), vld1q_s8(row + j + 16));
            c = vdotq_s32(c, vld1q_s8(probe + j + 32), vld1q_s8(row + j + 32));
            d = vdotq_s32(d, vld1q_s8(probe + j + 48), vld1q_s8(row + j + 48));
        }
        dots[i] = vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d))) + dot_tail(probe, row, j, length);
    }
}

#endif

static dot_rows *dot_for(int path)
{
    switch (path) {
#if FG_X86
    case FG_AVX2:
        return dot_avx2;
    case FG_AVX512VNNI:
        return dot_avx512vnni;
#elif FG_ARM64
    case FG_NEON:
        return dot_neon;
    case FG_DOTPROD:
        return dot_dotprod;
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
