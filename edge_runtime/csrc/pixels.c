/* What letterbox and warp are made of: checks, the steps from rows to pixels on each code path, tables. */

#include "pixels.h"
#include "vector.h"

/* ---------------------------------------------------------------- checks */

int fg_check_frame(const fg_frame *frame)
{
    if (!frame || !frame->data)
        return FG_ENULL;
    if (frame->rotation != 0 && frame->rotation != 90 && frame->rotation != 180 && frame->rotation != 270)
        return FG_EFORMAT;
    if (frame->width < 1 || frame->height < 1 || frame->width > FG_MAX_SIDE || frame->height > FG_MAX_SIDE)
        return FG_ERANGE;
    uint64_t pixels = (uint64_t)frame->width * (uint64_t)frame->height, size;
    switch (frame->format) {
    case FG_RGB:
    case FG_BGR:
        size = 3 * pixels;
        break;
    case FG_GRAY:
        size = pixels;
        break;
    case FG_NV12:
    case FG_NV21:
        if (frame->width % 2 || frame->height % 2)
            return FG_ESIZE;
        size = pixels + pixels / 2;
        break;
    case FG_YUYV:
        if (frame->width % 2)
            return FG_ESIZE;
        size = 2 * pixels;
        break;
    default:
        return FG_EFORMAT;
    }
    return (uint64_t)frame->size == size ? FG_OK : FG_ESIZE;
}

int fg_check_target(const fg_target *target)
{
    if (!target || !target->data || !target->lut)
        return FG_ENULL;
    size_t element = fg_type_size(target->type);
    if (!element || (target->bgr != 0 && target->bgr != 1))
        return FG_EFORMAT;
    if (target->width < 1 || target->height < 1 || target->width > FG_MAX_SIDE || target->height > FG_MAX_SIDE)
        return FG_ERANGE;
    if ((uint64_t)target->size != 3 * (uint64_t)target->width * (uint64_t)target->height * element)
        return FG_ESIZE;
    if (target->lut_size != 768 * element)
        return FG_ESIZE;
    return fg_aligned(target->data, element) && fg_aligned(target->lut, element) ? FG_OK : FG_EALIGN;
}

/* ---------------------------------------------------------------- plain C */

FG_BODY uint8_t clamp8(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

FG_BODY void blend_body(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                        int16_t *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = lerp((int16_t)(a[i] << 7), (int16_t)(b[i] << 7), w);
}

FG_BODY void blend_yuyv_body(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                             int16_t *restrict luma, int16_t *restrict chroma)
{
    for (size_t i = 0; i < count; i++) {
        luma[i] = lerp((int16_t)(a[2 * i] << 7), (int16_t)(b[2 * i] << 7), w);
        chroma[i] = lerp((int16_t)(a[2 * i + 1] << 7), (int16_t)(b[2 * i + 1] << 7), w);
    }
}

static void blend_c(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                    int16_t *restrict out)
{
    blend_body(a, b, count, w, out);
}

static void blend_yuyv_c(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                         int16_t *restrict luma, int16_t *restrict chroma)
{
    blend_yuyv_body(a, b, count, w, luma, chroma);
}

static void line_rgb_c(const int16_t *row, const int32_t *at, const int16_t *weight, int count, bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = sample_at(row, at[i]);
        for (int c = 0; c < 3; c++)
            out[swap ? 2 - c : c] = (uint8_t)((lerp(t[c], t[c + 3], weight[i]) + 64) >> 7);
    }
}

static void line_gray_c(const int16_t *row, const int32_t *at, const int16_t *weight, int count, uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = sample_at(row, at[i]);
        out[0] = out[1] = out[2] = (uint8_t)((lerp(t[0], t[1], weight[i]) + 64) >> 7);
    }
}

/* (first, second): the chroma pair as stored. */
static void convert_pixel(int32_t y, int32_t first, int32_t second, bool vu, bool bgr, uint8_t *out)
{
    const int32_t u = (vu ? second : first) - 16384, v = (vu ? first : second) - 16384;
    y = 9539 * (y - 2048) + 524288;
    out[bgr ? 2 : 0] = clamp8((y + 13075 * v) >> 20);
    out[1] = clamp8((y - 6660 * v - 3209 * u) >> 20);
    out[bgr ? 0 : 2] = clamp8((y + 16525 * u) >> 20);
}

static void line_yuv_c(const int16_t *luma, const int16_t *chroma, const int32_t *at, const int16_t *weight,
                       const int32_t *chroma_at, const int16_t *chroma_weight, int count, bool vu, bool bgr,
                       uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = sample_at(luma, at[i]), *c = sample_at(chroma, chroma_at[i]), w = chroma_weight[i];
        convert_pixel(lerp(t[0], t[1], weight[i]), lerp(c[0], c[2], w), lerp(c[1], c[3], w), vu, bgr, out);
    }
}

static void round_pixels_c(const int16_t *values, int count, bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            out[3 * i + (swap ? 2 - c : c)] = (uint8_t)((values[4 * i + c] + 64) >> 7);
}

static void convert_pixels_c(const int16_t *values, int count, bool vu, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i++)
        convert_pixel(values[4 * i], values[4 * i + 1], values[4 * i + 2], vu, bgr, out + 3 * i);
}

FG_BODY void emit_floats_body(const fg_emitter *emitter, const uint8_t *restrict values, size_t count,
                              float *restrict out)
{
    const float *restrict scale = emitter->scale, *restrict bias = emitter->bias;
    for (; count >= FLOATS; count -= FLOATS, values += FLOATS, out += FLOATS)
        for (size_t i = 0; i < FLOATS; i++)
            out[i] = (float)values[i] * scale[i] + bias[i];
    for (size_t i = 0; i < count; i++)
        out[i] = (float)values[i] * scale[i] + bias[i];
}

static void emit_floats_c(const fg_emitter *emitter, const uint8_t *restrict values, size_t count, float *restrict out)
{
    emit_floats_body(emitter, values, count, out);
}

FG_BODY uint8_t emitted_byte(const fg_emitter *emitter, size_t i, uint8_t value)
{
    const uint8_t above = value >= emitter->step[i] ? 255 : 0;
    return (uint8_t)(value + emitter->offset[i] + (above & emitter->rise[i]));
}

FG_BODY void emit_bytes_body(const fg_emitter *emitter, const uint8_t *restrict values, size_t count,
                             uint8_t *restrict out)
{
    for (; count >= BYTES; count -= BYTES, values += BYTES, out += BYTES)
        for (size_t i = 0; i < BYTES; i++)
            out[i] = emitted_byte(emitter, i, values[i]);
    for (size_t i = 0; i < count; i++)
        out[i] = emitted_byte(emitter, i, values[i]);
}

static void emit_bytes_c(const fg_emitter *emitter, const uint8_t *restrict values, size_t count, uint8_t *restrict out)
{
    emit_bytes_body(emitter, values, count, out);
}

static const fg_steps steps_c = {blend_c,        blend_yuyv_c,     line_rgb_c,    line_gray_c, line_yuv_c,
                                 round_pixels_c, convert_pixels_c, emit_floats_c, emit_bytes_c};

/* ---------------------------------------------------------------- vectors */

#if FG_VECTOR

FG_TARGET_VECTOR static void V8_NAME(blend)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count,
                                            int16_t w, int16_t *restrict out)
{
#if FG_NEON_VECTOR /* compilers do it well for AVX2, and with 32-bit products for NEON */
    for (; count >= 16; count -= 16, a += 16, b += 16, out += 16)
        v8_blend(vld1q_u8(a), vld1q_u8(b), w, out, out + 8);
#endif
    blend_body(a, b, count, w, out);
}

FG_TARGET_VECTOR static void V8_NAME(blend_yuyv)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count,
                                                 int16_t w, int16_t *restrict luma, int16_t *restrict chroma)
{
#if FG_NEON_VECTOR
    for (; count >= 16; count -= 16, a += 32, b += 32, luma += 16, chroma += 16) {
        const uint8x16x2_t p = vld2q_u8(a), q = vld2q_u8(b);
        v8_blend(p.val[0], q.val[0], w, luma, luma + 8);
        v8_blend(p.val[1], q.val[1], w, chroma, chroma + 8);
    }
#endif
    blend_yuyv_body(a, b, count, w, luma, chroma);
}

FG_TARGET_VECTOR static void V8_NAME(line_rgb)(const int16_t *row, const int32_t *at, const int16_t *weight, int count,
                                               bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i += 4, out += 12) {
        const int16_t *t[4];
        for (int j = 0; j < 4; j++)
            t[j] = sample_at(row, at[i + j]);
        v8 first, second;
        v8_four_weights(weight + i, &first, &second);
        v8 a = v8_lerp(v8_join(t[0], t[1]), v8_join(t[0] + 3, t[1] + 3), first);
        v8 b = v8_lerp(v8_join(t[2], t[3]), v8_join(t[2] + 3, t[3] + 3), second);
        v8_round_pixels(a, b, swap, out);
    }
}

FG_TARGET_VECTOR static void V8_NAME(line_gray)(const int16_t *row, const int32_t *at, const int16_t *weight, int count,
                                                uint8_t *out)
{
    for (int i = 0; i < count; i += 8, out += 24) {
        v8 a, b;
        v8_neighbours(row, at + i, &a, &b);
        a = v8_round(v8_lerp(a, b, v8_load(weight + i)));
        v8_store_pixels(a, a, a, out);
    }
}

/* (first, second): the chroma pairs as stored. */
V8_OP void convert_v8(v8 y, v8 first, v8 second, bool vu, bool bgr, uint8_t *out)
{
    const v8 u = v8_subtract(vu ? second : first, 16384), v = v8_subtract(vu ? first : second, 16384);
    y = v8_subtract(y, 2048);
    const v8 r = v8_mix(y, 9539, v, 13075), g = v8_mix3(y, 9539, v, -6660, u, -3209), b = v8_mix(y, 9539, u, 16525);
    v8_store_mixed(bgr ? b : r, g, bgr ? r : b, out);
}

V8_OP void line_yuv_body(const int16_t *luma, const int16_t *chroma, const int32_t *at, const int16_t *weight,
                         const int32_t *chroma_at, const int16_t *chroma_weight, int count, bool vu, bool bgr,
                         uint8_t *out)
{
    for (int i = 0; i < count; i += 8, out += 24) {
        v8 a, b, pairs[2], first, second;
        for (int j = 0; j < 2; j++) {
            v8_pair_neighbours(chroma, chroma_at + i + 4 * j, &a, &b);
            pairs[j] = v8_lerp(a, b, v8_pair_weights(chroma_weight + i + 4 * j));
        }
        v8_unzip(pairs[0], pairs[1], &first, &second);
        v8_neighbours(luma, at + i, &a, &b);
        convert_v8(v8_lerp(a, b, v8_load(weight + i)), first, second, vu, bgr, out);
    }
}

/* The orders are decided once a line, not once a pixel. */
FG_TARGET_VECTOR static void V8_NAME(line_yuv)(const int16_t *luma, const int16_t *chroma, const int32_t *at,
                                               const int16_t *weight, const int32_t *chroma_at,
                                               const int16_t *chroma_weight, int count, bool vu, bool bgr,
                                               uint8_t *out)
{
    if (vu && bgr)
        line_yuv_body(luma, chroma, at, weight, chroma_at, chroma_weight, count, true, true, out);
    else if (vu)
        line_yuv_body(luma, chroma, at, weight, chroma_at, chroma_weight, count, true, false, out);
    else if (bgr)
        line_yuv_body(luma, chroma, at, weight, chroma_at, chroma_weight, count, false, true, out);
    else
        line_yuv_body(luma, chroma, at, weight, chroma_at, chroma_weight, count, false, false, out);
}

FG_TARGET_VECTOR static void V8_NAME(round_pixels)(const int16_t *values, int count, bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i += 4)
        v8_round_pixels(v8_load(values + 4 * i), v8_load(values + 4 * i + 8), swap, out + 3 * i);
}

FG_TARGET_VECTOR static void V8_NAME(convert_pixels)(const int16_t *values, int count, bool vu, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i += 8) {
        v8 y, first, second;
        v8_load_pixels(values + 4 * i, &y, &first, &second);
        convert_v8(y, first, second, vu, bgr, out + 3 * i);
    }
}

FG_TARGET_VECTOR static void V8_NAME(emit_floats)(const fg_emitter *emitter, const uint8_t *restrict values,
                                                  size_t count, float *restrict out)
{
#if FG_X86
    __m256 scales[3], biases[3];
    for (int j = 0; j < 3; j++) {
        scales[j] = _mm256_loadu_ps(emitter->scale + 8 * j);
        biases[j] = _mm256_loadu_ps(emitter->bias + 8 * j);
    }
    for (; count >= 24; count -= 24, values += 24, out += 24)
        for (int j = 0; j < 3; j++) {
            __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(values + 8 * j))));
            _mm256_storeu_ps(out + 8 * j, _mm256_add_ps(_mm256_mul_ps(value, scales[j]), biases[j]));
        }
#endif
    emit_floats_body(emitter, values, count, out);
}

FG_TARGET_VECTOR static void V8_NAME(emit_bytes)(const fg_emitter *emitter, const uint8_t *restrict values,
                                                 size_t count, uint8_t *restrict out)
{
    emit_bytes_body(emitter, values, count, out);
}

static const fg_steps steps_vector = {
    V8_NAME(blend),        V8_NAME(blend_yuyv),     V8_NAME(line_rgb),    V8_NAME(line_gray),  V8_NAME(line_yuv),
    V8_NAME(round_pixels), V8_NAME(convert_pixels), V8_NAME(emit_floats), V8_NAME(emit_bytes),
};

#endif

const fg_steps *fg_steps_for(int path)
{
#if FG_VECTOR
    if (path != FG_SCALAR)
        return &steps_vector;
#endif
    (void)path;
    return &steps_c;
}

/* ---------------------------------------------------------------- tables */

/*
 * Whether value * scale + bias gives every entry of the table. Not asked on 32-bit ARM: its vectors of floats are none of
 * IEEE 754, one at a time takes two thirds more than looking up.
 */
static bool straight_floats(const float *lut, float scale, float bias)
{
    uint32_t wrong = FG_ARM32;
    for (int p = 0; p < 256; p++) {
        float value = (float)p * scale + bias;
        uint32_t a, b;
        memcpy(&a, &value, 4);
        memcpy(&b, &lut[p], 4);
        wrong |= a ^ b;
    }
    return wrong == 0;
}

/* Whether the entries less their places are `offset` below `step`, and `offset` + `rise` from there on. */
static bool straight_bytes(const uint8_t *lut, uint8_t *offset, uint8_t *step, uint8_t *rise)
{
    *offset = lut[0];
    *rise = (uint8_t)(lut[255] - 255 - lut[0]);
    unsigned wrong = 0, below = 0;
    for (unsigned p = 0; p < 256; p++)
        below += (uint8_t)(lut[p] - p) == *offset;
    *step = (uint8_t)(below < 256 ? below : 0); /* if all are alike, the rise is 0 */
    for (unsigned p = 0; p < 256; p++)
        wrong |= (uint8_t)(lut[p] - p - *offset - (p < *step ? 0 : *rise));
    return wrong == 0;
}

void fg_make_emitter(const fg_steps *steps, const fg_target *target, fg_emitter *out)
{
    out->steps = steps;
    out->target = target;
    out->straight = true;
    for (int c = 0; c < 3; c++) {
        if (target->type == FG_FLOAT32) {
            const float *lut = (const float *)target->lut + 256 * c;
            const float scale = lut[1] - lut[0], bias = lut[0];
            out->straight &= straight_floats(lut, scale, bias);
            for (int i = c; i < FLOATS; i += 3) {
                out->scale[i] = scale;
                out->bias[i] = bias;
            }
        } else {
            uint8_t offset, step, rise;
            out->straight &= straight_bytes((const uint8_t *)target->lut + 256 * c, &offset, &step, &rise);
            for (int i = c; i < BYTES; i += 3) {
                out->offset[i] = offset;
                out->step[i] = step;
                out->rise[i] = rise;
            }
        }
    }
}

/* Four pixels are read as three words: half the instructions of byte by byte. */
FG_BODY void read_words(const uint8_t *pixels, uint32_t words[3])
{
    memcpy(words, pixels, 12);
}

FG_BODY size_t byte_of(const uint32_t words[3], unsigned i)
{
    return words[i / 4] >> 8 * (i % 4) & 255;
}

static void look_up_floats(const float *restrict lut, const uint8_t *restrict pixels, size_t count,
                          float *restrict out)
{
    for (; count >= 4; count -= 4, pixels += 12, out += 12) {
        uint32_t words[3];
        read_words(pixels, words);
        out[0] = lut[byte_of(words, 0)];
        out[1] = lut[256 + byte_of(words, 1)];
        out[2] = lut[512 + byte_of(words, 2)];
        out[3] = lut[byte_of(words, 3)];
        out[4] = lut[256 + byte_of(words, 4)];
        out[5] = lut[512 + byte_of(words, 5)];
        out[6] = lut[byte_of(words, 6)];
        out[7] = lut[256 + byte_of(words, 7)];
        out[8] = lut[512 + byte_of(words, 8)];
        out[9] = lut[byte_of(words, 9)];
        out[10] = lut[256 + byte_of(words, 10)];
        out[11] = lut[512 + byte_of(words, 11)];
    }
    for (; count; count--, pixels += 3, out += 3) {
        out[0] = lut[pixels[0]];
        out[1] = lut[256 + pixels[1]];
        out[2] = lut[512 + pixels[2]];
    }
}

static void look_up_bytes(const uint8_t *restrict lut, const uint8_t *restrict pixels, size_t count,
                          uint8_t *restrict out)
{
    for (; count >= 4; count -= 4, pixels += 12, out += 12) {
        uint32_t words[3];
        read_words(pixels, words);
        out[0] = lut[byte_of(words, 0)];
        out[1] = lut[256 + byte_of(words, 1)];
        out[2] = lut[512 + byte_of(words, 2)];
        out[3] = lut[byte_of(words, 3)];
        out[4] = lut[256 + byte_of(words, 4)];
        out[5] = lut[512 + byte_of(words, 5)];
        out[6] = lut[byte_of(words, 6)];
        out[7] = lut[256 + byte_of(words, 7)];
        out[8] = lut[512 + byte_of(words, 8)];
        out[9] = lut[byte_of(words, 9)];
        out[10] = lut[256 + byte_of(words, 10)];
        out[11] = lut[512 + byte_of(words, 11)];
    }
    for (; count; count--, pixels += 3, out += 3) {
        out[0] = lut[pixels[0]];
        out[1] = lut[256 + pixels[1]];
        out[2] = lut[512 + pixels[2]];
    }
}

void fg_emit(const fg_emitter *emitter, const uint8_t *restrict pixels, size_t count, size_t first)
{
    const fg_target *target = emitter->target;
    if (target->type == FG_FLOAT32) {
        float *restrict out = (float *)target->data + 3 * first;
        if (emitter->straight)
            emitter->steps->emit_floats(emitter, pixels, 3 * count, out);
        else
            look_up_floats(target->lut, pixels, count, out);
    } else {
        uint8_t *restrict out = (uint8_t *)target->data + 3 * first;
        if (emitter->straight)
            emitter->steps->emit_bytes(emitter, pixels, 3 * count, out);
        else
            look_up_bytes(target->lut, pixels, count, out);
    }
}
