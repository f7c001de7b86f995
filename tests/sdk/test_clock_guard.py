"""The clock guard: a wrong clock neither deletes nor revives, and a right one is believed without anybody's help."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from facegate import errors
from facegate._clock import SystemClock, boot_of
from facegate._clock_guard import ClockGuard, initial_clock

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY


class Machine:
    """A machine whose clock a test sets, turns off and starts again."""

    def __init__(self) -> None:
        self.wall, self.up, self.boots = START, 5000.0, 1

    def now(self) -> datetime:
        """The time of day."""
        return self.wall

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.up

    def boot(self) -> str:
        """The boot's id."""
        return f"boot-{self.boots}"

    def wait(self, time: timedelta) -> None:
        """Let time pass, rightly."""
        self.wall += time
        self.up += time.total_seconds()

    def restart(self, *, wall: datetime, up: float = 20.0) -> None:
        """Start again: the clock then says `wall`, `up` seconds after the start."""
        self.boots, self.up, self.wall = self.boots + 1, up, wall


class Tx:
    """A transaction that acts at once, and remembers what is to be done after its commit."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db, self.after, self.writes = db, [], 0

    def execute(self, sql, *params):
        """Run a statement."""
        self.writes += 1
        return self.db.execute(sql, params)

    def after_commit(self, action) -> None:
        """Remember what is to be done."""
        self.after.append(action)


class Db:
    """Of the store, the one row that the guard reads and writes."""

    def __init__(self, clock: bytes) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("CREATE TABLE state (id INTEGER, clock BLOB)")
        self.connection.execute("INSERT INTO state VALUES (1, ?)", (clock,))

    def read(self, sql, *params):
        """Rows."""
        return self.connection.execute(sql, params).fetchall()

    @contextmanager
    def transaction(self):
        """A transaction."""
        tx = Tx(self.connection)
        self.connection.execute("BEGIN")
        try:
            yield tx
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        for action in tx.after:
            action()


@pytest.fixture
def machine() -> Machine:
    """A machine whose clock is right."""
    return Machine()


@pytest.fixture
def db(machine) -> Db:
    """A store that has just been made on it."""
    return Db(initial_clock(machine))


def check(db, guard):
    """What the guard says in a transaction."""
    with db.transaction() as tx:
        return guard.check(tx)


def test_a_right_clock_is_believed(db, machine):
    """While the clock runs as the kernel counts, the time is the clock's."""
    guard = ClockGuard(db, machine)
    for step in (timedelta(0), MINUTE, HOUR, 40 * DAY, YEAR):
        machine.wait(step)
        told = check(db, guard)
        assert (told.time, told.wall, told.suspect, told.cause, told.changed) == (
            *(machine.wall, machine.wall),
            *(False, "", False),
        )
    assert not guard.suspect
    assert told.ms == machine.wall.timestamp() * 1000


@pytest.mark.parametrize(
    ("jump", "cause"),
    [
        (-HOUR, "back"),
        (-YEAR, "back"),
        (10 * YEAR, "forward"),
        (-6 * MINUTE, "back"),
        (-4 * MINUTE, ""),
        (59 * MINUTE, ""),
        (61 * MINUTE, "forward"),
        (timedelta(0), ""),
    ],
    ids=["back-an-hour", "back-a-year", "forward-ten-years", "-6min", "-4min", "+59min", "+61min", "none"],
)
def test_a_jump_of_a_running_machines_clock(db, machine, jump, cause):
    """A jump beyond 5 minutes back or 1 hour forward is suspect; the time then goes on as if it had not been."""
    guard = ClockGuard(db, machine)
    machine.wait(DAY)
    check(db, guard)
    before = machine.wall
    machine.wall += jump
    told = check(db, guard)
    assert (told.cause, told.suspect, guard.suspect, told.changed) == (cause, bool(cause), bool(cause), bool(cause))
    assert told.time == (before if cause else max(before, machine.wall))
    machine.wait(2 * DAY)
    told = check(db, guard)
    assert told.cause == cause
    assert told.time == (before if cause else before + jump) + 2 * DAY
    assert not told.changed


def test_a_small_step_back_does_not_turn_the_time_back(db, machine):
    """The network's correction by a minute holds the time still for a minute: nothing that has expired is revived."""
    guard = ClockGuard(db, machine)
    check(db, guard)
    machine.wall -= MINUTE
    assert check(db, guard).time == START
    machine.wait(3 * MINUTE)
    assert check(db, guard).time == machine.wall == START + 2 * MINUTE


@pytest.mark.parametrize(
    ("wall", "cause"),
    [
        (datetime(1970, 1, 1, tzinfo=timezone.utc), "back"),
        (START - HOUR, "back"),
        (START, ""),
        (START + 8 * HOUR, ""),
        (START + 42 * DAY, ""),
        (START + 46 * DAY, "forward"),
        (START + 10 * YEAR, "forward"),
    ],
    ids=["without-rtc", "an-hour-back", "stopped-clock", "overnight", "six-weeks-offline", "46-days", "ten-years"],
)
def test_a_start_after_the_machine_was_off(db, machine, wall, cause):
    """A machine may have been off for up to 45 days; a clock that says less than nothing, or more, is suspect."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=wall)
    told = check(db, ClockGuard(db, machine))
    assert told.cause == cause
    assert told.time == (START if cause else wall)
    machine.wait(HOUR)
    assert check(db, ClockGuard(db, machine)).time == (START if cause else wall) + HOUR


def test_a_gate_that_moved_to_a_machine_that_has_been_running_for_long(db, machine):
    """A restored backup, a card in another device: its seconds since the start say nothing about the gate."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=START + HOUR, up=30 * 86_400)
    assert check(db, ClockGuard(db, machine)).cause == ""
    assert check(db, ClockGuard(db, machine)).time == START + HOUR


def test_the_gap_is_a_setting(db, machine):
    """A gate that sleeps through the summer says so once, and is believed in autumn."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=START + 100 * DAY)
    assert check(db, ClockGuard(db, machine, max_gap_days=120)).cause == ""


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=timezone.utc), START], ids=["1970", "stopped"])
def test_a_machine_without_a_battery_is_believed_once_the_network_has_set_its_clock(db, machine, wrong):
    """Off overnight, started with a wrong clock, set right ten minutes later: no operator is needed."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=wrong)
    guard = ClockGuard(db, machine)
    assert check(db, guard).suspect == (wrong != START)
    machine.wait(10 * MINUTE)
    check(db, guard)
    machine.wall = START + 9 * HOUR
    told = check(db, guard)
    assert (told.time, told.suspect, told.changed) == (machine.wall, False, wrong != START)


def test_a_gate_that_is_opened_long_after_the_start_may_still_be_set_right(db, machine):
    """The hours before its opening are no jump: the network's correction comes after them."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=START + 5 * HOUR, up=5 * 3600)
    guard = ClockGuard(db, machine)
    assert check(db, guard).time == START + 5 * HOUR
    machine.wall = START + 20 * HOUR
    assert not check(db, guard).suspect


def test_attack_a_clock_that_is_set_right_twice_after_one_start(db, machine):
    """The correction after a start is allowed once: the next jump is one."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=START)
    guard = ClockGuard(db, machine)
    check(db, guard)
    machine.wall = START + 20 * DAY
    assert not check(db, guard).suspect
    machine.wall += 20 * DAY
    assert check(db, guard).cause == "forward"
    assert check(db, ClockGuard(db, machine)).cause == "forward"  # also for the next process


def test_attack_a_late_correction_goes_no_further_than_a_start(db, machine):
    """A clock that is set after the start may not jump further than it might have been found at the start."""
    check(db, ClockGuard(db, machine))
    machine.restart(wall=START)
    guard = ClockGuard(db, machine)
    machine.wait(DAY)
    check(db, guard)
    machine.wall = START + 47 * DAY
    assert check(db, guard).cause == "forward"
    machine.wall = START + 45 * DAY
    assert check(db, guard).cause == ""


def test_attack_many_small_steps_forward(db, machine):
    """Steps of 50 minutes add up: the second is suspect."""
    guard = ClockGuard(db, machine)
    machine.wall += 50 * MINUTE
    assert not check(db, guard).suspect
    machine.wall += 50 * MINUTE
    assert check(db, guard).suspect


def test_attack_restarting_the_process_forgets_no_suspicion(db, machine):
    """A new process in the same boot knows the jump from the store."""
    check(db, ClockGuard(db, machine))
    machine.wall -= YEAR
    assert check(db, ClockGuard(db, machine)).changed
    machine.wait(HOUR)
    told = check(db, ClockGuard(db, machine))
    assert (told.cause, told.time, told.changed) == ("back", START + HOUR, False)


def test_attack_a_restart_does_not_launder_a_clock_that_was_set_back(db, machine):
    """Set back a year and started again, it is still a year behind what was believed."""
    guard = ClockGuard(db, machine)
    machine.wall -= YEAR
    check(db, guard)
    machine.restart(wall=START - YEAR + HOUR)
    assert check(db, ClockGuard(db, machine)).cause == "back"


def test_a_jump_that_is_taken_back_is_forgotten(db, machine):
    """Ten years forward and back again: believed again, and no day of it has passed."""
    guard = ClockGuard(db, machine)
    machine.wall += 10 * YEAR
    assert check(db, guard).changed
    machine.wall -= 10 * YEAR
    machine.wait(MINUTE)
    told = check(db, guard)
    assert (told.time, told.suspect, told.changed) == (START + MINUTE, False, True)


@pytest.mark.parametrize("jump", [-HOUR, -YEAR, 10 * YEAR])
def test_the_operator_accepts_the_clock(db, machine, jump):
    """From then on the time is the clock's, in this process and the next, and after a start."""
    guard = ClockGuard(db, machine)
    machine.wall += jump
    assert check(db, guard).suspect
    with db.transaction() as tx:
        told = guard.accept(tx)
    assert (told.time, told.suspect, told.changed) == (machine.wall, False, True)
    machine.wait(HOUR)
    assert check(db, guard).time == machine.wall
    assert check(db, ClockGuard(db, machine)).time == machine.wall
    machine.restart(wall=machine.wall + DAY)
    assert not check(db, ClockGuard(db, machine)).suspect


def test_accepting_a_clock_that_is_believed_changes_nothing(db, machine):
    """An unneeded acceptance is none that the audit log must tell as the end of a suspicion."""
    with db.transaction() as tx:
        assert ClockGuard(db, machine).accept(tx).changed is False


def test_the_time_is_written_at_most_once_a_minute(db, machine):
    """A gate that decides ten times a second does not write its clock ten times a second."""
    guard = ClockGuard(db, machine)
    writes = 0
    for _ in range(1200):
        machine.wait(timedelta(seconds=0.1))
        with db.transaction() as tx:
            guard.check(tx)
            writes += tx.writes
    assert writes == 2


def test_what_was_rolled_back_is_written_again(db, machine):
    """A suspicion whose transaction failed is told as changed, and written, by the next one."""
    guard = ClockGuard(db, machine)
    machine.wall -= YEAR
    told = []

    def fail():
        with db.transaction() as tx:
            told.append(guard.check(tx))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert told[0].changed
    assert guard.now().changed
    assert check(db, guard).changed
    assert not check(db, guard).changed


@pytest.mark.parametrize("data", [b"", b"{}"])
def test_a_store_that_never_saw_a_clock(machine, data):
    """The first check writes what is believed."""
    db = Db(data)
    assert check(db, ClockGuard(db, machine)).time == START
    machine.wall -= YEAR
    assert check(db, ClockGuard(db, machine)).suspect


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"{",
        lambda _: b"[]",
        lambda state: json.dumps(state | {"latest": "x"}).encode(),
        lambda state: json.dumps(state | {"cause": "maybe"}).encode(),
        lambda state: json.dumps(state | {"more": 1}).encode(),
        lambda state: json.dumps({k: v for k, v in state.items() if k != "up"}).encode(),
    ],
)
def test_what_is_no_clock_is_refused(machine, change):
    """A state that the guard did not write is an error, not a clock that is believed."""
    data = change(json.loads(initial_clock(machine)))
    with pytest.raises(errors.StoreCorruptError):
        ClockGuard(Db(data), machine)


def test_a_quartz_that_runs_away_is_no_jump(db, machine):
    """A month without network at 50 ppm, and the step when it is back, are believed."""
    guard = ClockGuard(db, machine)
    check(db, guard)
    machine.wait(30 * DAY)
    machine.wall -= 30 * DAY * 50e-6 + 5 * MINUTE
    assert not check(db, guard).suspect


def test_the_machines_boot():
    """A clock that says nothing of boots counts in the machine's, and that does not change while it runs."""

    class Plain:
        def now(self):
            """The time of day."""

        def monotonic(self):
            """Seconds."""

    assert boot_of(Plain()) == boot_of(SystemClock()) == SystemClock().boot() != ""


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_clock_does_time_goes_forward_and_not_too_far(db, machine, seed):
    """Never back but by the minute that is not written at once; an hour ahead at most, and 45 days for each start."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    guard = ClockGuard(db, machine)
    last, passed, starts = check(db, guard).time, timedelta(0), 0
    for _ in range(200):
        step = timedelta(seconds=rng.randrange(rng.choice([60, 3600, 86_400])))
        machine.wait(step)
        passed += step
        machine.wall += rng.choice([timedelta(0), MINUTE, -MINUTE, 50 * MINUTE, -HOUR, DAY, 30 * DAY, YEAR, -YEAR])
        if rng.random() < 0.1:
            guard = ClockGuard(db, machine)
        if rng.random() < 0.02:
            starts += 1
            machine.restart(wall=machine.wall)
            passed += timedelta(seconds=20)
            guard = ClockGuard(db, machine)
        told = check(db, guard)
        assert told.time >= last - MINUTE
        allowed = (START + passed + (starts + 1) * HOUR + starts * 45 * DAY) + 0.001 * passed
        assert told.time <= allowed
        last = max(last, told.time)


@pytest.mark.parametrize("seed", range(10))
def test_a_clock_that_is_right_is_never_suspect(db, machine, seed):
    """Starts after up to 45 days, new processes, clocks that are wrong until the network sets them: all fits."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    true = START
    guard = ClockGuard(db, machine)
    for _ in range(100):
        step = timedelta(seconds=rng.randrange(rng.choice([60, 3600, 864_000])))
        machine.wait(step)
        true += step
        check(db, guard)
        if rng.random() < 0.3:
            off = timedelta(seconds=rng.randrange(44 * 86_400))
            true += off + timedelta(seconds=20)
            found = rng.choice([true, true - off, datetime(1970, 1, 1, tzinfo=timezone.utc)])
            machine.restart(wall=found)
            guard = ClockGuard(db, machine)
            check(db, guard)
            machine.wall = true  # the network has set it
        told = check(db, guard)
        assert (told.time, told.suspect) == (true, False)


# --- in a gate -----------------------------------------------------------------------------------------------------


def test_attack_editing_what_the_store_remembers_of_the_clock(stored, clock, tmp_path):
    """Whoever writes an earlier time into the file does not turn the gate's time back: the tally covers it."""
    opened = stored()
    clock.wait(3600)
    opened.officer.requests()
    opened.gate.close()
    with closing(sqlite3.connect(tmp_path / "gate.db")) as file, file:
        file.execute("UPDATE state SET clock = ?", (initial_clock(Machine()),))
    with pytest.raises(errors.StoreTamperedError):
        stored()


def test_a_gate_tells_when_its_clock_became_suspect_and_when_it_was_believed_again(stored, clock):
    """One entry of the audit log each, however many decisions were made meanwhile."""
    opened = stored()
    clock.moment -= timedelta(days=365)
    for _ in range(3):
        opened.officer.open_request("access", "alice", checked_by="in-person")
    clock.moment += timedelta(days=365)
    opened.officer.open_request("access", "alice", checked_by="in-person")
    told = [entry for entry in opened.core.audit.entries() if entry.action.startswith("clock_")]
    assert [(entry.action, entry.details["cause"]) for entry in told] == [
        ("clock_suspect", "back"),
        ("clock_trusted", None),
    ]


def test_a_gates_suspicion_outlives_a_restart_of_the_program(stored, clock):
    """Closed and opened again in the same boot, it is as suspect as before, and says it once."""
    opened = stored()
    clock.moment += timedelta(days=3650)
    opened.officer.open_request("access", "alice", checked_by="in-person")
    opened.gate.close()
    clock.wait(60)
    opened = stored()
    assert opened.gate.status().clock == "forward"
    assert len(list(opened.core.audit.entries(action="clock_suspect"))) == 1
