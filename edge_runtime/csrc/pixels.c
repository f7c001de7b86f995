/* Frames into model inputs: fg_letterbox and fg_warp. The arithmetic is defined at fg_frame in facegate.h. */

#include "internal.h"

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

/* `count` pixels of three planes y, u, v in 1/128 level into packed RGB, or BGR. */
FG_BODY void convert_body(const int16_t *y, const int16_t *u, const int16_t *v, int count, bool bgr, uint8_t *out)
{
    for (int i = 0; i < count; i++) {
        uint8_t r, g, b;
        yuv_to_rgb(y[i], u[i], v[i], &r, &g, &b);
        out[3 * i] = bgr ? b : r;
        out[3 * i + 1] = g;
        out[3 * i + 2] = bgr ? r : b;
    }
}

/* Blend two rows of bytes into a row of 1/128 levels. */
FG_BODY void blend_body(const uint8_t *restrict a, const uint8_t *restrict b, size_t count, int16_t w,
                        int16_t *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = lerp((int16_t)(a[i] << 7), (int16_t)(b[i] << 7), w);
}

/* Packed three-channel pixels through the table into the target. */
FG_BODY void emit_bytes_body(const uint8_t *restrict pixels, size_t count, const uint8_t *restrict lut,
                             uint8_t *restrict out)
{
    for (size_t i = 0; i < count; i++, pixels += 3, out += 3) {
        out[0] = lut[pixels[0]];
        out[1] = lut[256 + pixels[1]];
        out[2] = lut[512 + pixels[2]];
    }
}

FG_BODY void emit_floats_body(const uint8_t *restrict pixels, size_t count, const float *restrict lut,
                              float *restrict out)
{
    for (size_t i = 0; i < count; i++, pixels += 3, out += 3) {
        out[0] = lut[pixels[0]];
        out[1] = lut[256 + pixels[1]];
        out[2] = lut[512 + pixels[2]];
    }
}

static void emit(const uint8_t *pixels, size_t count, const fg_target *target, size_t first)
{
    if (target->type == FG_FLOAT32)
        emit_floats_body(pixels, count, target->lut, (float *)target->data + 3 * first);
    else
        emit_bytes_body(pixels, count, target->lut, (uint8_t *)target->data + 3 * first);
}

/* ---------------------------------------------------------------- letterbox */

enum { BLOCK = 16, SLACK = 32 };

/* Where things lie: one line of the content is interpolated along the stored x axis at one place of the stored y axis. */
typedef struct {
    int32_t p, q;              /* scale = p / q */
    int32_t width, height;     /* of the content in the target */
    bool transposed;           /* a line is a column of the target */
    bool flip_x, flip_y;       /* of the stored axes against the order in the target */
    int32_t line, lines;       /* pixels of a line, number of lines */
    size_t row, chroma_row;    /* stored elements of a row of luma (or all) and of chroma */
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
    switch (frame->format) {
    case FG_RGB:
    case FG_BGR:
        out->row = 3 * stored;
        break;
    case FG_YUYV:
        out->row = 2 * stored;
        break;
    default:
        out->row = stored;
    }
    out->chroma_row = frame->format == FG_NV12 || frame->format == FG_NV21 ? stored : 0;
    size_t line = (size_t)out->line + SLACK;
    out->scratch = 64                                                 /* alignment */
                   + 2 * line * (sizeof(int32_t) + sizeof(int16_t))   /* the luma and chroma tables */
                   + 3 * line * sizeof(int16_t)                       /* y, u, v of a line */
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

/* One line of packed three-channel pixels from one blended row. */
FG_BODY void line_rgb_body(const int16_t *restrict row, const int32_t *restrict index, const int16_t *restrict weight,
                           int count, bool swap, uint8_t *restrict out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = row + 3 * index[i];
        uint8_t first = (uint8_t)((lerp(t[0], t[3], weight[i]) + 64) >> 7);
        uint8_t third = (uint8_t)((lerp(t[2], t[5], weight[i]) + 64) >> 7);
        out[0] = swap ? third : first;
        out[1] = (uint8_t)((lerp(t[1], t[4], weight[i]) + 64) >> 7);
        out[2] = swap ? first : third;
    }
}

FG_BODY void line_gray_body(const int16_t *restrict row, const int32_t *restrict index, const int16_t *restrict weight,
                            int count, uint8_t *restrict out)
{
    for (int i = 0; i < count; i++, out += 3) {
        const int16_t *t = row + index[i];
        out[0] = out[1] = out[2] = (uint8_t)((lerp(t[0], t[1], weight[i]) + 64) >> 7);
    }
}

/* One channel of a blended row whose samples are `step` elements apart. */
FG_BODY void line_plane_body(const int16_t *restrict row, int step, const int32_t *restrict index,
                             const int16_t *restrict weight, int count, int16_t *restrict out)
{
    for (int i = 0; i < count; i++) {
        const int16_t *t = row + (ptrdiff_t)step * index[i];
        out[i] = lerp(t[0], t[step], weight[i]);
    }
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
    int16_t *weight, *chroma_weight, *y, *u, *v, *row, *chroma_row;
    uint8_t *pixels, *block;
} buffers;

static void fill_rest(const fg_target *target, int32_t x, int32_t y, int32_t x_end, int32_t y_end)
{
    static const uint8_t black[3 * BLOCK];
    for (; y < y_end; y++) {
        size_t row = (size_t)y * (size_t)target->width;
        for (int32_t i = x; i < x_end; i += BLOCK)
            emit(black, (size_t)(x_end - i < BLOCK ? x_end - i : BLOCK), target, row + (size_t)i);
    }
}

static void letterbox_body(const fg_frame *frame, const fg_target *target, const plan *plan, const buffers *b)
{
    const int32_t w = frame->width, h = frame->height, p = plan->p;
    const int format = frame->format, count = plan->line;
    const bool yuv = is_yuv(format), planar = plan->chroma_row != 0;
    const bool swap = (format == FG_BGR) != (target->bgr == 1);
    const size_t row = plan->row;

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
        const uint8_t *a = frame->data + (size_t)at * row;
        blend_body(a, at + 1 < h ? a + row : a, row, weight, b->row);
        if (planar) {
            locate(numerator - p, 4 * p, h / 2, &at, &weight);
            a = frame->data + row * (size_t)h + (size_t)at * row;
            blend_body(a, at + 1 < h / 2 ? a + row : a, row, weight, b->chroma_row);
        }
        if (format == FG_GRAY) {
            line_gray_body(b->row, b->index, b->weight, count, b->pixels);
        } else if (!yuv) {
            line_rgb_body(b->row, b->index, b->weight, count, swap, b->pixels);
        } else {
            const int16_t *u = planar ? b->chroma_row + (format == FG_NV21) : b->row + 1;
            const int16_t *v = planar ? b->chroma_row + (format == FG_NV12) : b->row + 3;
            int step = planar ? 2 : 4;
            line_plane_body(b->row, planar ? 1 : 2, b->index, b->weight, count, b->y);
            line_plane_body(u, step, b->chroma_index, b->chroma_weight, count, b->u);
            line_plane_body(v, step, b->chroma_index, b->chroma_weight, count, b->v);
            convert_body(b->y, b->u, b->v, count, target->bgr == 1, b->pixels);
        }
        if (!plan->transposed) {
            emit(b->pixels, (size_t)count, target, (size_t)line * (size_t)target->width);
            continue;
        }
        int32_t column = line % BLOCK;
        for (int32_t i = 0; i < count; i++)
            memcpy(b->block + 3 * ((size_t)i * BLOCK + (size_t)column), b->pixels + 3 * (size_t)i, 3);
        if (column == BLOCK - 1 || line == plan->lines - 1)
            for (int32_t i = 0; i < count; i++)
                emit(b->block + 3 * (size_t)i * BLOCK, (size_t)column + 1, target,
                     (size_t)i * (size_t)target->width + (size_t)(line - column));
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
    b.y = take(&free, line * sizeof(int16_t));
    b.u = take(&free, line * sizeof(int16_t));
    b.v = take(&free, line * sizeof(int16_t));
    b.row = take(&free, (plan.row + SLACK) * sizeof(int16_t));
    b.chroma_row = take(&free, (plan.chroma_row + SLACK) * sizeof(int16_t));
    b.pixels = take(&free, 3 * line);
    b.block = free;
    /* The last sample of a row has no successor: its weight is 0, but what is read must be something. */
    memset(b.row + plan.row, 0, SLACK * sizeof(int16_t));
    memset(b.chroma_row + plan.chroma_row, 0, SLACK * sizeof(int16_t));

    letterbox_body(frame, target, &plan, &b);
    fill_rest(target, plan.width, 0, target->width, plan.height);
    fill_rest(target, 0, plan.height, target->width, target->height);
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
            planes[c] = (plane){data + (frame->format == FG_RGB ? c : 2 - c), 3 * w, 3, (int32_t)w, (int32_t)h, 0, false,
                                false};
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

/* The same where all four neighbours exist. */
FG_BODY int16_t sample_inside(const plane *plane, int64_t x, int64_t y)
{
    if (plane->half_x)
        x = (x - ((int64_t)1 << 31)) >> 1;
    if (plane->half_y)
        y = (y - ((int64_t)1 << 31)) >> 1;
    int16_t wx = (int16_t)((x >> 17) & 32767), wy = (int16_t)((y >> 17) & 32767);
    const uint8_t *p = plane->data + (y >> 32) * plane->row + (x >> 32) * plane->step;
    int16_t left = lerp((int16_t)(p[0] << 7), (int16_t)(p[plane->row] << 7), wy);
    p += plane->step;
    int16_t right = lerp((int16_t)(p[0] << 7), (int16_t)(p[plane->row] << 7), wy);
    return lerp(left, right, wx);
}

/* Whether all four neighbours exist at (x, y) in every channel. */
static bool is_inside(const plane *planes, int channels, int64_t x, int64_t y)
{
    for (int c = 0; c < channels; c += 2) { /* channels 1 and 2 are alike */
        int64_t px = planes[c].half_x ? (x - ((int64_t)1 << 31)) >> 1 : x;
        int64_t py = planes[c].half_y ? (y - ((int64_t)1 << 31)) >> 1 : y;
        px >>= 32;
        py >>= 32;
        if (px < 0 || py < 0 || px > planes[c].width - 2 || py > planes[c].height - 2)
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
    const bool yuv = is_yuv(frame->format), bgr = target->bgr == 1;
    const int grid = samples * samples;
    for (int32_t row = 0; row < target->height; row++) {
        for (int32_t first = 0; first < target->width; first += CHUNK) {
            const int count = target->width - first < CHUNK ? target->width - first : CHUNK;
            int32_t sums[3][CHUNK] = {{0}};
            uint8_t pixels[3 * CHUNK];
            for (int g = 0; g < grid; g++) {
                const int gx = 2 * (g % samples) + 1 - samples, gy = 2 * (g / samples) + 1 - samples;
                int64_t x = sx[0] * first + sx[1] * row + sx[2] + floor_divide(sx[0] * gx, 2 * samples)
                            + floor_divide(sx[1] * gy, 2 * samples);
                int64_t y = sy[0] * first + sy[1] * row + sy[2] + floor_divide(sy[0] * gx, 2 * samples)
                            + floor_divide(sy[1] * gy, 2 * samples);
                /* A line whose ends are inside is inside. */
                bool inside = is_inside(planes, channels, x, y)
                              && is_inside(planes, channels, x + sx[0] * (count - 1), y + sy[0] * (count - 1));
                for (int i = 0; i < count; i++, x += sx[0], y += sy[0])
                    for (int c = 0; c < channels; c++)
                        sums[c][i] += inside ? sample_inside(&planes[c], x, y)
                                             : sample_anywhere(&planes[c], x, y, border);
            }
            for (int i = 0; i < count; i++) {
                uint8_t *out = pixels + 3 * i;
                uint8_t r, g, b;
                if (yuv) {
                    /* The mean in 1/128 level, rounded as the other formats round theirs to whole levels. */
                    yuv_to_rgb((2 * sums[0][i] + grid) / (2 * grid), (2 * sums[1][i] + grid) / (2 * grid),
                               (2 * sums[2][i] + grid) / (2 * grid), &r, &g, &b);
                } else {
                    r = (uint8_t)((sums[0][i] + 64 * grid) / (128 * grid));
                    g = channels == 1 ? r : (uint8_t)((sums[1][i] + 64 * grid) / (128 * grid));
                    b = channels == 1 ? r : (uint8_t)((sums[2][i] + 64 * grid) / (128 * grid));
                }
                out[0] = bgr ? b : r;
                out[1] = g;
                out[2] = bgr ? r : b;
                if (luma)
                    luma[(size_t)row * (size_t)target->width + (size_t)(first + i)] =
                        (uint8_t)((77 * r + 150 * g + 29 * b + 128) >> 8);
            }
            emit(pixels, (size_t)count, target, (size_t)row * (size_t)target->width + (size_t)first);
        }
    }
    return FG_OK;
}
