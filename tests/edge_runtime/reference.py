"""The kernels again, in numpy, from the definitions in csrc/facegate.h: slow, and written to be checked by eye."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np

RGB, BGR, GRAY, NV12, NV21, YUYV = range(6)
BLACK, MIRROR, NEAREST = range(3)


def lerp(a, b, w):
    """Between a and b, both in 1/128 level, w in 1/2**15."""
    return a + (((b - a) * w + 16384) >> 15)


def planes(data, fmt):
    """The stored channels as int64 arrays, with how much coarser each is than luma in x and y."""
    data = np.asarray(data, np.int64)
    if fmt in (RGB, BGR):
        order = (0, 1, 2) if fmt == RGB else (2, 1, 0)
        return [(data[:, :, c], 1, 1, 0) for c in order]
    if fmt == GRAY:
        return [(data, 1, 1, 0)] * 3
    if fmt == YUYV:
        return [(data[:, :, 0], 1, 1, 16), (data[:, 0::2, 1], 2, 1, 128), (data[:, 1::2, 1], 2, 1, 128)]
    height = data.shape[0] * 2 // 3
    first, second = data[height:, 0::2], data[height:, 1::2]
    u, v = (first, second) if fmt == NV12 else (second, first)
    return [(data[:height], 1, 1, 16), (u, 2, 2, 128), (v, 2, 2, 128)]


def to_rgb(values, fmt):
    """Three channels of int64 in 1/128 level as uint8 RGB (..., 3)."""
    if fmt in (RGB, BGR, GRAY):
        return np.stack([(v + 64) >> 7 for v in values], -1).astype(np.uint8)
    y, u, v = values[0] - 2048, values[1] - 16384, values[2] - 16384
    rgb = (9539 * y + 13075 * v, 9539 * y - 6660 * v - 3209 * u, 9539 * y + 16525 * u)
    return np.stack([np.clip((c + 524288) >> 20, 0, 255) for c in rgb], -1).astype(np.uint8)


def stored_size(data, fmt):
    """(width, height) in pixels before rotation."""
    height, width = data.shape[:2]
    return width, height * 2 // 3 if fmt in (NV12, NV21) else height


def through_table(rgb, lut, color):
    """Pixels (H, W, 3) as the model sees them."""
    rgb = rgb if color == "RGB" else rgb[..., ::-1]
    return np.stack([lut[c][rgb[..., c]] for c in range(3)], -1)


def letterbox(data, fmt, rotation, width, height):
    """The RGB pixels (height, width, 3) that fg_letterbox looks up, and the scale as a Fraction."""
    stored_w, stored_h = stored_size(data, fmt)
    w, h = (stored_h, stored_w) if rotation in (90, 270) else (stored_w, stored_h)
    scale = min(Fraction(width, w), Fraction(height, h))
    p, q = (width, w) if width * h <= height * w else (height, h)
    assert Fraction(p, q) == scale
    content_w = min(width, max(1, floor(Fraction(2 * w * p + q, 2 * q))))
    content_h = min(height, max(1, floor(Fraction(2 * h * p + q, 2 * q))))
    across = [Fraction((2 * i + 1) * q - p, 2 * p) for i in range(content_w)]
    down = [Fraction((2 * i + 1) * q - p, 2 * p) for i in range(content_h)]
    # The upright axes on the stored ones.
    if rotation == 90:
        xs, ys = down, [stored_h - 1 - x for x in across]
    elif rotation == 180:
        xs, ys = [stored_w - 1 - x for x in across], [stored_h - 1 - y for y in down]
    elif rotation == 270:
        xs, ys = [stored_w - 1 - y for y in down], across
    else:
        xs, ys = across, down

    values = []
    for plane, coarse_x, coarse_y, _ in planes(data, fmt):
        x0, x1, wx = _places(xs, coarse_x, plane.shape[1], 2 * p * coarse_x)
        y0, y1, wy = _places(ys, coarse_y, plane.shape[0], 2 * p * coarse_y)
        rows = lerp(plane[y0] * 128, plane[y1] * 128, wy[:, None])
        value = lerp(rows[:, x0], rows[:, x1], wx[None, :])
        values.append(value.T if rotation in (90, 270) else value)
    out = np.zeros((height, width, 3), np.uint8)
    out[:content_h, :content_w] = to_rgb(values, fmt)
    return out, scale


def _places(coordinates, coarse, n, denominator):
    """Neighbours and weights of coordinates (Fractions over `denominator`) among n samples."""
    first, second, weights = [], [], []
    for coordinate in coordinates:
        at = (coordinate + Fraction(1, 2)) / coarse - Fraction(1, 2)
        at = min(max(at, Fraction(0)), Fraction(n - 1))
        i = floor(at)
        rest = (at - i) * denominator
        assert rest.denominator == 1
        first.append(i)
        second.append(min(i + 1, n - 1))
        weights.append(min(32767, (32768 * int(rest) + denominator // 2) // denominator))
    return np.array(first), np.array(second), np.array(weights, np.int64)


def warp(data, fmt, rotation, matrix, samples, border, width, height):
    """The RGB pixels (height, width, 3) that fg_warp looks up."""
    stored_w, stored_h = stored_size(data, fmt)
    m = [int(v) for v in np.rint(np.asarray(matrix, np.float64).ravel() * 2.0**32)]
    mx, my = m[:3], m[3:]
    # Stored x and y as sign * upright + offset.
    far_x, far_y = (stored_w - 1) << 32, (stored_h - 1) << 32
    if rotation == 90:
        mx, my = my, [-mx[0], -mx[1], far_y - mx[2]]
    elif rotation == 180:
        mx, my = [-mx[0], -mx[1], far_x - mx[2]], [-my[0], -my[1], far_y - my[2]]
    elif rotation == 270:
        mx, my = [-my[0], -my[1], far_x - my[2]], mx
    column, row = np.meshgrid(np.arange(width, dtype=np.int64), np.arange(height, dtype=np.int64))
    channels = planes(data, fmt)
    sums = [np.zeros((height, width), np.int64) for _ in channels]
    for gy in range(samples):
        for gx in range(samples):
            ox, oy = 2 * gx + 1 - samples, 2 * gy + 1 - samples
            x = mx[0] * column + mx[1] * row + mx[2] + mx[0] * ox // (2 * samples) + mx[1] * oy // (2 * samples)
            y = my[0] * column + my[1] * row + my[2] + my[0] * ox // (2 * samples) + my[1] * oy // (2 * samples)
            for total, (plane, coarse_x, coarse_y, black) in zip(sums, channels, strict=True):
                px = (x - (1 << 31)) >> 1 if coarse_x == 2 else x
                py = (y - (1 << 31)) >> 1 if coarse_y == 2 else y
                total[:] += _sample(plane, px, py, border, black)
    grid = samples * samples
    return to_rgb([(2 * s + grid) // (2 * grid) for s in sums], fmt)


def _sample(plane, x, y, border, black):
    wx, wy = (x >> 17) & 32767, (y >> 17) & 32767
    ix, iy = x >> 32, y >> 32

    def at(i, j):
        h, w = plane.shape
        if border == BLACK:
            inside = (i >= 0) & (i < w) & (j >= 0) & (j < h)
            return np.where(inside, plane[np.clip(j, 0, h - 1), np.clip(i, 0, w - 1)], black) * 128
        if border == MIRROR:
            i, j = _mirror(i, w), _mirror(j, h)
        return plane[np.clip(j, 0, h - 1), np.clip(i, 0, w - 1)] * 128

    left = lerp(at(ix, iy), at(ix, iy + 1), wy)
    right = lerp(at(ix + 1, iy), at(ix + 1, iy + 1), wy)
    return lerp(left, right, wx)


def _mirror(i, n):
    if n == 1:
        return np.zeros_like(i)
    i = np.mod(i, 2 * n - 2)
    return np.where(i < n, i, 2 * n - 2 - i)


def luma(rgb):
    """BT.601 luma of uint8 RGB pixels."""
    r, g, b = (rgb[..., c].astype(np.int64) for c in range(3))
    return ((77 * r + 150 * g + 29 * b + 128) >> 8).astype(np.uint8)


def similarity(src, dst):
    """The least-squares similarity src -> dst by a general solver, inverted to (2, 3)."""
    src, dst = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    n = len(src)
    a = np.zeros((2 * n, 4))
    a[0::2] = np.stack([src[:, 0], -src[:, 1], np.ones(n), np.zeros(n)], 1)
    a[1::2] = np.stack([src[:, 1], src[:, 0], np.zeros(n), np.ones(n)], 1)
    c, s, tx, ty = np.linalg.lstsq(a, dst.ravel(), rcond=None)[0]
    return np.linalg.inv(np.array([[c, -s, tx], [s, c, ty], [0, 0, 1]]))[:2]


def umeyama(src, dst):
    """The same by the singular values of the covariance (Umeyama 1991, equations 39-43)."""
    src, dst = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    centered = src - src.mean(0)
    u, singular, vt = np.linalg.svd((dst - dst.mean(0)).T @ centered / len(src))
    signs = np.array([1, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(signs) @ vt
    scale = (singular * signs).sum() / centered.var(0).sum()
    forward = np.eye(3)
    forward[:2, :2], forward[:2, 2] = scale * turn, dst.mean(0) - scale * turn @ src.mean(0)
    return np.linalg.inv(forward)[:2]


def dequantize(array, quantization):
    """A tensor's real values, float32."""
    if quantization is None:
        return np.asarray(array, np.float32)
    difference = array.astype(np.int32) - quantization.zero_point
    return difference.astype(np.float32) * np.float32(quantization.scale)


def _face_column(scores):
    return scores[:, -1]


def decode_scrfd(score, box, points, width, height, stride, anchors, threshold):
    """(boxes, landmarks, scores, rows) of all rows that reach the threshold, in row order; real tensors (rows, C)."""
    cols = -(-width // stride)
    row = np.arange(-(-height // stride) * cols * anchors)
    cell = row // anchors
    center = np.stack([cell % cols, cell // cols], 1).astype(np.float32) * np.float32(stride)
    boxes = np.concatenate([center - box[:, :2] * np.float32(stride), center + box[:, 2:] * np.float32(stride)], 1)
    return _select(_face_column(score), boxes, _points(points, center, np.float32(stride)), threshold)


def decode_yunet(score, objectness, box, points, width, height, stride, threshold):
    """As `decode_scrfd`, for YuNet."""
    cols = -(-width // stride)
    cell = np.arange(-(-height // stride) * cols)
    corner = np.stack([cell % cols, cell // cols], 1).astype(np.float32) * np.float32(stride)
    product = np.clip(_face_column(score), 0, 1) * np.clip(_face_column(objectness), 0, 1)
    # In float64 first: numpy's float32 root is an estimate on 32-bit ARM, in the last bit.
    scores = np.sqrt(product.astype(np.float64)).astype(product.dtype)
    center = corner + box[:, :2] * np.float32(stride)
    with np.errstate(over="ignore", invalid="ignore"):
        half = np.exp(box[:, 2:]) * np.float32(stride) * np.float32(0.5)
    boxes = np.concatenate([center - half, center + half], 1)
    return _select(scores, boxes, _points(points, corner, np.float32(stride)), threshold)


def decode_retinaface(score, box, points, width, height, strides, min_sizes, variances, threshold):
    """As `decode_scrfd`, for RetinaFace."""
    center, side = [], []
    for stride, sizes in zip(strides, min_sizes, strict=True):
        for y in range(-(-height // stride)):
            for x in range(-(-width // stride)):
                for size in sizes:
                    center.append(((x + 0.5) * stride, (y + 0.5) * stride))
                    side.append(size)
    center, side = np.array(center, np.float32), np.array(side, np.float32)[:, None]
    v0, v1 = np.float32(variances[0]), np.float32(variances[1])
    middle = center + box[:, :2] * (side * v0)
    with np.errstate(over="ignore", invalid="ignore"):
        half = side * np.exp(box[:, 2:] * v1) * np.float32(0.5)
    boxes = np.concatenate([middle - half, middle + half], 1)
    return _select(_face_column(score), boxes, _points(points, center, side * v0), threshold)


def _points(points, origin, unit):
    if points is None:
        return np.zeros((len(origin), 5, 2), np.float32)
    return origin[:, None, :] + points.reshape(-1, 5, 2) * np.reshape(unit, (-1, 1, 1))


def _select(scores, boxes, points, threshold):
    with np.errstate(invalid="ignore"):
        keep = (scores >= np.float32(threshold)) & np.isfinite(scores)
    keep &= np.isfinite(boxes).all(1) & np.isfinite(points).all((1, 2))
    rows = np.flatnonzero(keep)
    return boxes[rows], points[rows], scores[rows], rows


def nms(boxes, scores, rows, iou, limit):
    """Indices of the faces that stay, best first."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], rows[i]))
    kept = []
    for i in order:
        if len(kept) == limit:
            break
        if not any(_overlap(boxes[j], boxes[i], iou) for j in kept):
            kept.append(i)
    return kept


def _overlap(a, b, iou):
    def area(box):
        w, h = box[2] - box[0], box[3] - box[1]
        return w * h if w > 0 and h > 0 else np.float32(0)

    shared = np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])
    intersection = area(shared)
    return intersection > np.float32(iou) * (area(a) + area(b) - intersection)


def template(values):
    """int8, the largest magnitude 127, halves to even."""
    values = np.asarray(values, np.float64)
    return np.rint(values * 127.0 / np.abs(values).max()).astype(np.int8)


def search(rows, probe, k, mask=None):
    """Indices and similarities of the k most similar rows, ties by index."""
    wide = rows.astype(np.int64)
    dots = wide @ probe.astype(np.int64)
    squares = (wide * wide).sum(1).astype(np.float64) * float((probe.astype(np.int64) ** 2).sum())
    similarities = dots.astype(np.float64) / np.sqrt(squares)
    chosen = np.arange(len(rows)) if mask is None else np.flatnonzero(mask)
    best = sorted(chosen, key=lambda i: (-similarities[i], i))[:k]
    return np.array(best, np.int32), similarities[best]


def sharpness(plane):
    """Variance of the Laplacian."""
    p = np.asarray(plane, np.int64)
    laplacian = 4 * p[1:-1, 1:-1] - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:]
    return laplacian.var()


def brightness(plane):
    """Mean, dark share, bright share."""
    return plane.mean(), (plane < 32).mean(), (plane >= 224).mean()
