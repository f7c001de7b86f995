"""What a credential opened is of no use once it was revoked: no method of any role goes on."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from facegate import errors

CHECKED = {"checked_by": "passport-seen"}
RIGHTS_CALLS = {
    *("access", "export", "correct", "restrict", "unrestrict", "object_automated", "erase", "withdraw"),
    "close_account",
}


def test_attack_a_label_that_is_given_again_revives_what_it_opened_before(make_gate):
    """Whoever opened a role with a revoked credential has lost it, also when another one gets its label."""
    roles = make_gate()
    before = roles.enroller
    roles.administrator.revoke_credential("enroller")
    again = roles.administrator.add_credential("enroller", "enroller")
    assert roles.gate.enroller(again).people() == ()
    with pytest.raises(errors.RoleError, match="revoked"):
        before.people()
    with pytest.raises(errors.RoleError, match="revoked"):
        before.make_group("staff")


REVOKED = {
    "enroller": {
        "people": (),
        "outdated": (),
        "groups": (),
        "lists": (),
        "faces": ("alice",),
        "consents": ("alice",),
        "members": ("staff",),
        "list_faces": ("guests",),
        "withdraw": ("alice",),
        "remove": ("alice",),
        "remove_face": ("alice", 1),
        "mark_minor": ("alice",),
        "make_group": ("other",),
        "delete_group": ("staff",),
        "join": ("staff", "alice"),
        "leave": ("staff", "alice"),
        "make_list": ("other",),
        "delete_list": ("guests",),
        "remove_from_list": ("guests", 1),
        "record_consent": ("alice", None),
        "enroll": ("carol", [], None),
        "add_face": ("alice", []),
        "add_to_list": ("guests", [], None),
    },
    "reviewer": {
        "queue": (),
        "reports": (),
        "explain": ("x",),
        "report": ("false_match", ["x"]),
        "export_report": ("P-1", "never.zip"),
        "verdict": ("x", "match"),
    },
    "privacy_officer": {
        "requests": (),
        "overdue": (),
        "retention": (),
        "sweep": (),
        "verify_audit": (),
        "audit_head": (),
        "audit_entries": (),
        "decisions": (),
        "request": ("R-1",),
        "held": ("alice",),
        "certify_again": ("alice",),
        "access": ("alice",),
        "export": ("alice", "never.zip"),
        "explain": ("x",),
        "correct": ("alice",),
        "restrict": ("alice",),
        "unrestrict": ("alice",),
        "object_automated": ("alice",),
        "erase": ("alice",),
        "withdraw": ("alice",),
        "close_account": ("alice",),
        "open_request": ("access", "alice"),
        "close_request": ("R-1", "done"),
        "extend_request": ("R-1", 3),
        "purge_audit": (datetime(2020, 1, 1, tzinfo=timezone.utc),),
        "review_pack": ("never.zip",),
    },
    "administrator": {
        "credentials": (),
        "settings": (),
        "set": ("age_limit", 15),
        "add_credential": ("enroller", "desk-9"),
        "revoke_credential": ("reviewer",),
        "accept_clock": (),
        "renew_rotation": (),
        "rotate_key": (),
        "backup": ("never.fgbk", None),
    },
}
NAMED = {
    "open_request": {"checked_by": "passport-seen"},
    "extend_request": {"note": "much to do"},
    "verdict": {"reviewer": "guard-7"},
}


@pytest.mark.parametrize("role", REVOKED)
def test_attack_going_on_with_a_revoked_credential(stored, shows, consent, role):
    """Each method of a role that was opened before refuses, whether it reads or writes, and nothing has changed."""
    roles = stored()
    roles.enroller.make_group("staff")
    roles.enroller.make_list("guests")
    roles.enroller.enroll("alice", [shows(1)], consent, groups=["staff"])
    kept = roles.gate.administrator(roles.administrator.add_credential("administrator", "second"))
    facade = getattr(roles, "officer" if role == "privacy_officer" else role)
    kept.revoke_credential(role)
    methods = {name for name in dir(facade) if not name.startswith("_")}
    assert methods == REVOKED[role].keys()
    before = roles.core.store.db.read("SELECT count(*) FROM audit")
    for name, args in REVOKED[role].items():
        rest = NAMED.get(name, CHECKED if role == "privacy_officer" and name in RIGHTS_CALLS else {})
        with pytest.raises(errors.RoleError, match="revoked"):
            getattr(facade, name)(*args, **rest)
    assert roles.core.store.db.read("SELECT count(*) FROM audit") == before
