/* What letterbox.c and warp.c share; pixels.c has it. */
#ifndef FACEGATE_PIXELS_H
#define FACEGATE_PIXELS_H

#include "internal.h"

int fg_check_frame(const fg_frame *frame);
int fg_check_target(const fg_target *target);

static inline bool fg_is_yuv(int format)
{
    return format == FG_NV12 || format == FG_NV21 || format == FG_YUYV;
}

/* a + (b - a) * w / 2^15, rounded. Written so that compilers see pmulhrsw (x86) and sqrdmulh (NEON) in it. */
FG_BODY int16_t lerp(int16_t a, int16_t b, int16_t w)
{
    int16_t difference = (int16_t)(b - a);
    return (int16_t)(a + (int16_t)(((((int32_t)difference * w) >> 14) + 1) >> 1));
}

/*
 * The steps below exist as plain C and on vectors; `path` chooses. Vector steps work on whole groups of 4 or 8 pixels:
 * they read tables and write lines up to SLACK pixels beyond `count`, where there is room and nothing that matters.
 */
enum { SLACK = 32 };

/* A value, or a pair or triple of them, of a blended row: `at` is its distance from the row's start in bytes. */
FG_BODY const int16_t *sample_at(const int16_t *row, int32_t at)
{
    return (const int16_t *)(const void *)((const uint8_t *)row + at);
}

typedef struct fg_emitter fg_emitter;

typedef struct {
    /* Blend two rows of bytes into a row in 1/128 level. */
    void (*blend)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w, int16_t *restrict out);
    /* The same of two YUYV rows of `count` pixels, into luma and (U, V) pairs. */
    void (*blend_yuyv)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                       int16_t *restrict luma, int16_t *restrict chroma);
    /* A line of packed pixels from a blended row: pixel i lies weight[i] beyond the sample at at[i]. */
    void (*line_rgb)(const int16_t *row, const int32_t *at, const int16_t *weight, int count, bool swap, uint8_t *out);
    void (*line_gray)(const int16_t *row, const int32_t *at, const int16_t *weight, int count, uint8_t *out);
    /* `vu`: the pairs are V first; `bgr`: the pixels are B first. */
    void (*line_yuv)(const int16_t *luma, const int16_t *chroma, const int32_t *at, const int16_t *weight,
                     const int32_t *chroma_at, const int16_t *chroma_weight, int count, bool vu, bool bgr,
                     uint8_t *out);
    /* Pixels of four values in 1/128 level, the fourth unused, into packed pixels. */
    void (*round_pixels)(const int16_t *values, int count, bool swap, uint8_t *out);
    void (*convert_pixels)(const int16_t *values, int count, bool vu, bool bgr, uint8_t *out);
    /* `count` values, channels cycling, through a straight table into floats or bytes. */
    void (*emit_floats)(const fg_emitter *emitter, const uint8_t *restrict values, size_t count, float *restrict out);
    void (*emit_bytes)(const fg_emitter *emitter, const uint8_t *restrict values, size_t count, uint8_t *restrict out);
} fg_steps;

const fg_steps *fg_steps_for(int path);

/*
 * How pixels reach the target. Most tables are straight lines, and where computing one gives every entry of the table
 * to the last bit, computing is several times faster than looking up. The constants of the three channels repeat, to
 * whole registers.
 */
enum { FLOATS = 24, BYTES = 48 };

struct fg_emitter {
    const fg_steps *steps;
    const fg_target *target;
    bool straight;
    float scale[FLOATS], bias[FLOATS]; /* of float tables: value * scale + bias */
    /* Of byte tables: value + offset, and + rise from `step` on, modulo 256: (value - 127.5) rounds to such a table. */
    uint8_t offset[BYTES], step[BYTES], rise[BYTES];
};

void fg_make_emitter(const fg_steps *steps, const fg_target *target, fg_emitter *out);

/* Packed pixels through the table into the target, from pixel `first` on. */
void fg_emit(const fg_emitter *emitter, const uint8_t *restrict pixels, size_t count, size_t first);

#endif
