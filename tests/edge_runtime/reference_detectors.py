"""Detection as a few lines of onnxruntime and numpy: what the runtime's detectors are held against.

Everything is written from the models' own papers and post-processing, independent of the package: the resize is a plain
bilinear one in floating point, the outputs are the ONNX model's own, before any conversion.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort


def letterbox(pixels, size):
    """RGB uint8 (H, W, 3) into the top left of a black square, bilinear; returns whole levels and the scale."""
    height, width = pixels.shape[:2]
    scale = size / max(width, height)
    w, h = round(width * scale), round(height * scale)

    def taps(count, limit):
        at = np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, limit - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, limit - 1), at - low

    y0, y1, fy = taps(h, height)
    x0, x1, fx = taps(w, width)
    p = pixels.astype(np.float64)
    rows = p[y0] * (1 - fy)[:, None, None] + p[y1] * fy[:, None, None]
    square = np.zeros((size, size, 3))
    square[:h, :w] = rows[:, x0] * (1 - fx)[:, None] + rows[:, x1] * fx[:, None]
    return np.rint(square), scale


def centers(size, stride, anchors):
    """The points of a level's cells, each repeated for its anchors."""
    y, x = np.mgrid[0 : size // stride, 0 : size // stride] * stride
    return np.repeat(np.stack([x, y], -1).reshape(-1, 2), anchors, axis=0).astype(float)


def scrfd(outputs, size):
    """Outputs by shape: per stride (rows, 1), (rows, 4) and (rows, 10)."""
    scores, boxes, points = [], [], []
    for stride in (8, 16, 32):
        at = centers(size, stride, 2)
        by_width = {o.shape[-1]: o.reshape(len(at), -1) for o in outputs.values() if o.size % len(at) == 0
                    and o.shape[-2] == len(at)}  # fmt: skip
        d = by_width[4] * stride
        scores.append(by_width[1].ravel())
        boxes.append(np.concatenate([at - d[:, :2], at + d[:, 2:]], axis=1))
        points.append(at[:, None] + by_width[10].reshape(-1, 5, 2) * stride)
    return np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)


def yunet(outputs, size):
    """Outputs cls_S, obj_S, bbox_S and kps_S for each stride S."""
    scores, boxes, points = [], [], []
    for s in (8, 16, 32):
        at = centers(size, s, 1)
        cls, obj = (outputs[f"{name}_{s}"].ravel().clip(0, 1) for name in ("cls", "obj"))
        box = outputs[f"bbox_{s}"].reshape(-1, 4)
        middle, half = at + box[:, :2] * s, np.exp(box[:, 2:]) * s / 2
        scores.append(np.sqrt(cls * obj))
        boxes.append(np.concatenate([middle - half, middle + half], axis=1))
        points.append(at[:, None] + outputs[f"kps_{s}"].reshape(-1, 5, 2) * s)
    return np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)


def retinaface(outputs, size):
    """Three outputs over all priors, told by their width: 4 locations, 2 confidences, 10 landmarks."""
    by_width = {o.shape[-1]: o.reshape(-1, o.shape[-1]) for o in outputs.values()}
    at, sides = [], []
    for stride, min_sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        cells = centers(size, stride, len(min_sizes)) + stride / 2
        at.append(cells)
        sides.append(np.tile(min_sizes, len(cells) // len(min_sizes)))
    at, side = np.concatenate(at), np.concatenate(sides)[:, None]
    middle = at + by_width[4][:, :2] * 0.1 * side
    half = side * np.exp(by_width[4][:, 2:] * 0.2) / 2
    points = at[:, None] + by_width[10].reshape(-1, 5, 2) * 0.1 * side[:, None]
    return by_width[2][:, 1], np.concatenate([middle - half, middle + half], axis=1), points


PREPROCESSING = {
    "scrfd": lambda rgb: (rgb - 127.5) / 128,
    "yunet": lambda rgb: rgb[:, :, ::-1],
    "retinaface": lambda rgb: rgb[:, :, ::-1] - (104, 117, 123),
}
DECODERS = {"scrfd": scrfd, "yunet": yunet, "retinaface": retinaface}


def overlap(box, boxes):
    """Intersection over union of one box with many."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=1)
    return inner / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - inner)


class Reference:
    """A detector run by onnxruntime."""

    def __init__(self, path, family, size=320):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.family, self.size = family, size

    def detect(self, pixels, threshold, iou):
        """Scores (N,), boxes (N, 4), landmarks (N, 5, 2) in pixels of the image, highest score first."""
        square, scale = letterbox(pixels, self.size)
        blob = PREPROCESSING[self.family](square).transpose(2, 0, 1)[None].astype(np.float32)
        names = [o.name for o in self.session.get_outputs()]
        values = self.session.run(names, {self.session.get_inputs()[0].name: np.ascontiguousarray(blob)})
        scores, boxes, points = DECODERS[self.family](dict(zip(names, values, strict=True)), self.size)
        order = np.flatnonzero(scores >= threshold)
        order = order[np.argsort(-scores[order], kind="stable")]
        kept = []
        while len(order):
            kept.append(order[0])
            order = order[1:][overlap(boxes[order[0]], boxes[order[1:]]) <= iou]
        return scores[kept], boxes[kept] / scale, points[kept] / scale
