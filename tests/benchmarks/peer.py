"""The pipeline that people write in Python today: onnxruntime for the models, OpenCV for the pixels, numpy between.

It does what insightface's Python package does for SCRFD and an ArcFace-style recogniser (blobFromImage, anchor centres
kept between frames, vectorised decoding, numpy NMS, similarity transform by Umeyama, warpAffine), written here so that
both pipelines run on the same weights in one process.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the library is loaded

import onnxruntime as ort

LANDMARKS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def nms(boxes, scores, iou):
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    order = scores.argsort()[::-1]
    keep = []
    while order.size:
        i = order[0]
        keep.append(i)
        rest = order[1:]
        w = np.maximum(0.0, np.minimum(x2[i], x2[rest]) - np.maximum(x1[i], x1[rest]))
        h = np.maximum(0.0, np.minimum(y2[i], y2[rest]) - np.maximum(y1[i], y1[rest]))
        overlap = w * h / (areas[i] + areas[rest] - w * h)
        order = rest[overlap <= iou]
    return keep


class Scrfd:
    """SCRFD with landmarks, two anchors a cell, outputs flattened; grouped by their shapes."""

    def __init__(self, path, size=320, threads=1, threshold=0.5, iou=0.4):
        self.session = session(path, threads)
        self.input = self.session.get_inputs()[0].name
        self.size, self.threshold, self.iou = size, threshold, iou
        self.centers = {}
        names = [o.name for o in self.session.get_outputs()]
        found = self.session.run(names, {self.input: np.zeros((1, 3, size, size), np.float32)})
        self.heads = []
        for stride in (8, 16, 32):
            rows = (size // stride) ** 2 * 2
            head = {}
            for name, value in zip(names, found, strict=True):
                if value.shape[-2] == rows:
                    head[value.shape[-1]] = name
            self.heads.append((stride, head[1], head[4], head[10]))
        self.names = [n for _, *three in self.heads for n in three]

    def detect(self, image):
        height, width = image.shape[:2]
        ratio = min(self.size / width, self.size / height)
        resized = cv2.resize(image, (round(width * ratio), round(height * ratio)))
        square = np.zeros((self.size, self.size, 3), np.uint8)
        square[: resized.shape[0], : resized.shape[1]] = resized
        blob = cv2.dnn.blobFromImage(square, 1 / 128, (self.size, self.size), (127.5, 127.5, 127.5), swapRB=True)
        outs = self.session.run(self.names, {self.input: blob})
        boxes, points, scores = [], [], []
        for i, (stride, *_) in enumerate(self.heads):
            score, box, kps = (o.reshape(-1, o.shape[-1]) for o in outs[3 * i : 3 * i + 3])
            centers = self.centers.get(stride)
            if centers is None:
                n = self.size // stride
                grid = np.stack(np.mgrid[:n, :n][::-1], -1).astype(np.float32)
                centers = self.centers[stride] = np.repeat((grid * stride).reshape(-1, 2), 2, axis=0)
            hit = np.where(score.ravel() >= self.threshold)[0]
            c, d = centers[hit], box[hit] * stride
            boxes.append(np.hstack([c - d[:, :2], c + d[:, 2:]]))
            points.append(c[:, None] + (kps[hit] * stride).reshape(-1, 5, 2))
            scores.append(score.ravel()[hit])
        boxes, points, scores = np.vstack(boxes) / ratio, np.vstack(points) / ratio, np.concatenate(scores)
        keep = nms(boxes, scores, self.iou)
        return boxes[keep], points[keep], scores[keep]


def umeyama(src, dst):
    """Least-squares similarity src -> dst (Umeyama 1991), 2x3."""
    sm, dm = src.mean(0), dst.mean(0)
    s, d = src - sm, dst - dm
    u, sigma, vt = np.linalg.svd(d.T @ s / len(src))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (sigma * sign).sum() / (s**2).sum() * len(src)
    return np.hstack([scale * rotation, (dm - scale * rotation @ sm)[:, None]]).astype(np.float32)


class Embedder:
    """An ArcFace-style recogniser on 112x112."""

    def __init__(self, path, mean=(127.5,) * 3, std=(127.5,) * 3, threads=1):
        self.session = session(path, threads)
        self.input = self.session.get_inputs()[0].name
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    def crop(self, image, points):
        return cv2.warpAffine(image, umeyama(points, LANDMARKS), (112, 112), borderValue=0.0)

    def embed(self, image, points):
        rgb = cv2.cvtColor(self.crop(image, points), cv2.COLOR_BGR2RGB)
        blob = np.ascontiguousarray(((rgb - self.mean) / self.std).transpose(2, 0, 1)[None], np.float32)
        out = self.session.run(None, {self.input: blob})[0].ravel()
        return out / np.linalg.norm(out)
