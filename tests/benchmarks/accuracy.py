"""Does quantising cost accuracy? The same pairs through onnxruntime and through our models, at every precision.

    python tests/benchmarks/accuracy.py [--models DIR] [--faces DIR]

For each recogniser: onnxruntime in float32 on crops that the runtime aligned (normalised here, in numpy, and compared
as float embeddings), then the whole pipeline of a device (int8 templates) with the model of every precision.
int8 is calibrated on photographs that are in no pair. The largest face of a photograph counts; one without a face is a
failure to enrol, and its pairs are left out for everybody. The photographs are easy; reduced until the largest face is
a few pixels wide, and enlarged again, they are not. Exits with 1 if int8 of a recogniser loses more than half a point
of accuracy at the best threshold, on average over the sets: on 300 pairs one pair is a third of a point.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from facegate_convert import _measure
from facegate_convert._bundles import Model
from facegate_convert._comparisons import read_identities, read_pairs
from facegate_convert._convert import Options, convert
from facegate_convert._operating_point import compare
from facegate_convert._pipeline import embedder
from facegate_edge import Aligner, Detector, Frame, load_image, make_engine

RECOGNIZERS = {
    "mobilefacenet-foamliu": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", "imagenet"),
    "mobilefacenet-zqcnn": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", None),
    "mobileface-becauseofai": ("mobileface-becauseofai/mobileface_id_v2.onnx", None),
}
PRECISIONS = ("float32", "float16", "int8", "mixed", "dynamic")
MAX_LOSS = 0.5  # points


def best_accuracy(genuine, impostor):
    """(accuracy in percent at the best threshold, that threshold), the best taken on the very pairs, as usual."""
    genuine, impostor = np.asarray(genuine), np.asarray(impostor)
    thresholds = np.unique(np.concatenate([genuine, impostor, [1.1]]))
    right = [(genuine >= t).sum() + (impostor < t).sum() for t in thresholds]
    best = int(np.argmax(right))
    return 100 * right[best] / (len(genuine) + len(impostor)), float(thresholds[best])


def true_positive_rate(genuine, impostor, rate):
    """Genuine pairs accepted, in percent, at the lowest threshold that accepts at most `rate` of the impostors."""
    impostor = np.sort(impostor)
    allowed = int(rate * len(impostor))
    return 100 * float((np.asarray(genuine) > impostor[len(impostor) - 1 - allowed]).mean())


def auc(genuine, impostor):
    """Chance that a genuine pair is more similar than an impostor pair, in percent."""
    order = np.searchsorted(np.sort(impostor), genuine)
    return 100 * float(order.mean() / len(impostor))


def largest(faces):
    """The face with the largest box."""
    return max(faces, key=lambda f: float((f.box[2] - f.box[0]) * (f.box[3] - f.box[1])))


def reduced_frames(paths, detector, width):
    """The photographs by path, as if their largest face were `width` pixels wide: made small, and large again."""
    found = {}
    with make_engine(detector.data, threads=2) as engine:
        finder = Detector(detector.info, engine)
        for path in paths:
            frame = load_image(path)
            faces = finder.detect(frame)
            if faces and width:
                box = largest(faces).box
                image = Image.open(path).convert("RGB")
                factor = min(1.0, width / float(box[2] - box[0]))
                small = image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.BOX)
                frame = Frame(np.ascontiguousarray(small.resize(image.size, Image.Resampling.BILINEAR)))
            found[path] = frame
    return found


def raw_crops(frames, detector, info):
    """The largest face of each photograph aligned to the recogniser's input as RGB 0..255, (1, H, W, 3), or None."""
    raw = replace(info, input=replace(info.input, color="RGB", mean=(0.0,) * 3, scale=(1.0,) * 3))
    buffer = np.zeros(info.input.tensor.shape, np.float32)
    aligner = Aligner(raw, buffer)
    found = {}
    with make_engine(detector.data, threads=2) as engine:
        finder = Detector(detector.info, engine)
        for path, frame in frames.items():
            faces = finder.detect(frame)
            if not faces:
                found[path] = None
                continue
            aligner.align(frame, largest(faces))
            found[path] = buffer.copy()
    return found


def reference(source, info, crops, comparisons):
    """(genuine, impostor) cosines of onnxruntime's float embeddings."""
    usable = [path for path in comparisons.images if crops[path] is not None]
    order = {path: place for place, path in enumerate(usable)}
    pixels = [crops[path][..., :: 1 if info.input.color == "RGB" else -1] for path in usable]
    mean, scale = np.float32(info.input.mean), np.float32(info.input.scale)
    (embeddings,) = _measure.run_onnx(source, [(p - mean) * scale for p in pixels], channels_first=True).values()
    embeddings = embeddings.reshape(len(usable), -1)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)

    def cosines(pairs):
        ends = [(comparisons.images[a], comparisons.images[b]) for a, b in pairs]
        return [float(embeddings[order[a]] @ embeddings[order[b]]) for a, b in ends if a in order and b in order]

    return cosines(comparisons.genuine), cosines(comparisons.impostor)


def main():
    """Measure and print; see the module."""
    shared = Path(__file__).resolve().parents[3] / "shared"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--faces", type=Path, default=shared / "faces")
    arguments = parser.parse_args()
    deepface, ageitgey = arguments.faces / "deepface", arguments.faces / "ageitgey"
    people = ageitgey / "knn_examples" / "train"
    pairs = read_pairs(deepface / "master.csv", deepface)
    sets = {
        "deepface": (pairs, ageitgey, 0),
        "deepface, faces of 16 px": (pairs, ageitgey, 16),
        "deepface, faces of 10 px": (pairs, ageitgey, 10),
        "ageitgey": (read_identities(people), deepface, 0),
    }
    quiet = Options(measure_latency=False, allow_drift=True)  # this is what measures it
    converted = convert(arguments.models / "yunet/yunet_n_320_320.onnx", quiet)
    detector = Model(converted.info, converted.model)
    losses = {}
    made = {}  # conversions, by recogniser and calibration photographs
    print(
        f"{'set':26}{'recogniser':26}{'model':14}{'genuine':>8}{'impostor':>9}{'accuracy':>10}{'at':>8}"
        f"{'TPR@1e-2':>10}{'AUC':>8}"
    )
    for title, (comparisons, calibration, width) in sets.items():
        frames = reduced_frames(comparisons.images, detector, width)
        for name, (file, preset) in RECOGNIZERS.items():
            source = arguments.models / file
            options = replace(
                quiet, preprocess=preset, calibration=calibration, detector=(detector.info, detector.data)
            )
            start = time.perf_counter()
            if (name, calibration) not in made:
                made[name, calibration] = {p: convert(source, replace(options, precision=p)) for p in PRECISIONS}
            models = made[name, calibration]
            crops = raw_crops(frames, detector, models["float32"].info)
            rows = {"onnxruntime": reference(source, models["float32"].info, crops, comparisons)}
            for precision, model in models.items():
                with embedder([detector, Model(model.info, model.model)], load=frames.__getitem__) as embed:
                    found = compare(comparisons, embed)
                rows[precision] = (found.genuine, found.impostor)
            accuracies = {}
            for row, (genuine, impostor) in rows.items():
                accuracies[row], threshold = best_accuracy(genuine, impostor)
                print(
                    f"{title:26}{name:26}{row:14}{len(genuine):8}{len(impostor):9}{accuracies[row]:9.2f}%{threshold:8.3f}"
                    f"{true_positive_rate(genuine, impostor, 1e-2):9.2f}%{auc(genuine, impostor):7.2f}%"
                )
            print(
                f"{'':26}{'':26}{found.failed} of {found.images} photographs without a face; "
                f"int8 calibrated on {models['int8'].report.calibration_inputs} faces; cosine to onnxruntime p50 "
                f"{models['int8'].report.parity['embedding']['cosine_p50']:.4f}; {time.perf_counter() - start:.0f} s"
            )
            losses.setdefault(name, []).append(accuracies["float32"] - accuracies["int8"])
    means = {name: sum(values) / len(values) for name, values in losses.items()}
    print("points of accuracy that int8 loses on average: " + ", ".join(f"{n} {v:+.2f}" for n, v in means.items()))
    return int(max(means.values()) > MAX_LOSS)


if __name__ == "__main__":
    sys.exit(main())
