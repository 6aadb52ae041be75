"""What training does to sounds: always the same for the same seed, within what the settings say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_audio_encoder.augment import (
    clipped,
    colored_noise,
    coloured,
    crowd,
    fitted,
    hum,
    in_room,
    joined,
    narrowed,
    speech_level,
    stripes,
    vary,
    with_longer_pauses,
    with_speed,
)
from muomni_audio_encoder.plugin import AudioAugmentConfig

RATE = 16000
NOTHING = AudioAugmentConfig(speed=0, shift=0, gain=0, noise=0, babble=0, time_masks=0, bin_masks=0)
Wave = NDArray[np.float32]


def tone(seconds: float = 1.0, hertz: float = 440.0) -> Wave:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def decibels(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(np.square(one, dtype=np.float64)) / np.mean(np.square(other, dtype=np.float64))))


def test_the_same_seed_gives_the_same_sound() -> None:
    for seed in range(8):
        made = [vary(tone(), tone(0.5, 700), AudioAugmentConfig(babble=0.5), RATE, rng(seed)) for _ in range(2)]
        np.testing.assert_array_equal(*made)
        assert made[0].dtype == np.float32
    assert len({vary(tone(), tone(), AudioAugmentConfig(), RATE, rng(seed)).tobytes() for seed in range(20)}) == 20


def test_settings_of_nothing_change_nothing() -> None:
    np.testing.assert_array_equal(vary(tone(), tone(2.0), NOTHING, RATE, rng()), tone())


def test_speed_changes_length_and_pitch_alike() -> None:
    for seed in range(10):
        wave = with_speed(tone(), 0.2, rng(seed))
        speed = RATE / wave.size
        assert 0.8 - 1e-3 < speed < 1.2 + 1e-3
        heard = np.abs(np.fft.rfft(wave)).argmax() * RATE / wave.size
        assert heard == pytest.approx(440 * speed, abs=2)
    assert len({with_speed(tone(), 0.2, rng(seed)).size for seed in range(20)}) > 10


def test_silence_goes_around_and_nothing_is_cut() -> None:
    config = NOTHING.model_copy(update={"shift": 0.25})
    wave = np.ones(RATE, np.float32)
    for seed in range(10):
        made = vary(wave, wave, config, RATE, rng(seed))
        (places,) = np.nonzero(made)
        assert places.size == RATE
        assert places[0] < RATE // 4
        assert made.size - 1 - places[-1] < RATE // 4


@pytest.mark.parametrize("kind", ["noise", "babble"])
def test_noise_and_voices_lie_as_far_below_as_asked(kind: str) -> None:
    config = NOTHING.model_copy(update={kind: 1.0, f"{kind}_level": (7.0, 9.0)})
    for seed in range(10):
        made = vary(tone(), tone(1.0, 1234), config, RATE, rng(seed))
        assert 7 - 0.1 < decibels(tone(), made - tone()) < 9 + 0.1


def test_a_telephone_carries_nothing_above_4_khz() -> None:
    low, high = tone(1.0, 1000), tone(1.0, 6000)
    heard = narrowed(low + high, RATE)
    assert heard.shape == low.shape
    inside = slice(RATE // 10, -RATE // 10)  # it comes and goes at the ends
    assert decibels((heard - low)[inside], low[inside]) < -40
    always = NOTHING.model_copy(update={"narrow": 1.0})
    np.testing.assert_array_equal(vary(low + high, low, always, RATE, rng()), heard)
    np.testing.assert_array_equal(narrowed(low[::2], RATE // 2), low[::2])


def test_loudness_changes_within_its_bounds() -> None:
    config = NOTHING.model_copy(update={"gain": 6.0})
    changes = [decibels(vary(tone(), tone(), config, RATE, rng(seed)), tone()) for seed in range(30)]
    assert -6.01 < min(changes) < -3
    assert 3 < max(changes) < 6.01


def test_silence_gets_a_little_noise_and_stays_finite() -> None:
    silent = np.zeros(RATE, np.float32)
    config = AudioAugmentConfig(noise=1, babble=1)
    made = vary(silent, silent, config, RATE, rng())
    assert np.isfinite(made).all()
    assert 0 < np.abs(made).max() < 0.01


def test_noise_has_many_colors() -> None:
    def slope(noise: Wave) -> float:
        power = np.abs(np.fft.rfft(noise)) ** 2
        return decibels(power[4000:8000] ** 0.5, power[200:400] ** 0.5)

    slopes = [slope(colored_noise(RATE, rng(seed))) for seed in range(30)]
    assert max(slopes) > -6
    assert min(slopes) < -18


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
def test_another_sound_is_fitted(size: int, samples: int, seed: int) -> None:
    wave = np.arange(1, size + 1, dtype=np.float32)
    made = fitted(wave, samples, rng(seed))
    assert made.size == samples
    heard = made[made > 0]
    assert heard.size == min(size, samples)
    assert (np.diff(heard) == 1).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4), st.floats(0, 40), st.integers(0, 60), st.integers(0, 99))
def test_stripes_lie_inside_and_are_no_wider_than_asked(count: int, widest: float, size: int, seed: int) -> None:
    found = stripes(count, widest, size, rng(seed))
    assert found.shape == (count, 2)
    assert (found[:, 0] >= 0).all()
    assert (found[:, 1] <= size).all()
    assert ((found[:, 1] - found[:, 0]) <= widest).all()
    assert (found[:, 1] >= found[:, 0]).all()


def test_levels_that_fall_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="noise_level begins at 30 dB, above its end, 5 dB"):
        AudioAugmentConfig(noise_level=(30.0, 5.0))


EVERYTHING = AudioAugmentConfig(
    babble=1, crowd=5, hum=1, room=1, color=1, clip=1, pauses=1, narrow=1, noise=1, of_speech=True
)


def test_all_of_it_at_once_gives_finite_sounds_and_the_same_for_the_same_seed() -> None:
    waves = [tone(0.7), tone(0.4, 700), np.zeros(RATE, np.float32), tone(0.002)]
    for seed in range(6):
        for wave in waves:
            made = []
            for _ in range(2):
                own = rng(seed)
                made.append(vary(wave, crowd(waves, 5, wave.size, own), EVERYTHING, RATE, own))
            np.testing.assert_array_equal(*made)
            assert made[0].dtype == np.float32
            assert np.isfinite(made[0]).all()


def test_the_level_of_speech_does_not_depend_on_the_silence_around_it() -> None:
    around = np.pad(tone(), (2048 * 5, 2048 * 9))
    assert speech_level(around, RATE) == pytest.approx(speech_level(tone(), RATE), rel=0.02)
    assert speech_level(np.zeros(0, np.float32), RATE) == 0


def test_longer_pauses_add_silence_to_the_gaps_and_nothing_else() -> None:
    gap = np.zeros(RATE // 10, np.float32)
    wave = np.concatenate([tone(0.5), gap, tone(0.5), gap, tone(0.5)])
    sizes = set()
    for seed in range(12):
        made = with_longer_pauses(wave, 0.5, RATE, rng(seed))
        sizes.add(made.size)
        assert wave.size <= made.size <= wave.size + 2 * 0.5 * RATE
        assert np.count_nonzero(made) == np.count_nonzero(wave)
    assert len(sizes) > 5
    np.testing.assert_array_equal(with_longer_pauses(tone(), 0.5, RATE, rng()), tone())


def test_joined_sounds_are_about_equally_loud() -> None:
    for seed in range(10):
        both = joined(tone(), 0.01 * tone(0.5, 700), RATE, rng(seed))
        assert 1.55 * RATE <= both.size <= 2.71 * RATE
        assert abs(decibels(both[-RATE // 2 :], both[:RATE])) < 5.1


def test_a_room_keeps_length_and_adds_what_decays() -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 1.0
    for seed in range(6):
        heard = in_room(click, RATE, rng(seed))
        assert heard.size == click.size
        assert np.abs(heard).argmax() == 100
        assert 0 < np.square(heard[-4000:]).sum() + 1e-12 < np.square(heard[100:6000]).sum()


def test_other_microphones_stay_within_their_range() -> None:
    for seed in range(10):
        changed = decibels(coloured(tone(), 6.0, rng(seed)), tone())
        assert -37 < changed < 6.5


def test_clipping_only_lowers_peaks() -> None:
    for seed in range(6):
        loud = tone() * np.linspace(0, 1, RATE, dtype=np.float32)
        made = clipped(loud, rng(seed))
        assert np.all(np.abs(made) <= np.abs(loud))
        assert np.abs(made).max() < np.abs(loud).max()


def test_hum_is_low() -> None:
    for seed in range(6):
        spectrum = np.abs(np.fft.rfft(hum(RATE, RATE, rng(seed)))) ** 2
        assert spectrum[:3000].sum() > 0.99 * spectrum.sum()


def test_a_crowd_of_one_is_one_of_the_sounds() -> None:
    waves = [tone(0.1), tone(0.2)]
    assert crowd(waves, 1, 5, rng()).size in (waves[0].size, waves[1].size)
    assert {crowd(waves, 6, 5000, rng(seed)).size for seed in range(30)} <= {5000, waves[0].size, waves[1].size}
