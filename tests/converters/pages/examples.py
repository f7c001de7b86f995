"""Results as evaluations and conversions write them, small, with every section."""

from __future__ import annotations

from statistics import NormalDist


def rate(errors, trials, low=None, high=None):
    """A measured rate; without an interval, one that is wide enough."""
    value = errors / trials if trials else 0.0
    half = 2 * (max(value, 1 / max(1, trials)) / max(1, trials)) ** 0.5
    return {
        "errors": errors,
        "trials": trials,
        "value": value,
        "low": max(0.0, value - half) if low is None else low,
        "high": min(1.0, value + half) if high is None else high,
        "confidence": 0.95,
    }


def curve(genuine=0.6, impostor=0.05, spread=0.1, points=60):
    """Error rates of two normal distributions."""
    same, other = NormalDist(genuine, spread), NormalDist(impostor, spread)
    threshold = [0.02 + 0.6 * i / points for i in range(points)]
    fnmr = [same.cdf(t) for t in threshold]
    return {
        "threshold": threshold,
        "fmr": [1 - other.cdf(t) for t in threshold],
        "fnmr": fnmr,
        "fnmr_low": [0.8 * v for v in fnmr],
        "fnmr_high": [min(1.0, 1.2 * v) for v in fnmr],
    }


def histogram():
    """Counts in ten bins."""
    return {
        "edges": [i / 10 for i in range(11)],
        "genuine": [0, 0, 0, 1, 2, 10, 60, 110, 90, 27],
        "impostor": [700, 900, 280, 100, 18, 2, 0, 0, 0, 0],
    }


def point(fmr, threshold, fmr_measured, fnmr, *, carried=True, note=""):
    """An operating point."""
    return {
        "fmr": fmr, "threshold": threshold, "fmr_measured": fmr_measured, "fnmr": fnmr,
        "fnmr_with_failures": rate(fnmr["errors"] + 5, fnmr["trials"] + 5), "carried": carried, "note": note,
        "interval": "bootstrap by identity", "threshold_low": threshold - 0.01, "threshold_high": threshold + 0.01,
    }  # fmt: skip


def evaluation():
    """An evaluation's result."""
    names = ("north", "south", "east")
    ratio = {"value": 3.1, "low": 1.4, "high": 6.0, "worst": "east", "best": "north", "confidence": 0.95,
             "verdict": "not met", "why": "even the low end of the interval is above 1.25"}  # fmt: skip
    return {
        "format": "facegate-evaluation",
        "version": 1,
        "created": "2026-11-21T19:15:40Z",
        "source": {"kind": "bundle", "name": "terminal 1.2.0", "id": "3f" * 32, "target": "rpi5", "trusted": True,
                   "signed_by": "589094978e686ee7",
                   "models": [{"role": "recognizer", "family": "arcface", "precision": "int8", "sha256": "7f" * 32,
                               "licence": "Apache-2.0"}]},
        "dataset": {"name": "office", "fingerprint": "ab" * 32, "images": 340, "identities": 41,
                    "lawful_basis": "consent of all", "multi_face": "largest"},
        "problems": {"no_face": 4, "blurred": 2},
        "comparisons": {"genuine": 300, "impostor": 2000, "protocol": "every two photographs", "exact": True},
        "failures": {"detect": rate(4, 340), "enroll": rate(5, 340), "reasons": {"no_face": 4, "low_quality": 1},
                     "genuine": 12, "impostor": 30},
        "scores": histogram(),
        "curve": curve(),
        "operating_points": [
            point(0.01, 0.29, rate(20, 2000), rate(3, 300)),
            point(0.001, 0.36, rate(2, 2000), rate(4, 300), note="FMR 0.001 rests on 2 false matches"),
            point(0.0001, 0.42, rate(0, 2000), rate(9, 300), carried=False, note="needs 30,000 comparisons"),
        ],
        "stated_points": [{"fmr": 0.01, "threshold": 0.3, "fmr_measured": rate(19, 2000), "fnmr": rate(3, 300),
                           "verdict": "cannot be told"}],
        "summary": {"eer": {"value": 0.0048, "low": 0.0031, "high": 0.0069, "threshold": 0.31}, "auc": 0.9998,
                    "d_prime": 5.7},
        "folds": {"mean": 0.9962, "std": 0.0031, "standard_error": 0.001,
                  "folds": [{"accuracy": 0.996, "threshold": 0.31, "pairs": 60, "failed": 1}] * 10},
        "open_set": {"gallery": 30, "mated": 150, "nonmated": 200, "failed_mated": 3, "failed_nonmated": 0,
                     "rank1": rate(147, 150),
                     "curve": {"threshold": curve()["threshold"], "fpir": curve()["fmr"], "fnir": curve()["fnmr"]},
                     "points": [{"fpir": 0.01, "threshold": 0.44, "fpir_measured": rate(2, 200), "fnir": rate(4, 150),
                                 "carried": True, "note": ""}]},
        "groups": [{
            "column": "region", "threshold": 0.36, "fmr": 0.001, "unstated": 2,
            "groups": [{"name": n, "subjects": 12, "images": 90, "fmr": rate(i + 1, 900), "fnmr": rate(2 * i, 90),
                        "curve": curve(0.6 - 0.03 * i), "note": "too few people" if i else ""}
                       for i, n in enumerate(names)],
            "cross": {"names": list(names),
                      "fmr": [[None if {i, j} == {0, 2} else rate(i + j, 700) for j in range(3)] for i in range(3)]},
            "ratios": {"fmr": ratio, "fnmr": ratio | {"value": None, "high": None, "verdict": "cannot be told"}},
            "check": {"rule": "25 %", "verdict": "not met", "why": "FMR"},
        }],
        "liveness": {"threshold": 0.5, "bpcer": rate(3, 60), "worst": "screen",
                     "species": [{"name": "print", "apcer": rate(0, 40)}, {"name": "screen", "apcer": rate(5, 40)}],
                     "curve": {"threshold": [0.0, 0.5, 1.0], "bpcer": [0.0, 0.05, 1.0], "apcer": [1.0, 0.125, 0.0],
                               "species": {"print": [1.0, 0.0, 0.0], "screen": [1.0, 0.125, 0.0]}},
                     "points": [{"target": 0.05, "threshold": 0.6, "worst": "screen", "apcer": rate(2, 40),
                                 "bpcer": rate(6, 60), "carried": False, "note": "60 attacks of each show it"}]},
        "worst": {"genuine": [{"a": "a7aa46dd7ef7", "b": "b95ebd273225", "score": 0.0245}],
                  "impostor": [{"a": "ab04aadfcac4", "b": "f66eb8e7336e", "score": 0.6987}]},
        "checks": [{"require": "fnmr@1e-3<=0.02", "measured": 0.0133, "low": 0.004, "high": 0.03, "met": True,
                    "strict": False, "note": ""}],
        "warnings": ["a model says of itself that it is for demonstrations only"],
        "reproduce": {"facegate": "0.1.0", "seed": 0, "manifest_sha256": "8a" * 32},
    }  # fmt: skip


def gate(name, title, status, measured="", limit="", why=""):
    """A gate's outcome."""
    said = {"measured": measured, "limit": limit, "why": why, "evidence": "48 faces", "option": "--allow-drift"}
    return {"name": name, "title": title, "status": status, "value": None, "threshold": None, "rate": None, **said}


def conversion():
    """A recogniser's conversion."""
    scores = histogram()
    figures = {"cosine_min": 0.968, "cosine_p1": 0.971, "cosine_p50": 0.9952, "error_max": 0.09, "error_mean": 1.1e-5}
    return {
        "format": 1, "source": "net.onnx", "source_sha256": "ab" * 32, "role": "recognizer", "family": "arcface",
        "asked": "auto", "precision": "int8", "via": "own", "target": {"name": "rpi5", "title": "Raspberry Pi 5"},
        "input": "112x112 RGB", "assumptions": ["color order RGB (--color)"], "warnings": ["the licence is unknown"],
        "inputs": "48 inputs held back from calibration", "calibration": "cd" * 32, "calibration_method": "mean ranges",
        "calibration_images": 190, "calibration_inputs": 144, "unreadable": 1, "without_face": 3,
        "parity_float": {"embedding": figures}, "parity": {"embedding": figures},
        "size_source": 4020000, "size_float": 4001000, "size": 1323000, "partitions": 1,
        "latency": {"1": {"float32": 4.6, "int8": 2.3}, "2": {"float32": 2.4, "int8": 1.3}},
        "why": "float16 is twice the size",
        "recipes": [{"text": "int8, mean ranges", "precision": "int8", "error": 0.011, "size": 1323000, "partitions": 1,
                     "chosen": True, "why": "least error"},
                    {"text": "float16", "precision": "float16", "error": 0.0002, "size": 2030000, "partitions": 1,
                     "chosen": False, "why": "larger"}],
        "graph": {"before": {"nodes": 130, "operators": {"Conv": 52, "PRelu": 36},
                             "flow": [["Conv", 3, "64x56x56"], ["PRelu", 1, "64x56x56"], ["Gemm", 1, "128"]]},
                  "after": {"nodes": 149, "operators": {"CONV_2D": 52, "MUL": 36}, "partitions": 1, "outside": {},
                            "flow": [["CONV_2D", 3, "56x56x64"], ["FULLY_CONNECTED", 1, "128"]]}},
        "layers": [{"name": f"conv_{i}", "operator": "CONV_2D", "error": 0.001 * (i + 1), "bytes": 1000 * i,
                    "precision": "float32" if i == 2 else "int8"} for i in range(9)],
        "scores": {"what": "cosine similarity", "labels": {"genuine": "the same person", "impostor": "two people"},
                   "evidence": "300 genuine, 2000 impostor pairs", "source": scores, "model": scores},
        "pairs": [[0.7, 0.71, 1], [0.5, 0.3, 1], [0.1, 0.12, 0], [0.2, 0.18, 0]],
        "curves": {"source": curve(), "model": curve(0.58)},
        "operating_points": {"source": [point(0.01, 0.28, rate(20, 2000), rate(3, 300))],
                             "model": [point(0.01, 0.36, rate(20, 2000), rate(4, 300))]},
        "detections": {"not_run": "for detectors"}, "liveness": {"not_run": "for liveness models"},
        "gates": [gate("drift-p50", "embedding drift, median", "passed", "cosine 0.9952", "at least 0.98"),
                  gate("instructions", "instructions on the target", "not run", why="no emulator is installed here")],
        "operators": [{"operator": "CONV_2D", "count": 52, "float32_ms": 3.1, "ms": 1.9},
                      {"operator": "MUL", "count": 36, "float32_ms": None, "ms": 0.4}],
        "worst": [{"id": "3f9a1c0b2d4e", "what": "cosine to the source's embedding", "value": 0.968}],
        "allowances": [], "refused": None, "machine": {"processor": "x86_64", "cores": 2}, "seconds": 31.4,
    }  # fmt: skip


def detector():
    """A detector's conversion."""
    return conversion() | {
        "role": "detector", "curves": {"not_run": "a detector accepts no people"}, "pairs": {"not_run": "no pairs"},
        "operating_points": {"not_run": "a detector accepts no people"},
        "detections": {
            "photographs": 40, "source_threshold": 0.5, "threshold": 0.484, "threshold_why": "none is missed at it",
            "recall": rate(1, 66), "precision": rate(0, 65), "iou": {"p50": 0.978, "p1": 0.91},
            "landmarks": {"p50": 0.006, "p95": 0.02, "unit": "distance between the eyes"},
            "truth": {"recall": {"source": rate(4, 80), "model": rate(5, 80)},
                      "precision": {"source": rate(1, 77), "model": rate(1, 76)},
                      "landmarks": {"source": {"p50": 0.03, "p95": 0.08}, "model": {"p50": 0.031, "p95": 0.08}}},
        },
    }  # fmt: skip


def liveness():
    """A liveness model's conversion."""
    found = {"bpcer": rate(3, 60), "species": [{"name": "print", "apcer": rate(1, 60)}], "worst": "print"}
    return conversion() | {
        "role": "liveness", "curves": {"not_run": "for recognisers"}, "pairs": {"not_run": "for recognisers"},
        "operating_points": {"not_run": "for recognisers"},
        "liveness": {"threshold": 0.5, "agreement": rate(2, 180), "source": found, "model": found},
    }  # fmt: skip
