"""What a motion sensor on a body measures, from a model of how the body moves. Knows no torch.

The sensor turns with the body and is fixed to it in any direction. In its own frame the accelerometer measures
acceleration less gravity, the gyroscope the turning, the magnetometer the field of the earth; all are noisy, and the
magnetometer has an offset, as magnetic parts beside it make.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRAVITY = 9.81
FIELD = np.array([20.0, 0.0, -45.0])
"""Of the earth, in µT, in a world of north, west and up."""


@dataclass(slots=True)
class Movement:
    """Of the body in the world: ``angles`` (N,3) roll, pitch and yaw in rad, ``pull`` (N,3) acceleration in m/s²."""

    angles: Array
    pull: Array


@dataclass(frozen=True, slots=True)
class Person:
    """How somebody moves and how the sensor sits, all drawn from one number."""

    seed: tuple[int, ...]
    pace: float = field(init=False)
    strength: float = field(init=False)
    mounting: Array = field(init=False)
    offset: Array = field(init=False)
    noise: float = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        for name, value in {
            "pace": random.uniform(0.85, 1.15),
            "strength": random.uniform(0.7, 1.3),
            "mounting": turned(random.uniform(-np.pi, np.pi, (1, 3)))[0],
            "offset": random.normal(0, 8, 3),
            "noise": random.uniform(0.5, 1.5),
        }.items():
            object.__setattr__(self, name, value)


def sitting(times: Array, person: Person, random: Generator) -> Movement:
    """Breathing and a little fidgeting."""
    breath = np.sin(2 * np.pi * random.uniform(0.2, 0.35) * times + random.uniform(0, 6))
    angles = 0.02 * breath[:, None] * random.normal(0, 1, 3)
    pull = np.outer(0.05 * person.strength * breath, random.normal(0, 1, 3))
    if random.random() < 0.5:
        pull += _bump(times, random.uniform(0.2, 0.8) * times[-1], 0.1)[:, None] * random.normal(0, 0.8, 3)
    return Movement(angles, pull)


def walking(times: Array, person: Person, random: Generator) -> Movement:
    """Steps of about two a second; the body sways at half of that."""
    return _gait(times, random.uniform(1.6, 2.1) * person.pace, random.uniform(1.5, 3.0) * person.strength, 0.1, random)


def running(times: Array, person: Person, random: Generator) -> Movement:
    """Quicker and harder steps."""
    return _gait(times, random.uniform(2.4, 3.1) * person.pace, random.uniform(6, 11) * person.strength, 0.25, random)


def waving(times: Array, person: Person, random: Generator) -> Movement:
    """A forearm that goes to and fro about one axis, with the sensor at the wrist."""
    rate, width = random.uniform(1.0, 2.2) * person.pace, random.uniform(0.4, 0.9) * person.strength
    phase = 2 * np.pi * rate * times + random.uniform(0, 6)
    angles = np.zeros((len(times), 3))
    angles[:, 0] = width * np.sin(phase)
    angles[:, 1] = random.uniform(-0.4, 0.4)
    arm, quickness = random.uniform(0.2, 0.35), 2 * np.pi * rate
    along = -arm * width * quickness**2 * np.sin(phase)
    inward = -arm * (width * quickness * np.cos(phase)) ** 2
    return Movement(angles, np.stack([np.zeros_like(along), along, inward], axis=1))


def turning(times: Array, person: Person, random: Generator) -> Movement:
    """Round on the spot, steadily, with small steps."""
    speed = random.choice([-1, 1]) * random.uniform(0.8, 2.2) * person.pace
    moved = _gait(times, random.uniform(1.2, 1.6), random.uniform(0.2, 0.6) * person.strength, 0.03, random)
    moved.angles[:, 2] += speed * times
    return moved


def falling(times: Array, person: Person, random: Generator) -> Movement:
    """Standing, nothing under the feet for a moment, a blow, lying."""
    begin, long = random.uniform(0.25, 0.5) * times[-1], random.uniform(0.3, 0.5)
    moved = sitting(times, person, random)
    falls = _between(times, begin, begin + long)
    moved.pull[:, 2] -= GRAVITY * falls * random.uniform(0.7, 1.0)
    blow = _bump(times, begin + long, random.uniform(0.03, 0.06)) * random.uniform(25, 50) * person.strength
    moved.pull += blow[:, None] * np.array([random.normal(0, 0.3), random.normal(0, 0.3), 1.0])
    way = np.clip((times - begin) / (long + 0.1), 0, 1)
    moved.angles[:, random.integers(0, 2)] += random.choice([-1, 1]) * random.uniform(1.2, 1.6) * way**2
    return moved


MOVES: dict[str, Callable[[Array, Person, Generator], Movement]] = {
    "falling": falling,
    "running": running,
    "sitting": sitting,
    "turning": turning,
    "walking": walking,
    "waving": waving,
}


def measured(activity: str, person: Person, seed: tuple[int, ...], seconds: float, rate: float) -> Array:
    """(N,10): times, and what the nine axes of the sensor say."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * random.uniform(0.85, 1.15) * rate)) / rate
    moved = MOVES[activity](times, person, random)
    moved.angles[:, 2] += random.uniform(-np.pi, np.pi)
    pose = turned(moved.angles) @ person.mounting  # (N,3,3): from the sensor's frame to the world
    pull = np.einsum("nji,nj->ni", pose, moved.pull + np.array([0.0, 0.0, GRAVITY]))
    field = np.einsum("nji,j->ni", pose, FIELD) + person.offset
    noise = person.noise * np.repeat([0.1, 0.02, 0.8], 3)
    axes = np.concatenate([pull, _turning_of(pose, rate), field], axis=1)
    return np.concatenate([times[:, None], axes + random.normal(0, 1, axes.shape) * noise], axis=1)


def turned(angles: Array) -> Array:
    """(N,3) roll, pitch and yaw -> (N,3,3) rotations."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _turning_of(pose: Array, rate: float) -> Array:
    """(N,3,3) -> (N,3) rad/s around the sensor's axes."""
    change = np.einsum("nji,njk->nik", pose, np.gradient(pose, 1 / rate, axis=0))
    return np.stack([change[:, 2, 1], change[:, 0, 2], change[:, 1, 0]], axis=1)


def _gait(times: Array, rate: float, strength: float, swing: float, random: Generator) -> Movement:
    phase = 2 * np.pi * rate * times + random.uniform(0, 6)
    bounce = strength * (np.sin(phase) + 0.4 * np.sin(2 * phase + random.uniform(0, 6)))
    ahead = 0.4 * strength * np.sin(phase + random.uniform(0, 6))
    aside = 0.3 * strength * np.sin(phase / 2)
    angles = swing * np.stack([np.sin(phase / 2), np.sin(phase), 0.5 * np.sin(phase / 2 + 1)], axis=1)
    return Movement(angles, np.stack([ahead, aside, bounce], axis=1))


def _bump(times: Array, at: float, width: float) -> Array:
    bump: Array = np.exp(-(((times - at) / width) ** 2))
    return bump


def _between(times: Array, begin: float, end: float) -> Array:
    return ((times >= begin) & (times < end)).astype(np.float64)
