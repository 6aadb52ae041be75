"""Phase dispersion: spreads what a vocoder piles up at the centers of its frames.

A spectral loss leaves the phases of noise and of unresolved harmonics undetermined, so a network gives neighboring bins
the same ones: each frame becomes a pulse at its center, and the pulses, one per hop, are heard as a buzz. Added phases
delay neighboring frequencies differently, in sweeps as wide as a critical band (Glasberg and Moore 1990; phases of low
peak factor: Schroeder 1970). The sweeps move on from frame to frame, so that no pulse is like the one before.
Magnitudes and everything below :data:`LOWEST` stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOWEST = 2000.0  # Hz: below, harmonics are resolved and their phases are learned
SWEEP = 1.0  # width of a sweep, in equivalent rectangular bandwidths of the ear
SPREAD = 1.5  # range of the delays in a sweep, in hops
FRAMES = 32  # after so many frames the sweeps are where they were
POINTS = 8193  # frequencies at which delays are summed to phases


def sweeps(rate: int, hop: int, n_fft: int) -> NDArray[np.float32]:
    """(FRAMES, n_fft // 2 + 1) phases to add to those of the bins of frame ``t``, in row ``t % FRAMES``; at ``rate``
    samples a second."""
    frequencies = np.linspace(0, rate / 2, POINTS)
    bands = (_erb_number(frequencies) - _erb_number(np.array(LOWEST))) / SWEEP
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    rows = []
    for frame in range(FRAMES):
        delays = SPREAD * hop / rate * ((bands - frame / FRAMES) % 1 - 0.5) * (frequencies >= LOWEST)  # seconds
        phases = -2 * np.pi * np.cumsum(delays) * frequencies[1]
        rows.append(np.interp(bins, frequencies, phases))
    return np.array(rows, np.float32)


def _erb_number(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hz -> number of equivalent rectangular bandwidths below (Glasberg and Moore 1990)."""
    return np.asarray(21.4 * np.log10(1 + 0.00437 * frequencies))
