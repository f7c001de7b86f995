"""Purposes that codes of conduct and the law prohibit, each with a name, and how a declaration shows one.

A declaration answers a question for each of them; its words are read as well, because somebody who writes "find angry
customers" has said it, whatever was ticked. Words can be chosen to pass: what is declared is signed into every decision
all the same, and that is what holds the operator to it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate.errors import ProhibitedPurposeError

if TYPE_CHECKING:
    from facegate._declaration import Declaration

__all__ = ["RULES", "Rule", "refuse_prohibited"]

_PEOPLE = r"(?:people|persons?|individuals?|visitors?|customers?|shoppers?|guests?|passers by|pedestrians?|faces)"
_WORKERS = r"(?:employees?|staff|workers?|students?|pupils?|children|residents?|tenants?)"
_WATCH = r"(?:watch|record|observ|monitor|identif|recogni|film|surveil|scan)"
# "Recognize" is what every gate does: "recognizing members of the women's gym" infers nothing, "recognizing gender"
# does.
_INFER = (
    r"(?:(?:infer|detect|predict|classif|categori|estimat|guess|profil|analy|measur|count)\w* (?:\w+ ){0,3}|"
    r"(?:recogni|identif|sort|read)\w* (?:(?:the|their|by|peoples?) ){0,2})"
)
_POLICE = re.compile(r"\b(?:police\w*|law enforcement|sheriff\w*|constabular\w*|gendarmer\w*|polizei\w*)\b")
_MOBILE = re.compile(
    r"\b(?:body ?cams?|body ?cameras?|body ?worn|dash ?cams?|drones?|smart ?glasses|"
    r"(?:mobile|hand ?held|wearable|vehicle) (?:cameras?|phones?|devices?)|patrol (?:cars?|vehicles?))\b"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One prohibited purpose.

    Attributes:
        name: what the refusal calls it.
        says: what is prohibited.
        source: who prohibits it.
        words: what a purpose reads like that breaks it; "" if only answers show it.
    """

    name: str
    says: str
    source: str
    words: str = ""


_CODES = "the codes of conduct of face recognition services"

# The first that fits is told: from the plainest to the widest.
RULES: tuple[Rule, ...] = (
    Rule(
        "law_enforcement_mobile_camera",
        "face recognition on a mobile camera used by or for law enforcement",
        _CODES,
    ),
    Rule(
        "law_enforcement_public_space",
        "recognizing people at a distance in public space for law enforcement",
        "EU AI Act, Article 5(1)(h)",
    ),
    Rule(
        "covert_surveillance",
        "recognizing people who do not know of it",
        f"{_CODES}; GDPR, Articles 5(1)(a) and 13",
        rf"covert(?:ly)?|clandestin\w*|undercover|hidden cameras?|spy|spies|spying|heimlich\w*|"
        rf"secret(?:ly)? \w*{_WATCH}\w*|secret surveillance|{_WATCH}\w* (?:\w+ ){{0,3}}(?:secretly|in secret)|"
        rf"without (?:\w+ ){{0,3}}(?:knowledge|knowing|noticing|consent)|unawares?|{_PEOPLE} unaware",
    ),
    Rule(
        "emotion_inference",
        "inferring what people feel",
        f"{_CODES}; EU AI Act, Article 5(1)(f)",
        rf"emotion\w*|moods?|sentiments?|facial expressions?|feelings?|angry|attentiveness|lie detect\w*|"
        rf"(?:smil\w+|stress|attention|boredom|fatigue) (?:detect|monitor|measur|recogni|analy|track|scor)\w*|"
        rf"{_INFER}(?:happ|satisf)\w*",
    ),
    Rule(
        "gender_inference",
        "inferring people's gender",
        _CODES,
        rf"genders?|geschlecht\w*|{_INFER}(?:sex|men|women|males?|females?)",
    ),
    Rule(
        "trait_inference",
        "inferring age, race, religion, politics, health, orientation or the like",
        f"{_CODES}; EU AI Act, Article 5(1)(g)",
        rf"racial\w*|ethnic\w*|skin colou?rs?|sexual orientation|demographics?|protest[eo]rs?|demonstrators|"
        rf"{_INFER}"
        r"(?:ages?|races?|religio\w*|faiths?|politic\w*|health|disab\w*|orientation|personalit\w*)|"
        r"(?:age|race) (?:estimation|inference|detection|recognition|prediction|classification)",
    ),
    Rule(
        "persistent_tracking",
        "following people over time or from place to place",
        _CODES,
        r"surveil\w*|uberwachung\w*|stalk(?:s|ed|ing|ers?)?|"
        rf"(?<!race )track\w* (?:\w+ ){{0,2}}(?:movements?|whereabouts|locations?|{_PEOPLE})|"
        rf"(?<!race )(?<!time )(?<!attendance )(?<!hours )tracking (?:of )?(?:\w+ ){{0,1}}{_WORKERS}|"
        rf"follow\w* {_PEOPLE}",
    ),
    Rule(
        "scraping",
        "faces taken from the internet or from video surveillance",
        "EU AI Act, Article 5(1)(e)",
        r"scrap(?:e|ed|es|ing)|crawl(?:s|ed|ing|ers?)?|(?:from|off) (?:the )?(?:internet|web|social media|cctv)",
    ),
    Rule(
        "social_scoring",
        "scoring people by their behavior or character",
        "EU AI Act, Article 5(1)(c)",
        r"social (?:scor|credit|rating)\w*|trustworthiness",
    ),
    Rule(
        "crime_prediction",
        "predicting who will commit an offence",
        "EU AI Act, Article 5(1)(d)",
        r"predictive policing|criminal profil\w*|"
        r"predict\w* (?:\w+ ){0,3}(?:crimes?|criminals?|offen[cs]es?|offenders?)",
    ),
)
_WORDS = {rule.name: re.compile(rf"\b(?:{rule.words})\b") for rule in RULES if rule.words}
_NOBODY = re.compile(r"(?:nobody|no one|none|no|nothing|not at all|never|n a)?")


def refuse_prohibited(declaration: Declaration) -> None:
    """Refuse a declaration whose answers or words show a prohibited purpose. Raises ProhibitedPurposeError."""
    answers = _answers(declaration)
    words = _plain(declaration.purpose)
    for rule in RULES:
        told = answers.get(rule.name, False)
        pattern = _WORDS.get(rule.name)
        if told or (pattern is not None and pattern.search(words)):
            hint = f"{rule.source}; Facegate is not made for it"
            if not told:
                hint += ". Declare what the gate is for: what it is not for stands in the answers, not in the purpose"
            raise ProhibitedPurposeError(f"prohibited purpose {rule.name}: {rule.says}", rule=rule.name, hint=hint)


def _answers(declaration: Declaration) -> dict[str, bool]:
    words = _plain(f"{declaration.purpose} / {declaration.place} / {declaration.operator}")
    police = declaration.law_enforcement or _POLICE.search(words) is not None
    mobile = declaration.mobile_camera or _MOBILE.search(words) is not None
    return {
        "law_enforcement_mobile_camera": police and mobile,
        "law_enforcement_public_space": police and declaration.public_space,
        "covert_surveillance": declaration.covert or _NOBODY.fullmatch(_plain(declaration.informed)) is not None,
        "emotion_inference": declaration.infers_emotion,
        "gender_inference": declaration.infers_gender,
        "trait_inference": declaration.infers_traits,
        "persistent_tracking": declaration.tracking,
        "scraping": declaration.scraped_faces,
        "social_scoring": declaration.scores_people,
        "crime_prediction": declaration.predicts_crime,
    }


def _plain(text: str) -> str:
    """The words alone: lower case, without accents, one space between them."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", letters))
