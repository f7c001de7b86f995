/* Whole frames into model inputs: fg_letterbox. The arithmetic is defined at fg_frame in facegate.h. */

#include "pixels.h"

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
    int status = fg_check_frame(frame);
    if (status == FG_OK)
        status = fg_check_target(target);
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
    out->chroma_row = fg_is_yuv(frame->format) ? stored : 0;
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

/* The tables have, for each pixel of a line, the distance of its sample from the start of the blended row in bytes. */
typedef struct {
    int32_t *at, *chroma_at;
    int16_t *weight, *chroma_weight, *row, *chroma_row;
    uint8_t *pixels, *block;
} buffers;

/* Pixel 0 right of the content and below it. */
static void fill_rest(const fg_emitter *emitter, const plan *plan)
{
    const fg_target *target = emitter->target;
    static const uint8_t black[3 * BLOCK];
    const size_t width = (size_t)target->width, height = (size_t)target->height;
    const size_t pixel = 3 * fg_type_size(target->type);
    const size_t right = width - (size_t)plan->width, below = height - (size_t)plan->height;
    /* One run of pixels is looked up, the others are copied from it. */
    const size_t first = below ? (size_t)plan->height * width : (size_t)plan->width, run = below ? width : right;
    for (size_t i = 0; i < run; i += BLOCK)
        fg_emit(emitter, black, run - i < BLOCK ? run - i : BLOCK, first + i);
    uint8_t *data = target->data;
    for (size_t y = (size_t)plan->height + 1; y < height; y++)
        memcpy(data + y * width * pixel, data + first * pixel, width * pixel);
    for (size_t y = below ? 0 : 1; right && y < (size_t)plan->height; y++)
        memcpy(data + (y * width + (size_t)plan->width) * pixel, data + first * pixel, right * pixel);
}

static void fill_content(const fg_emitter *emitter, const fg_frame *frame, const plan *plan, const buffers *b)
{
    const fg_steps *steps = emitter->steps;
    const fg_target *target = emitter->target;
    const int32_t w = frame->width, h = frame->height, p = plan->p;
    const int format = frame->format, count = plan->line;
    const bool yuv = fg_is_yuv(format), bgr = target->bgr == 1, swap = (format == FG_BGR) != bgr;
    const size_t bytes = format == FG_YUYV ? 2 * (size_t)w : plan->row;
    const int32_t sample = (format == FG_RGB || format == FG_BGR ? 3 : 1) * (int32_t)sizeof(int16_t);

    for (int32_t i = 0; i < count; i++) {
        int32_t numerator = numerator_at(plan, i, w, plan->flip_x);
        locate(numerator, 2 * p, w, &b->at[i], &b->weight[i]);
        b->at[i] *= sample;
        if (!yuv)
            continue;
        locate(numerator - p, 4 * p, w / 2, &b->chroma_at[i], &b->chroma_weight[i]);
        b->chroma_at[i] *= 2 * (int32_t)sizeof(int16_t);
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
            steps->line_gray(b->row, b->at, b->weight, count, b->pixels);
        else if (yuv)
            steps->line_yuv(b->row, b->chroma_row, b->at, b->weight, b->chroma_at, b->chroma_weight, count,
                            format == FG_NV21, bgr, b->pixels);
        else
            steps->line_rgb(b->row, b->at, b->weight, count, swap, b->pixels);
        if (!plan->transposed) {
            fg_emit(emitter, b->pixels, (size_t)count, (size_t)line * (size_t)target->width);
            continue;
        }
        size_t column = (size_t)(line % BLOCK);
        for (size_t i = 0; i < (size_t)count; i++)
            memcpy(b->block + 3 * (i * BLOCK + column), b->pixels + 3 * i, 3);
        if (column == BLOCK - 1 || line == plan->lines - 1)
            for (size_t i = 0; i < (size_t)count; i++)
                fg_emit(emitter, b->block + 3 * i * BLOCK, column + 1,
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
    b.at = take(&free, line * sizeof(int32_t));
    b.chroma_at = take(&free, line * sizeof(int32_t));
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
    memset(b.at + plan.line, 0, SLACK * sizeof(int32_t));
    memset(b.chroma_at + plan.line, 0, SLACK * sizeof(int32_t));
    memset(b.weight + plan.line, 0, SLACK * sizeof(int16_t));
    memset(b.chroma_weight + plan.line, 0, SLACK * sizeof(int16_t));

    fg_emitter emitter;
    fg_make_emitter(fg_steps_for(path), target, &emitter);
    fill_content(&emitter, frame, &plan, &b);
    if (plan.width < target->width || plan.height < target->height)
        fill_rest(&emitter, &plan);
    *scale = (double)plan.p / (double)plan.q;
    return FG_OK;
}
