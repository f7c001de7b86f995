"""Bundles for demonstrations only: the mark that nobody gets rid of by building or signing again."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
import zlib

import pytest
from PIL import Image

from facegate import Policy, SigningKey, TrustStore, open_bundle
from facegate.cli import main
from facegate_convert import build, load_models
from facegate_convert._bundle_writer import sign_bundle, write_bundle
from facegate_edge import _archive
from facegate_edge.errors import BundleSignatureError

MAKER = SigningKey.from_seed(bytes(range(64, 96)))
OTHER = SigningKey.from_seed(bytes(range(96, 128)))
ROLES = ("detector", "recognizer", "liveness")


@pytest.fixture(params=ROLES)
def marked(request, tmp_path, make_manifest, model_bytes):
    """A signed bundle of which one model is for demonstrations only."""
    manifest = make_manifest(*ROLES)
    models = tuple(
        dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, demonstration=m.role == request.param))
        for m in manifest.models
    )
    path = tmp_path / "marked.fgb"
    write_bundle(path, dataclasses.replace(manifest, models=models), model_bytes, MAKER)
    return path


def marks_of(make_gate, pipeline, path, signer):
    """The marks of a decision that a gate, which was not told of any demonstration, makes with the bundle."""
    with open_bundle(path, trust=TrustStore([signer.verify_key])) as bundle:
        return make_gate(Policy(), bundle=bundle).recognizer.identify(pipeline.show()).decision.marks


def test_every_decision_is_marked_whatever_the_caller_says(marked, make_gate, pipeline):
    """One demonstration model among three is enough, and the gate's argument cannot take the mark away."""
    assert marks_of(make_gate, pipeline, marked, MAKER) == ("demonstration",)
    with open_bundle(marked, trust=TrustStore([MAKER.verify_key])) as bundle:
        roles = make_gate(Policy(), bundle=bundle, demonstration=False)
        assert roles.recognizer.verify("nobody", pipeline.show()).decision.marks == ("demonstration",)


def test_attack_signing_again_with_another_key(marked, make_gate, pipeline):
    """Who signs the bundle anew signs the mark with it."""
    sign_bundle(marked, OTHER)
    assert marks_of(make_gate, pipeline, marked, OTHER) == ("demonstration",)


def test_attack_building_another_bundle_of_the_models(marked, tmp_path, make_gate, pipeline):
    """A new bundle of the same models, with a name, a version and a key of its own, is for demonstrations as well."""
    again = tmp_path / "door.fgb"
    with open_bundle(marked, development=True) as bundle:
        points = bundle.manifest.operating_points
    models = load_models(marked)
    build(again, models, name="door", version="9.9.9", intended_use="a door", operating_points=points, key=OTHER)
    assert marks_of(make_gate, pipeline, again, OTHER) == ("demonstration",)


def test_attack_cutting_the_mark_out_of_the_manifest(marked):
    """The mark stands in what the signature covers: without it the signature does not fit."""
    with zipfile.ZipFile(marked) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    cut = re.sub(rb',\s*"demonstration": true', b"", contents["manifest.json"])
    assert cut != contents["manifest.json"]
    contents["manifest.json"] = cut
    placed, tail = _archive.layout([_archive.Member(n, len(d), zlib.crc32(d)) for n, d in contents.items()])
    marked.write_bytes(b"".join(header + contents[m.name] for m, header in placed) + tail)
    with pytest.raises(BundleSignatureError, match="changed after signing"):
        open_bundle(marked, trust=TrustStore([MAKER.verify_key]))


def test_a_demonstration_bundle_takes_the_consent_of_one(marked, make_gate, pipeline, consent, faces):
    """Its decisions are marked, so people may be enrolled for a demonstration."""
    person, _, _ = faces
    shown = dataclasses.replace(consent, legal_basis="demonstration")
    with open_bundle(marked, trust=TrustStore([MAKER.verify_key])) as bundle:
        roles = make_gate(Policy(), bundle=bundle)
        assert roles.enroller.enroll("p-1", [pipeline.show(person(1))], shown).enrolled


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_the_command_line_says_it(marked, tmp_path, capsys, command):
    """`bundle inspect` and `bundle verify` say so in text and as JSON, and name the models."""
    MAKER.verify_key.save(tmp_path / "maker.pub")
    trust = ["--trust", str(tmp_path / "maker.pub")] if command == "verify" else []
    assert main(["bundle", command, str(marked), *trust]) == 0
    assert "FOR DEMONSTRATIONS ONLY" in capsys.readouterr().out
    assert main(["bundle", command, str(marked), *trust, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["demonstration"] is True


def test_trying_it_says_so_too(marked, tmp_path, capsys, monkeypatch, pipeline):
    """`facegate try` tells it on stderr, before anybody takes what it shows for more than it is."""
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, **__: pipeline)
    pipeline.detect = lambda _: ()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    photograph = str(tmp_path / "a.png")
    MAKER.verify_key.save(tmp_path / "maker.pub")
    options = ["--bundle", str(marked), "--trust", str(tmp_path / "maker.pub"), "--enroll", f"p-1={photograph}"]
    assert main(["try", *options, photograph]) == 0
    assert "for demonstrations only" in capsys.readouterr().err


def test_other_bundles_are_none(bundle_path, capsys):
    """A bundle of other models is not called a demonstration."""
    assert main(["bundle", "inspect", str(bundle_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["demonstration"] is False
    assert main(["bundle", "inspect", str(bundle_path)]) == 0
    assert "DEMONSTRATION" not in capsys.readouterr().out
