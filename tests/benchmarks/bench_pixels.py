"""Frames into model inputs against OpenCV: one process, one thread, the same pixels, repetitions in turn.

Run: python tests/benchmarks/bench_pixels.py [--repeats 300]. Needs opencv-python-headless.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facegate_edge import _kernels as kernels
from facegate_edge._values import Frame, PixelFormat

if TYPE_CHECKING:
    from collections.abc import Callable


def contests() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """For each task: ours, and what OpenCV takes for the same float32 input."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    nv12 = rng.integers(16, 236, (720, 640)).astype(np.uint8)
    matrix = np.array([[2.2, 0.3, 200], [-0.3, 2.2, 100]])
    lut = kernels.make_lut((127.5,) * 3, (1 / 128,) * 3, "float32")
    boxed = kernels.Letterbox(kernels.Target(np.empty((240, 320, 3), np.float32), lut, "RGB"))
    warped = kernels.Warp(kernels.Target(np.empty((112, 112, 3), np.float32), lut, "RGB"))
    frames = {"RGB": Frame(rgb, PixelFormat.BGR), "NV12": Frame(nv12, PixelFormat.NV12)}

    def blob(image: np.ndarray) -> np.ndarray:
        size = (image.shape[1], image.shape[0])
        return cv2.dnn.blobFromImage(image, 1 / 128, size, (127.5,) * 3, swapRB=True)

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    opencv: dict[str, Callable[[], np.ndarray]] = {
        "RGB": lambda: rgb,
        "NV12": lambda: cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12),
    }
    made: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for name, frame in frames.items():
        image = opencv[name]
        made[f"{name} 640x480 letterbox 320x240"] = (
            lambda frame=frame: boxed.run(frame),
            lambda image=image: blob(cv2.resize(image(), (320, 240))),
        )
        made[f"{name} 640x480 warp 112x112"] = (
            lambda frame=frame: warped.run(frame, matrix),
            lambda image=image: blob(cv2.warpAffine(image(), matrix, (112, 112), flags=flags)),
        )
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=300)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'best / median ms':34}{'ours':>15}{'OpenCV':>15}{'ratio of medians':>18}")
    for name, (ours, theirs) in contests().items():
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(args.repeats):
            for taken, run in zip(times, (ours, theirs), strict=True):
                start = time.perf_counter()
                run()
                taken.append((time.perf_counter() - start) * 1e3)
        a, b = (np.array(taken) for taken in times)
        shown = [f"{t.min():.3f} / {np.median(t):.3f}" for t in (a, b)]
        print(f"{name:34}{shown[0]:>15}{shown[1]:>15}{np.median(a) / np.median(b):18.2f}")


if __name__ == "__main__":
    main()
