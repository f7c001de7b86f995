"""What quantising costs: the quantizer's plain static int8 beside ours, the same pairs and the same run.

    python tests/benchmarks/bench_quantize.py [--models DIR] [--faces DIR] [--only NAME ...] [--people N] [--json FILE]

Recognisers: three real ones on photographs, calibrated on other photographs (and once on rendered faces), and the
reference recogniser on rendered people, calibrated on others. As photographs are few and easy, every face is compared
in nine versions (as it is, shrunk to 32 and to 20 pixels, blurred, turned both ways, noisy, dark, of low contrast),
each with each of the other photograph's, which gives the thousands of comparisons that an FMR of 1e-3 needs.
"plain" is ai-edge-quantizer's static_wi8_ai8 with its own calibration, float inputs and outputs, PReLU left float.
Detectors: faces that a quantised model finds and its float32 model does not, and the other way round.

Exits with 1 if int8 loses more than half of what plain int8 loses, in a recogniser whose plain loss can be told from
none, or more than 0.3 points of accuracy in any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ai_edge_quantizer import qtyping, quantizer, recipe
from PIL import Image, ImageFilter

from facegate.simulation import Identity, draw_portrait, render
from facegate_convert import _measure, load_graph, lower, read_pairs
from facegate_convert._convert import Options, convert
from facegate_convert._families import recognize
from facegate_convert._heads import finish
from facegate_convert._images import list_images
from facegate_convert._interpreter import quiet
from facegate_convert._options import PRESETS
from facegate_convert._quantize import quantize_dynamic, search
from facegate_edge import Aligner, Detector, load_image, make_engine

RECOGNIZERS = {
    "mobilefacenet-foamliu": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", "imagenet"),
    "mobilefacenet-zqcnn": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", None),
    "mobileface-becauseofai": ("mobileface-becauseofai/mobileface_id_v2.onnx", None),
}
DETECTORS = {
    "yunet-n-320": "yunet/yunet_n_320_320.onnx",
    "scrfd-500m-320": "scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx",
    "retinaface-mnet025-320": "retinaface-mnet025/retinaface_mnet025_320.onnx",
}
ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
MIN_FACE = 40
CALIBRATION_SEEDS, TEST_SEEDS = 1_000_000, 2_000_000
MAX_LOSS = 0.3  # points of accuracy


class Net:
    """A recogniser: its graph, its float32 model, and how pixels become its input."""

    def __init__(self, file, preset):
        graph = load_graph(file)
        match = recognize(graph)
        self.graph = finish(graph, match.outputs)
        self.names = {o.source: o.name for o in match.outputs}
        self.model = lower(self.graph, output_names=self.names).model
        normal = match.preprocessing
        mean, scale = PRESETS[preset] if preset else (normal.mean, normal.scale)
        self.mean, self.scale = np.float32(mean), np.float32(scale)
        self.flip = normal.color == "BGR"
        ends = [(pixel - m) * s for m, s in zip(mean, scale, strict=True) for pixel in (0, 255)]
        self.input_range = (min(ends), max(ends))

    def inputs(self, crops):
        """RGB crops 0..255 as the net is fed."""
        return [
            ((np.asarray(c, np.float32)[..., :: -1 if self.flip else 1] - self.mean) * self.scale)[None] for c in crops
        ]

    def search(self, crops, precision):
        """The model of a precision, calibrated on crops."""
        return search(
            self.graph, self.names, self.model, self.inputs(crops), precision=precision, input_range=self.input_range
        ).chosen

    def plain(self, crops):
        """The quantizer's own static int8."""
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            made = quantizer.Quantizer(bytearray(self.model), recipe.static_wi8_ai8())
            for kind in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
                made.update_quantization_recipe(regex=".*", operation_name=kind, algorithm_key="no_quantize")
            samples = {"serving_default": [{"input": value} for value in self.inputs(crops)]}
            return bytes(made.quantize(made.calibrate(samples)).quantized_model)

    def embed(self, model, crops):
        """Unit vectors, float32 (N, D)."""
        (found,) = _measure.run_engine(model, self.inputs(crops)).values()
        found = found.reshape(len(crops), -1)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def versions(crop):
    """The nine versions of an aligned face, uint8 RGB (112, 112, 3)."""
    image = Image.fromarray(crop)
    size, random = image.size, np.random.default_rng(int(crop.astype(np.int64).sum()) % 2**32)

    def shrunk(width):
        small = image.resize((width, width), Image.Resampling.BOX)
        return np.asarray(small.resize(size, Image.Resampling.BILINEAR))

    def turned(degrees, shift):
        return np.asarray(image.rotate(degrees, Image.Resampling.BILINEAR, translate=(shift, 0)))

    values = crop.astype(np.float32)
    noisy = values + random.normal(0, 12, values.shape)
    changed = (noisy, values * 0.45, (values - values.mean()) * 0.5 + values.mean())
    return [
        crop,
        shrunk(32),
        shrunk(20),
        np.asarray(image.filter(ImageFilter.GaussianBlur(2))),
        turned(10, 3),
        turned(-10, -3),
        *(np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in changed),
    ]


def faces_of(paths, detector, info):
    """By path, the aligned faces of a photograph, uint8 RGB, the largest first."""
    raw = replace(info, input=replace(info.input, color="RGB", mean=(0.0,) * 3, scale=(1.0,) * 3))
    buffer = np.zeros(info.input.tensor.shape, np.float32)
    aligner = Aligner(raw, buffer)
    found = {}
    with make_engine(detector.model, threads=1) as engine:
        finder = Detector(detector.info, engine)
        for path in paths:
            frame = load_image(path)
            sides = [(f.box[2:] - f.box[:2], f) for f in finder.detect(frame)]
            found[path] = []
            for _, face in sorted(((s.prod(), f) for s, f in sides if s.min() >= MIN_FACE), key=lambda p: -p[0]):
                aligner.align(frame, face)
                found[path].append(np.rint(buffer[0]).astype(np.uint8))
    return found


def rendered(first, people, each, info):
    """Aligned rendered faces by person, at the landmarks as rendered."""
    raw = replace(info, input=replace(info.input, color="RGB", mean=(0.0,) * 3, scale=(1.0,) * 3))
    buffer = np.zeros(info.input.tensor.shape, np.float32)
    aligner = Aligner(raw, buffer)
    found = []
    for seed in range(first, first + people):
        crops = []
        for shot in range(each):
            picture = render(draw_portrait(Identity.draw(seed), np.random.default_rng([seed, shot])))
            face = picture.faces[0]
            aligner.align(picture.frame, face)
            crops.append(np.rint(buffer[0]).astype(np.uint8))
        found.append(crops)
    return found


def scores(embeddings, genuine, impostor, count):
    """(genuine, impostor) similarities of all versions of the pairs; embeddings are (faces * versions, D)."""
    cube = embeddings.reshape(-1, count, embeddings.shape[1])
    return tuple(np.concatenate([(cube[a] @ cube[b].T).reshape(-1) for a, b in pairs]) for pairs in (genuine, impostor))


def figures(genuine, impostor):
    """Accuracy at the best threshold (both kinds of comparison weigh the same), TPR at FPRs, all in percent."""
    impostor = np.sort(impostor)
    genuine = np.sort(genuine)
    thresholds = np.unique(np.concatenate([genuine, impostor[-len(impostor) // 5 :]]))
    accepted = 1 - np.searchsorted(genuine, thresholds) / len(genuine)
    rejected = np.searchsorted(impostor, thresholds) / len(impostor)
    best = int(np.argmax(accepted + rejected))

    def rate(fpr):
        return 100 * float((genuine > impostor[len(impostor) - 1 - int(fpr * len(impostor))]).mean())

    spread = np.sqrt((genuine.var() + impostor.var()) / 2)
    falsely = 1 - np.searchsorted(impostor, thresholds) / len(impostor)
    crossing = int(np.argmin(np.abs(falsely - (1 - accepted))))
    return {
        "d_prime": float((genuine.mean() - impostor.mean()) / spread),
        "eer": 50 * float(falsely[crossing] + 1 - accepted[crossing]),
        "accuracy": 50 * float(accepted[best] + rejected[best]),
        "threshold": float(thresholds[best]),
        "tpr_1e-2": rate(1e-2),
        "tpr_1e-3": rate(1e-3),
    }


def recognizer(title, net, calibration, people_crops, genuine, impostor, faces):
    """Measure a recogniser's models; rows by name."""
    crops = [version for face in faces for version in versions(face)]
    count = len(crops) // len(faces)
    start = time.perf_counter()
    chosen = {precision: net.search(calibration, precision) for precision in ("int8", "mixed")}
    models = {
        "float32": net.model,
        "plain int8": net.plain(calibration),
        "int8": chosen["int8"].model,
        "int8, rendered": net.search(people_crops, "int8").model if people_crops else None,
        "mixed": chosen["mixed"].model,
        "dynamic": quantize_dynamic(net.model),
    }
    rows = {}
    exact = net.embed(net.model, crops)
    for name, model in models.items():
        if model is None:
            continue
        found = net.embed(model, crops)
        cosines = (found * exact).sum(axis=1)
        rows[name] = {
            **figures(*scores(found, genuine, impostor, count)),
            "p50": float(np.percentile(cosines, 50)),
            "p1": float(np.percentile(cosines, 1)),
            "size": len(model),
            "partitions": _measure.partitions(model),
        }
    print(
        f"\n{title}: {len(faces)} faces, {count} versions, {len(genuine) * count**2:,} genuine and "
        f"{len(impostor) * count**2:,} impostor comparisons; {len(calibration)} faces for calibration; "
        f"{time.perf_counter() - start:.0f} s"
    )
    print(f"  int8: {chosen['int8'].recipe.describe()}\n  mixed: {chosen['mixed'].recipe.describe()}")
    print(
        f"{'':4}{'model':16}{'accuracy':>9}{'at':>7}{'EER':>8}{'dprime':>8}{'TPR 1e-2':>10}{'TPR 1e-3':>10}{'p50':>9}"
        f"{'p1':>8}{'kB':>7}{'pieces':>7}"
    )
    for name, r in rows.items():
        print(
            f"{'':4}{name:16}{r['accuracy']:8.2f}%{r['threshold']:7.3f}{r['eer']:7.2f}%{r['d_prime']:8.3f}"
            f"{r['tpr_1e-2']:9.2f}%{r['tpr_1e-3']:9.2f}%"
            f"{r['p50']:9.4f}{r['p1']:8.4f}{r['size'] / 1000:7.0f}{r['partitions']:7}",
            flush=True,
        )
    return rows


def detector(title, file, photographs, calibration):
    """Faces that float32 and quantised models find, these at the threshold of their conversion; rows by precision."""
    exact = convert(file, Options(measure_latency=False))
    rows = {}
    with make_engine(exact.model, threads=1) as engine:
        reference = Detector(exact.info, engine)
        wanted = {path: reference.detect(load_image(path)) for path in photographs}
    for precision in ("int8", "mixed"):
        start = time.perf_counter()
        options = Options(precision=precision, calibration=calibration, measure_latency=False, allow_drift=True)
        made = convert(file, options)
        took = time.perf_counter() - start
        with make_engine(made.model, threads=1) as engine:
            finder = Detector(made.info, engine)
            found = {path: finder.detect(load_image(path)) for path in photographs}
        rows[precision] = _overlaps(wanted, found) | {
            "threshold": made.info.detector.score_threshold,
            "size": len(made.model),
            "partitions": _measure.partitions(made.model),
            "seconds": took,
        }
    at = exact.info.detector.score_threshold
    print(f"\n{title}: {sum(map(len, wanted.values()))} faces in {len(wanted)} photographs at {at}")
    for name, r in rows.items():
        print(
            f"{'':4}{name:8} missed {r['missed']}, extra {r['extra']}, mean IoU {r['iou']:.3f}, at {r['threshold']:.3f}"
            f"; {r['size'] / 1000:.0f} kB, {r['partitions']} partitions; converted in {r['seconds']:.0f} s",
            flush=True,
        )
    return rows


def _overlaps(wanted, found):
    missed = extra = 0
    overlaps = []
    for path, faces in wanted.items():
        left = list(found[path])
        for face in faces:
            best = max(left, key=lambda other: _iou(face.box, other.box), default=None)
            if best is None or _iou(face.box, best.box) < 0.5:
                missed += 1
                continue
            overlaps.append(_iou(face.box, best.box))
            left = [other for other in left if other is not best]
        extra += len(left)
    return {"missed": missed, "extra": extra, "iou": float(np.mean(overlaps)) if overlaps else 0.0}


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((v[2] - v[0]) * (v[3] - v[1])) for v in (a, b)]
    return shared / (sum(areas) - shared)


def verdict(results):
    """Whether int8 keeps what it promises; says where it does not."""
    kept = True
    for title, rows in results.items():
        if "plain int8" not in rows:
            continue
        lost = {n: rows["float32"]["accuracy"] - rows[n]["accuracy"] for n in ("plain int8", "int8", "mixed")}
        print(f"{title}: points of accuracy lost: " + ", ".join(f"{n} {v:+.2f}" for n, v in lost.items()))
        kept &= lost["int8"] <= max(MAX_LOSS, lost["plain int8"] / 2)
    return kept


def main():
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--faces", type=Path, default=SHARED / "faces")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--people", type=int, default=60, help="rendered people of the reference recogniser's test")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    def asked(name):
        return not arguments.only or name in arguments.only

    reference = ROOT / "converters" / "facegate_convert" / "reference" / "recognizer.onnx"
    info = convert(reference, Options(measure_latency=False)).info
    finder = convert(arguments.models / DETECTORS["yunet-n-320"], Options(measure_latency=False))
    deepface, ageitgey = arguments.faces / "deepface", arguments.faces / "ageitgey"
    results = {}
    people = rendered(CALIBRATION_SEEDS, 48, 1, info)
    people_crops = [crop for crops in people for crop in crops]
    pairs = read_pairs(deepface / "master.csv", deepface, infer=True)
    if any(asked(name) for name in RECOGNIZERS):
        found = faces_of(pairs.images, finder, info)
        place = {path: n for n, path in enumerate(p for p in pairs.images if found[p])}
        faces = [found[path][0] for path in place]
        ends = [
            [
                (place[pairs.images[a]], place[pairs.images[b]])
                for a, b in which
                if pairs.images[a] in place and pairs.images[b] in place
            ]
            for which in (pairs.genuine, pairs.impostor)
        ]
        calibration = [crop for crops in faces_of(list_images(ageitgey), finder, info).values() for crop in crops]
        for name, (file, preset) in RECOGNIZERS.items():
            if asked(name):
                net = Net(arguments.models / file, preset)
                results[name] = recognizer(name, net, calibration, people_crops, *ends, faces)
    if asked("reference"):
        each = 4
        shown = rendered(TEST_SEEDS, arguments.people, each, info)
        faces = [crop for crops in shown for crop in crops]
        owner = [n for n, crops in enumerate(shown) for _ in crops]
        every = [(a, b) for a in range(len(faces)) for b in range(a)]
        genuine = [p for p in every if owner[p[0]] == owner[p[1]]]
        impostor = [p for p in every if owner[p[0]] != owner[p[1]]][::7]
        results["reference"] = recognizer(
            "reference", Net(reference, None), people_crops, None, genuine, impostor, faces
        )
    photographs = list_images(deepface) + list_images(arguments.faces / "no-face")
    for name, file in DETECTORS.items():
        if asked(name):
            results[name] = detector(name, arguments.models / file, photographs, ageitgey)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print()
    return 0 if verdict(results) else 1


if __name__ == "__main__":
    sys.exit(main())
