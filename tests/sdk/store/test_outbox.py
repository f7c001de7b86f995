"""The outbox: everything arrives, in order, at least once, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate import Decision, SignedDecision
from facegate._delivery import Delivery
from facegate._sinks._backoff import MAX_RETRY_AFTER, Backoff
from facegate._store._database import Database
from facegate._store._outbox import Outbox
from facegate.errors import (
    DecisionSchemaError,
    GateInUseError,
    OutboxError,
    OutboxTamperedError,
    SinkClosedError,
    SinkError,
    SinkRefusedError,
    StoreConflictError,
    StoreFullError,
    StoreWriteError,
)

from .audit_log import DEVICE, START, STRANGER, Clock, make_database
from .decisions import ListSink, make_signed

KEY = DEVICE.verify_key


class Box:
    """An outbox with so many decisions in it, numbered from 1."""

    def __init__(self, count: int = 0, path=None) -> None:
        self.clock = Clock()
        self.db = make_database(path)
        self.outbox = Outbox(self.db, self.clock, keys=KEY)
        self.sink = ListSink()
        self.signed = [self.put(make_signed(number)) for number in range(1, count + 1)]

    def put(self, signed: SignedDecision, **options) -> SignedDecision:
        """In a transaction of its own."""
        with self.db.transaction() as tx:
            self.outbox.put(tx, signed, **options)
        return signed

    def raw(self, sql: str, *values) -> None:
        """What somebody does who can write to the file."""
        self.db._connection.execute(sql, values)


def test_decisions_are_delivered_in_order_and_once():
    """The oldest first; what the sink has taken is not given to it again."""
    box = Box(5)
    report = box.outbox.deliver(box.sink)
    assert (report.delivered, report.waiting, report.error) == (5, 0, None)
    assert box.sink.taken == [1, 2, 3, 4, 5]
    assert box.sink.ids == [signed.decision.id for signed in box.signed]
    assert box.outbox.deliver(box.sink).delivered == 0


def test_an_empty_outbox_delivers_nothing():
    """And says so."""
    box = Box()
    report = box.outbox.deliver(box.sink)
    assert (report.delivered, report.waiting, report.error, box.sink.taken) == (0, 0, None, [])


def test_a_limit_delivers_no_more():
    """The rest waits."""
    box = Box(5)
    report = box.outbox.deliver(box.sink, limit=2)
    assert (report.delivered, report.waiting, box.sink.taken) == (2, 3, [1, 2])
    assert box.outbox.deliver(box.sink, limit=0).delivered == 0


def test_a_sink_that_fails_is_given_the_same_decision_again():
    """Nothing overtakes a decision that was not taken."""
    box = Box(4)
    box.outbox.deliver(box.sink, limit=1)
    box.sink.fail = SinkError("not now", retry_after=7.0)
    report = box.outbox.deliver(box.sink)
    assert (report.delivered, report.waiting, report.error.retry_after) == (0, 3, 7.0)
    box.outbox.deliver(box.sink)
    assert box.sink.taken == [1, 2, 3, 4]


def test_a_decision_whose_receipt_was_lost_comes_again_with_the_same_id():
    """Killed after the sink has taken it and before it was marked: the receiver sees the id twice."""
    box = Box(3)
    box.sink.fail_after = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        box.outbox.deliver(box.sink)
    box.outbox.deliver(box.sink)
    assert box.sink.taken == [1, 1, 2, 3]
    assert box.sink.ids[0] == box.sink.ids[1] == box.signed[0].decision.id


def test_a_mark_that_cannot_be_written_is_an_error_and_the_decision_comes_again(monkeypatch):
    """A disk that fails loses nothing."""
    box = Box(2)

    def refuse(*_):
        raise StoreWriteError("no")

    with monkeypatch.context() as patch:
        patch.setattr(box.outbox, "_mark", refuse)
        with pytest.raises(StoreWriteError):
            box.outbox.deliver(box.sink)
    assert box.outbox.waiting() == 2
    box.outbox.deliver(box.sink)
    assert box.sink.taken == [1, 1, 2]


def test_a_decision_that_is_rolled_back_never_waits():
    """It belongs to the transaction of what it is about."""
    box = Box(1)

    def work():
        with box.db.transaction() as tx:
            box.outbox.put(tx, make_signed(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert box.outbox.waiting() == 1


EVENTS = st.lists(
    st.sampled_from(["put", "deliver", "deliver one", "fails", "refuses", "killed after", "reopened"]), max_size=30
)


@settings(max_examples=200)
@given(events=EVENTS)
def test_whatever_happens_all_arrive_in_order(events):
    """Any mixture of decisions, failures and kills: what arrives is 1, 2, 3, ... but for a repetition of the last."""
    box = Box(1)
    count = 1
    for event in events:
        if event == "put":
            count += 1
            box.put(make_signed(count))
            continue
        if event == "reopened":
            box.outbox = Outbox(box.db, box.clock, keys=KEY)
            continue
        box.sink.fail = {"fails": SinkError("x"), "refuses": SinkRefusedError("x")}.get(event)
        box.sink.fail_after = KeyboardInterrupt() if event == "killed after" else None
        with contextlib.suppress(KeyboardInterrupt):
            box.outbox.deliver(box.sink, limit=1 if event == "deliver one" else None)
    box.sink.fail = box.sink.fail_after = None
    assert box.outbox.deliver(box.sink).waiting == 0
    assert sorted(set(box.sink.taken)) == list(range(1, count + 1))
    assert box.sink.taken == sorted(box.sink.taken)
    assert len(set(box.sink.ids)) == count


CHILD = """
import sys
from facegate._sinks._json_lines import JsonLinesSink
from facegate._store._database import Database
from facegate._store._outbox import Outbox
from facegate._clock import SystemClock
from facegate_edge._keys import VerifyKey
db = Database.open(sys.argv[1])
outbox = Outbox(db, SystemClock(), keys=VerifyKey(bytes.fromhex(sys.argv[3])))
print("ready", flush=True)
outbox.deliver(JsonLinesSink(sys.argv[2]))
"""


def test_a_process_that_is_killed_while_it_delivers_loses_nothing(tmp_path):
    """SIGKILL at any moment, again and again: in the file everything is there, in order, doubles with their id."""
    total, path, out = 120, tmp_path / "gate.db", tmp_path / "out.jsonl"
    box = Box(total, path)
    box.db.close()
    arguments = [sys.executable, "-c", CHILD, str(path), str(out), KEY.raw.hex()]
    for lines in (0, 1, 7, 30, 31, 80):
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
        assert child.stdout.readline() == b"ready\n"
        while child.poll() is None and (out.read_bytes().count(b"\n") if out.exists() else 0) < lines:
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    subprocess.run(arguments, check=True, capture_output=True, timeout=60)  # noqa: S603
    # A line that was cut off by a kill was not marked, and is there again.
    taken = [json.loads(line)["decision"] for line in out.read_text().splitlines() if line.endswith('"}')]
    sequences = [decision["sequence"] for decision in taken]
    assert sequences == sorted(sequences)
    assert sorted(set(sequences)) == list(range(1, total + 1))
    assert {decision["id"] for decision in taken} == {signed.decision.id for signed in box.signed}
    assert Database.open(path).read("PRAGMA integrity_check") == [("ok",)]


# --- what gets in, and what does not get out -------------------------------------------------------------------------


class Wider(SignedDecision):
    """Could carry more out."""

    score = 0.83


@pytest.mark.parametrize(
    "thing",
    [
        None,
        "text",
        b"bytes",
        {"outcome": "match"},
        make_signed().decision,
        make_signed().jws,
        Wider(make_signed().decision, make_signed().jws),
        (make_signed().decision, make_signed().jws),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_only_a_signed_decision_is_taken(thing):
    """By exact type: not its parts, not a subclass."""
    box = Box()
    with box.db.transaction() as tx, pytest.raises(TypeError):
        box.outbox.put(tx, thing)
    assert box.outbox.waiting() == 0


def changed_after_the_fact() -> Decision:
    """A decision with a score where its device was."""
    decision = make_signed().decision
    object.__setattr__(decision, "device", 0.83)
    return decision


@pytest.mark.parametrize(
    ("decision", "jws"),
    [
        (make_signed(1).decision, make_signed(2).jws),
        (make_signed(1).decision, "a.b.c"),
        (make_signed(1).decision, ""),
        (make_signed(1).decision, None),
        ({"outcome": "match"}, make_signed(1).jws),
        (changed_after_the_fact(), make_signed(1).jws),
    ],
)
def test_a_decision_and_its_signed_text_belong_together(decision, jws):
    """A pair whose halves differ, or hold something else, is refused."""
    box = Box()
    with box.db.transaction() as tx, pytest.raises(DecisionSchemaError):
        box.outbox.put(tx, SignedDecision(decision, jws))


def test_a_number_is_used_once():
    """Two decisions of one sequence number, or of one id, contradict each other."""
    box = Box(1)
    with pytest.raises(StoreConflictError):
        box.put(make_signed(1))
    with pytest.raises(StoreConflictError):
        box.put(make_signed(2, id=box.signed[0].decision.id))
    assert box.outbox.waiting() == 1


@pytest.mark.parametrize(
    "tamper",
    [
        lambda box: box.raw("UPDATE decision SET jws = ? WHERE sequence = 2", make_signed(2, STRANGER).jws),
        lambda box: box.raw("UPDATE decision SET jws = 'x' || jws WHERE sequence = 2"),
        lambda box: box.raw("UPDATE decision SET jws = ? WHERE sequence = 2", box.signed[2].jws),
        lambda box: box.raw("UPDATE decision SET id = 'x' WHERE sequence = 2"),
        lambda box: box.raw("UPDATE decision SET jws = '' WHERE sequence = 2"),
        lambda box: (
            box.raw("UPDATE decision SET sequence = 100 WHERE sequence = 3"),
            box.raw("UPDATE decision SET sequence = 3 WHERE sequence = 2"),
            box.raw("UPDATE decision SET sequence = 2 WHERE sequence = 100"),
        ),
    ],
)
def test_a_decision_that_was_changed_in_the_file_is_not_delivered(tamper):
    """Nor is one after it: the gap would look like a decision withheld. The error names the number."""
    box = Box(4)
    tamper(box)
    with pytest.raises(OutboxTamperedError, match="decision 2 "):
        box.outbox.deliver(box.sink)
    assert box.sink.taken == [1]


def test_a_sink_that_raises_something_else_stops_the_delivery():
    """A bug is no reason to go on."""
    box = Box(2)
    box.sink.fail = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        box.outbox.deliver(box.sink)
    assert box.outbox.deliver(box.sink).delivered == 2


# --- asking ----------------------------------------------------------------------------------------------------------


def test_the_outbox_tells_how_it_stands():
    """Counts and times; what waits and what is kept."""
    box = Box(3)
    assert box.outbox.status().oldest == START
    box.clock.wait(hours=1)
    box.outbox.deliver(box.sink, limit=2)
    status = box.outbox.status()
    assert (status.waiting, status.delivered, status.next_sequence, status.last_sequence) == (1, 2, 3, 2)
    assert status.last_delivered == START + timedelta(hours=1)
    empty = Box().outbox.status()
    assert (empty.waiting, empty.oldest, empty.last_delivered, empty.reviews) == (0, None, None, 0)


def test_a_decision_is_found_by_its_id():
    """Delivered or not."""
    box = Box(2)
    wanted = box.signed[1]
    assert box.outbox.get(wanted.decision.id).signed == wanted
    assert box.outbox.get(wanted.decision.id).delivered is None
    box.outbox.deliver(box.sink)
    assert box.outbox.get(wanted.decision.id).delivered == START
    assert box.outbox.get("none") is None
    assert box.outbox.get("\udcff") is None


def test_decisions_are_listed():
    """All, those that wait, those that were delivered; from a number on; the newest first."""
    box = Box(5)
    box.outbox.deliver(box.sink, limit=2)
    numbers = lambda **wanted: [q.signed.decision.sequence for q in box.outbox.decisions(**wanted)]  # noqa: E731
    assert numbers() == [1, 2, 3, 4, 5]
    assert numbers(waiting=True) == [3, 4, 5]
    assert numbers(waiting=False) == [1, 2]
    assert numbers(after_sequence=3) == [4, 5]
    assert numbers(limit=2, newest_first=True) == [5, 4]


def test_more_decisions_than_a_number_can_count_are_all_of_them():
    """A limit beyond SQLite's largest number is no limit; a number beyond it is behind the last."""
    box = Box(3)
    assert len(list(box.outbox.decisions(limit=10**30))) == 3
    assert not list(box.outbox.decisions(after_sequence=10**30))


def test_what_a_person_must_look_at_is_kept_until_one_has():
    """Reviews are listed, closed once, and not purged before."""
    box = Box()
    unsure = {"outcome": "review", "subject": None, "reasons": ("liveness_uncertain",), "liveness": "uncertain"}
    signed = box.put(make_signed(1, **unsure), review=True)
    box.put(make_signed(2))
    box.outbox.deliver(box.sink)
    assert [q.signed for q in box.outbox.reviews()] == [signed]
    later = START + timedelta(days=1)
    with box.db.transaction() as tx:
        assert box.outbox.purge(tx, later) == 1
        assert box.outbox.close_review(tx, signed.decision.id)
        assert not box.outbox.close_review(tx, signed.decision.id)
    assert list(box.outbox.reviews()) == []
    assert box.outbox.get(signed.decision.id).review == "closed"
    with box.db.transaction() as tx:
        assert box.outbox.purge(tx, later) == 1


def test_what_waits_is_never_purged():
    """However old it is."""
    box = Box(3)
    box.outbox.deliver(box.sink, limit=1)
    with box.db.transaction() as tx:
        assert box.outbox.purge(tx, START) == 0
        assert box.outbox.purge(tx, START + timedelta(days=999)) == 1
    assert box.outbox.waiting() == 2


# --- beside the gate's work ------------------------------------------------------------------------------------------


def test_the_gate_works_while_something_is_sent():
    """The lock of the database is held to read and to mark, not while the sink takes its time."""
    box = Box(2)
    lock = threading.RLock()
    outbox = Outbox(box.db, box.clock, keys=KEY, lock=lock)
    worked = []

    def work():
        if lock.acquire(timeout=10):
            worked.append(True)
            lock.release()

    class Slow(ListSink):
        def deliver(self, decision):
            other = threading.Thread(target=work)
            other.start()
            other.join(20)
            super().deliver(decision)

    assert outbox.deliver(Slow()).delivered == 2
    assert worked == [True, True]


def test_one_delivery_at_a_time():
    """Two would overtake each other."""
    box = Box(2)
    caught = []

    class Nosy(ListSink):
        def deliver(self, decision):
            with pytest.raises(OutboxError) as error:
                box.outbox.deliver(ListSink())
            caught.append(error.value.hint)
            super().deliver(decision)

    assert box.outbox.deliver(Nosy()).delivered == 2
    assert all(caught)


class Waits(Backoff):
    """Waits for nothing, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(base=0.0)
        self.asked: list[float | None] = []
        self.resets = 0

    def next(self, retry_after=None):
        """No wait."""
        self.asked.append(retry_after)
        return 0.0

    def reset(self):
        """Count it."""
        self.resets += 1


def test_the_background_delivers_until_it_is_stopped():
    """Failures are waited out, as long as the other side asks; what comes later is delivered as well."""
    box = Box(3)
    box.outbox = Outbox(box.db, box.clock, keys=KEY, lock=(lock := threading.RLock()))
    waits, reports, arrived = Waits(), [], threading.Event()
    box.sink.fail = SinkError("later", retry_after=3.0)

    def seen(report):
        reports.append(report)
        if report.waiting == 0:
            arrived.set()

    with Delivery(box.outbox, box.sink, poll=60.0, backoff=waits, on_report=seen) as delivery:
        assert arrived.wait(30)
        arrived.clear()
        with lock:
            box.put(make_signed(4))
        delivery.wake()
        assert arrived.wait(30)
    assert delivery.join(0)
    assert delivery.failure is None
    assert box.sink.taken == [1, 2, 3, 4]
    assert (waits.asked, waits.resets) == ([3.0], 2)
    assert reports[0].error.retry_after == 3.0


@pytest.mark.parametrize("failure", [StoreFullError("full"), StoreWriteError("no"), GateInUseError("busy")])
def test_the_background_waits_out_a_store_that_cannot_be_written_now(failure, monkeypatch):
    """A full disk, a backup that takes its time: what could not be marked is sent again, and told."""
    box = Box(2)
    mark, reports = box.outbox._mark, []

    def fail_once(_):
        monkeypatch.setattr(box.outbox, "_mark", mark)
        raise failure

    monkeypatch.setattr(box.outbox, "_mark", fail_once)

    def seen(report):
        reports.append(report)
        if not report.waiting:
            delivery.stop()

    delivery = Delivery(box.outbox, box.sink, backoff=Waits(), on_report=seen)
    delivery.run()
    assert box.sink.taken == [1, 1, 2]
    assert [(str(report.error), report.waiting) for report in reports] == [(str(failure), 2), ("None", 0)]


def test_the_background_waits_out_somebody_who_delivers_by_hand():
    """One look with `facegate outbox deliver` does not end the service: it goes on when the other has ended."""
    box, reports = Box(2), []
    box.outbox._delivering.acquire()

    def seen(report):
        reports.append(str(report.error))
        if report.error is not None:
            box.outbox._delivering.release()
        else:
            delivery.stop()

    delivery = Delivery(box.outbox, box.sink, backoff=Waits(), on_report=seen)
    delivery.run()
    assert box.sink.taken == [1, 2]
    assert reports == ["the outbox is being delivered already", "None"]


def test_the_background_ends_when_the_stream_has_gone_or_the_outbox_was_tampered_with():
    """Neither gets better by waiting."""
    box = Box(2)
    box.sink.fail = SinkClosedError("gone")
    with pytest.raises(SinkClosedError):
        Delivery(box.outbox, box.sink).run()
    box.raw("UPDATE decision SET jws = 'x'")
    with Delivery(box.outbox, box.sink) as delivery:
        assert delivery.join(30)
    assert type(delivery.failure) is OutboxTamperedError


# --- how long to wait ------------------------------------------------------------------------------------------------


def test_waits_grow_to_a_cap_and_begin_anew():
    """Twice as long after each failure; the wait is drawn between nothing and that (full jitter)."""
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return high

    backoff = Backoff(1.0, 20.0, uniform)
    assert [backoff.next() for _ in range(7)] == [1, 2, 4, 8, 16, 20, 20]
    backoff.reset()
    assert backoff.next() == 1
    assert {low for low, _ in drawn} == {0.0}


@given(failures=st.integers(0, 5000), retry_after=st.none() | st.floats(-1e9, float("inf")))
def test_a_wait_is_never_longer_than_an_hour_nor_shorter_than_asked_for(failures, retry_after):
    """Whatever a server asks for, however often it failed."""
    backoff = Backoff()
    backoff._failures = failures
    wait = backoff.next(retry_after)
    assert 0 <= wait <= (300 if retry_after is None else MAX_RETRY_AFTER)
    if retry_after is not None:
        assert wait >= min(retry_after, MAX_RETRY_AFTER)


def test_devices_do_not_come_back_together():
    """Two of them draw different waits."""
    assert len({Backoff().next() for _ in range(20)}) > 10
