"""Hostile texts in a review pack: they are read as text, wherever they come from."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from facegate import Credential, Policy, open_gate
from facegate._declaration import Declaration
from facegate._new_gate import create_gate
from facegate._pack._document import table
from facegate._pack._html import Html, clean, style, tag
from facegate_convert._bundle_writer import write_bundle
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore

SIGNER = SigningKey.from_seed(bytes(range(32)))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;</style></svg>"


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep it."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Keep it."""
        self.text.append(data)


def _declaration():
    """That of a gate for people."""
    return dataclasses.replace(
        Declaration.demonstration(), purpose="entrance", legal_basis="explicit_consent", place="a test's own gate"
    )


def check_harmless(text):
    """No script, no handler, nothing fetched; links stay in the page."""
    page = Page(text)
    assert not {name for name, _ in page.elements} & {"script", "img", "iframe", "object", "link", "form", "base"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#")[0] == "#"
        assert "src" not in attributes
    return "".join(page.text)


def test_attack_markup_in_every_text_of_a_gate(clock, pipeline, make_manifest, model_bytes, tmp_path):
    """Declaration, manifest and receivers hold markup: it is read as text, in the page and in the drawing."""
    plain = make_manifest("detector", "recognizer", "liveness")
    models = tuple(
        dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, licence=HOSTILE)) for m in plain.models
    )
    manifest = dataclasses.replace(plain, models=models, intended_use=HOSTILE, prohibited_uses=(HOSTILE, "=1+1"))
    write_bundle(tmp_path / "hostile.fgb", manifest, model_bytes, SIGNER)
    answers = dict.fromkeys(("purpose", "place", "operator", "contact", "informed", "alternative"), HOSTILE)
    with open_bundle(tmp_path / "hostile.fgb", trust=TrustStore([SIGNER.verify_key])) as bundle:
        made = create_gate(
            *(tmp_path / "gate", bundle, TrustStore([SIGNER.verify_key]), Policy(fmr=1e-3)),
            device_id="door-1",
            declaration=dataclasses.replace(_declaration(), **answers),
            clock=clock,
        )

    officer = Credential.load(made.credentials / "privacy_officer.credential")
    with open_gate(tmp_path / "gate", clock=clock, pipeline=pipeline) as gate:
        path = gate.privacy_officer(officer).review_pack(tmp_path / "pack", receivers=["<b>door</b>"])
    files = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    page, drawing = files["index.html"].decode(), files["data-flow.svg"].decode()
    assert HOSTILE in check_harmless(page)
    check_harmless(drawing)
    assert "<b>" not in page + drawing
    (policy,) = [a["content"] for n, a in Page(page).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")

    assert ET.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
    json.loads(files["pack.json"])
    json.loads(files["sbom.cdx.json"])


def test_letters_that_hide_or_turn_text_are_shown_as_replaced():
    """A reader sees that something was there; halves of characters do not keep a page from being written."""
    assert clean("a\u202eb\x00c\ud800d\u2066e") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert tag("p", "\x1b[31m<", title='"\u200f') == '<p title="&quot;\ufffd">\ufffd[31m&lt;</p>'
    assert tag("p", Html("<b>x</b>"), 1, class_="a", data_x=None) == '<p class="a"><b>x</b>1</p>'


def test_a_style_sheet_cannot_end_before_its_end():
    """Only our own goes in unescaped."""
    with pytest.raises(ValueError, match="end tag"):
        style("p{}</style><script>")


def test_attack_formulas_in_tables():
    """What a spreadsheet would run gets an apostrophe; numbers stay numbers."""
    rows = list(
        csv.reader(io.StringIO(table(("a", "b"), [["=HYPERLINK(1)", -1.5], ["+1", None], ["@x", ["a", "b"]]]).decode()))
    )
    assert rows == [["a", "b"], ["'=HYPERLINK(1)", "-1.5"], ["'+1", ""], ["'@x", "a b"]]
