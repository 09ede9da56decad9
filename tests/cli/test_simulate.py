"""``meetscribe simulate`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetscribe.cli.simulate import _settings, simulate
from meetscribe.train.settings import SimulationSettings
from tests.conftest import run_meetscribe

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers with eight sounds of 3 s, said to be utterances."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    lines = ["path,speaker,text"]
    for speaker in ("ann", "bob", "cy"):
        for number in range(8):
            sound_n = np.zeros(round(3.4 * RATE_HZ))
            sound_n[3200:-3200] = 0.1 * rng.standard_normal(len(sound_n) - 6400)
            soundfile.write(folder / f"{speaker}{number}.wav", sound_n, RATE_HZ)
            lines.append(f'{speaker}{number}.wav,{speaker},"number {number}, {speaker}"')
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "table.csv"


QUICK = ("--minutes", "0.4", "--channels", "2", "--rt60", "0.2")


def test_it_makes_meetings_keeps_them_and_says_so(table: Path, tmp_path: Path) -> None:
    args = ("simulate", table, "-o", tmp_path, *QUICK, "--meetings", "2", "--speakers", "2-3")
    done = run_meetscribe(*args, "--overlap", "20-40", "--seed", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        str(tmp_path / f"sim00{number}.flac") for number in (1, 2)
    ]
    scene = json.loads((tmp_path / "sim001.scene.json").read_text(encoding="utf-8"))
    assert f"{scene['statistics']['overlap']:.0%} overlap" in lines[0]
    assert 0.19 < scene["statistics"]["overlap"] < 0.41
    assert "sim002 (2 of 2)" in done.stderr
    again = run_meetscribe(*args, "--overlap", "20-40", "--seed", "1")
    assert again.stdout == done.stdout
    assert again.stderr.count("already done; --force does it again") == 2
    other = run_meetscribe(*args, "--overlap", "20-40", "--seed", "2")
    assert other.returncode == 6
    assert "is there already" in other.stderr


def test_missing_files_are_named_and_the_rest_goes_on(table: Path, tmp_path: Path) -> None:
    text = table.read_text(encoding="utf-8") + "\ngone.wav,ann,not here"
    more = table.with_name("more.csv")
    more.write_text(text, encoding="utf-8")
    done = run_meetscribe("simulate", more, "-o", tmp_path, *QUICK, "--speakers", "3")
    assert done.returncode == 0, done.stderr
    assert "note: gone.wav: missing, left out" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--speakers", "4"), 2, "3 speakers in the table, expected at least 4"),
        (("--minutes", "9"), 2, "too few speakers with enough to say"),
        (("--overlap", "90"), 2, "expected a range within 0 to 0.7"),
        (("--overlap", "much"), 2, "'--overlap': 'much': expected numbers such as"),
        (("--speakers", "2.5"), 2, "expected whole numbers"),
        (("--config", "nosuch"), 2, "nosuch"),
    ],
)
def test_what_cannot_be_made_is_one_clear_error(
    table: Path, tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    done = run_meetscribe("simulate", table, "-o", tmp_path, "--speakers", "3", *args)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    done = run_meetscribe("simulate", tmp_path / "no.tsv", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "no.tsv: no such file" in done.stderr


def test_options_win_over_the_file_and_ranges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 5\nrepeat: true\nsnr_db: [10, 20]\n", encoding="utf-8")
    options = {parameter.name: None for parameter in simulate.params}
    del options["table"], options["output"]
    given = {"config": str(path), "seed": 7, "overlap": (20.0, 40.0), "repeat": False}
    made = _settings({**options, **given})
    expected = {"seed": 7, "repeat": True, "snr_db": (10.0, 20.0), "overlap": (0.2, 0.4)}
    assert made == SimulationSettings(**expected)


def test_options_are_settings() -> None:
    own = {"table", "output", "config", "force", "progress", "quiet"}
    names = {parameter.name for parameter in simulate.params} - own
    assert names <= set(SimulationSettings.model_fields)
