/* A turned part of a frame into a model input: fg_warp. The arithmetic is defined at fg_frame in facegate.h. */

#include "pixels.h"
#include "vector.h"

enum { CHUNK = 64 };

/* One channel: sample (x, y) is at data[y * row + x * step]. Channels come in the order in which they are stored. */
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
        const uint8_t *first = packed ? data + 2 * c - 1 : data + w * h + c - 1;
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
FG_TARGET_VECTOR static void V8_NAME(warp_rgb)(const uint8_t *data, ptrdiff_t row, line at, int count, int16_t *out)
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

/*
 * y0 y1 - - c0 d0 c1 d1, where c and d are the chroma channels in the order in which they are stored, in 1/128 level.
 * `y` and `c` point to the first luma and the first chroma byte.
 */
V8_OP v8 yuv_samples(const uint8_t *y, const uint8_t *c, bool packed)
{
    if (packed) { /* every other byte from y and from c: the chroma is read with the luma before it */
        uint32_t luma;
        uint64_t chroma;
        memcpy(&luma, y, 4);
        memcpy(&chroma, c - 1, 8);
        return v8_widen_even(luma, chroma >> 8);
    }
    uint16_t luma;
    uint32_t chroma;
    memcpy(&luma, y, 2);
    memcpy(&chroma, c, 4);
    return v8_widen(luma | (uint64_t)chroma << 32);
}

V8_OP void warp_yuv_body(const plane *planes, line at, int count, bool packed, int16_t *out)
{
    const ptrdiff_t row = planes[0].row, step = packed ? 2 : 1, chroma_step = packed ? 4 : 2;
    const uint8_t *const luma = planes[0].data, *const chroma = planes[1].data;
    for (int i = 0; i < count; i++, at.x += at.dx, at.y += at.dy) {
        const int64_t cx = chroma_at(at.x), cy = packed ? at.y : chroma_at(at.y);
        const uint8_t *y = luma + (at.y >> 32) * row + (at.x >> 32) * step;
        const uint8_t *c = chroma + (cy >> 32) * row + (cx >> 32) * chroma_step;
        v8 left, right, upper = yuv_samples(y, c, packed), lower = yuv_samples(y + row, c + row, packed);
        v8_yuv_neighbours(v8_lerp(upper, lower, v8_splat2(fraction(at.y), fraction(cy))), &left, &right);
        v8_store4(out + 4 * i, v8_lerp(left, right, v8_luma_weight(fraction(at.x), fraction(cx))));
    }
}

FG_TARGET_VECTOR static void V8_NAME(warp_yuv)(const fg_frame *frame, const plane *planes, line at, int count,
                                               int16_t *out)
{
    if (frame->format == FG_YUYV)
        warp_yuv_body(planes, at, count, true, out);
    else
        warp_yuv_body(planes, at, count, false, out);
}

#endif

/* Where all neighbours exist, by the fastest way. */
static void warp_inside(const fg_frame *frame, const plane *planes, int channels, bool vector, line at, int count,
                        int16_t *out)
{
#if FG_VECTOR
    if (vector && fg_is_yuv(frame->format)) {
        V8_NAME(warp_yuv)(frame, planes, at, count, out);
        return;
    }
    if (vector && channels == 3) {
        V8_NAME(warp_rgb)(frame->data, planes[0].row, at, count, out);
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
    int status = fg_check_frame(frame);
    if (status == FG_OK)
        status = fg_check_target(target);
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
    const bool yuv = fg_is_yuv(frame->format), bgr = target->bgr == 1, vector = path != FG_SCALAR;
    const bool swap = (frame->format == FG_BGR) != bgr;
    const int spare = vector && !yuv && channels == 3 ? 1 : 0;
    const int32_t grid = samples * samples;
    /* floor(n / 2 grid) = n * reciprocal >> 40, exact for n < 2^23: the excess of the reciprocal is below 2 grid. */
    const uint64_t reciprocal = ((uint64_t)1 << 40) / (uint64_t)(2 * grid) + 1;
    const fg_steps *steps = fg_steps_for(path);
    fg_emitter emitter;
    fg_make_emitter(steps, target, &emitter);
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
                steps->convert_pixels(values, count, frame->format == FG_NV21, bgr, pixels);
            else
                steps->round_pixels(values, count, swap, pixels);
            const size_t place = (size_t)row * (size_t)target->width + (size_t)first;
            const int red = bgr ? 29 : 77, blue = bgr ? 77 : 29;
            for (int i = 0; luma && i < count; i++)
                luma[place + (size_t)i] =
                    (uint8_t)((red * pixels[3 * i] + 150 * pixels[3 * i + 1] + blue * pixels[3 * i + 2] + 128) >> 8);
            fg_emit(&emitter, pixels, (size_t)count, place);
        }
    }
    return FG_OK;
}
