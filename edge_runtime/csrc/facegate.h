/*
 * The C kernels of Facegate's edge runtime: every declaration, once.
 *
 * build_native.py gives this file to cffi (without the lines that start with '#'), the C files include it.
 *
 * Rules that hold for all functions:
 *   - They return FG_OK or a negative fg_status and write no output (but scratch memory) when they refuse.
 *   - They allocate nothing, keep no state (but what the processor can do, asked once) and may run in any number of
 *     threads at once.
 *   - Every size is checked before the first byte is read or written. Sizes of buffers are in bytes.
 *   - Results are integers, or IEEE expressions evaluated in one written order (-ffp-contract=off): the same bytes on
 *     every machine and every code path. Only expf, atan2 and asin may differ in the last bits between C libraries.
 */
#ifndef FACEGATE_H
#define FACEGATE_H
#include <stddef.h>
#include <stdint.h>

enum fg_status {
    FG_OK = 0,
    FG_ENULL = -1,       /* a pointer that must be given is null */
    FG_ESIZE = -2,       /* a buffer's size does not fit the geometry exactly, or scratch memory is too small */
    FG_ERANGE = -3,      /* a number is out of its range, infinite or NaN */
    FG_EFORMAT = -4,     /* unknown pixel format, rotation, tensor type, border or code path */
    FG_EALIGN = -5,      /* a float buffer is not aligned to 4 bytes */
    FG_EDEGENERATE = -6, /* no answer exists: coincident points, a zero vector */
    FG_EPATH = -7        /* this machine cannot run the code path asked for */
};

/* Pixel formats; the numbers are those of PixelFormat in _values.py. */
enum fg_format { FG_RGB = 0, FG_BGR = 1, FG_GRAY = 2, FG_NV12 = 3, FG_NV21 = 4, FG_YUYV = 5 };

/* Element types of tensors. */
enum fg_type { FG_FLOAT32 = 0, FG_INT8 = 1, FG_UINT8 = 2 };

/* What lies outside a frame: black, mirrored without repeating the edge (dcb|abcd|cba), the nearest pixel. */
enum fg_border { FG_BLACK = 0, FG_MIRROR = 1, FG_NEAREST = 2 };

/* Code paths of fg_search and of the pixel kernels. */
enum fg_path { FG_AUTO = 0, FG_SCALAR = 1, FG_AVX2 = 2, FG_AVX512VNNI = 3, FG_NEON = 4, FG_DOTPROD = 5 };

enum fg_limit {
    FG_MAX_SIDE = 16384,  /* of a frame or an input, in pixels */
    FG_MAX_LENGTH = 4096, /* of a template: then every squared norm fits 31 bits and their product 53 */
    FG_MAX_K = 1024,      /* of fg_search */
    FG_MAX_LEVELS = 8,    /* strides of a detector */
    FG_MAX_ANCHORS = 16,  /* per cell */
    FG_MAX_POINTS = 64    /* of fg_similarity */
};

/*
 * A frame as stored. Rows are packed. `size` must be exactly
 *   RGB, BGR: 3wh    GRAY: wh    YUYV: 2wh, w even
 *   NV12, NV21: 3wh/2, w and h even: the Y plane, then rows of interleaved (U, V) or (V, U) at half resolution.
 * `rotation`: degrees clockwise (0, 90, 180, 270) by which the stored image is turned to be upright.
 *
 * Resampling works on the stored channels (so Y, U and V are each interpolated where they are sited; a chroma sample
 * lies in the middle of the luma samples that share it), in 1/128 level, vertically in the stored image first:
 *   lerp(a, b, w) = a + (((b - a) * w + 16384) >> 15),   a, b in 0..32640, w = fraction * 32768 in 0..32767
 *   left = lerp(128 p[y][x], 128 p[y+1][x], wy), right likewise at x+1, value = lerp(left, right, wx).
 * RGB, BGR and GRAY are then rounded: (value + 64) >> 7. YUV becomes RGB by BT.601, video range (Y 16..235, U and V
 * 16..240), with y = value(Y) - 2048, u = value(U) - 16384, v = value(V) - 16384, each clamped to 0..255:
 *   R = (9539 y + 13075 v + 524288) >> 20
 *   G = (9539 y - 6660 v - 3209 u + 524288) >> 20
 *   B = (9539 y + 16525 u + 524288) >> 20
 * (>> is arithmetic: it rounds down.)
 */
typedef struct {
    const uint8_t *data;
    size_t size;
    int32_t width;
    int32_t height;
    int32_t format;
    int32_t rotation;
} fg_frame;

/*
 * A model's image input: (height, width, 3) of `type`, packed, channels RGB or (bgr = 1) BGR. A channel's pixel value p
 * is written as lut[channel][p], where `lut` is a [3][256] table of the same type in the input's channel order.
 */
typedef struct {
    void *data;
    size_t size;
    const void *lut;
    size_t lut_size;
    int32_t width;
    int32_t height;
    int32_t type;
    int32_t bgr;
} fg_target;

/* A tensor; int8 and uint8 stand for scale * (q - zero_point), float32 ignores both. */
typedef struct {
    const void *data;
    size_t size;
    int32_t type;
    int32_t zero_point;
    float scale;
} fg_tensor;

/* A face as decoded. `position`: its row among all rows decoded into the same fg_faces; breaks ties of the score. */
typedef struct {
    float box[4];        /* x1, y1, x2, y2 */
    float landmarks[10]; /* x, y of left eye, right eye, nose, left and right mouth corner; zeros if there are none */
    float score;
    int32_t position;
} fg_face;

/*
 * A bounded list of faces. The decoders add to it, one call a head; when it is full the lowest-scoring face gives way.
 * Until fg_nms the order is that of a heap and means nothing. Start with count = rows = 0.
 */
typedef struct {
    fg_face *items;
    int32_t capacity;
    int32_t count;
    int32_t rows;
} fg_faces;

/* RetinaFace's prior boxes: squares of min_sizes[level][0..anchors[level]-1] pixels at the centres of the cells. */
typedef struct {
    int32_t levels;
    int32_t strides[8];
    int32_t anchors[8];
    float min_sizes[8][16];
    float variances[2];
} fg_priors;

/* A gallery: `count` rows of `length` int8 values in -127..127, `stride` bytes apart; `norms` by fg_norm. */
typedef struct {
    const int8_t *rows;
    size_t rows_size;
    const int32_t *norms;
    size_t norms_size;
    const uint8_t *mask; /* one byte a row, 0 leaves the row out; may be null */
    size_t mask_size;
    size_t stride;
    int32_t length;
    int32_t count;
} fg_gallery;

/* The name of a status, never null. */
const char *fg_status_name(int status);

/* The code path that FG_AUTO means on this machine. */
int fg_active_path(void);

/* FG_OK if this machine can run `path`, else FG_EPATH or FG_EFORMAT. */
int fg_check_path(int path);

/* Bytes of scratch memory that fg_letterbox needs for frames and targets of this geometry. */
int fg_letterbox_scratch(const fg_frame *frame, const fg_target *target, size_t *scratch_size);

/*
 * Resize the upright frame bilinearly by one scale for both axes to the largest size that fits the target, put it top
 * left, fill the rest with pixel 0. With (w, h) the upright size and the scale p/q = W/w if W h <= H w, else H/h:
 *   the content is min(W, max(1, floor((2 w p + q) / 2q))) wide, its height likewise;
 *   content pixel X shows upright coordinate ((2X + 1) q - p) / 2p, clamped to 0..w-1; rows likewise;
 *   the weight of a fraction r/d is min(32767, floor((32768 r + floor(d/2)) / d)).
 * Writes scale = p/q: a length in the frame times scale is a length in the input.
 */
int fg_letterbox(const fg_frame *frame, const fg_target *target, int path, void *scratch, size_t scratch_size,
                 double *scale);

/*
 * Warp the upright frame into the target. Pixel centres are whole numbers on both sides; input pixel (X, Y) shows
 *   x = m[0] X + m[1] Y + m[2],  y = m[3] X + m[4] Y + m[5],
 * in 1/2^32 pixel, |m[0,1,3,4]| <= 1024, |m[2,5]| <= 2^24, turned to the stored image before its fraction is cut to 15
 * bits. With `samples` = n > 1 (up to 8) the values on an n x n grid inside the pixel are averaged: floor((2 sum + n^2) /
 * 2n^2), offsets (2i + 1 - n) / 2n in X and Y, each product with m rounded down. Use it where the warp reduces much.
 * Outside of the frame `border` applies to each stored channel (black is Y 16, U and V 128).
 * `luma`, may be null: width*height bytes, (77 R + 150 G + 29 B + 128) >> 8 of the pixels before the table.
 */
int fg_warp(const fg_frame *frame, const double *m, int samples, int border, const fg_target *target, int path,
            uint8_t *luma, size_t luma_size);

/*
 * The similarity (rotation, one scale, translation; no reflection) that moves `src` onto `dst` with the least squared
 * error in dst (Umeyama 1991, closed form in the plane), inverted: m takes dst coordinates to src coordinates, as fg_warp
 * wants it. Both are n (2..64) pairs x, y. FG_EDEGENERATE when points coincide or no rotation fits.
 */
int fg_similarity(const float *src, const float *dst, int n, double *m);

/*
 * SCRFD, one head. rows = ceil(height/stride) * ceil(width/stride) * anchors. `score`: rows x 1 or rows x 2 (column 1),
 * a probability; `box`: rows x 4 distances to left, top, right, bottom in strides from the point cell * stride;
 * `landmarks`: rows x 10 offsets in strides from that point, or null. Faces have score >= threshold, are finite, and are
 * in pixels of the input.
 */
int fg_decode_scrfd(const fg_tensor *score, const fg_tensor *box, const fg_tensor *landmarks, int width, int height,
                    int stride, int anchors, float threshold, fg_faces *faces);

/*
 * YuNet, one head, one anchor a cell. score = sqrt(class * objectness), both clamped to 0..1; box = (dx, dy, log w,
 * log h) in strides, (dx, dy) from the point cell * stride to the centre; landmarks as SCRFD, or null.
 */
int fg_decode_yunet(const fg_tensor *score, const fg_tensor *objectness, const fg_tensor *box,
                    const fg_tensor *landmarks, int width, int height, int stride, float threshold, fg_faces *faces);

/*
 * RetinaFace, one head over all priors (level, then row, column, anchor). With prior centre (cx, cy), side s and
 * variances v: centre = cx + box[0] v0 s, width = s exp(box[2] v1), landmarks = cx + l v0 s.
 */
int fg_decode_retinaface(const fg_tensor *score, const fg_tensor *box, const fg_tensor *landmarks,
                         const fg_priors *priors, int width, int height, float threshold, fg_faces *faces);

/*
 * Sort by score, highest first (ties: lower position first), and keep a face unless its intersection with a face kept
 * before it is > iou * union. Stops at `limit` faces. In place; iou 0..1.
 */
int fg_nms(fg_faces *faces, float iou, int limit);

/* Multiply boxes and landmarks by `factor` (1/scale of fg_letterbox leads back to the frame). */
int fg_scale_faces(fg_faces *faces, float factor);

/*
 * out[i] = 127 * e[i] / max |e|, in double, rounded half to even; for a quantised tensor e = q - zero_point. The tensor
 * has exactly `length` elements. FG_ERANGE for NaN or infinity, FG_EDEGENERATE for the zero vector.
 */
int fg_template(const fg_tensor *embedding, int8_t *out, size_t length);

/*
 * norms[i] = the sum of the squares of row i. FG_ERANGE for a value of -128, FG_EDEGENERATE for a zero row. Run it on
 * every row that enters a gallery: fg_search relies on both checks for its results (not for memory safety).
 */
int fg_norm(const int8_t *rows, size_t rows_size, size_t stride, int length, int count, int32_t *norms,
            size_t norms_size);

/*
 * The exact k most similar rows, most similar first (ties: lower index first), by
 *   similarity = (double)dot / sqrt((double)norm_a * (double)norm_b),  dot in int32:
 * the same bits on every path. Writes min(k, rows not left out) entries and their number.
 */
int fg_search(const fg_gallery *gallery, const int8_t *probe, size_t probe_size, int k, int path, int32_t *indices,
              size_t indices_size, double *similarities, size_t similarities_size, int *found);

/* The similarity of two templates, by the expression of fg_search. */
int fg_compare(const int8_t *a, const int8_t *b, size_t length, double *similarity);

/*
 * Variance of the 4-neighbour Laplacian 4c - n - s - w - e over the inner pixels, in levels^2 (Pech-Pacheco et al.,
 * "Diatom autofocusing in brightfield microscopy", ICPR 2000). width, height >= 3. Compare only at one crop size.
 */
int fg_sharpness(const uint8_t *luma, size_t size, int width, int height, double *sharpness);

/* Mean luma 0..255, share of pixels < 32 (under-exposed) and >= 224 (over-exposed), 0..1. */
int fg_brightness(const uint8_t *luma, size_t size, int width, int height, double *mean, double *dark, double *bright);

/*
 * Head pose from 5 landmarks (x, y in pixels): pose = yaw, pitch, roll in degrees. The scaled orthographic pose of a
 * mean face (POS, DeMenthon & Davis, IJCV 1995): least squares over the 5 points for the first two rows of the scaled
 * rotation, then normalised. The mean face is the ArcFace 112x112 template with depths of the nose tip and mouth corners.
 *   yaw > 0: the nose points to larger x; pitch > 0: up (smaller y); roll > 0: turned clockwise as seen in the image.
 * A gate against turned faces, not a measurement: people differ from the mean face (several degrees, most in pitch),
 * perspective is ignored, and landmarks become poor beyond about 45 degrees.
 */
int fg_pose(const float *landmarks, size_t size, double *pose);

#endif
