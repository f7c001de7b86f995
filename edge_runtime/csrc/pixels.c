/* Frames into model inputs: fg_letterbox and fg_warp. The arithmetic is defined at fg_frame in facegate.h. */

#include "vector.h"

/* ---------------------------------------------------------------- checks */

static bool is_yuv(int format)
{
    return format == FG_NV12 || format == FG_NV21 || format == FG_YUYV;
}

static int check_frame(const fg_frame *frame)
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

static int check_target(const fg_target *target)
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

/* ---------------------------------------------------------------- arithmetic */

/* a + (b - a) * w / 2^15, rounded. Written so that compilers see pmulhrsw (x86) and sqrdmulh (NEON) in it. */
FG_BODY int16_t lerp(int16_t a, int16_t b, int16_t w)
{
    int16_t difference = (int16_t)(b - a);
    return (int16_t)(a + (int16_t)(((((int32_t)difference * w) >> 14) + 1) >> 1));
}

FG_BODY uint8_t clamp8(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

FG_BODY void yuv_to_rgb(int32_t y, int32_t u, int32_t v, uint8_t *r, uint8_t *g, uint8_t *b)
{
    y = 9539 * (y - 2048) + 524288;
    u -= 16384;
    v -= 16384;
    *r = clamp8((y + 13075 * v) >> 20);
    *g = clamp8((y - 6660 * v - 3209 * u) >> 20);
    *b = clamp8((y + 16525 * u) >> 20);
}

/*
 * The steps below exist as plain C and on vectors; `path` chooses. Vector steps work on whole groups of 4 or 8 pixels:
 * they read tables and write lines up to SLACK pixels beyond `count`, where there is room and nothing that matters.
 */
enum { SLACK = 32 };

typedef struct {
    /* Blend two rows of bytes into a row in 1/128 level. */
    void (*blend)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w, int16_t *restrict out);
    /* The same of two YUYV rows of `count` pixels, into luma and (U, V) pairs. */
    void (*blend_yuyv)(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                       int16_t *restrict luma, int16_t *restrict chroma);
    /* A line of packed pixels from a blended row: pixel i lies weight[i] beyond sample index[i]. */
    void (*line_rgb)(const int16_t *row, const int32_t *index, const int16_t *weight, int count, bool swap,
                     uint8_t *out);
    void (*line_gray)(const int16_t *row, const int32_t *index, const int16_t *weight, int count, uint8_t *out);
    /* `vu`: the pairs are V first; `bgr`: the pixels are B first. */
    void (*line_yuv)(const int16_t *luma, const int16_t *chroma, const int32_t *index, const int16_t *weight,
                     const int32_t *chroma_index, const int16_t *chroma_weight, int count, bool vu, bool bgr,
                     uint8_t *out);
    /* Pixels of four values in 1/128 level, the fourth unused, into packed pixels. */
    void (*round_pixels)(const int16_t *values, int count, bool swap, uint8_t *out);
    void (*convert_pixels)(const int16_t *values, int count, bool bgr, uint8_t *out);
    /* `count` values, channels cycling, as value * scale[channel] + bias[channel]; the scales and biases repeat to 24. */
    void (*emit_line)(const uint8_t *restrict values, size_t count, const float *restrict scale,
                      const float *restrict bias, float *restrict out);
} steps;

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

static void line_rgb_c(const int16_t *row, const int32_t *index, const int16_t *weight, int count, bool swap,
                       uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = row + 3 * index[i];
        for (int c = 0; c < 3; c++)
            out[swap ? 2 - c : c] = (uint8_t)((lerp(t[c], t[c + 3], weight[i]) + 64) >> 7);
    }
}

static void line_gray_c(const int16_t *row, const int32_t *index, const int16_t *weight, int count, uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = row + index[i];
        out[0] = out[1] = out[2] = (uint8_t)((lerp(t[0], t[1], weight[i]) + 64) >> 7);
    }
}

static void convert_pixel(int32_t y, int32_t u, int32_t v, bool bgr, uint8_t *out)
{
    uint8_t r, g, b;
    yuv_to_rgb(y, u, v, &r, &g, &b);
    out[0] = bgr ? b : r;
    out[1] = g;
    out[2] = bgr ? r : b;
}

static void line_yuv_c(const int16_t *luma, const int16_t *chroma, const int32_t *index, const int16_t *weight,
                       const int32_t *chroma_index, const int16_t *chroma_weight, int count, bool vu, bool bgr,
                       uint8_t *out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = luma + index[i], *c = chroma + 2 * chroma_index[i];
        int16_t first = lerp(c[0], c[2], chroma_weight[i]), second = lerp(c[1], c[3], chroma_weight[i]);
        convert_pixel(lerp(t[0], t[1], weight[i]), vu ? second : first, vu ? first : second, bgr, out);
    }
}

static void round_pixels_c(const int16_t *values, int count, bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            out[3 * i + (swap ? 2 - c : c)] = (uint8_t)((values[4 * i + c] + 64) >> 7);
}

static void convert_pixels_c(const int16_t *values, int count, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i++)
        convert_pixel(values[4 * i], values[4 * i + 1], values[4 * i + 2], bgr, out + 3 * i);
}

static void emit_line_c(const uint8_t *restrict values, size_t count, const float *restrict scale,
                        const float *restrict bias, float *restrict out)
{
    for (; count >= 24; count -= 24, values += 24, out += 24)
        for (size_t i = 0; i < 24; i++)
            out[i] = (float)values[i] * scale[i] + bias[i];
    for (size_t i = 0; i < count; i++)
        out[i] = (float)values[i] * scale[i] + bias[i];
}

static const steps steps_c = {blend_c,    blend_yuyv_c,   line_rgb_c,       line_gray_c,
                              line_yuv_c, round_pixels_c, convert_pixels_c, emit_line_c};

#if FG_VECTOR

FG_TARGET_VECTOR static void blend_v(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                                     int16_t *restrict out)
{
    blend_body(a, b, count, w, out); /* compilers do this one well */
}

FG_TARGET_VECTOR static void blend_yuyv_v(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                                          int16_t *restrict luma, int16_t *restrict chroma)
{
    blend_yuyv_body(a, b, count, w, luma, chroma);
}

FG_TARGET_VECTOR static void line_rgb_v(const int16_t *row, const int32_t *index, const int16_t *weight, int count,
                                        bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i += 4, out += 12) {
        const int16_t *t[4];
        for (int j = 0; j < 4; j++)
            t[j] = row + 3 * index[i + j];
        v8 a = v8_lerp(v8_join(t[0], t[1]), v8_join(t[0] + 3, t[1] + 3), v8_two_weights(weight + i));
        v8 b = v8_lerp(v8_join(t[2], t[3]), v8_join(t[2] + 3, t[3] + 3), v8_two_weights(weight + i + 2));
        v8_round_pixels(a, b, swap, out);
    }
}

FG_TARGET_VECTOR static void line_gray_v(const int16_t *row, const int32_t *index, const int16_t *weight, int count,
                                         uint8_t *out)
{
    for (int i = 0; i < count; i += 8, out += 24) {
        v8 a, b;
        v8_neighbours(row, index + i, &a, &b);
        a = v8_round(v8_lerp(a, b, v8_load(weight + i)));
        v8_store_pixels(a, a, a, out);
    }
}

V8_OP void convert_v8(v8 y, v8 u, v8 v, bool bgr, uint8_t *out)
{
    y = v8_subtract(y, 2048);
    u = v8_subtract(u, 16384);
    v = v8_subtract(v, 16384);
    v8 r = v8_mix(y, 9539, v, 13075), g = v8_mix3(y, 9539, v, -6660, u, -3209), b = v8_mix(y, 9539, u, 16525);
    v8_store_pixels(bgr ? b : r, g, bgr ? r : b, out);
}

FG_TARGET_VECTOR static void line_yuv_v(const int16_t *luma, const int16_t *chroma, const int32_t *index,
                                        const int16_t *weight, const int32_t *chroma_index,
                                        const int16_t *chroma_weight, int count, bool vu, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i += 8, out += 24) {
        v8 a, b, pairs[2], first, second;
        for (int j = 0; j < 2; j++) {
            v8_pair_neighbours(chroma, chroma_index + i + 4 * j, &a, &b);
            pairs[j] = v8_lerp(a, b, v8_pair_weights(chroma_weight + i + 4 * j));
        }
        v8_unzip(pairs[0], pairs[1], &first, &second);
        v8_neighbours(luma, index + i, &a, &b);
        convert_v8(v8_lerp(a, b, v8_load(weight + i)), vu ? second : first, vu ? first : second, bgr, out);
    }
}

FG_TARGET_VECTOR static void round_pixels_v(const int16_t *values, int count, bool swap, uint8_t *out)
{
    for (int i = 0; i < count; i += 4)
        v8_round_pixels(v8_load(values + 4 * i), v8_load(values + 4 * i + 8), swap, out + 3 * i);
}

FG_TARGET_VECTOR static void convert_pixels_v(const int16_t *values, int count, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i += 8) {
        v8 y, u, v;
        v8_load_pixels(values + 4 * i, &y, &u, &v);
        convert_v8(y, u, v, bgr, out + 3 * i);
    }
}

#if FG_X86
FG_TARGET_VECTOR static void emit_line_v(const uint8_t *restrict values, size_t count, const float *restrict scale,
                                         const float *restrict bias, float *restrict out)
{
    __m256 scales[3], biases[3];
    for (int j = 0; j < 3; j++) {
        scales[j] = _mm256_loadu_ps(scale + 8 * j);
        biases[j] = _mm256_loadu_ps(bias + 8 * j);
    }
    for (; count >= 24; count -= 24, values += 24, out += 24)
        for (int j = 0; j < 3; j++) {
            __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(values + 8 * j))));
            _mm256_storeu_ps(out + 8 * j, _mm256_add_ps(_mm256_mul_ps(value, scales[j]), biases[j]));
        }
    emit_line_c(values, count, scale, bias, out);
}
#else
#define emit_line_v emit_line_c
#endif

static const steps steps_v = {blend_v,    blend_yuyv_v,   line_rgb_v,       line_gray_v,
                              line_yuv_v, round_pixels_v, convert_pixels_v, emit_line_v};

#endif

static const steps *steps_for(int path)
{
#if FG_VECTOR
    if (path != FG_SCALAR)
        return &steps_v;
#endif
    (void)path;
    return &steps_c;
}

/*
 * How pixels reach the target. Most tables are straight lines (pixel - mean) * scale, and where computing one gives every
 * entry of the table to the last bit, computing is several times faster than looking up.
 */
typedef struct {
    const steps *steps;
    const fg_target *target;
    bool straight;
    float scale[24], bias[24]; /* of float tables */
    uint8_t offset[24];        /* of byte tables: pixel + offset, modulo 256 */
} emitter;

static void make_emitter(const steps *steps, const fg_target *target, emitter *out)
{
    out->steps = steps;
    out->target = target;
    out->straight = true;
    if (target->type == FG_FLOAT32) {
        const float *lut = target->lut;
        for (int c = 0; c < 3; c++, lut += 256) {
            const float scale = lut[1] - lut[0], bias = lut[0];
            uint32_t wrong = 0;
            for (int p = 0; p < 256; p++) {
                float value = (float)p * scale + bias;
                uint32_t a, b;
                memcpy(&a, &value, 4);
                memcpy(&b, &lut[p], 4);
                wrong |= a ^ b;
            }
            out->straight &= wrong == 0;
            for (int i = c; i < 24; i += 3) {
                out->scale[i] = scale;
                out->bias[i] = bias;
            }
        }
    } else {
        const uint8_t *lut = target->lut;
        for (int c = 0; c < 3; c++, lut += 256) {
            uint8_t wrong = 0;
            for (int p = 0; p < 256; p++)
                wrong |= (uint8_t)(lut[p] - lut[0] - p);
            out->straight &= wrong == 0;
            for (int i = c; i < 24; i += 3)
                out->offset[i] = lut[0];
        }
    }
}

/* Packed pixels through the table into the target, from pixel `first` on. */
static void emit(const emitter *emitter, const uint8_t *restrict pixels, size_t count, size_t first)
{
    const fg_target *target = emitter->target;
    if (target->type == FG_FLOAT32) {
        float *restrict out = (float *)target->data + 3 * first;
        if (emitter->straight) {
            emitter->steps->emit_line(pixels, 3 * count, emitter->scale, emitter->bias, out);
            return;
        }
        const float *restrict lut = target->lut;
        for (size_t i = 0; i < count; i++, pixels += 3, out += 3) {
            out[0] = lut[pixels[0]];
            out[1] = lut[256 + pixels[1]];
            out[2] = lut[512 + pixels[2]];
        }
        return;
    }
    uint8_t *restrict out = (uint8_t *)target->data + 3 * first;
    if (emitter->straight) {
        size_t left = 3 * count;
        for (; left >= 24; left -= 24, pixels += 24, out += 24)
            for (size_t i = 0; i < 24; i++)
                out[i] = (uint8_t)(pixels[i] + emitter->offset[i]);
        for (size_t i = 0; i < left; i++)
            out[i] = (uint8_t)(pixels[i] + emitter->offset[i]);
        return;
    }
    const uint8_t *restrict lut = target->lut;
    for (size_t i = 0; i < count; i++, pixels += 3, out += 3) {
        out[0] = lut[pixels[0]];
        out[1] = lut[256 + pixels[1]];
        out[2] = lut[512 + pixels[2]];
    }
}

/* ---------------------------------------------------------------- letterbox */

enum { BLOCK = 16 }; /* columns of a turned frame that are written together */

/* Where things lie: one line of the content is interpolated along the stored x axis at one place of the stored y axis. */
typedef struct {
    int32_t p, q;              /* scale = p / q */
    int32_t width, height;     /* of the content in the target */
    bool transposed;           /* a line is a column of the target */
    bool flip_x, flip_y;       /* of the stored axes against the order in the target */
    int32_t line, lines;       /* pixels of a line, number of lines */
    size_t row, chroma_row;    /* values of a blended row: luma, or all; chroma */
    size_t scratch;            /* bytes needed */
} plan;

static int32_t content_side(int32_t side, int32_t limit, int32_t p, int32_t q)
{
    int64_t content = (2 * (int64_t)side * p + q) / (2 * (int64_t)q);
    return (int32_t)(content < 1 ? 1 : content > limit ? limit : content);
}

static int make_plan(const fg_frame *frame, const fg_target *target, plan *out)
{
    int status = check_frame(frame);
    if (status == FG_OK)
        status = check_target(target);
    if (status != FG_OK)
        return status;
    bool transposed = frame->rotation == 90 || frame->rotation == 270;
    int32_t w = transposed ? frame->height : frame->width, h = transposed ? frame->width : frame->height;
    bool by_width = (int64_t)target->width * h <= (int64_t)target->height * w;
    int32_t p = by_width ? target->width : target->height, q = by_width ? w : h;
    out->p = p;
    out->q = q;
    out->width = content_side(w, target->width, p, q);
    out->height = content_side(h, target->height, p, q);
    out->transposed = transposed;
    out->flip_x = frame->rotation == 180 || frame->rotation == 270;
    out->flip_y = frame->rotation == 180 || frame->rotation == 90;
    out->line = transposed ? out->height : out->width;
    out->lines = transposed ? out->width : out->height;
    size_t stored = (size_t)frame->width;
    out->row = frame->format == FG_RGB || frame->format == FG_BGR ? 3 * stored : stored;
    out->chroma_row = is_yuv(frame->format) ? stored : 0;
    size_t line = (size_t)out->line + SLACK;
    out->scratch = 64                                                 /* alignment */
                   + 2 * line * (sizeof(int32_t) + sizeof(int16_t))   /* the luma and chroma tables */
                   + (out->row + SLACK) * sizeof(int16_t)             /* blended rows */
                   + (out->chroma_row + SLACK) * sizeof(int16_t)      /* */
                   + 3 * line                                         /* pixels of a line */
                   + (transposed ? 3 * line * BLOCK : 0);             /* of a block of columns */
    return FG_OK;
}

/* Where numerator/denominator lies among n stored samples: between `index` and its successor, `weight` / 2^15 away. */
FG_BODY void locate(int32_t numerator, int32_t denominator, int32_t n, int32_t *index, int16_t *weight)
{
    *weight = 0;
    if (numerator <= 0) {
        *index = 0;
        return;
    }
    uint32_t whole = (uint32_t)numerator / (uint32_t)denominator, rest = (uint32_t)numerator % (uint32_t)denominator;
    if (whole >= (uint32_t)n - 1) {
        *index = n - 1;
        return;
    }
    uint32_t w = (rest * 32768u + (uint32_t)denominator / 2) / (uint32_t)denominator;
    *index = (int32_t)whole;
    *weight = (int16_t)(w > 32767 ? 32767 : w);
}

/* The numerator, over 2p, of the stored coordinate that place `i` of the target shows on an axis of n samples. */
FG_BODY int32_t numerator_at(const plan *geometry, int32_t i, int32_t n, bool flip)
{
    int32_t numerator = (2 * i + 1) * geometry->q - geometry->p;
    return flip ? (n - 1) * 2 * geometry->p - numerator : numerator;
}

/* Memory from the front of scratch. */
static void *take(uint8_t **scratch, size_t bytes)
{
    void *taken = *scratch;
    *scratch += bytes;
    return taken;
}

typedef struct {
    int32_t *index, *chroma_index;
    int16_t *weight, *chroma_weight, *row, *chroma_row;
    uint8_t *pixels, *block;
} buffers;

/* Pixel 0 right of the content and below it. */
static void fill_rest(const emitter *emitter, const plan *plan)
{
    const fg_target *target = emitter->target;
    static const uint8_t black[3 * BLOCK];
    const size_t width = (size_t)target->width, height = (size_t)target->height;
    const size_t pixel = 3 * fg_type_size(target->type);
    const size_t right = width - (size_t)plan->width, below = height - (size_t)plan->height;
    /* One run of pixels is looked up, the others are copied from it. */
    const size_t first = below ? (size_t)plan->height * width : (size_t)plan->width, run = below ? width : right;
    for (size_t i = 0; i < run; i += BLOCK)
        emit(emitter, black, run - i < BLOCK ? run - i : BLOCK, first + i);
    uint8_t *data = target->data;
    for (size_t y = (size_t)plan->height + 1; y < height; y++)
        memcpy(data + y * width * pixel, data + first * pixel, width * pixel);
    for (size_t y = below ? 0 : 1; right && y < (size_t)plan->height; y++)
        memcpy(data + (y * width + (size_t)plan->width) * pixel, data + first * pixel, right * pixel);
}

static void fill_content(const emitter *emitter, const fg_frame *frame, const plan *plan, const buffers *b)
{
    const steps *steps = emitter->steps;
    const fg_target *target = emitter->target;
    const int32_t w = frame->width, h = frame->height, p = plan->p;
    const int format = frame->format, count = plan->line;
    const bool yuv = is_yuv(format), bgr = target->bgr == 1, swap = (format == FG_BGR) != bgr;
    const size_t bytes = format == FG_YUYV ? 2 * (size_t)w : plan->row;

    for (int32_t i = 0; i < count; i++) {
        int32_t numerator = numerator_at(plan, i, w, plan->flip_x);
        locate(numerator, 2 * p, w, &b->index[i], &b->weight[i]);
        if (yuv)
            locate(numerator - p, 4 * p, w / 2, &b->chroma_index[i], &b->chroma_weight[i]);
    }
    for (int32_t line = 0; line < plan->lines; line++) {
        int32_t numerator = numerator_at(plan, line, h, plan->flip_y), at;
        int16_t weight;
        locate(numerator, 2 * p, h, &at, &weight);
        const uint8_t *row = frame->data + (size_t)at * bytes, *next = at + 1 < h ? row + bytes : row;
        if (format == FG_YUYV)
            steps->blend_yuyv(row, next, (size_t)w, weight, b->row, b->chroma_row);
        else
            steps->blend(row, next, bytes, weight, b->row);
        if (format == FG_NV12 || format == FG_NV21) {
            locate(numerator - p, 4 * p, h / 2, &at, &weight);
            row = frame->data + bytes * (size_t)(h + at);
            steps->blend(row, at + 1 < h / 2 ? row + bytes : row, bytes, weight, b->chroma_row);
        }
        if (format == FG_GRAY)
            steps->line_gray(b->row, b->index, b->weight, count, b->pixels);
        else if (yuv)
            steps->line_yuv(b->row, b->chroma_row, b->index, b->weight, b->chroma_index, b->chroma_weight, count,
                            format == FG_NV21, bgr, b->pixels);
        else
            steps->line_rgb(b->row, b->index, b->weight, count, swap, b->pixels);
        if (!plan->transposed) {
            emit(emitter, b->pixels, (size_t)count, (size_t)line * (size_t)target->width);
            continue;
        }
        size_t column = (size_t)(line % BLOCK);
        for (size_t i = 0; i < (size_t)count; i++)
            memcpy(b->block + 3 * (i * BLOCK + column), b->pixels + 3 * i, 3);
        if (column == BLOCK - 1 || line == plan->lines - 1)
            for (size_t i = 0; i < (size_t)count; i++)
                emit(emitter, b->block + 3 * i * BLOCK, column + 1,
                     i * (size_t)target->width + (size_t)line - column);
    }
}

int fg_letterbox_scratch(const fg_frame *frame, const fg_target *target, size_t *scratch_size)
{
    plan plan;
    if (!scratch_size)
        return FG_ENULL;
    int status = make_plan(frame, target, &plan);
    if (status == FG_OK)
        *scratch_size = plan.scratch;
    return status;
}

int fg_letterbox(const fg_frame *frame, const fg_target *target, int path, void *scratch, size_t scratch_size,
                 double *scale)
{
    plan plan;
    buffers b;
    if (!scratch || !scale)
        return FG_ENULL;
    int status = make_plan(frame, target, &plan);
    if (status != FG_OK)
        return status;
    path = fg_resolve_path(path);
    if (path < 0)
        return path;
    if (scratch_size < plan.scratch)
        return FG_ESIZE;

    size_t line = (size_t)plan.line + SLACK;
    uint8_t *free = (uint8_t *)scratch + (64 - (uintptr_t)scratch % 64) % 64;
    b.index = take(&free, line * sizeof(int32_t));
    b.chroma_index = take(&free, line * sizeof(int32_t));
    b.weight = take(&free, line * sizeof(int16_t));
    b.chroma_weight = take(&free, line * sizeof(int16_t));
    b.row = take(&free, (plan.row + SLACK) * sizeof(int16_t));
    b.chroma_row = take(&free, (plan.chroma_row + SLACK) * sizeof(int16_t));
    b.pixels = take(&free, 3 * line);
    b.block = free;
    /* The last sample of a row has no successor: its weight is 0, but what is read must be something. */
    memset(b.row + plan.row, 0, SLACK * sizeof(int16_t));
    memset(b.chroma_row + plan.chroma_row, 0, SLACK * sizeof(int16_t));
    /* Places beyond the line look at the first sample. */
    memset(b.index + plan.line, 0, SLACK * sizeof(int32_t));
    memset(b.chroma_index + plan.line, 0, SLACK * sizeof(int32_t));
    memset(b.weight + plan.line, 0, SLACK * sizeof(int16_t));
    memset(b.chroma_weight + plan.line, 0, SLACK * sizeof(int16_t));

    emitter emitter;
    make_emitter(steps_for(path), target, &emitter);
    fill_content(&emitter, frame, &plan, &b);
    if (plan.width < target->width || plan.height < target->height)
        fill_rest(&emitter, &plan);
    *scale = (double)plan.p / (double)plan.q;
    return FG_OK;
}

/* ---------------------------------------------------------------- warp */

enum { CHUNK = 64 };

/* One channel as stored: sample (x, y) is at data[y * row + x * step]. */
typedef struct {
    const uint8_t *data;
    ptrdiff_t row, step;
    int32_t width, height;
    uint8_t black;
    bool half_x, half_y; /* a chroma channel at half resolution */
} plane;

static int make_planes(const fg_frame *frame, plane planes[3])
{
    ptrdiff_t w = frame->width, h = frame->height;
    const uint8_t *data = frame->data;
    if (frame->format == FG_RGB || frame->format == FG_BGR) {
        for (int c = 0; c < 3; c++)
            planes[c] = (plane){data + c, 3 * w, 3, (int32_t)w, (int32_t)h, 0, false, false};
        return 3;
    }
    if (frame->format == FG_GRAY) {
        planes[0] = (plane){data, w, 1, (int32_t)w, (int32_t)h, 0, false, false};
        return 1;
    }
    bool packed = frame->format == FG_YUYV;
    planes[0] = (plane){data, packed ? 2 * w : w, packed ? 2 : 1, (int32_t)w, (int32_t)h, 16, false, false};
    for (int c = 1; c < 3; c++) {
        const uint8_t *first = packed ? data + 2 * c - 1 : data + w * h + (frame->format == FG_NV12 ? c - 1 : 2 - c);
        planes[c] = (plane){first, packed ? 2 * w : w, packed ? 4 : 2, (int32_t)(w / 2), (int32_t)(packed ? h : h / 2),
                            128, true, !packed};
    }
    return 3;
}

/* The sample that stands for place `i` of an axis of n samples, or -1 for black. */
static int32_t outside(int64_t i, int32_t n, int border)
{
    if (i >= 0 && i < n)
        return (int32_t)i;
    if (border == FG_BLACK)
        return -1;
    if (border == FG_NEAREST || n == 1)
        return i < 0 ? 0 : n - 1;
    int64_t period = 2 * ((int64_t)n - 1), r = i % period;
    if (r < 0)
        r += period;
    return (int32_t)(r < n ? r : period - r);
}

static int16_t tap(const plane *plane, int32_t x, int32_t y)
{
    return (int16_t)((x < 0 || y < 0 ? plane->black : plane->data[y * plane->row + x * plane->step]) << 7);
}

/* A channel's value in 1/128 level at (x, y) in 1/2^32 stored luma samples, anywhere. */
static int16_t sample_anywhere(const plane *plane, int64_t x, int64_t y, int border)
{
    if (plane->half_x)
        x = (x - ((int64_t)1 << 31)) >> 1;
    if (plane->half_y)
        y = (y - ((int64_t)1 << 31)) >> 1;
    int16_t wx = (int16_t)((x >> 17) & 32767), wy = (int16_t)((y >> 17) & 32767);
    int32_t x0 = outside(x >> 32, plane->width, border), x1 = outside((x >> 32) + 1, plane->width, border);
    int32_t y0 = outside(y >> 32, plane->height, border), y1 = outside((y >> 32) + 1, plane->height, border);
    int16_t left = lerp(tap(plane, x0, y0), tap(plane, x0, y1), wy);
    int16_t right = lerp(tap(plane, x1, y0), tap(plane, x1, y1), wy);
    return lerp(left, right, wx);
}

/* The weight of a coordinate, and its place. */
FG_BODY int16_t fraction(int64_t x)
{
    return (int16_t)((x >> 17) & 32767);
}

FG_BODY int64_t chroma_at(int64_t x)
{
    return (x - ((int64_t)1 << 31)) >> 1;
}

/*
 * Where a line of samples goes: at (x, y) in 1/2^32 stored samples, and on by (dx, dy). Its values are written as
 * pixels of four: three channels in the order of the planes, and one unused.
 */
typedef struct {
    int64_t x, y, dx, dy;
} line;

/* Anywhere, slowly. */
static void warp_anywhere(const plane *planes, int channels, line at, int count, int border, int16_t *out)
{
    for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy)
        for (int c = 0; c < 3; c++)
            out[4 * i + c] = c < channels ? sample_anywhere(&planes[c], at.x, at.y, border) : out[4 * i];
}

/* One channel where all four neighbours exist. */
FG_BODY int16_t sample_inside(const uint8_t *data, ptrdiff_t row, ptrdiff_t step, int64_t x, int64_t y)
{
    const uint8_t *p = data + (y >> 32) * row + (x >> 32) * step;
    int16_t left = lerp((int16_t)(p[0] << 7), (int16_t)(p[row] << 7), fraction(y));
    int16_t right = lerp((int16_t)(p[step] << 7), (int16_t)(p[row + step] << 7), fraction(y));
    return lerp(left, right, fraction(x));
}

static void warp_inside_c(const plane *planes, int channels, line at, int count, int16_t *out)
{
    if (channels == 1) {
        const uint8_t *data = planes[0].data;
        const ptrdiff_t row = planes[0].row;
        for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy)
            out[4 * i] = out[4 * i + 1] = out[4 * i + 2] = sample_inside(data, row, 1, at.x, at.y);
        return;
    }
    for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy)
        for (int c = 0; c < 3; c++) {
            const plane *p = &planes[c];
            out[4 * i + c] = sample_inside(p->data, p->row, p->step, p->half_x ? chroma_at(at.x) : at.x,
                                           p->half_y ? chroma_at(at.y) : at.y);
        }
}

#if FG_VECTOR

/* `data` is the first byte of the frame; the 8 bytes from a pixel on must exist in both rows. */
FG_TARGET_VECTOR static void warp_rgb_v(const uint8_t *data, ptrdiff_t row, line at, int count, int16_t *out)
{
    for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy) {
        const uint8_t *p = data + (at.y >> 32) * row + (at.x >> 32) * 3;
        uint64_t upper, lower;
        memcpy(&upper, p, 8);
        memcpy(&lower, p + row, 8);
        v8 t = v8_lerp(v8_widen(upper), v8_widen(lower), v8_splat(fraction(at.y)));
        v8_store4(out + 4 * i, v8_lerp(t, v8_drop_pixel(t), v8_splat(fraction(at.x))));
    }
}

/* y0 y1 - - u0 v0 u1 v1, the lowest byte first: of YUYV, where `y` and `c` (its first chroma byte) are two bytes apart. */
FG_BODY uint64_t packed_bytes(const uint8_t *y, const uint8_t *c)
{
    uint32_t chroma = c[0] | (uint32_t)c[2] << 8 | (uint32_t)c[4] << 16 | (uint32_t)c[6] << 24;
    return y[0] | (uint64_t)y[2] << 8 | (uint64_t)chroma << 32;
}

/* The same of NV12 and, with `vu`, of NV21. */
FG_BODY uint64_t planar_bytes(const uint8_t *y, const uint8_t *c, bool vu)
{
    uint16_t luma;
    uint32_t chroma;
    memcpy(&luma, y, 2);
    memcpy(&chroma, c, 4);
    if (vu)
        chroma = (chroma >> 8 & 0x00ff00ff) | (chroma & 0x00ff00ff) << 8;
    return luma | (uint64_t)chroma << 32;
}

V8_OP void warp_yuv_body(const plane *planes, line at, int count, bool packed, bool vu, int16_t *out)
{
    const ptrdiff_t row = planes[0].row, step = packed ? 2 : 1, chroma_step = packed ? 4 : 2;
    const uint8_t *const luma = planes[0].data, *const chroma = planes[vu ? 2 : 1].data;
    for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy) {
        const int64_t cx = chroma_at(at.x), cy = packed ? at.y : chroma_at(at.y);
        const uint8_t *y = luma + (at.y >> 32) * row + (at.x >> 32) * step;
        const uint8_t *c = chroma + (cy >> 32) * row + (cx >> 32) * chroma_step;
        v8 left, right, upper = v8_widen(packed ? packed_bytes(y, c) : planar_bytes(y, c, vu));
        v8 lower = v8_widen(packed ? packed_bytes(y + row, c + row) : planar_bytes(y + row, c + row, vu));
        v8_yuv_neighbours(v8_lerp(upper, lower, v8_splat2(fraction(at.y), fraction(cy))), &left, &right);
        v8_store4(out + 4 * i, v8_lerp(left, right, v8_luma_weight(fraction(at.x), fraction(cx))));
    }
}

FG_TARGET_VECTOR static void warp_yuv_v(const fg_frame *frame, const plane *planes, line at, int count, int16_t *out)
{
    if (frame->format == FG_NV12)
        warp_yuv_body(planes, at, count, false, false, out);
    else
        warp_yuv_body(planes, at, count, frame->format == FG_YUYV, frame->format == FG_NV21, out);
}

#endif

/* Where all neighbours exist, by the fastest way. */
static void warp_inside(const fg_frame *frame, const plane *planes, int channels, bool vector, line at, int count,
                        int16_t *out)
{
#if FG_VECTOR
    if (vector && is_yuv(frame->format)) {
        warp_yuv_v(frame, planes, at, count, out);
        return;
    }
    if (vector && channels == 3) {
        warp_rgb_v(frame->data, planes[0].row, at, count, out);
        return;
    }
#endif
    (void)frame;
    (void)vector;
    warp_inside_c(planes, channels, at, count, out);
}

/*
 * Whether all four neighbours exist at (x, y) in every channel. `spare` = 1 asks for one more pixel on the right: packed
 * pixels are read 8 bytes at a time.
 */
static bool is_inside(const plane *planes, int channels, int spare, int64_t x, int64_t y)
{
    for (int c = 0; c < channels; c += 2) { /* channels 1 and 2 are alike */
        int64_t px = (planes[c].half_x ? chroma_at(x) : x) >> 32, py = (planes[c].half_y ? chroma_at(y) : y) >> 32;
        if (px < 0 || py < 0 || px > planes[c].width - 2 - spare || py > planes[c].height - 2)
            return false;
    }
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

int fg_warp(const fg_frame *frame, const double *m, int samples, int border, const fg_target *target, int path,
            uint8_t *luma, size_t luma_size)
{
    if (!m)
        return FG_ENULL;
    int status = check_frame(frame);
    if (status == FG_OK)
        status = check_target(target);
    if (status != FG_OK)
        return status;
    if (border != FG_BLACK && border != FG_MIRROR && border != FG_NEAREST)
        return FG_EFORMAT;
    if (samples < 1 || samples > 8)
        return FG_ERANGE;
    if (luma && (uint64_t)luma_size != (uint64_t)target->width * (uint64_t)target->height)
        return FG_ESIZE;
    path = fg_resolve_path(path);
    if (path < 0)
        return path;
    int64_t f[6];
    for (int i = 0; i < 6; i++) {
        double limit = i % 3 == 2 ? 16777216.0 : 1024.0;
        if (!(m[i] >= -limit && m[i] <= limit)) /* refuses NaN as well */
            return FG_ERANGE;
        f[i] = llrint(m[i] * 4294967296.0);
    }
    /* From the upright frame to the stored one. */
    int64_t far_x = (int64_t)(frame->width - 1) << 32, far_y = (int64_t)(frame->height - 1) << 32;
    int64_t sx[3], sy[3];
    bool transposed = frame->rotation == 90 || frame->rotation == 270;
    for (int i = 0; i < 3; i++) {
        sx[i] = transposed ? f[3 + i] : f[i];
        sy[i] = transposed ? f[i] : f[3 + i];
        if (frame->rotation == 180 || frame->rotation == 270)
            sx[i] = (i == 2 ? far_x : 0) - sx[i];
        if (frame->rotation == 180 || frame->rotation == 90)
            sy[i] = (i == 2 ? far_y : 0) - sy[i];
    }

    plane planes[3];
    const int channels = make_planes(frame, planes);
    const bool yuv = is_yuv(frame->format), bgr = target->bgr == 1, vector = path != FG_SCALAR;
    const bool swap = (frame->format == FG_BGR) != bgr;
    const int spare = vector && !yuv && channels == 3 ? 1 : 0;
    const int32_t grid = samples * samples;
    /* floor(n / 2 grid) = n * reciprocal >> 40, exact for n < 2^23: the excess of the reciprocal is below 2 grid. */
    const uint64_t reciprocal = ((uint64_t)1 << 40) / (uint64_t)(2 * grid) + 1;
    const steps *steps = steps_for(path);
    emitter emitter;
    make_emitter(steps, target, &emitter);
    int16_t values[4 * CHUNK] = {0};
    int32_t sums[4 * CHUNK];
    uint8_t pixels[3 * CHUNK + SLACK];

    for (int32_t row = 0; row < target->height; row++) {
        for (int32_t first = 0; first < target->width; first += CHUNK) {
            const int count = target->width - first < CHUNK ? target->width - first : CHUNK;
            if (grid > 1)
                memset(sums, 0, sizeof sums);
            for (int g = 0; g < grid; g++) {
                const int gx = 2 * (g % samples) + 1 - samples, gy = 2 * (g / samples) + 1 - samples;
                line at = {sx[0] * first + sx[1] * row + sx[2], sy[0] * first + sy[1] * row + sy[2], sx[0], sy[0]};
                at.x += floor_divide(sx[0] * gx, 2 * samples) + floor_divide(sx[1] * gy, 2 * samples);
                at.y += floor_divide(sy[0] * gx, 2 * samples) + floor_divide(sy[1] * gy, 2 * samples);
                /* What is inside of a line is in one piece, from `begin` to `end`. */
                int begin = 0, end = count;
                while (begin < end && !is_inside(planes, channels, spare, at.x + at.dx * begin, at.y + at.dy * begin))
                    begin++;
                while (end > begin
                       && !is_inside(planes, channels, spare, at.x + at.dx * (end - 1), at.y + at.dy * (end - 1)))
                    end--;
                warp_anywhere(planes, channels, at, begin, border, values);
                line inside = {at.x + at.dx * begin, at.y + at.dy * begin, at.dx, at.dy};
                warp_inside(frame, planes, channels, vector, inside, end - begin, values + 4 * begin);
                line rest = {at.x + at.dx * end, at.y + at.dy * end, at.dx, at.dy};
                warp_anywhere(planes, channels, rest, count - end, border, values + 4 * end);
                if (grid > 1)
                    for (int i = 0; i < 4 * count; i++)
                        sums[i] += values[i];
            }
            if (grid > 1)
                for (int i = 0; i < 4 * count; i++)
                    values[i] = (int16_t)((uint64_t)(2 * sums[i] + grid) * reciprocal >> 40);
            if (yuv)
                steps->convert_pixels(values, count, bgr, pixels);
            else
                steps->round_pixels(values, count, swap, pixels);
            const size_t place = (size_t)row * (size_t)target->width + (size_t)first;
            const int red = bgr ? 29 : 77, blue = bgr ? 77 : 29;
            for (int i = 0; luma && i < count; i++)
                luma[place + (size_t)i] =
                    (uint8_t)((red * pixels[3 * i] + 150 * pixels[3 * i + 1] + blue * pixels[3 * i + 2] + 128) >> 8);
            emit(&emitter, pixels, (size_t)count, place);
        }
    }
    return FG_OK;
}
