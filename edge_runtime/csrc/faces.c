/* From a detector's output tensors to faces, and from a face's landmarks to a matrix and a pose. */

#include "internal.h"

/* ---------------------------------------------------------------- tensors */

int fg_check_tensor(const fg_tensor *tensor, uint64_t elements)
{
    if (!tensor || !tensor->data)
        return FG_ENULL;
    size_t element = fg_type_size(tensor->type);
    if (!element)
        return FG_EFORMAT;
    if ((uint64_t)tensor->size != elements * element)
        return FG_ESIZE;
    if (tensor->type == FG_FLOAT32)
        return fg_aligned(tensor->data, 4) ? FG_OK : FG_EALIGN;
    if (!(tensor->scale > 0 && isfinite(tensor->scale)) || tensor->zero_point < -128 || tensor->zero_point > 255)
        return FG_ERANGE;
    return FG_OK;
}

static int32_t quantized(const fg_tensor *tensor, size_t i)
{
    return tensor->type == FG_INT8 ? ((const int8_t *)tensor->data)[i] : ((const uint8_t *)tensor->data)[i];
}

static float real(const fg_tensor *tensor, size_t i)
{
    if (tensor->type == FG_FLOAT32)
        return ((const float *)tensor->data)[i];
    return (float)(quantized(tensor, i) - tensor->zero_point) * tensor->scale;
}

/*
 * A score tensor of one column, or of two of which the second counts, read without dequantising: in a quantised one a
 * score reaches the threshold if its byte does.
 */
typedef struct {
    const fg_tensor *tensor;
    size_t columns;
    float threshold;
    int32_t least; /* the smallest quantised value that reaches the threshold */
} scores;

static int open_scores(const fg_tensor *tensor, uint64_t rows, float threshold, scores *out)
{
    if (!tensor)
        return FG_ENULL;
    size_t element = fg_type_size(tensor->type);
    size_t columns = element && (uint64_t)tensor->size == 2 * rows * element ? 2 : 1;
    int status = fg_check_tensor(tensor, rows * columns);
    if (status != FG_OK)
        return status;
    int32_t least = 256;
    if (tensor->type != FG_FLOAT32)
        for (least = -128; least < 256; least++)
            if ((float)(least - tensor->zero_point) * tensor->scale >= threshold)
                break;
    *out = (scores){tensor, columns, threshold, least};
    return FG_OK;
}

static bool reaches(const scores *scores, size_t row)
{
    size_t i = row * scores->columns + scores->columns - 1;
    if (scores->tensor->type == FG_FLOAT32)
        return ((const float *)scores->tensor->data)[i] >= scores->threshold; /* NaN does not */
    return quantized(scores->tensor, i) >= scores->least;
}

enum { AT_ONCE = 32 };

/* Whether none of the AT_ONCE rows from `row` on reaches the threshold, for scores in one column. Loops for compilers. */
static bool none_reaches(const scores *scores, size_t row)
{
    uint32_t reached = 0;
    if (scores->tensor->type == FG_FLOAT32) {
        const float *p = (const float *)scores->tensor->data + row, threshold = scores->threshold;
        for (int i = 0; i < AT_ONCE; i++)
            reached |= p[i] >= threshold;
    } else if (scores->tensor->type == FG_INT8) {
        const int8_t *p = (const int8_t *)scores->tensor->data + row;
        int8_t largest = -128;
        for (int i = 0; i < AT_ONCE; i++)
            largest = p[i] > largest ? p[i] : largest;
        reached = largest >= scores->least;
    } else {
        const uint8_t *p = (const uint8_t *)scores->tensor->data + row;
        uint8_t largest = 0;
        for (int i = 0; i < AT_ONCE; i++)
            largest = p[i] > largest ? p[i] : largest;
        reached = largest >= scores->least;
    }
    return !reached;
}

/* The first of the rows from `row` to `end` that reaches the threshold, or `end`. Nearly none does. */
static size_t next_reaching(const scores *scores, size_t row, size_t end)
{
    for (; row < end; row++) {
        while (scores->columns == 1 && row + AT_ONCE <= end && none_reaches(scores, row))
            row += AT_ONCE;
        if (row >= end)
            break;
        if (reaches(scores, row))
            return row;
    }
    return end;
}

static float score_at(const scores *scores, size_t row)
{
    return real(scores->tensor, row * scores->columns + scores->columns - 1);
}

/* ---------------------------------------------------------------- the list of faces */

/* Whether `a` comes before `b`: a total order, as positions differ. */
static bool before(const fg_face *a, const fg_face *b)
{
    return a->score > b->score || (a->score == b->score && a->position < b->position);
}

static void swap(fg_face *a, fg_face *b)
{
    fg_face c = *a;
    *a = *b;
    *b = c;
}

/* Restore the heap (the last of the order on top) below `i`. */
static void sift_down(fg_face *items, int32_t count, int32_t i)
{
    for (;;) {
        int32_t child = 2 * i + 1;
        if (child >= count)
            return;
        if (child + 1 < count && before(&items[child], &items[child + 1]))
            child++;
        if (!before(&items[i], &items[child]))
            return;
        swap(&items[i], &items[child]);
        i = child;
    }
}

static void add_face(fg_faces *faces, const fg_face *face)
{
    float sum = face->score;
    for (int i = 0; i < 4; i++)
        sum += face->box[i] * 0.0f;
    for (int i = 0; i < 10; i++)
        sum += face->landmarks[i] * 0.0f;
    if (!isfinite(sum)) /* infinity * 0 is NaN */
        return;
    if (faces->count < faces->capacity) {
        int32_t i = faces->count++;
        faces->items[i] = *face;
        for (; i > 0 && before(&faces->items[(i - 1) / 2], &faces->items[i]); i = (i - 1) / 2)
            swap(&faces->items[i], &faces->items[(i - 1) / 2]);
    } else if (before(face, &faces->items[0])) {
        faces->items[0] = *face;
        sift_down(faces->items, faces->count, 0);
    }
}

static int check_faces(const fg_faces *faces)
{
    if (!faces || !faces->items)
        return FG_ENULL;
    if (faces->capacity < 1 || faces->count < 0 || faces->count > faces->capacity || faces->rows < 0)
        return FG_ERANGE;
    return FG_OK;
}

/* ---------------------------------------------------------------- decoding */

/* Checks that all heads share; `rows` is what the geometry asks for. */
static int open_head(const fg_tensor *score, const fg_tensor *box, const fg_tensor *landmarks, uint64_t rows,
                     float threshold, const fg_faces *faces, scores *out)
{
    int status = check_faces(faces);
    if (status != FG_OK)
        return status;
    if (!(threshold >= 0 && threshold <= 1) || rows > (uint64_t)(INT32_MAX - faces->rows))
        return FG_ERANGE;
    status = open_scores(score, rows, threshold, out);
    if (status == FG_OK)
        status = fg_check_tensor(box, 4 * rows);
    if (status == FG_OK && landmarks)
        status = fg_check_tensor(landmarks, 10 * rows);
    return status;
}

static bool is_side(int side)
{
    return side >= 1 && side <= FG_MAX_SIDE;
}

static int cells(int side, int stride)
{
    return (side + stride - 1) / stride;
}

/* Landmarks as offsets in `unit` from (x, y). */
static void offset_landmarks(const fg_tensor *landmarks, size_t row, float x, float y, float unit, fg_face *face)
{
    if (!landmarks)
        return;
    for (size_t i = 0; i < 10; i += 2) {
        face->landmarks[i] = x + real(landmarks, 10 * row + i) * unit;
        face->landmarks[i + 1] = y + real(landmarks, 10 * row + i + 1) * unit;
    }
}

static void centered_box(float x, float y, float width, float height, fg_face *face)
{
    face->box[0] = x - 0.5f * width;
    face->box[1] = y - 0.5f * height;
    face->box[2] = x + 0.5f * width;
    face->box[3] = y + 0.5f * height;
}

int fg_decode_scrfd(const fg_tensor *score, const fg_tensor *box, const fg_tensor *landmarks, int width, int height,
                    int stride, int anchors, float threshold, fg_faces *faces)
{
    scores s;
    if (!is_side(width) || !is_side(height) || !is_side(stride) || anchors < 1 || anchors > FG_MAX_ANCHORS)
        return FG_ERANGE;
    const int columns = cells(width, stride);
    const uint64_t rows = (uint64_t)columns * (uint64_t)cells(height, stride) * (uint64_t)anchors;
    int status = open_head(score, box, landmarks, rows, threshold, faces, &s);
    if (status != FG_OK)
        return status;
    const float unit = (float)stride;
    for (size_t row = next_reaching(&s, 0, rows); row < rows; row = next_reaching(&s, row + 1, rows)) {
        size_t cell = row / (size_t)anchors;
        float x = (float)(cell % (size_t)columns) * unit, y = (float)(cell / (size_t)columns) * unit;
        fg_face face = {.score = score_at(&s, row), .position = faces->rows + (int32_t)row};
        face.box[0] = x - real(box, 4 * row) * unit;
        face.box[1] = y - real(box, 4 * row + 1) * unit;
        face.box[2] = x + real(box, 4 * row + 2) * unit;
        face.box[3] = y + real(box, 4 * row + 3) * unit;
        offset_landmarks(landmarks, row, x, y, unit, &face);
        add_face(faces, &face);
    }
    faces->rows += (int32_t)rows;
    return FG_OK;
}

static float clamp01(float value)
{
    return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value; /* NaN stays */
}

int fg_decode_yunet(const fg_tensor *score, const fg_tensor *objectness, const fg_tensor *box,
                    const fg_tensor *landmarks, int width, int height, int stride, float threshold, fg_faces *faces)
{
    scores s, o;
    if (!is_side(width) || !is_side(height) || !is_side(stride))
        return FG_ERANGE;
    const int columns = cells(width, stride);
    const uint64_t rows = (uint64_t)columns * (uint64_t)cells(height, stride);
    /*
     * Each factor is at most 1, so neither can be below the square of the threshold; a little less than it, as both the
     * square and the root are rounded. The root decides.
     */
    const float least = threshold * threshold * 0.999f;
    int status = open_head(score, box, landmarks, rows, threshold, faces, &s);
    if (status == FG_OK)
        status = open_scores(score, rows, least, &s);
    if (status == FG_OK)
        status = open_scores(objectness, rows, least, &o);
    if (status != FG_OK)
        return status;
    const float unit = (float)stride;
    for (size_t row = next_reaching(&s, 0, rows); row < rows; row = next_reaching(&s, row + 1, rows)) {
        if (!reaches(&o, row))
            continue;
        float root = sqrtf(clamp01(score_at(&s, row)) * clamp01(score_at(&o, row)));
        if (!(root >= threshold))
            continue;
        float x = (float)(row % (size_t)columns) * unit, y = (float)(row / (size_t)columns) * unit;
        fg_face face = {.score = root, .position = faces->rows + (int32_t)row};
        centered_box(x + real(box, 4 * row) * unit, y + real(box, 4 * row + 1) * unit,
                     expf(real(box, 4 * row + 2)) * unit, expf(real(box, 4 * row + 3)) * unit, &face);
        offset_landmarks(landmarks, row, x, y, unit, &face);
        add_face(faces, &face);
    }
    faces->rows += (int32_t)rows;
    return FG_OK;
}

int fg_decode_retinaface(const fg_tensor *score, const fg_tensor *box, const fg_tensor *landmarks,
                         const fg_priors *priors, int width, int height, float threshold, fg_faces *faces)
{
    scores s;
    if (!priors)
        return FG_ENULL;
    if (!is_side(width) || !is_side(height) || priors->levels < 1 || priors->levels > FG_MAX_LEVELS)
        return FG_ERANGE;
    uint64_t rows = 0;
    for (int level = 0; level < priors->levels; level++) {
        int stride = priors->strides[level], anchors = priors->anchors[level];
        if (!is_side(stride) || anchors < 1 || anchors > FG_MAX_ANCHORS)
            return FG_ERANGE;
        for (int anchor = 0; anchor < anchors; anchor++)
            if (!(priors->min_sizes[level][anchor] > 0 && priors->min_sizes[level][anchor] <= FG_MAX_SIDE))
                return FG_ERANGE;
        rows += (uint64_t)cells(width, stride) * (uint64_t)cells(height, stride) * (uint64_t)anchors;
    }
    for (int i = 0; i < 2; i++)
        if (!(priors->variances[i] > 0 && priors->variances[i] <= 100))
            return FG_ERANGE;
    int status = open_head(score, box, landmarks, rows, threshold, faces, &s);
    if (status != FG_OK)
        return status;
    size_t row = 0;
    for (int level = 0; level < priors->levels; level++) {
        const int stride = priors->strides[level], columns = cells(width, stride);
        const size_t anchors = (size_t)priors->anchors[level];
        const size_t first = row, end = row + (size_t)columns * (size_t)cells(height, stride) * anchors;
        for (row = next_reaching(&s, row, end); row < end; row = next_reaching(&s, row + 1, end)) {
            size_t cell = (row - first) / anchors, anchor = (row - first) % anchors;
            float side = priors->min_sizes[level][anchor], unit = side * priors->variances[0];
            float x = ((float)(cell % (size_t)columns) + 0.5f) * (float)stride;
            float y = ((float)(cell / (size_t)columns) + 0.5f) * (float)stride;
            fg_face face = {.score = score_at(&s, row), .position = faces->rows + (int32_t)row};
            centered_box(x + real(box, 4 * row) * unit, y + real(box, 4 * row + 1) * unit,
                         side * expf(real(box, 4 * row + 2) * priors->variances[1]),
                         side * expf(real(box, 4 * row + 3) * priors->variances[1]), &face);
            offset_landmarks(landmarks, row, x, y, unit, &face);
            add_face(faces, &face);
        }
    }
    faces->rows += (int32_t)rows;
    return FG_OK;
}

/* ---------------------------------------------------------------- suppression */

static float area(const float *box)
{
    float width = box[2] - box[0], height = box[3] - box[1];
    return width > 0 && height > 0 ? width * height : 0;
}

static bool overlaps(const float *a, const float *b, float iou)
{
    float shared[4] = {a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1], a[2] < b[2] ? a[2] : b[2],
                       a[3] < b[3] ? a[3] : b[3]};
    float intersection = area(shared);
    return intersection > iou * (area(a) + area(b) - intersection);
}

int fg_nms(fg_faces *faces, float iou, int limit)
{
    int status = check_faces(faces);
    if (status != FG_OK)
        return status;
    if (!(iou >= 0 && iou <= 1) || limit < 0)
        return FG_ERANGE;
    fg_face *items = faces->items;
    /* Heap sort: in place, no recursion, n log n whatever the order. */
    for (int32_t i = faces->count / 2 - 1; i >= 0; i--)
        sift_down(items, faces->count, i);
    for (int32_t end = faces->count - 1; end > 0; end--) {
        swap(&items[0], &items[end]);
        sift_down(items, end, 0);
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < faces->count && kept < limit; i++) {
        bool keep = true;
        for (int32_t j = 0; j < kept && keep; j++)
            keep = !overlaps(items[j].box, items[i].box, iou);
        if (keep) {
            if (kept != i)
                items[kept] = items[i];
            kept++;
        }
    }
    faces->count = kept;
    return FG_OK;
}

int fg_scale_faces(fg_faces *faces, float factor)
{
    int status = check_faces(faces);
    if (status != FG_OK)
        return status;
    if (!(factor > 0 && isfinite(factor)))
        return FG_ERANGE;
    for (int32_t i = 0; i < faces->count; i++) {
        for (int j = 0; j < 4; j++)
            faces->items[i].box[j] *= factor;
        for (int j = 0; j < 10; j++)
            faces->items[i].landmarks[j] *= factor;
    }
    return FG_OK;
}

/* ---------------------------------------------------------------- similarity transform */

int fg_similarity(const float *src, const float *dst, int n, double *m)
{
    if (!src || !dst || !m)
        return FG_ENULL;
    if (n < 2 || n > FG_MAX_POINTS)
        return FG_ERANGE;
    double sx = 0, sy = 0, dx = 0, dy = 0;
    for (int i = 0; i < 2 * n; i++)
        if (!(fabsf(src[i]) <= 1e6f && fabsf(dst[i]) <= 1e6f))
            return FG_ERANGE;
    for (int i = 0; i < n; i++) {
        sx += (double)src[2 * i];
        sy += (double)src[2 * i + 1];
        dx += (double)dst[2 * i];
        dy += (double)dst[2 * i + 1];
    }
    sx /= n;
    sy /= n;
    dx /= n;
    dy /= n;
    /* dst - mean = [a -b; b a] (src - mean), least squares. */
    double a = 0, b = 0, spread = 0, extent = 0;
    for (int i = 0; i < n; i++) {
        double px = (double)src[2 * i] - sx, py = (double)src[2 * i + 1] - sy;
        double qx = (double)dst[2 * i] - dx, qy = (double)dst[2 * i + 1] - dy;
        a += px * qx + py * qy;
        b += px * qy - py * qx;
        spread += px * px + py * py;
        extent += qx * qx + qy * qy;
    }
    /* Nothing to go by: all points in one place (closer than 1/1000), or no rotation explains even 1 % of them. */
    double fit = a * a + b * b;
    if (!(spread > n * 1e-6 && extent > n * 1e-6 && fit > 1e-4 * spread * extent))
        return FG_EDEGENERATE;
    /* The inverse of (a, b) / spread. */
    double c = a * spread / fit, s = b * spread / fit;
    m[0] = c;
    m[1] = s;
    m[2] = sx - c * dx - s * dy;
    m[3] = -s;
    m[4] = c;
    m[5] = sy + s * dx - c * dy;
    return FG_OK;
}

/* ---------------------------------------------------------------- pose */

/*
 * The mean face, x to the right, y down, z towards the camera, in pixels of the ArcFace template: its five points made
 * symmetrical, the nose tip 16 and the mouth corners 3 in front of the eyes (about 29 and 5 mm at an eye distance of
 * 63 mm).
 */
static const double mean_face[5][3] = {{-17.6, -20.1, 0}, {17.6, -20.1, 0}, {0, 0, 16}, {-14.6, 20.6, 3}, {14.6, 20.6, 3}};

int fg_pose(const float *landmarks, size_t size, double *pose)
{
    static const double degrees = 57.295779513082323;
    if (!landmarks || !pose)
        return FG_ENULL;
    if (size != 10 * sizeof(float))
        return FG_ESIZE;
    for (int i = 0; i < 10; i++)
        if (!(fabsf(landmarks[i]) <= 1e6f))
            return FG_ERANGE;
    double model[5][3], mean[3] = {0}, center[2] = {0};
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 3; j++)
            mean[j] += mean_face[i][j] / 5;
        center[0] += (double)landmarks[2 * i] / 5;
        center[1] += (double)landmarks[2 * i + 1] / 5;
    }
    /*
     * Normal equations: (sum X X^T) I = sum X x, where X are the model's points. The model is symmetrical, so its
     * second-moment matrix is diag(xx) and a 2x2 block in y and z.
     */
    double xx = 0, yy = 0, yz = 0, zz = 0, right[2][3] = {{0}};
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 3; j++)
            model[i][j] = mean_face[i][j] - mean[j];
        xx += model[i][0] * model[i][0];
        yy += model[i][1] * model[i][1];
        yz += model[i][1] * model[i][2];
        zz += model[i][2] * model[i][2];
        for (int k = 0; k < 2; k++)
            for (int j = 0; j < 3; j++)
                right[k][j] += model[i][j] * ((double)landmarks[2 * i + k] - center[k]);
    }
    double determinant = yy * zz - yz * yz, r[2][3], length[2];
    for (int k = 0; k < 2; k++) {
        r[k][0] = right[k][0] / xx;
        r[k][1] = (right[k][1] * zz - right[k][2] * yz) / determinant;
        r[k][2] = (right[k][2] * yy - right[k][1] * yz) / determinant;
        length[k] = sqrt(r[k][0] * r[k][0] + r[k][1] * r[k][1] + r[k][2] * r[k][2]);
        if (!(length[k] > 1e-3)) /* a face smaller than a tenth of a pixel */
            return FG_EDEGENERATE;
        for (int j = 0; j < 3; j++)
            r[k][j] /= length[k];
    }
    /* Both rows should be perpendicular; let each give way by half: turn their two bisectors back by 45 degrees. */
    double i[3], j[3], plus = 0, minus = 0;
    for (int k = 0; k < 3; k++) {
        plus += (r[0][k] + r[1][k]) * (r[0][k] + r[1][k]);
        minus += (r[0][k] - r[1][k]) * (r[0][k] - r[1][k]);
    }
    if (!(plus > 1e-6 && minus > 1e-6)) /* all points on a line */
        return FG_EDEGENERATE;
    plus = sqrt(2 * plus);
    minus = sqrt(2 * minus);
    for (int k = 0; k < 3; k++) {
        double u = (r[0][k] + r[1][k]) / plus, v = (r[0][k] - r[1][k]) / minus;
        i[k] = u + v;
        j[k] = u - v;
    }
    /* The third column of the rotation is where the nose points: (i[2], j[2], k[2]), k = i x j. */
    double kz = i[0] * j[1] - i[1] * j[0];
    double up = -j[2] < -1 ? -1 : -j[2] > 1 ? 1 : -j[2];
    pose[0] = atan2(i[2], kz) * degrees;
    pose[1] = asin(up) * degrees;
    pose[2] = atan2(j[0], j[1]) * degrees;
    return FG_OK;
}
