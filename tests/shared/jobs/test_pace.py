"""The forecast of a job's end: exact where the work is regular, and near where it is not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.database import Database
from shared.jobs.claims import Claims
from shared.jobs.pace import MOST_MARKS, Mark, advance, remaining_s, units_per_s
from shared.jobs.store import JobStore, NewJob

T0 = 1.8e9


def run(changes: list[tuple[float, int]]) -> list[Mark]:
    marks: list[Mark] = []
    for time_s, done in changes:
        marks = advance(marks, time_s, done)
    return marks


@given(
    startup_s=st.floats(0, 1e4), every_s=st.floats(0.01, 1e3), units=st.integers(1, 64), n=st.integers(2, 400)
)  # fmt: skip
def test_regular_work_is_forecast_exactly_however_long_the_start_took(
    startup_s: float, every_s: float, units: int, n: int
) -> None:
    marks = run([(T0 + startup_s + k * every_s, units * k) for k in range(1, n + 1)])
    left = remaining_s(marks, 2 * n * units, T0 + startup_s + n * every_s)
    assert len(marks) <= MOST_MARKS
    assert left == pytest.approx(n * every_s, rel=1e-3)


def test_workers_in_step_are_not_counted_one_batch_too_many() -> None:
    """Four workers that end a batch of 16 together every 10 s do 6.4 images a second; the ends say far more."""
    together = [(T0 + 10 * k + 0.01 * w, 64 * k + 16 * (w + 1)) for k in range(4) for w in range(4)]
    rate = units_per_s(run(together))
    assert rate == pytest.approx(6.4, rel=0.1)
    ends = (together[-1][1] - together[0][1]) / (together[-1][0] - together[0][0])
    assert ends > 1.2 * 6.4


def test_a_second_worker_that_comes_late_is_seen() -> None:
    alone = [(T0 + 10 * k, 16 * k) for k in range(1, 11)]
    both = [(T0 + 100 + 5 * k, 160 + 16 * k) for k in range(1, 31)]
    assert units_per_s(run(alone + both)) == pytest.approx(3.2, rel=0.05)


def test_noise_and_regular_pauses_stay_within_a_fifth() -> None:
    """Steps of 1 s +- 50 %, and a validation of 5 s after every tenth: after a tenth of 2000 steps."""
    draw = random.Random(0)
    times, now = [], T0
    for k in range(1, 2001):
        now += draw.uniform(0.5, 1.5) + (5 if k % 10 == 0 else 0)
        times.append((now, k))
    marks = run(times[:200])
    assert remaining_s(marks, 2000, times[199][0]) == pytest.approx(now - times[199][0], rel=0.1)


def test_a_lost_part_lowers_the_earlier_marks() -> None:
    marks = run([(T0 + k, 10 * k) for k in range(1, 10)])
    assert units_per_s(advance(marks, T0 + 10, 72)) == units_per_s(marks)
    assert advance(marks, T0 + 10, 72)[-1][1] == 72


def test_a_job_that_hangs_is_not_about_to_end() -> None:
    marks = run([(T0 + k, k) for k in range(1, 6)])
    assert [remaining_s(marks, 100, T0 + 5 + wait) for wait in (0, 0.5, 1, 1000)] == [95, 94.5, 94, 94]


def test_one_mark_is_no_pace() -> None:
    assert units_per_s([]) is None
    assert remaining_s(run([(T0, 5)]), 10, T0) is None
    assert run([(T0, 0)]) == []


@pytest.mark.services
def test_time_without_a_worker_is_no_part_of_the_pace(jobs: JobStore, database: Database) -> None:
    claims = Claims(database, 30.0)
    job_id, _ = jobs.create(NewJob("diffusion.train", "team", {}, total=1000))

    def report(done: int, age_s: float) -> None:
        assert claims.beat(claim, done, 1000, {}, age_s=age_s)

    claim = claims.claim(job_id, 0)
    # Long ago, so that the moments between the reports are nothing beside it.
    report(10, 50e3), report(20, 40e3)
    assert jobs.get(job_id, "team")["eta_s"] == pytest.approx(970e3, rel=0.01)  # counted down one interval
    claims.release(claim, 0.0)
    claim = claims.claim(job_id, 0)
    report(15, 3e3), report(25, 2e3), report(35, 1e3)
    view = jobs.get(job_id, "team")
    assert (view["rate"], view["eta_s"]) == (pytest.approx(0.01, rel=0.05), pytest.approx(95.5e3, rel=0.02))
