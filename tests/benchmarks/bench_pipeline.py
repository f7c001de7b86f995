"""This pipeline beside onnxruntime + OpenCV on the same weights and pixels, and beside OpenCV's FaceDetectorYN.

    make bench                      or
    MODELS=... FACES=... python tests/benchmarks/bench_pipeline.py [--rounds 40] [--json]

Everything runs in this one process, interleaved round by round, so that a noisy machine is noisy to all alike. Medians
are printed in milliseconds; the ratios are what to read. Photographs are scaled to fit 640x480 before anything is
measured: the frames of a camera.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import peer

from facegate_convert._convert import Options, convert
from facegate_edge import Frame, Pipeline, PixelFormat, Timings
from facegate_edge._timings import INFERENCE

MODELS = Path(os.environ.get("MODELS", "../shared/models"))
FACES = Path(os.environ.get("FACES", "../shared/faces"))
SCRFD = MODELS / "scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx"
PRELU = MODELS / "mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx"
YUNET = MODELS / "yunet/yunet_n_320_320.onnx"


def photographs(limit=40):
    """640x480 BGR images from the photographs, at most `limit`, evenly chosen."""
    paths = sorted(p for p in (FACES / "deepface").iterdir() if p.suffix == ".jpg")
    images = []
    for path in paths[:: max(1, len(paths) // limit)]:
        image = cv2.imread(str(path))
        ratio = min(640 / image.shape[1], 480 / image.shape[0])
        fitted = cv2.resize(
            image, (round(image.shape[1] * ratio), round(image.shape[0] * ratio)), interpolation=cv2.INTER_AREA
        )
        canvas = np.zeros((480, 640, 3), np.uint8)
        canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
        images.append(canvas)
    return images


def source(*conversions):
    """Converted models as a pipeline takes them, without a file between."""
    by_role = {c.info.role: c for c in conversions}
    manifest = SimpleNamespace(
        name="bench", version="0", models=[c.info for c in conversions],
        model=lambda role: by_role[role].info if role in by_role else None,
    )  # fmt: skip
    return SimpleNamespace(manifest=manifest, model_bytes=lambda role: by_role[role].model)


def converted(detector, recognizer, precision):
    """Both models at a precision, int8 calibrated on the photographs of named people."""
    options = {"precision": precision, "calibration": FACES / "ageitgey", "measure_latency": False}
    first = convert(detector, Options(**options))
    return source(first, convert(recognizer, Options(**options, detector=(first.info, first.model))))


def overlap(a, b):
    """Intersection over union of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def timed(call, *arguments):
    """(milliseconds, result)."""
    start = time.perf_counter_ns()
    result = call(*arguments)
    return (time.perf_counter_ns() - start) / 1e6, result


def compare_pipelines(images, sources, threads, rounds):
    """Medians of detect, align + embed and the whole frame (with one face), and the agreement with the peer."""
    theirs = SimpleNamespace(
        detector=peer.Scrfd(SCRFD, threads=threads), embedder=peer.Embedder(PRELU, (0,) * 3, (1,) * 3, threads)
    )
    ours = {name: Pipeline(each, threads=threads, score_threshold=0.5) for name, each in sources.items()}
    cv2.setNumThreads(threads)
    spent = {name: {"detect": [], "embed": [], "frame": []} for name in ("onnxruntime + OpenCV", *ours)}
    agreement = {name: {"iou": [], "cosine": [], "cosine_large": [], "found": 0, "faces": 0} for name in ours}
    frames = [Frame(image, PixelFormat.BGR) for image in images]
    for pipeline in ours.values():
        pipeline.warm_up()
    for turn in range(-1, rounds):  # round -1 warms everything up and is not counted
        image, frame = images[turn % len(images)], frames[turn % len(images)]

        detect_ms, (boxes, points, _) = timed(theirs.detector.detect, image)
        if not len(boxes):
            continue
        embed_ms, reference = timed(theirs.embedder.embed, image, points[0])
        record(spent["onnxruntime + OpenCV"], detect_ms, embed_ms, turn)
        for name, pipeline in ours.items():
            detect_ms, found = timed(pipeline.detect, frame)
            tally = agreement[name]
            tally["faces"] += 1
            face = max(found, key=lambda f: overlap(f.box, boxes[0]), default=None)
            if face is None or overlap(face.box, boxes[0]) < 0.5:
                continue
            embed_ms, template = timed(pipeline.embed, frame, face)
            record(spent[name], detect_ms, embed_ms, turn)
            vector = template.data.astype(np.float64)
            tally["found"] += 1
            tally["iou"].append(overlap(face.box, boxes[0]))
            # Faces over three times the input's size are sampled more than once here, on purpose (docs/adr/0009).
            once = np.linalg.norm(peer.umeyama(points[0], peer.LANDMARKS)[0, :2]) > 1 / 3
            cosine = float(vector @ reference / np.linalg.norm(vector))
            tally["cosine" if once else "cosine_large"].append(cosine)
    for pipeline in ours.values():
        pipeline.close()
    return spent, agreement


def record(spent, detect_ms, embed_ms, turn):
    """Keep a turn's times."""
    if turn >= 0:
        spent["detect"].append(detect_ms)
        spent["embed"].append(embed_ms)
        spent["frame"].append(detect_ms + embed_ms)


def compare_yunet(images, precision_sources, threads, rounds):
    """Medians of YuNet's detection by OpenCV's FaceDetectorYN and by this pipeline, at 320x320."""
    cv2.setNumThreads(threads)
    try:
        theirs = cv2.FaceDetectorYN.create(str(YUNET), "", (320, 320), 0.6, 0.4)
    except cv2.error as error:
        return None, f"this OpenCV refuses the file: {str(error).splitlines()[0]}"
    ours = {name: Pipeline(each, threads=threads, score_threshold=0.6) for name, each in precision_sources.items()}
    spent = {name: [] for name in ("FaceDetectorYN", *ours)}
    ious = {name: [] for name in ours}
    frames = [Frame(image, PixelFormat.BGR) for image in images]

    def opencv(image):
        # FaceDetectorYN takes its own input size, so the letterbox is the caller's work there
        square = np.zeros((320, 320, 3), np.uint8)
        square[:240] = cv2.resize(image, (320, 240))
        faces = theirs.detect(square)[1]
        return [] if faces is None else faces[:, :4] * 2

    for turn in range(-1, rounds):
        ms, boxes = timed(opencv, images[turn % len(images)])
        if turn >= 0:
            spent["FaceDetectorYN"].append(ms)
        for name, pipeline in ours.items():
            ms, found = timed(pipeline.detect, frames[turn % len(images)])
            if turn >= 0:
                spent[name].append(ms)
            for x, y, w, h in boxes[:1]:
                ious[name].append(max((overlap(f.box, (x, y, x + w, y + h)) for f in found), default=0.0))
    for pipeline in ours.values():
        pipeline.close()
    return spent, ious


def share(images, each, turns=60):
    """How much of a frame with one face is not inference, on one thread, as the pipeline's own recorder sees it."""
    timings = Timings()
    with Pipeline(each, threads=1, score_threshold=0.5, timings=timings) as pipeline:
        pipeline.warm_up()
        usable = [f for f in (Frame(i, PixelFormat.BGR) for i in images) if len(pipeline.detect(f)) == 1]
        for turn in range(turns):
            frame = usable[turn % len(usable)]
            timings.begin()
            pipeline.embed(frame, pipeline.detect(frame)[0])
            timings.end()
    stages = {stage: statistics.median(spent) / 1e6 for stage, spent in timings.stages.items() if any(spent)}
    inference = [sum(turn) for turn in zip(*(timings.stages[stage] for stage in INFERENCE), strict=True)]
    rest = [1 - model / whole for model, whole in zip(inference, timings.totals, strict=True)]
    return stages, statistics.median(rest)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    images = photographs()
    precisions = ("float32", "int8")
    scrfd = {p: converted(SCRFD, PRELU, p) for p in precisions}
    yunet = {p: converted(YUNET, PRELU, p) for p in precisions}
    gc.collect()
    result = {"threads": {}}
    for threads in (1, 2):
        spent, agreement = compare_pipelines(images, scrfd, threads, arguments.rounds)
        medians = {n: {s: statistics.median(v) for s, v in stages.items()} for n, stages in spent.items()}
        base = medians["onnxruntime + OpenCV"]
        result["threads"][threads] = {
            "median_ms": medians,
            "ratio": {n: {s: v / base[s] for s, v in m.items()} for n, m in medians.items() if n in precisions},
            "agreement": {
                n: {
                    "faces": a["faces"], "found": a["found"],
                    "iou_min": min(a["iou"]), "iou_median": statistics.median(a["iou"]),
                    "cosine_min": min(a["cosine"]), "cosine_median": statistics.median(a["cosine"]),
                    "large": len(a["cosine_large"]), "cosine_large_min": min(a["cosine_large"], default=None),
                }
                for n, a in agreement.items()
            },
        }  # fmt: skip
        times, ious = compare_yunet(images, yunet, threads, arguments.rounds)
        if times is None:
            result["threads"][threads]["yunet"] = ious
            continue
        base = statistics.median(times["FaceDetectorYN"])
        result["threads"][threads]["yunet"] = {
            "median_ms": {n: statistics.median(v) for n, v in times.items()},
            "ratio": {n: statistics.median(times[n]) / base for n in precisions},
            "iou_median": {n: statistics.median(v) for n, v in ious.items()},
        }
    result["not_inference"] = {}
    for precision in precisions:
        stages, part = share(images, scrfd[precision])
        result["not_inference"][precision] = {"share": part, "stages_ms": stages}
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def show(result):
    """The result as tables."""
    print("640x480 frames, SCRFD-500M at 320x320 and a MobileFaceNet with PReLU; median ms, ratio to the peer\n")
    for threads, found in result["threads"].items():
        print(f"{threads} thread(s)           detect        align+embed   frame")
        for name, times in found["median_ms"].items():
            ratio = found["ratio"].get(name)
            cells = [f"{times[s]:6.2f} " + (f"{ratio[s]:5.2f}x" if ratio else "      ") for s in times]
            print(f"  {name:20s} {' '.join(cells)}")
        for name, a in found["agreement"].items():
            print(
                f"  {name}: found {a['found']} of {a['faces']}, "
                f"IoU median {a['iou_median']:.3f} min {a['iou_min']:.3f}, "
                f"cosine median {a['cosine_median']:.5f} min {a['cosine_min']:.5f}"
                + (f" ({a['large']} large faces apart: min {a['cosine_large_min']:.5f})" if a["large"] else "")
            )
        yunet = found["yunet"]
        if isinstance(yunet, str):
            print(f"  YuNet: {yunet}")
        else:
            for name, ms in yunet["median_ms"].items():
                ratio = (
                    f"{yunet['ratio'][name]:5.2f}x  IoU {yunet['iou_median'][name]:.3f}"
                    if name in yunet["ratio"]
                    else ""
                )
                print(f"  YuNet-n 320, {name:15s} {ms:6.2f} {ratio}")
        print()
    for precision, found in result["not_inference"].items():
        stages = ", ".join(f"{stage} {ms:.3f}" for stage, ms in found["stages_ms"].items())
        print(f"{precision}: {found['share']:.1%} of a frame with one face is not inference ({stages} ms)")


if __name__ == "__main__":
    main()
