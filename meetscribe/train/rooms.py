"""A room with a table, people around it, and microphones there or on them; how it sounds.

Impulse responses are those of image sources in a box (Allen and Berkley 1979), from
pyroomacoustics, which lives here alone. It wants positions as (3, C); everywhere else they are
(C, 3) in metres. Everybody is a point that speaks alike in all directions and sits still.

Axes: C channel, K speaker or noise source, N sample, F bin, T frame, 3 coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meetscribe.errors import ConfigError
from meetscribe.train.settings import ARRAY_CHANNELS, SimulationSettings
from meetscribe.types import SAMPLE_RATE_HZ

Floats = NDArray[np.float64]

SPEED_OF_SOUND_M_S = 343.0

_TABLE_M = (0.70, 0.80)
_MOUTH_M = (1.05, 1.30)
_NOISE_M = (0.3, 2.2)
_WALL_M = 0.4
_LEAST_DISTANCE_M = 0.25
_CLOSE_M = {"headsets": (0.03, 0.08), "lapels": (0.15, 0.25)}
"""From a mouth to its own microphone."""
_CLOSE_RISE = {"headsets": (-0.5, 0.1), "lapels": (-0.95, -0.8)}
"""The direction it lies in: sine of the angle upwards; it is in front of the speaker."""
_SPARE_M = (0.2, 0.5)
"""From the middle of the table to a microphone that nobody wears."""
_NOISE_DISTANCE_M = 1.0
_OFF_CENTRE = 0.08
"""How far from the middle of the room the table may stand, as a share of the room."""
_JITTER = 0.25
"""How far from their even places around the table people sit, as a share of the place."""
_TRIES = 300

_KEPT_DB = 50.0
"""Of the decay; what arrives later is far below any noise."""
_NEAR_TARGET = 0.03
_ADJUSTMENTS = 4
_THREADS = 2
"""Fixed: sums over images depend in their last bits on how many threads share them."""
# of air at 19 degrees and 30 to 50 % humidity, per metre of power (Vorländer 2008, table A.1)
_AIR_HZ = (0.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_AIR_PER_M = (0.0, 0.0001, 0.0003, 0.0006, 0.0010, 0.0019, 0.0058, 0.0203)
_AIR_FRAME = 256


@dataclass(frozen=True)
class Scene:
    """Where everybody and everything is, in metres from a corner of the room.

    Parameters
    ----------
    room_m : length, width, height
    rt60_s : reverberation time that is aimed at
    centre_m : middle of the array
    microphones_c3, speakers_k3, noises_k3 : positions
    close : whether channel k is the microphone that speaker k wears
    """

    room_m: tuple[float, float, float]
    rt60_s: float
    centre_m: Floats
    microphones_c3: Floats
    speakers_k3: Floats
    noises_k3: Floats
    close: bool = False

    @property
    def reference_k(self) -> tuple[int, ...]:
        """The channel at which the loudness of each speaker counts, his own one or the first."""
        num = len(self.speakers_k3)
        return tuple(range(num)) if self.close else (0,) * num

    def delays(self) -> Floats:
        """Give the seconds from each speaker to his microphone or the middle of the array: (K,)."""
        goal_k3 = self.microphones_c3[: len(self.speakers_k3)] if self.close else self.centre_m
        distance_k = np.linalg.norm(self.speakers_k3 - goal_k3, axis=1)
        return np.asarray(distance_k / SPEED_OF_SOUND_M_S)


@dataclass(frozen=True)
class Acoustics:
    """How a scene sounds.

    Parameters
    ----------
    speakers, noises : an impulse response per source, float32, shape (C, N), at 16 kHz; sample 0
        is when the sound leaves the source
    rt60_s : reverberation time measured on the responses of the speakers, their median
    absorption : of energy at the walls
    """

    speakers: tuple[NDArray[np.float32], ...]
    noises: tuple[NDArray[np.float32], ...]
    rt60_s: float
    absorption: float


def draw_scene(
    settings: SimulationSettings, num_speakers: int, rng: np.random.Generator, *, rt60_s: float
) -> Scene:
    """Draw a room, an array or a table near its middle, and people around that.

    Raises
    ------
    ConfigError
        If the ranges of room, distance and reverberation do not go together.
    """
    num_noises = int(rng.integers(settings.point_noises[0], settings.point_noises[1] + 1))
    for _ in range(_TRIES):
        ranges = (settings.length_m, settings.width_m, settings.height_m)
        length, width, height = (float(rng.uniform(*pair)) for pair in ranges)
        room_m = (length, width, height)
        off_2 = rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)
        centre_m = np.array(
            [length * (0.5 + off_2[0]), width * (0.5 + off_2[1]), rng.uniform(*_TABLE_M)]
        )
        array_c3 = None if settings.close else place_microphones(settings, rng)
        seats_k3 = _seats(settings, num_speakers, float(centre_m[2]), rng)
        if array_c3 is None:
            array_c3 = place_close(settings, seats_k3, rng)
        scene = Scene(
            room_m=room_m,
            rt60_s=rt60_s,
            centre_m=centre_m,
            microphones_c3=centre_m + array_c3,
            speakers_k3=centre_m + seats_k3,
            noises_k3=_noise_places(room_m, num_noises, rng),
            close=settings.close,
        )
        if _fits(scene) and _sabine_absorption(room_m, rt60_s) < 1:
            return scene
    raise ConfigError(
        f"no room for {num_speakers} speakers, their microphones and an RT60 of {rt60_s:.2f} s "
        f"was found in {_TRIES} trials",
        hint="choose larger rooms, smaller distances, or a longer reverberation time",
    )


def place_microphones(settings: SimulationSettings, rng: np.random.Generator) -> Floats:
    """Draw an array, shape (C, 3) in metres, around its own middle and turned at random.

    A circle has channel k at k / C of a turn; a line is in order of its channels; an ad hoc
    array lies scattered on the table, no two within 10 cm where that is possible.
    """
    num = settings.channels or ARRAY_CHANNELS
    radius, spacing = rng.uniform(*settings.radius_m), rng.uniform(*settings.spacing_m)
    turn = rng.uniform(0, 2 * np.pi)
    if settings.array == "ad-hoc":
        return _scattered(num, float(rng.uniform(*settings.spread_m)), rng)
    if num == 1:
        return np.zeros((1, 3))
    if settings.array == "linear":
        along_c = (np.arange(num) - (num - 1) / 2) * spacing
        return np.stack([along_c * np.cos(turn), along_c * np.sin(turn), np.zeros(num)], axis=1)
    angle_c = turn + 2 * np.pi * np.arange(num) / num
    return radius * np.stack([np.cos(angle_c), np.sin(angle_c), np.zeros(num)], axis=1)


def place_close(
    settings: SimulationSettings, speakers_k3: Floats, rng: np.random.Generator
) -> Floats:
    """Draw a microphone for each speaker, and spare ones on the table; shape (C, 3) in metres.

    ``speakers_k3`` counts from the middle of the table, as what is given does.
    """
    places = []
    for mouth_3 in speakers_k3:
        ahead = math.atan2(-mouth_3[1], -mouth_3[0]) + rng.uniform(-1.0, 1.0)
        rise = rng.uniform(*_CLOSE_RISE[settings.array])
        level = math.sqrt(1 - rise**2)
        way_3 = np.array([level * math.cos(ahead), level * math.sin(ahead), rise])
        places.append(mouth_3 + rng.uniform(*_CLOSE_M[settings.array]) * way_3)
    for _ in range(settings.num_channels(len(speakers_k3)) - len(speakers_k3)):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*_SPARE_M)
        places.append(np.array([distance * math.cos(angle), distance * math.sin(angle), 0.02]))
    return np.stack(places)


def _scattered(num: int, spread: float, rng: np.random.Generator) -> Floats:
    places: list[Floats] = []
    for attempt in range(_TRIES):
        angle, distance = rng.uniform(0, 2 * np.pi), spread * math.sqrt(rng.random())
        place = np.array([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(0, 0.05)])
        crowded = any(np.linalg.norm(place - other) < 0.1 for other in places)  # noqa: PLR2004
        if not crowded or attempt >= _TRIES - num:
            places.append(place)
        if len(places) == num:
            break
    return np.stack(places)


def _seats(
    settings: SimulationSettings, num: int, table_m: float, rng: np.random.Generator
) -> Floats:
    places_k = np.arange(num) + rng.uniform(-_JITTER, _JITTER, num) + rng.uniform(0, num)
    angle_k = 2 * np.pi * places_k / num
    distance_k = rng.uniform(*settings.distance_m, num)
    rise_k = rng.uniform(*_MOUTH_M, num) - table_m
    return np.stack([distance_k * np.cos(angle_k), distance_k * np.sin(angle_k), rise_k], axis=1)


def _noise_places(room_m: tuple[float, float, float], num: int, rng: np.random.Generator) -> Floats:
    length, width, height = room_m
    low = (_WALL_M / 2, _WALL_M / 2, _NOISE_M[0])
    high = (length - _WALL_M / 2, width - _WALL_M / 2, min(_NOISE_M[1], height - 0.2))
    return rng.uniform(low, high, (num, 3))


def _fits(scene: Scene) -> bool:
    room_3 = np.array(scene.room_m)
    for places, margin in ((scene.speakers_k3, _WALL_M), (scene.microphones_c3, _WALL_M / 2)):
        # the wall's margin counts beside people, not above them
        margin_3 = np.array([margin, margin, 0.1])
        if (places < margin_3).any() or (places > room_3 - margin_3).any():
            return False
    if _closest(scene.noises_k3, scene.microphones_c3) < _NOISE_DISTANCE_M:
        return False
    others = len(scene.speakers_k3) if scene.close else 0
    nearest = _closest(scene.speakers_k3, scene.microphones_c3[others:])
    order = np.argsort(np.arctan2(*(scene.speakers_k3 - scene.centre_m)[:, 1::-1].T))
    ring = scene.speakers_k3[[*order, order[0]]] if len(order) > 1 else scene.speakers_k3
    apart = min((float(np.linalg.norm(a - b)) for a, b in pairwise(ring)), default=math.inf)
    return min(nearest, apart / 2) >= _LEAST_DISTANCE_M


def _closest(some_k3: Floats, others_c3: Floats) -> float:
    if not len(some_k3) or not len(others_c3):
        return math.inf
    return float(np.linalg.norm(some_k3[:, None] - others_c3[None], axis=2).min())


def _sabine_absorption(room_m: tuple[float, float, float], rt60_s: float) -> float:
    length, width, height = room_m
    surface = 2 * (length * width + length * height + width * height)
    volume = length * width * height
    return 24 * math.log(10) * volume / (SPEED_OF_SOUND_M_S * surface * rt60_s)


def simulate_room(scene: Scene) -> Acoustics:
    """Compute how every microphone hears every speaker and noise.

    Sabine's formula, from which the absorption of the walls starts, is a guess for a given box:
    the absorption is adjusted until the reverberation time measured on one response is within
    3 % of the one that is aimed at, or has been adjusted four times.
    """
    absorption = _sabine_absorption(scene.room_m, scene.rt60_s)
    for _ in range(_ADJUSTMENTS):
        # a microphone at the mouth hears hardly any reverberation: measured on the table
        listener_c3 = scene.centre_m[None] if scene.close else scene.microphones_c3[:1]
        trial = _responses(scene, absorption, scene.speakers_k3[:1], listener_c3)
        ratio = reverberation_time(trial[0][0]) / scene.rt60_s
        if abs(ratio - 1) <= _NEAR_TARGET:
            break
        absorption = min(absorption * ratio, 0.98)
    sources_k3 = np.concatenate([scene.speakers_k3, scene.noises_k3])
    responses = _responses(scene, absorption, sources_k3, scene.microphones_c3)
    num = len(scene.speakers_k3)
    times = [
        reverberation_time(heard_n)
        for speaker, heard_cn in enumerate(responses[:num])
        for channel, heard_n in enumerate(heard_cn)
        if not scene.close or channel != speaker or num == 1
    ]
    return Acoustics(
        speakers=tuple(responses[:num]),
        noises=tuple(responses[num:]),
        rt60_s=float(np.median(times)),
        absorption=absorption,
    )


def _responses(
    scene: Scene, absorption: float, sources_k3: Floats, microphones_c3: Floats
) -> list[NDArray[np.float32]]:
    import pyroomacoustics as pra

    reach_s = scene.rt60_s * _KEPT_DB / 60
    # the smallest order whose images fill a sphere of that reach
    pairs = ((0, 1), (0, 2), (1, 2))
    sides = scene.room_m
    narrow = min(sides[i] * sides[j] / math.hypot(sides[i], sides[j]) for i, j in pairs)
    with _fixed_threads():
        room = pra.ShoeBox(
            list(sides),
            fs=SAMPLE_RATE_HZ,
            materials=pra.Material(absorption),
            max_order=math.ceil(SPEED_OF_SOUND_M_S * reach_s / narrow),
        )
        for source_3 in sources_k3:
            room.add_source(source_3)
        room.add_microphone_array(microphones_c3.T)
        room.image_source_model()
        # images beyond the reach are most of them, for they fill a diamond around the sphere
        for index, source in enumerate(room.sources):
            away_i = np.linalg.norm(source.images - scene.centre_m[:, None], axis=0)
            room.visibility[index] &= away_i <= SPEED_OF_SOUND_M_S * reach_s
        room.compute_rir()
        late = pra.constants.get("frac_delay_length") // 2  # the simulator's own delay
    found = []
    for source in range(len(sources_k3)):
        parts = [np.asarray(row[source], np.float64)[late:] for row in room.rir]
        longest = max(map(len, parts))
        response_cn = np.stack([np.pad(part, (0, longest - len(part))) for part in parts])
        found.append(_through_air(response_cn).astype(np.float32))
    return found


@contextmanager
def _fixed_threads() -> Iterator[None]:
    import pyroomacoustics as pra

    before = pra.constants.get("num_threads")
    pra.constants.set("num_threads", _THREADS)
    try:
        yield
    finally:
        pra.constants.set("num_threads", before)


def _through_air(response_cn: Floats) -> Floats:
    """Let high frequencies fade on their way, shape (C, N).

    What arrives at time t has gone c t metres, so the loss is a gain per time and frequency; that
    is the same for all images at once, where the simulator would filter for each band again.
    """
    hop = _AIR_FRAME // 2
    num = response_cn.shape[1]
    num_frames = -(-num // hop) + 1
    padded_cn = np.pad(response_cn, ((0, 0), (hop, (num_frames + 1) * hop - num - hop)))
    frames_ctn = np.lib.stride_tricks.sliding_window_view(padded_cn, _AIR_FRAME, axis=1)[:, ::hop]
    # squares of this window sum to 1 over frames
    window_n = np.sin(np.pi * (np.arange(_AIR_FRAME) + 0.5) / _AIR_FRAME)
    spectrum_ctf = np.fft.rfft(frames_ctn * window_n, axis=2)
    per_m_f = np.interp(np.fft.rfftfreq(_AIR_FRAME, 1 / SAMPLE_RATE_HZ), _AIR_HZ, _AIR_PER_M)
    way_t = SPEED_OF_SOUND_M_S * hop * np.arange(num_frames) / SAMPLE_RATE_HZ
    spectrum_ctf *= np.exp(-0.5 * way_t[:, None] * per_m_f)
    pieces_ctn = np.fft.irfft(spectrum_ctf, _AIR_FRAME, axis=2) * window_n
    halves = pieces_ctn.reshape(len(response_cn), num_frames, 2, hop)
    # the second half of a frame meets the first half of the next
    summed = halves[:, :-1, 1] + halves[:, 1:, 0]
    return np.asarray(summed.reshape(len(response_cn), -1)[:, :num])


def reverberation_time(response_n: NDArray[np.floating]) -> float:
    """Measure the RT60 of an impulse response, shape (N,) at 16 kHz, in seconds.

    Notes
    -----
    Schroeder 1965, doi:10.1121/1.1909343: the energy still to come, in dB; a line through it from
    -5 to -35 dB, as far as the response goes, gives the time for 60 dB (ISO 3382-1, T30).
    """
    energy_n = np.cumsum(np.square(response_n, dtype=np.float64)[::-1])[::-1]
    level_n = 10 * np.log10(np.maximum(energy_n / energy_n[0], 1e-12))
    first, last = np.searchsorted(-level_n, [5.0, 35.0])
    slope, _ = np.polyfit(np.arange(first, last), level_n[first:last], 1)
    return float(-60 / slope / SAMPLE_RATE_HZ)
