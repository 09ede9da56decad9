"""The arithmetic of docs/million-hours.md, and the simulation that checks it."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def archive() -> Any:
    """Give benchmarks/archive.py as a module."""
    spec = importlib.util.spec_from_file_location("archive", REPOSITORY / "benchmarks/archive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["archive"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calm(archive: Any) -> Any:
    """Give a small archive where nothing happens."""
    return archive.Job(
        hours=2000, nodes=5, workers=4, broken=0, lost_per_hour=0, crashes_per_hour=0
    )


def test_where_nothing_happens_it_is_work_by_workers(archive: Any, calm: Any) -> None:
    job = replace(calm, cost=0.5, each_s=36.0, start_s=0.0, core_price=2.0)
    for found in (archive.planned(job), archive.simulated(job)):
        assert found.core_hours == pytest.approx(2000 * 0.5 + 2000 * 0.01, rel=0.01)
        assert found.days == pytest.approx(1020 / 20 / 24, rel=0.01)
        assert found.price == pytest.approx(2 * found.core_hours)
        assert found.failed == 0
        assert found.repeated == pytest.approx(0, abs=1e-9)


def test_faults_cost_what_the_formula_says(archive: Any, calm: Any) -> None:
    job = replace(calm, hours=20_000, lost_per_hour=0.5, crashes_per_hour=0.05, back_h=0.5)
    for kept_s in (None, 60.0):
        plan, found = (
            make(replace(job, kept_s=kept_s)) for make in (archive.planned, archive.simulated)
        )
        assert archive.agree(plan, found)
        assert found.repeated == pytest.approx(plan.repeated, rel=0.3)
        assert found.days > archive.planned(calm).days
    length_h = math.exp(0.8**2)
    expected = 0.55 * (0.202 * length_h / 2 + 20 / 3600)
    assert archive.planned(job).repeated == pytest.approx(expected)


def test_broken_and_unlucky_recordings_fail(archive: Any, calm: Any) -> None:
    broken = archive.simulated(replace(calm, broken=0.1))
    assert broken.failed == pytest.approx(200, rel=0.2)
    # one attempt in six or so crashes: some do three times
    job = replace(calm, crashes_per_hour=1.0)
    assert 0 < archive.simulated(job).failed < 100
    assert archive.simulated(replace(job, retries=20)).failed == 0


def test_a_seed_gives_one_result(archive: Any, calm: Any) -> None:
    job = replace(calm, lost_per_hour=0.5)
    assert archive.simulated(job, seed=3) == archive.simulated(job, seed=3)
    assert archive.simulated(job, seed=3) != archive.simulated(job, seed=4)


def test_the_page_has_the_numbers_of_the_formulas(archive: Any) -> None:
    page = (REPOSITORY / "docs" / "million-hours.md").read_text(encoding="utf-8")
    for name, job in archive.scenarios(archive.Job()).items():
        plan = archive.planned(job)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        shown = [cell.partition(" (")[0] for cell in cells]
        assert shown[1] == f"{plan.days:.2f}"
        assert shown[2] == f"{plan.core_hours:,.0f}"
        assert shown[3] == f"{100 * plan.repeated:.2f} %"
        assert shown[5] == f"{plan.price:,.0f}"
