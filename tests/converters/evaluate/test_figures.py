"""The figures of a result against an independent computation with scikit-learn and scipy."""

from __future__ import annotations

import csv
import itertools
import random

import numpy as np
import pytest

from facegate_convert import _evaluate as room
from facegate_convert._evaluate._attributes import read_attributes
from facegate_convert._evaluate._checks import student

stats = pytest.importorskip("scipy.stats")
sklearn = pytest.importorskip("sklearn.metrics")

CLOSE = {"rel": 1e-9, "abs": 1e-9}


def split(scores, labels):
    """(genuine, impostor) of scores and whether each is of the same person."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    return scores[labels], scores[~labels]


def equal_error_rate(labels, scores):
    """Where the ROC that scikit-learn draws, with straight lines, meets FPR = FNR."""
    fpr, tpr, _ = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    gap = (1 - tpr) - fpr
    after = int(np.flatnonzero(gap <= 0)[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return fpr[after - 1] + share * (fpr[after] - fpr[after - 1])


def interval(errors, trials):
    """Clopper and Pearson's interval by scipy."""
    found = stats.binomtest(int(errors), int(trials)).proportion_ci(0.95, method="exact")
    return found.low, found.high


def agree(evaluation, scores, labels):
    """Everything in a result that follows from scores and labels alone, computed otherwise."""
    genuine, impostor = split(scores, labels)
    found = evaluation.to_dict()
    assert (found["comparisons"]["genuine"], found["comparisons"]["impostor"]) == (genuine.size, impostor.size)
    assert found["summary"]["auc"] == pytest.approx(sklearn.roc_auc_score(labels, scores), **CLOSE)
    assert found["summary"]["eer"]["value"] == pytest.approx(equal_error_rate(labels, scores), **CLOSE)
    spread = np.sqrt((genuine.var(ddof=1) + impostor.var(ddof=1)) / 2)
    assert found["summary"]["d_prime"] == pytest.approx((genuine.mean() - impostor.mean()) / spread, **CLOSE)
    for point in found["operating_points"]:
        threshold = point["threshold"]
        false_match, false_non_match = (impostor >= threshold).sum(), (genuine < threshold).sum()
        # The lowest threshold of four decimals that keeps the target: one step lower it would not.
        assert false_match <= point["fmr"] * impostor.size
        assert (impostor >= round(threshold - 1e-4, 4)).sum() > point["fmr"] * impostor.size
        assert round(threshold, 4) == threshold
        for name, errors, trials in (
            ("fmr_measured", false_match, impostor.size),
            ("fnmr", false_non_match, genuine.size),
        ):
            rate = point[name]
            assert (rate["errors"], rate["trials"]) == (errors, trials)
            assert rate["value"] == pytest.approx(errors / trials, **CLOSE)
            assert (rate["low"], rate["high"]) == pytest.approx(interval(errors, trials), **CLOSE)
    curve = found["curve"]
    # The curve's thresholds are scores: a last digit that is rounded otherwise must not decide.
    order = np.asarray(curve["threshold"][:-1]) - 1e-12
    assert curve["fmr"][:-1] == pytest.approx([(impostor >= t).mean() for t in order], **CLOSE)
    assert curve["fnmr"][:-1] == pytest.approx([(genuine < t).mean() for t in order], **CLOSE)
    assert (curve["fmr"][-1], curve["fnmr"][-1]) == (0, 1)  # above every score
    histogram = found["scores"]
    for kind, values in (("genuine", genuine), ("impostor", impostor)):
        assert histogram[kind] == np.histogram(values, histogram["edges"])[0].tolist()


def test_every_two_photographs_of_a_folder(made, evaluate):
    """Features in a folder for each identity: all pairs, computed by scikit-learn from a matrix product."""
    given = made(people=15, each=5, noise=1.4)
    names = sorted(given.vectors)
    pairs = list(itertools.combinations(names, 2))
    scores = [float(np.dot(given.vectors[a].astype(np.float64), given.vectors[b].astype(np.float64))) for a, b in pairs]
    labels = [a.split("/")[0] == b.split("/")[0] for a, b in pairs]
    found = evaluate(given.folder, given.features)
    assert 0.01 < found.summary["eer"]["value"] < 0.4  # the comparison below is of something
    agree(found, scores, labels)
    assert found.comparisons["exact"]


def test_a_note_claims_no_more_than_the_interval_beside_it(made, evaluate):
    """Where few people stand behind many comparisons, the FMR that "is known" is the end of the wide interval."""
    given = made(people=8, each=6)
    found = evaluate(given.folder, given.features, replicates=50)
    point = next(p for p in found.operating_points if p["fmr"] == 1e-4)
    high, independent = point["fmr_measured"]["high"], interval(0, point["fmr_measured"]["trials"])[1]
    claimed = float(point["note"].partition("an FMR of at most ")[2].split()[0])
    assert not point["carried"]
    assert high > 2 * independent
    assert claimed == pytest.approx(high, rel=0.1)
    assert claimed >= high
    assert any(f"at most {claimed:g} " in warning for warning in found.warnings)


def test_pairs_with_folds(made, evaluate):
    """A CSV of pairs with ten folds: figures of all pairs, and accuracies by LFW's protocol, fold by fold."""
    given = made(people=15, each=5, noise=1.4)
    names = sorted(given.vectors)
    rng = random.Random(5)  # noqa: S311 - which pairs, nothing secret
    rows = []
    for fold in range(10):
        same = [p for p in itertools.combinations(names, 2) if p[0][:3] == p[1][:3]]
        other = [p for p in itertools.combinations(names, 2) if p[0][:3] != p[1][:3]]
        rows += [(a, b, "Yes", fold) for a, b in rng.sample(same[fold::10], 10)]
        rows += [(a, b, "No", fold) for a, b in rng.sample(other[fold::10], 10)]
    path = given.folder / "pairs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file_x", "file_y", "Decision", "fold"), *rows])
    found = evaluate(path, given.features)
    scores = np.array([np.dot(given.vectors[a].astype(float), given.vectors[b].astype(float)) for a, b, _, _ in rows])
    labels = np.array([answer == "Yes" for _, _, answer, _ in rows])
    agree(found, scores, labels)
    folds = np.array([fold for _, _, _, fold in rows])
    for fold, told in enumerate(found.folds["folds"]):
        threshold = told["threshold"]
        others = folds != fold
        right = ((scores[others] >= threshold) == labels[others]).mean()
        # No threshold answers more of the other folds rightly.
        assert right == pytest.approx(max(((scores[others] >= t) == labels[others]).mean() for t in scores), **CLOSE)
        assert told["accuracy"] == pytest.approx(((scores[~others] >= threshold) == labels[~others]).mean(), **CLOSE)
    accuracies = [told["accuracy"] for told in found.folds["folds"]]
    assert found.folds["mean"] == pytest.approx(np.mean(accuracies), **CLOSE)
    assert found.folds["standard_error"] == pytest.approx(stats.sem(accuracies), **CLOSE)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 19, 99, 999])
def test_the_interval_of_an_accuracy_is_students(freedom):
    """Ten folds are few: with 1.96 standard errors the interval would be too narrow by an eighth."""
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)
    assert student(0) == np.inf


def test_perfect_folds_prove_no_more_than_their_pairs(made, evaluate):
    """Four pairs without an error have a standard error of nothing; strictly, they do not show 90 %."""
    given = made(people=4, each=2, noise=0.1)
    rows = [("p00/0", "p00/1", "Yes", 1), ("p00/0", "p01/0", "No", 1), ("p02/0", "p02/1", "Yes", 2)]
    rows.append(("p02/0", "p03/0", "No", 2))
    path = given.folder / "pairs.csv"
    listed = "".join(f"{a}.png,{b}.png,{same},{fold}\n" for a, b, same, fold in rows)
    path.write_text(f"file_x,file_y,Decision,fold\n{listed}")
    asked = (room.parse_requirement("accuracy>=0.9"),)
    (lenient,) = evaluate(path, given.features, requirements=asked).checks
    (strict,) = evaluate(path, given.features, requirements=asked, strict=True).checks
    assert (lenient["measured"], lenient["met"]) == (1.0, True)
    assert (strict["measured"], strict["met"]) == (1.0, False)
    assert strict["low"] == pytest.approx(1 - interval(0, 4)[1])


def test_failures_are_counted_never_skipped(made, evaluate):
    """A photograph without a face makes all its genuine comparisons false non-matches in the rate with failures."""
    given = made(people=8, each=4, noise=1.0)
    for name in ("p00/0", "p00/1", "p03/2"):
        np.save(given.features / f"{name}.npy", np.zeros(0, np.float32))
    found = evaluate(given.folder, given.features)
    assert found.failures["detect"]["errors"] == found.failures["enroll"]["errors"] == 3
    assert found.failures["reasons"] == {"no_face": 3}
    assert (found.failures["detect"]["low"], found.failures["detect"]["high"]) == pytest.approx(interval(3, 32))
    lost = 5 + 3  # of person 0 all but one of six pairs, of person 3 three
    assert found.failures["genuine"] == lost
    assert found.comparisons["genuine"] == 8 * 6 - lost
    for point in found.operating_points:
        errors = point["fnmr"]["errors"] + lost
        assert point["fnmr_with_failures"]["errors"] == errors
        assert point["fnmr_with_failures"]["value"] == pytest.approx(errors / 48, **CLOSE)
        assert (point["fnmr_with_failures"]["low"], point["fnmr_with_failures"]["high"]) == pytest.approx(
            interval(errors, 48)
        )


def test_so_few_people_that_nobody_can_be_drawn_anew_have_the_widest_interval(made, evaluate):
    """Three people with eight photographs each: three trials and three pairs, not 84 and 192 comparisons."""
    given = made(people=3, each=8, noise=0.3)
    found = evaluate(given.folder, given.features, replicates=50)
    for point in found.operating_points:
        assert (point["fnmr"]["errors"], point["fnmr"]["trials"]) == (0, 84)
        assert point["fnmr"]["high"] == pytest.approx(interval(0, 3)[1])
        if not point["fmr_measured"]["errors"]:
            assert point["fmr_measured"]["high"] == pytest.approx(interval(0, 3)[1])
        assert "as the people behind them are worth" in point["interval"]


def test_failures_of_one_person_are_no_independent_trials(made, evaluate):
    """Two of twelve people fail altogether: the interval of FNMR with failures is that of people."""
    given = made(people=12, each=4, noise=0.9)
    for name in ("p01", "p07"):
        for number in range(4):
            np.save(given.features / f"{name}/{number}.npy", np.zeros(0, np.float32))
    found = evaluate(given.folder, given.features, replicates=50, fmr=(0.1, 0.05, 0.01))
    for point in found.operating_points:
        told = point["fnmr_with_failures"]
        assert (told["errors"], told["trials"]) == (point["fnmr"]["errors"] + 12, 72)
        assert told["errors"] <= 60
        errors = np.full(12, 0)
        for person in range(12):
            scores = [
                given.vectors[f"p{person:02d}/{a}.png"] @ given.vectors[f"p{person:02d}/{b}.png"]
                for a, b in itertools.combinations(range(4), 2)
            ]
            errors[person] = 6 if person in (1, 7) else sum(score < point["threshold"] for score in scores)
        # The variance of a ratio between clusters (Cochran 1977, 6.3), written out.
        rate = errors.sum() / 72
        variance = 12 / 11 * ((errors - rate * 6) ** 2).sum() / 72**2
        worth = min(rate * (1 - rate) / variance, 72)
        assert told["effective"] == pytest.approx(worth, **CLOSE)
        low, high = interval(told["errors"], 72)
        assert told["low"] < low
        assert told["high"] > high
        assert point["fmr_with_failures"]["high"] == pytest.approx(
            point["fmr_measured"]["high"] * point["fmr_measured"]["trials"] / point["fmr_with_failures"]["trials"],
            **CLOSE,
        )


def test_groups_are_counted_within_and_across(made, evaluate, tmp_path):
    """FMR of each group, of each pair of groups, and FNMR, as counted by hand at the result's threshold."""
    given = made(people=24, each=4, noise=1.4)
    path = tmp_path / "groups.csv"
    groups = {f"p{i:02d}": "abc"[i % 3] for i in range(24)}
    path.write_text("identity,group\n" + "".join(f"{who},{group}\n" for who, group in groups.items()))
    dataset = room.read_dataset(given.folder)
    columns, _ = read_attributes(path, dataset)
    found = evaluate(given.folder, given.features, attributes=columns, group_fmr=0.05)
    (section,) = found.groups
    threshold = section["threshold"]
    counts = {}
    for a, b in itertools.combinations(sorted(given.vectors), 2):
        one, other = a[:3], b[:3]
        accepted = np.dot(given.vectors[a].astype(float), given.vectors[b].astype(float)) >= threshold
        key = (one == other, *sorted((groups[one], groups[other])))
        errors, trials = counts.get(key, (0, 0))
        counts[key] = errors + (accepted != (one == other)), trials + 1
    assert section["cross"]["names"] == ["a", "b", "c"]
    for i, one in enumerate("abc"):
        told = section["groups"][i]
        assert (told["fnmr"]["errors"], told["fnmr"]["trials"]) == counts[True, one, one]
        assert (told["subjects"], told["images"]) == (8, 32)
        assert section["unstated"] == 0
        for j, other in enumerate("abc"):
            rate = section["cross"]["fmr"][i][j]
            assert (rate["errors"], rate["trials"]) == counts[(False, *sorted((one, other)))]
        curve = told["curve"]
        inside = [np.dot(given.vectors[a].astype(float), given.vectors[b].astype(float))
                  for a, b in itertools.combinations(sorted(given.vectors), 2)
                  if groups[a[:3]] == groups[b[:3]] == one and a[:3] != b[:3]]  # fmt: skip
        expected = [(np.array(inside) >= t).mean() for t in curve["threshold"]]
        assert curve["fmr"] == pytest.approx(expected, abs=1e-9)
    worst = max(section["groups"], key=lambda g: g["fmr"]["value"])
    best = min(section["groups"], key=lambda g: g["fmr"]["value"])
    assert section["ratios"]["fmr"]["value"] == pytest.approx(worst["fmr"]["value"] / best["fmr"]["value"], **CLOSE)
    assert section["check"]["verdict"] in ("met", "not met", "cannot be told")


def test_an_attribute_that_changes_between_photographs_of_one_person(made, evaluate, tmp_path):
    """Two people with and without glasses: comparisons of a person across the two are no impostor comparisons."""
    given = made(people=6, each=4, noise=1.2)
    path = tmp_path / "groups.csv"
    names = sorted(given.vectors)
    path.write_text(
        "image,glasses\n" + "".join(f"{n},{'yes' if n.endswith(('0.png', '1.png')) else 'no'}\n" for n in names)
    )
    dataset = room.read_dataset(given.folder)
    columns, _ = read_attributes(path, dataset)
    found = evaluate(given.folder, given.features, attributes=columns)
    (section,) = found.groups
    # Of each person two photographs with, two without: one genuine pair inside each group.
    assert [g["fnmr"]["trials"] for g in section["groups"]] == [6, 6]
    assert [g["fmr"]["trials"] for g in section["groups"]] == [60, 60]
    assert section["cross"]["fmr"][0][1]["trials"] == 6 * 5 * 4


def test_worst_pairs_are_the_worst(made, evaluate):
    """The listed pairs are those with the highest impostor and the lowest genuine scores, named by hash."""
    given = made(people=10, each=4, noise=1.3)
    found = evaluate(given.folder, given.features, worst=5)
    dataset = room.read_dataset(given.folder)
    name = dict(zip(dataset.ids, dataset.names, strict=True))
    scores = {
        frozenset((a, b)): float(np.dot(given.vectors[a].astype(float), given.vectors[b].astype(float)))
        for a, b in itertools.combinations(given.vectors, 2)
    }
    for kind, sign in (("genuine", 1), ("impostor", -1)):
        all_of_kind = sorted(
            sign * s for pair, s in scores.items() if (len({n[:3] for n in pair}) == 1) == (kind == "genuine")
        )
        listed = found.worst[kind]
        assert [sign * row["score"] for row in listed] == pytest.approx(all_of_kind[:5], **CLOSE)
        for row in listed:
            assert scores[frozenset((name[row["a"]], name[row["b"]]))] == pytest.approx(row["score"], **CLOSE)
            assert set(row) == {"a", "b", "score"}


RECOGNIZERS = {
    "zqcnn": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", None),
    "foamliu": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", "imagenet"),
}


@pytest.mark.parametrize("recognizer", RECOGNIZERS)
def test_real_models_on_real_photographs(shared, recognizer, tmp_path):
    """All figures of real recognisers on 300 pairs agree with scikit-learn's and scipy's to 1e-9.

    The independent computation takes the pipeline's templates one by one, as a device makes them, and nothing else.
    """
    from facegate_convert import Options, embedder, load_models  # noqa: PLC0415 - much, for this test only

    file, preprocess = RECOGNIZERS[recognizer]
    detector = shared / "models/scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx"
    both = [
        *load_models(detector, Options(measure_latency=False)),
        *load_models(shared / "models" / file, Options(measure_latency=False, preprocess=preprocess)),
    ]
    pairs = shared / "faces/deepface/master.csv"
    dataset = room.read_dataset(pairs)
    manifest = room.make_manifest(dataset, lawful_basis="a test", pairs=pairs)
    settings = room.Settings(replicates=0)
    source = room.models_source(both, "real models")
    found = room.evaluate(source, dataset, manifest, name="pairs", settings=settings, folder=tmp_path)
    with pairs.open(newline="") as listed:
        rows = list(csv.DictReader(listed))
    with embedder(both) as embed:
        files = {name for row in rows for name in (row["file_x"], row["file_y"])}
        vectors = {name: embed(pairs.parent / name).data.astype(np.float64) for name in files}
    units = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    scores = [float(units[row["file_x"]] @ units[row["file_y"]]) for row in rows]
    agree(found, scores, [row["Decision"] == "Yes" for row in rows])
