/*
 * Eight int16 in a register: the few operations that the pixel kernels are made of, for AVX2 and for NEON. Each does
 * exactly what the plain C in pixels.c and warp.c does. V8_NAME: functions are named after the instructions they need,
 * so that a look at the binary shows that no other function has them.
 */
#ifndef FACEGATE_VECTOR_H
#define FACEGATE_VECTOR_H

#include "pixels.h"

#if FG_X86

#define FG_VECTOR 1
#define FG_TARGET_VECTOR __attribute__((target("avx2")))
#define V8_NAME(name) name##_avx2
#define V8_OP static inline __attribute__((always_inline, target("avx2")))
typedef __m128i v8;

V8_OP v8 v8_splat(int16_t value)
{
    return _mm_set1_epi16(value);
}

/* a four times, then b four times. */
V8_OP v8 v8_splat2(int16_t a, int16_t b)
{
    __m128i both = _mm_cvtsi32_si128((int)((uint32_t)(uint16_t)a | (uint32_t)(uint16_t)b << 16));
    return _mm_shuffle_epi32(_mm_unpacklo_epi16(both, both), 0x50);
}

/* a once, then b. */
V8_OP v8 v8_luma_weight(int16_t a, int16_t b)
{
    return _mm_insert_epi16(_mm_set1_epi16(b), a, 0);
}

/* Four values from p, four from q. */
V8_OP v8 v8_join(const int16_t *p, const int16_t *q)
{
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)p), _mm_loadl_epi64((const __m128i *)q));
}

V8_OP v8 v8_load(const int16_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

V8_OP void v8_store4(int16_t *p, v8 a)
{
    _mm_storel_epi64((__m128i *)p, a);
}

/* Eight bytes, the lowest first, in 1/128 level. */
V8_OP v8 v8_widen(uint64_t bytes)
{
    return _mm_slli_epi16(_mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)bytes)), 7);
}

V8_OP v8 v8_lerp(v8 a, v8 b, v8 w)
{
    return _mm_add_epi16(a, _mm_mulhrs_epi16(_mm_sub_epi16(b, a), w));
}

/* The bytes 0 and 2 of `low` as the first two values, 0, 2, 4 and 6 of `high` as the last four, in 1/128 level. */
V8_OP v8 v8_widen_even(uint32_t low, uint64_t high)
{
    return _mm_srli_epi16(_mm_slli_epi16(_mm_set_epi64x((long long)high, (long long)low), 8), 1);
}

/* w[0] and w[1] four times each, w[2] and w[3] four times each. */
V8_OP void v8_four_weights(const int16_t *w, v8 *first, v8 *second)
{
    const __m128i four = _mm_loadl_epi64((const __m128i *)w), twice = _mm_unpacklo_epi16(four, four);
    *first = _mm_unpacklo_epi32(twice, twice);
    *second = _mm_unpackhi_epi32(twice, twice);
}

/* Values 3 to 7 moved to 0 to 4. */
V8_OP v8 v8_drop_pixel(v8 a)
{
    return _mm_srli_si128(a, 6);
}

/* y0 y1 - - u0 v0 u1 v1 as y0 u0 v0 - and y1 u1 v1 -. */
V8_OP void v8_yuv_neighbours(v8 t, v8 *left, v8 *right)
{
    *left = _mm_shuffle_epi8(t, _mm_setr_epi8(0, 1, 8, 9, 10, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    *right = _mm_shuffle_epi8(t, _mm_setr_epi8(2, 3, 12, 13, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
}

/* The value at[i] bytes into the row and the one after it, for four i. No gather: slow since the fix for Downfall. */
V8_OP __m128i v8_four_pairs(const int16_t *row, const int32_t *at)
{
    int32_t pairs[4];
    for (int i = 0; i < 4; i++)
        memcpy(&pairs[i], sample_at(row, at[i]), sizeof pairs[i]);
    return _mm_setr_epi32(pairs[0], pairs[1], pairs[2], pairs[3]);
}

/* In `a` the values at at[i], in `b` those after them; none is negative. */
V8_OP void v8_neighbours(const int16_t *row, const int32_t *at, v8 *a, v8 *b)
{
    const __m128i low = _mm_set1_epi32(0xffff);
    __m128i first = v8_four_pairs(row, at), second = v8_four_pairs(row, at + 4);
    *a = _mm_packus_epi32(_mm_and_si128(first, low), _mm_and_si128(second, low));
    *b = _mm_packus_epi32(_mm_srli_epi32(first, 16), _mm_srli_epi32(second, 16));
}

/* The same of pairs, for four i: in `a` the two values at at[i], in `b` the two after them. */
V8_OP void v8_pair_neighbours(const int16_t *row, const int32_t *at, v8 *a, v8 *b)
{
    __m128 first = _mm_castsi128_ps(v8_join(sample_at(row, at[0]), sample_at(row, at[1])));
    __m128 second = _mm_castsi128_ps(v8_join(sample_at(row, at[2]), sample_at(row, at[3])));
    *a = _mm_castps_si128(_mm_shuffle_ps(first, second, 0x88));
    *b = _mm_castps_si128(_mm_shuffle_ps(first, second, 0xdd));
}

/* w[0], w[0], ... w[3], w[3]. */
V8_OP v8 v8_pair_weights(const int16_t *w)
{
    __m128i four = _mm_loadl_epi64((const __m128i *)w);
    return _mm_unpacklo_epi16(four, four);
}

/* Eight pairs in a and b as eight firsts and eight seconds. */
V8_OP void v8_unzip(v8 a, v8 b, v8 *first, v8 *second)
{
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    a = _mm_shuffle_epi8(a, order);
    b = _mm_shuffle_epi8(b, order);
    *first = _mm_unpacklo_epi64(a, b);
    *second = _mm_unpackhi_epi64(a, b);
}

/* Eight pixels of four values each, the fourth dropped. */
V8_OP void v8_load_pixels(const int16_t *p, v8 *x, v8 *y, v8 *z)
{
    v8 a, b, c, d, unused;
    v8_unzip(v8_load(p), v8_load(p + 8), &a, &c);       /* x z of pixels 0..3, y - of them */
    v8_unzip(v8_load(p + 16), v8_load(p + 24), &b, &d); /* of pixels 4..7 */
    v8_unzip(a, b, x, z);
    v8_unzip(c, d, y, &unused);
}

/* Four pixels of four values in 1/128 level, the fourth dropped, rounded to 12 packed bytes; 16 are written. */
V8_OP void v8_round_pixels(v8 a, v8 b, bool swap, uint8_t *out)
{
    const __m128i straight = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m128i swapped = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m128i half = _mm_set1_epi16(64);
    a = _mm_srai_epi16(_mm_add_epi16(a, half), 7);
    b = _mm_srai_epi16(_mm_add_epi16(b, half), 7);
    _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(_mm_packus_epi16(a, b), swap ? swapped : straight));
}

V8_OP v8 v8_round(v8 a)
{
    return _mm_srai_epi16(_mm_add_epi16(a, _mm_set1_epi16(64)), 7);
}

/* ca * a + cb * b + 524288, cut to what v8_store_mixed makes bytes of. */
V8_OP v8 v8_mix(v8 a, int16_t ca, v8 b, int16_t cb)
{
    const __m128i c = _mm_set1_epi32((int)((uint32_t)(uint16_t)ca | (uint32_t)(uint16_t)cb << 16));
    const __m128i half = _mm_set1_epi32(524288);
    __m128i low = _mm_add_epi32(_mm_madd_epi16(_mm_unpacklo_epi16(a, b), c), half);
    __m128i high = _mm_add_epi32(_mm_madd_epi16(_mm_unpackhi_epi16(a, b), c), half);
    return _mm_packs_epi32(_mm_srai_epi32(low, 20), _mm_srai_epi32(high, 20));
}

V8_OP v8 v8_mix3(v8 a, int16_t ca, v8 b, int16_t cb, v8 d, int16_t cd)
{
    const __m128i c = _mm_set1_epi32((int)((uint32_t)(uint16_t)ca | (uint32_t)(uint16_t)cb << 16));
    const __m128i e = _mm_set1_epi32((int)(uint32_t)(uint16_t)cd), half = _mm_set1_epi32(524288);
    __m128i low = _mm_add_epi32(_mm_madd_epi16(_mm_unpacklo_epi16(a, b), c), half);
    __m128i high = _mm_add_epi32(_mm_madd_epi16(_mm_unpackhi_epi16(a, b), c), half);
    low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(d, d), e));
    high = _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(d, d), e));
    return _mm_packs_epi32(_mm_srai_epi32(low, 20), _mm_srai_epi32(high, 20));
}

V8_OP v8 v8_subtract(v8 a, int16_t b)
{
    return _mm_sub_epi16(a, _mm_set1_epi16(b));
}

/* Eight pixels of three channels, clamped to 0..255, as 24 packed bytes. */
V8_OP void v8_store_pixels(v8 x, v8 y, v8 z, uint8_t *out)
{
    __m128i xy = _mm_packus_epi16(x, y), zz = _mm_packus_epi16(z, z);
    const __m128i xy0 = _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5);
    const __m128i z0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
    const __m128i xy1 = _mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i z1 = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1);
    _mm_storeu_si128((__m128i *)out, _mm_or_si128(_mm_shuffle_epi8(xy, xy0), _mm_shuffle_epi8(zz, z0)));
    _mm_storel_epi64((__m128i *)(out + 16), _mm_or_si128(_mm_shuffle_epi8(xy, xy1), _mm_shuffle_epi8(zz, z1)));
}

/* Eight pixels of three channels by v8_mix, >> 20 and clamped to 0..255, as 24 packed bytes. */
V8_OP void v8_store_mixed(v8 x, v8 y, v8 z, uint8_t *out)
{
    v8_store_pixels(x, y, z, out);
}

#elif FG_ARM64 || FG_ARM32

#define FG_VECTOR 1
#define FG_NEON_VECTOR 1
#define V8_NAME(name) name##_neon
#if FG_ARM64
#define FG_TARGET_VECTOR
#define V8_OP static inline __attribute__((always_inline))
#else
#define FG_TARGET_VECTOR FG_TARGET_NEON
#define V8_OP static inline __attribute__((always_inline)) FG_TARGET_NEON
#endif
typedef int16x8_t v8;

/* What AArch64 has one instruction for. */
V8_OP v8 v8_even(v8 a, v8 b)
{
#if FG_ARM64
    return vuzp1q_s16(a, b);
#else
    return vuzpq_s16(a, b).val[0];
#endif
}

V8_OP v8 v8_odd(v8 a, v8 b)
{
#if FG_ARM64
    return vuzp2q_s16(a, b);
#else
    return vuzpq_s16(a, b).val[1];
#endif
}

V8_OP uint8x16_t v8_table(uint8x16_t table, const uint8_t *places)
{
#if FG_ARM64
    return vqtbl1q_u8(table, vld1q_u8(places));
#else
    const uint8x8x2_t halves = {{vget_low_u8(table), vget_high_u8(table)}};
    return vcombine_u8(vtbl2_u8(halves, vld1_u8(places)), vtbl2_u8(halves, vld1_u8(places + 8)));
#endif
}

V8_OP v8 v8_splat(int16_t value)
{
    return vdupq_n_s16(value);
}

V8_OP v8 v8_splat2(int16_t a, int16_t b)
{
    return vcombine_s16(vdup_n_s16(a), vdup_n_s16(b));
}

V8_OP v8 v8_luma_weight(int16_t a, int16_t b)
{
    return vsetq_lane_s16(a, vdupq_n_s16(b), 0);
}

V8_OP v8 v8_join(const int16_t *p, const int16_t *q)
{
    return vcombine_s16(vld1_s16(p), vld1_s16(q));
}

V8_OP v8 v8_load(const int16_t *p)
{
    return vld1q_s16(p);
}

V8_OP void v8_store4(int16_t *p, v8 a)
{
    vst1_s16(p, vget_low_s16(a));
}

V8_OP v8 v8_widen(uint64_t bytes)
{
    return vreinterpretq_s16_u16(vshll_n_u8(vcreate_u8(bytes), 7));
}

V8_OP v8 v8_widen_even(uint32_t low, uint64_t high)
{
    const uint16x8_t both = vreinterpretq_u16_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
    return vreinterpretq_s16_u16(vshrq_n_u16(vshlq_n_u16(both, 8), 1));
}

V8_OP v8 v8_lerp(v8 a, v8 b, v8 w)
{
    return vaddq_s16(a, vqrdmulhq_s16(vsubq_s16(b, a), w));
}

/* Sixteen bytes of each row, blended, in 1/128 level. */
V8_OP void v8_blend(uint8x16_t a, uint8x16_t b, int16_t w, int16_t *low, int16_t *high)
{
    const v8 al = vreinterpretq_s16_u16(vshll_n_u8(vget_low_u8(a), 7));
    const v8 ah = vreinterpretq_s16_u16(vshll_n_u8(vget_high_u8(a), 7));
    const v8 dl = vshlq_n_s16(vreinterpretq_s16_u16(vsubl_u8(vget_low_u8(b), vget_low_u8(a))), 7);
    const v8 dh = vshlq_n_s16(vreinterpretq_s16_u16(vsubl_u8(vget_high_u8(b), vget_high_u8(a))), 7);
    vst1q_s16(low, vaddq_s16(al, vqrdmulhq_n_s16(dl, w)));
    vst1q_s16(high, vaddq_s16(ah, vqrdmulhq_n_s16(dh, w)));
}

V8_OP void v8_four_weights(const int16_t *w, v8 *first, v8 *second)
{
    const int16x4_t four = vld1_s16(w);
    *first = vcombine_s16(vdup_lane_s16(four, 0), vdup_lane_s16(four, 1));
    *second = vcombine_s16(vdup_lane_s16(four, 2), vdup_lane_s16(four, 3));
}

V8_OP v8 v8_drop_pixel(v8 a)
{
    return vextq_s16(a, a, 3);
}

V8_OP void v8_yuv_neighbours(v8 t, v8 *left, v8 *right)
{
    static const uint8_t l[16] = {0, 1, 8, 9, 10, 11}, r[16] = {2, 3, 12, 13, 14, 15};
    *left = vreinterpretq_s16_u8(v8_table(vreinterpretq_u8_s16(t), l));
    *right = vreinterpretq_s16_u8(v8_table(vreinterpretq_u8_s16(t), r));
}

V8_OP int32x4_t v8_four_pairs(const int16_t *row, const int32_t *at)
{
    int32_t pairs[4];
    for (int i = 0; i < 4; i++)
        memcpy(&pairs[i], sample_at(row, at[i]), sizeof pairs[i]);
    return vld1q_s32(pairs);
}

V8_OP void v8_neighbours(const int16_t *row, const int32_t *at, v8 *a, v8 *b)
{
    v8 low = vreinterpretq_s16_s32(v8_four_pairs(row, at));
    v8 high = vreinterpretq_s16_s32(v8_four_pairs(row, at + 4));
    *a = v8_even(low, high);
    *b = v8_odd(low, high);
}

V8_OP void v8_pair_neighbours(const int16_t *row, const int32_t *at, v8 *a, v8 *b)
{
    int32x4_t first = vreinterpretq_s32_s16(v8_join(sample_at(row, at[0]), sample_at(row, at[1])));
    int32x4_t second = vreinterpretq_s32_s16(v8_join(sample_at(row, at[2]), sample_at(row, at[3])));
#if FG_ARM64
    *a = vreinterpretq_s16_s32(vuzp1q_s32(first, second));
    *b = vreinterpretq_s16_s32(vuzp2q_s32(first, second));
#else
    const int32x4x2_t both = vuzpq_s32(first, second);
    *a = vreinterpretq_s16_s32(both.val[0]);
    *b = vreinterpretq_s16_s32(both.val[1]);
#endif
}

V8_OP v8 v8_pair_weights(const int16_t *w)
{
    const int16x4_t four = vld1_s16(w);
    const int16x4x2_t twice = vzip_s16(four, four);
    return vcombine_s16(twice.val[0], twice.val[1]);
}

V8_OP void v8_unzip(v8 a, v8 b, v8 *first, v8 *second)
{
    *first = v8_even(a, b);
    *second = v8_odd(a, b);
}

V8_OP void v8_load_pixels(const int16_t *p, v8 *x, v8 *y, v8 *z)
{
    int16x8x4_t pixels = vld4q_s16(p);
    *x = pixels.val[0];
    *y = pixels.val[1];
    *z = pixels.val[2];
}

V8_OP v8 v8_round(v8 a)
{
    return vrshrq_n_s16(a, 7);
}

V8_OP void v8_round_pixels(v8 a, v8 b, bool swap, uint8_t *out)
{
    static const uint8_t straight[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255};
    static const uint8_t swapped[16] = {2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 255, 255, 255, 255};
    const uint8x16_t bytes = vcombine_u8(vqrshrun_n_s16(a, 7), vqrshrun_n_s16(b, 7));
    vst1q_u8(out, v8_table(bytes, swap ? swapped : straight));
}

/* The upper halves of the sums: v8_store_mixed shifts by the 4 that are left. */
V8_OP v8 v8_mix3(v8 a, int16_t ca, v8 b, int16_t cb, v8 d, int16_t cd)
{
    const int32x4_t half = vdupq_n_s32(524288);
    int32x4_t low = vmlal_n_s16(vmlal_n_s16(half, vget_low_s16(a), ca), vget_low_s16(b), cb);
    int32x4_t high = vmlal_n_s16(vmlal_n_s16(half, vget_high_s16(a), ca), vget_high_s16(b), cb);
    low = vmlal_n_s16(low, vget_low_s16(d), cd);
    high = vmlal_n_s16(high, vget_high_s16(d), cd);
    return vcombine_s16(vshrn_n_s32(low, 16), vshrn_n_s32(high, 16));
}

V8_OP v8 v8_mix(v8 a, int16_t ca, v8 b, int16_t cb)
{
    return v8_mix3(a, ca, b, cb, vdupq_n_s16(0), 0);
}

V8_OP v8 v8_subtract(v8 a, int16_t b)
{
    return vsubq_s16(a, vdupq_n_s16(b));
}

V8_OP void v8_store_pixels(v8 x, v8 y, v8 z, uint8_t *out)
{
    uint8x8x3_t pixels = {{vqmovun_s16(x), vqmovun_s16(y), vqmovun_s16(z)}};
    vst3_u8(out, pixels);
}

V8_OP void v8_store_mixed(v8 x, v8 y, v8 z, uint8_t *out)
{
    uint8x8x3_t pixels = {{vqshrun_n_s16(x, 4), vqshrun_n_s16(y, 4), vqshrun_n_s16(z, 4)}};
    vst3_u8(out, pixels);
}

#endif

#endif
