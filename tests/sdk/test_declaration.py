"""The declaration of intended use, and the purposes that are refused by name."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path

import pytest

from facegate import Declaration, errors, load_declaration
from facegate._declaration import QUESTIONS, blank_declaration, dump_declaration, parse_declaration
from facegate._prohibited import RULES

OFFICE = Declaration(
    purpose="Entrance of the office",
    place="Door of the second floor",
    operator="Example Ltd",
    contact="privacy@example.org",
    legal_basis="explicit_consent",
    informed="Everybody who enters: a sign at the door, a text when they enroll",
    alternative="A badge",
    **{field.name: False for field in dataclasses.fields(Declaration) if field.type == "bool"},
)


def answered(**changes) -> Declaration:
    """The office's declaration with changes."""
    return dataclasses.replace(OFFICE, **changes)


# --- prohibited purposes -------------------------------------------------------------------------------------------

ANSWERS = [
    ("covert_surveillance", {"covert": True}),
    ("covert_surveillance", {"informed": "Nobody"}),
    ("covert_surveillance", {"informed": "no one."}),
    ("covert_surveillance", {"informed": "-"}),
    ("emotion_inference", {"infers_emotion": True}),
    ("gender_inference", {"infers_gender": True}),
    ("trait_inference", {"infers_traits": True}),
    ("persistent_tracking", {"tracking": True}),
    ("scraping", {"scraped_faces": True}),
    ("social_scoring", {"scores_people": True}),
    ("crime_prediction", {"predicts_crime": True}),
    ("law_enforcement_mobile_camera", {"law_enforcement": True, "mobile_camera": True}),
    ("law_enforcement_public_space", {"law_enforcement": True, "public_space": True}),
    ("law_enforcement_mobile_camera", {"operator": "State Police", "mobile_camera": True}),
    ("law_enforcement_mobile_camera", {"law_enforcement": True, "place": "Body-worn camera"}),
    ("law_enforcement_public_space", {"operator": "Sheriff's office", "public_space": True}),
]


@pytest.mark.parametrize(("rule", "changes"), ANSWERS)
def test_a_prohibited_answer_is_refused_by_name(rule, changes):
    """The error names the rule, says what is prohibited and by whom."""
    with pytest.raises(errors.ProhibitedPurposeError, match=f"prohibited purpose {rule}: ") as caught:
        answered(**changes)
    assert caught.value.rule == rule
    assert caught.value.hint
    assert isinstance(caught.value, errors.DeclarationError)


WORDS = [
    ("covert_surveillance", "Covert surveillance of the yard"),
    ("covert_surveillance", "Find thieves with hidden cameras"),
    ("covert_surveillance", "Secretly watching the staff"),
    ("covert_surveillance", "Recognizing visitors without their knowledge"),
    ("covert_surveillance", "COVERT-SURVEILLANCE"),
    ("covert_surveillance", "\uff43overt surveillance"),  # a full-width letter
    ("covert_surveillance", "Watching people secretly"),
    ("emotion_inference", "Emotion analytics"),
    ("emotion_inference", "Lie detection at the counter"),
    ("emotion_inference", "Stress monitoring"),
    ("emotion_inference", "Attentiveness in class"),
    ("gender_inference", "Geschlecht der Besucher"),
    ("trait_inference", "Find protesters"),
    ("persistent_tracking", "Tracking of all employees"),
    ("emotion_inference", "Measure the mood of the queue"),
    ("emotion_inference", "Find angry customers"),
    ("emotion_inference", "Read facial expressions"),
    ("gender_inference", "Gender statistics of visitors"),
    ("gender_inference", "Count men and women"),
    ("gender_inference", "Recognizing sex of visitors"),
    ("trait_inference", "Estimate the age of buyers"),
    ("trait_inference", "Ethnic profiling"),
    ("trait_inference", "Detect people of a religious community"),
    ("trait_inference", "Age estimation at the till"),
    ("persistent_tracking", "Surveillance of the mall"),
    ("persistent_tracking", "Tracking customers through the shop"),
    ("persistent_tracking", "\u00dcberwachung"),
    ("scraping", "Match faces scraped from profiles"),
    ("scraping", "Compare with pictures from the internet"),
    ("social_scoring", "Social credit of tenants"),
    ("crime_prediction", "Predictive policing"),
    ("crime_prediction", "Predict likely offenders"),
    ("law_enforcement_mobile_camera", "Police body cams"),
    ("law_enforcement_mobile_camera", "Law enforcement drone"),
]


@pytest.mark.parametrize(("rule", "purpose"), WORDS)
def test_a_purpose_that_says_it_is_refused_whatever_was_ticked(rule, purpose):
    """A purpose that reads like a prohibited one is refused as that one, and is not repeated in the error."""
    with pytest.raises(errors.ProhibitedPurposeError) as caught:
        answered(purpose=purpose)
    assert caught.value.rule == rule
    assert purpose not in str(caught.value)


@pytest.mark.parametrize(
    "purpose",
    [
        "Entrance of the office",
        "Time recording of employees",
        "Attendance",
        "Boarding of the race track's visitors",
        "Entrance of the parish hall of a religious community",
        "Sign-in at the gentlemen's club",
        "Access for people of the health centre",
        "Locker room of the women's gym",
        "Kiosk",
        "Time tracking of employees",
        "Attendance tracking of students",
        "Office of the parcel tracking team",
        "Pain and stress clinic",
        "Access to the police station's archive",  # fixed camera, not public
        "Check-in at the agency",
        "Zutritt zum B\u00fcro",
        "Recognizing returning members at the reception",
        "Recognizing staff of the health centre",
        "Recognizing members of the women's gym",
        "Entrance of the Crawley office",
        "Reading room of the institute of political science",
    ],
)
def test_an_honest_purpose_is_not_refused(purpose):
    """Words that only resemble a prohibited purpose pass."""
    assert answered(purpose=purpose).purpose == purpose


def test_every_rule_is_refused_by_some_answer_and_has_a_source():
    """No rule is there that nothing can break; each says who prohibits it."""
    assert {rule for rule, _ in ANSWERS} == {rule.name for rule in RULES}
    assert all(rule.source and rule.says for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_law_enforcement_camera_that_is_neither_mobile_nor_public_is_declared():
    """What is not prohibited can be declared, and then stands in every decision."""
    assert answered(law_enforcement=True).law_enforcement
    assert answered(mobile_camera=True).mobile_camera


def test_the_page_names_every_rule_and_question():
    """docs/roles.md tells an operator each rule by its name and its source, and each answer."""
    page = (Path(__file__).parents[2] / "docs" / "roles.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for rule in RULES:
        assert [row for row in rows if row.startswith(f"| `{rule.name}` | {rule.says} |")], rule.name
    for name in QUESTIONS:
        assert [row for row in rows if f"`{name}`" in row.split("|")[1]], name


def test_reading_a_long_purpose_takes_no_longer_than_a_moment():
    """No text makes the words' patterns run away: the worst ones are as long as an answer may be."""
    for text in ("predict a " * 20, "without a " * 20, "track a a " * 20, "infer " * 33, "a" * 200):
        with contextlib.suppress(errors.ProhibitedPurposeError):
            answered(purpose=text[:200].strip(), place=(text * 3)[:500].strip())


# --- the value -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(QUESTIONS))
@pytest.mark.parametrize("value", ["", " ", " x", "a\nb", "\x00", "\u202e", "\ud800", "x" * 501, None, 1, []])
def test_an_answer_that_is_none_is_refused(name, value):
    """Every question must be answered in its kind; a word is no yes, and neither is 1."""
    with pytest.raises(errors.DeclarationError, match=name) as caught:
        answered(**{name: value})
    assert caught.value.hint
    assert not isinstance(caught.value, errors.ProhibitedPurposeError)


def test_the_questions_are_the_fields():
    """What is asked is what is declared, in the same order."""
    assert list(QUESTIONS) == [field.name for field in dataclasses.fields(Declaration)]


def test_equal_declarations_have_equal_ids_and_different_ones_do_not():
    """The id is that of the answers, whatever the file's spaces and order."""
    shuffled = dict(reversed(json.loads(dump_declaration(OFFICE)).items()))
    assert parse_declaration(json.dumps(shuffled, indent=7)).id == OFFICE.id
    assert len(OFFICE.id) == 64
    others = {answered(purpose="Canteen").id, answered(minors=True).id, answered(contact="x").id, OFFICE.id}
    assert len(others) == 4


def test_a_demonstration_declares_itself():
    """What comes with the package is a declaration as any other, of a demonstration."""
    declaration = Declaration.demonstration()
    assert (declaration.purpose, declaration.legal_basis) == ("demonstration", "demonstration")
    assert parse_declaration(dump_declaration(declaration)) == declaration


# --- the file ------------------------------------------------------------------------------------------------------


def text(**changes) -> str:
    """The office's file with changes; None of a name removes it."""
    document = json.loads(dump_declaration(OFFICE))
    for name, value in changes.items():
        document.pop(name) if value is None else document.update({name: value})
    return json.dumps(document)


def test_a_declaration_survives_its_file(tmp_path):
    """What is written is read back, also in the letters of its language."""
    declaration = answered(purpose="Eingang des B\u00fcros", place="\u5165\u53e3")
    path = tmp_path / "declaration.json"
    path.write_text(dump_declaration(declaration), encoding="utf-8")
    assert load_declaration(path) == declaration
    assert "B\u00fcros" in path.read_text(encoding="utf-8")


def test_the_purpose_may_be_given_beside_the_file(tmp_path):
    """One file for many gates, each with its own purpose; checked like the one in the file."""
    path = tmp_path / "declaration.json"
    path.write_text(text(purpose=None), encoding="utf-8")
    assert load_declaration(path, purpose="Canteen").purpose == "Canteen"
    with pytest.raises(errors.ProhibitedPurposeError):
        load_declaration(path, purpose="Emotion recognition")


def test_a_blank_declaration_is_not_one():
    """The form that is printed is refused until it is filled in, naming what is missing."""
    assert json.loads(blank_declaration()).keys() == {"format", *QUESTIONS}
    with pytest.raises(errors.DeclarationError, match="purpose"):
        parse_declaration(blank_declaration())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "format"),
        (text(format="1"), "format"),
        (text(format=True), "format"),
        (text(format=0), "format"),
        (text(format=2), "format 2, this version reads 1"),
        (text(covert=None), "lacks the answer 'covert'"),
        (text(purpose=None), "lacks the answer 'purpose'"),
        (text(extra=1), "'extra'"),
        (text(covert="false"), "covert"),
        (text(covert=0), "covert"),
        ('{"format": 1, "purpose": "a", "purpose": "b"}', "twice"),
    ],
)
def test_a_file_that_is_no_declaration_is_refused(content, problem):
    """A lost line answers nothing, and a misspelled one is not passed over."""
    with pytest.raises(errors.DeclarationError, match=problem) as caught:
        parse_declaration(content)
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """Absent, a folder, far too large: each is said."""
    (tmp_path / "large").write_bytes(b" " * 70_000)
    for name, problem in (("absent", "cannot be read"), (".", "cannot be read"), ("large", "too large")):
        with pytest.raises(errors.DeclarationError, match=problem):
            load_declaration(tmp_path / name)
