"""Who is enrolled and who is a stranger in an open set, and presentation attacks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facegate.simulation import write_photographs
from facegate_convert import _evaluate as room
from facegate_convert._evaluate._gallery import assign_roles
from facegate_convert.cli._evaluate import run as evaluate_run
from facegate_convert.errors import DatasetError, EvaluationError

BASIS = ("--lawful-basis", "people who do not exist")


def test_roles_are_disjoint_and_complete(made):
    """Each photograph is enrolled, or a search for somebody enrolled, or for a stranger; a third are strangers."""
    given = made(people=12, each=4)
    dataset = room.read_dataset(given.folder)
    roles = assign_roles(dataset, np.ones(48, bool), enroll=2)
    together = np.concatenate([roles.gallery, roles.mated, roles.nonmated])
    assert sorted(together.tolist()) == list(range(48))
    enrolled = set(dataset.identity[roles.gallery].tolist())
    assert enrolled == set(dataset.identity[roles.mated].tolist())
    assert not enrolled & set(dataset.identity[roles.nonmated].tolist())
    assert len(enrolled) == 8
    assert np.bincount(dataset.identity[roles.gallery]).max() == 2


def test_roles_follow_from_the_content(made, tmp_path):
    """Other names and another order give the same people the same roles."""
    given = made(people=12, each=4)
    first = room.read_dataset(given.folder)
    renamed = tmp_path / "renamed"
    shutil.copytree(given.folder, renamed)
    for number, person in enumerate(sorted(renamed.iterdir(), reverse=True)):
        person.rename(renamed / f"n{number:02d}")
    second = room.read_dataset(renamed)
    for name in ("gallery", "mated", "nonmated"):
        drawn = [
            {dataset.sha256[i] for i in getattr(assign_roles(dataset, np.ones(48, bool)), name)}
            for dataset in (first, second)
        ]
        assert drawn[0] == drawn[1]


def test_photographs_that_fail_are_searches_that_find_nobody(made):
    """A mated search whose photograph shows no face is a miss; an enrolment takes the next photograph instead."""
    given = made(people=9, each=3)
    dataset = room.read_dataset(given.folder)
    whole = assign_roles(dataset, np.ones(27, bool))
    usable = np.ones(27, bool)
    usable[whole.gallery[0]] = False
    roles = assign_roles(dataset, usable)
    assert roles.gallery.size == whole.gallery.size
    assert roles.failed_mated.size == 1
    nobody = dataset.identity == dataset.identity[whole.gallery[0]]
    roles = assign_roles(dataset, ~nobody)
    assert roles.not_enrolled == 1
    assert roles.failed_mated.size == 2
    assert roles.mated.size + roles.failed_mated.size == whole.mated.size


def test_an_open_set_needs_somebody_to_enroll_and_a_stranger(made):
    """People with one photograph each cannot be searched for."""
    given = made(people=5, each=1)
    dataset = room.read_dataset(given.folder)
    with pytest.raises(EvaluationError, match="too few for an open set"):
        assign_roles(dataset, np.ones(5, bool))


def test_what_cannot_be_identified_does_not_cost_the_other_figures(made, evaluate):
    """People with two photographs, both to be enrolled: identification is not measured, verification is."""
    given = made(people=6, each=2)
    found = evaluate(given.folder, given.features, open_set=True, enroll=2)
    assert "too few for an open set" in found.open_set["not_run"]
    assert any("identification was not measured" in warning for warning in found.warnings)
    assert found.comparisons["genuine"] == 6


def test_identification_as_counted_by_hand(made, evaluate):
    """Rank 1, FPIR and FNIR of a result are those of a plain loop over the probes."""
    given = made(people=15, each=4, noise=1.4)
    found = evaluate(given.folder, given.features, open_set=True, fpir=(0.2,)).open_set
    dataset = room.read_dataset(given.folder)
    roles = assign_roles(dataset, np.ones(60, bool))
    vectors = np.stack([given.vectors[name] for name in dataset.names]).astype(np.float64)
    table = vectors @ vectors[roles.gallery].T
    owners = dataset.identity[roles.gallery]
    (point,) = found["points"]
    hits = [owners[table[i].argmax()] == dataset.identity[i] for i in roles.mated]
    assert found["rank1"]["errors"] == sum(hits)
    assert found["rank1"]["trials"] == roles.mated.size
    alarms = sum(table[i].max() >= point["threshold"] for i in roles.nonmated)
    assert (point["fpir_measured"]["errors"], point["fpir_measured"]["trials"]) == (alarms, roles.nonmated.size)
    found_at = [h and table[i].max() >= point["threshold"] for h, i in zip(hits, roles.mated, strict=True)]
    assert point["fnir"]["errors"] == roles.mated.size - sum(found_at)


@pytest.fixture(scope="module")
def presentations(tmp_path_factory):
    """Live rendered people, prints and replays of them, ten of each, and two pictures of nothing among the prints."""
    folder = tmp_path_factory.mktemp("presentations")
    for number, (name, attack) in enumerate((("live", ""), ("print", "print"), ("replay", "replay"))):
        write_photographs(folder / "made" / name, range(3_310_000, 3_310_010), each=1, attack=attack, seed=number)
        (folder / "set" / name).mkdir(parents=True)
        for path in (folder / "made" / name).rglob("*.png"):
            path.rename(folder / "set" / name / f"{path.parent.name}.png")
    for number in range(2):
        (folder / "set/print" / f"broken{number}.png").write_bytes(b"nothing" + bytes([number]))
    return folder / "set"


def test_presentation_attacks(run, bundle, rendered_people, presentations, tmp_path):
    """APCER of each species, BPCER, the worst species, and what gave no answer; a second run makes nothing anew."""
    arguments = (bundle, rendered_people, "-o", tmp_path / "r", *BASIS, "--replicates", 0, "--liveness", presentations)
    found = run(evaluate_run, *arguments, "--require", "apcer<=1", "--require", "bpcer<=1")
    section = room.load_evaluation(tmp_path / "r").liveness
    species = {s["name"]: s for s in section["species"]}
    assert set(species) == {"print", "replay"}
    assert species["print"]["apnrr"]["trials"] == 12
    assert species["print"]["apnrr"]["errors"] >= 2
    assert section["apcer"]["value"] == max(s["apcer"]["value"] for s in species.values())
    assert species[section["worst"]]["apcer"] == section["apcer"]
    assert found.code == 0
    assert [p["target"] for p in section["points"]] == [0.1, 0.05, 0.01]
    for point in section["points"]:
        assert point["apcer"]["value"] <= point["target"]
        assert point["carried"] is False  # 10 of each species: not even 10 % shows
        assert f"{round(3 / point['target'])} attacks of each species" in point["note"]
        assert point["bpnrr"] == section["bpnrr"]
        assert {s["name"]: s["apnrr"] for s in point["species"]} == {n: s["apnrr"] for n, s in species.items()}
    strict = run(evaluate_run, *arguments, "--liveness-threshold", 0)
    assert room.load_evaluation(tmp_path / "r").liveness["bpcer"]["errors"] == 0
    assert strict.code == 0


def test_presentations_that_cannot_be_used(run, made, bundle, rendered_people, tmp_path):
    """Without live faces, with two folders of them, or for a source that knows no liveness."""
    for names, message in ((("print", "mask"), "0 folders"), (("live", "Real", "print"), "2 folders")):
        folder = tmp_path / "-".join(names)
        for name in names:
            (folder / name).mkdir(parents=True)
            (folder / name / "1.png").write_bytes(name.encode())
        with pytest.raises(DatasetError, match=message):
            run(evaluate_run, bundle, rendered_people, "-o", tmp_path / "r", *BASIS, "--liveness", folder)
    given = made(people=4)
    for name in ("live", "print"):
        (tmp_path / "good" / name).mkdir(parents=True)
        (tmp_path / "good" / name / "1.png").write_bytes(name.encode())
    with pytest.raises(EvaluationError, match="no liveness model"):
        run(evaluate_run, given.features, given.folder, "-o", tmp_path / "r", *BASIS, "--liveness", tmp_path / "good")
