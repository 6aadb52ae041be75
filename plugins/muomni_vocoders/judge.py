"""A judge that tells made sounds from true ones, and how it and the vocoder learn from each other in one step.

Spectrograms of several resolutions, each through a few strided convolutions (UnivNet, arXiv:2106.07889, made small).

Shapes: B batch, N samples.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from muomni_cli.api import MelConfig
from muomni_vocoders.config import GanConfig
from muomni_vocoders.losses import Spectra

SLOPE = 0.1
"""Of the leaky rectifier for what is negative."""

Verdict = list[list[Tensor]]
"""A resolution each: the outputs of its layers; the last says how true each place sounds."""


class Convolutions(nn.Module):
    """(B,1,frames,frequencies) log-magnitudes -> what each layer makes; all but the last halve the frequencies."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        widths = [1] + [config.channels] * config.layers
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, (3, 9), stride=(1, 2), padding=(1, 4))
            for before, after in itertools.pairwise(widths)
        )
        self.out = nn.Conv2d(config.channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        found = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            found.append(x)
        return [*found, self.out(x)]


class Judge(nn.Module):
    """(B,N) waveforms -> how true they sound, place by place and resolution by resolution."""

    def __init__(self, config: GanConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.spectra = config, Spectra(mel)
        self.resolutions = nn.ModuleList(Convolutions(config) for _ in self.spectra.sizes)

    def forward(self, waves: Tensor) -> Verdict:
        """See the class."""
        pairs = zip(self.resolutions, self.spectra(waves), strict=True)
        return [convolutions(spectrum.log().transpose(1, 2)[:, None]) for convolutions, spectrum in pairs]

    def contest(self, made: Tensor, true: Tensor) -> Contest:
        """What each side loses on (B,N) ``made`` and ``true``."""
        asked: Verdict = functional_call(self, self._fixed(), (made,))
        with torch.no_grad():
            known: Verdict = functional_call(self, self._fixed(), (true,))
        flattery = _mean([_rows(self._true(verdict[-1])) for verdict in asked])
        features = _mean(
            [
                _rows((one - other).abs()) / _rows(other.abs())
                for verdict, truth in zip(asked, known, strict=True)
                for one, other in zip(verdict[:-1], truth[:-1], strict=True)
            ]
        )
        told = zip(self(made.detach()), self(true), strict=True)
        judging = _mean([_rows(self._false(one[-1])) + _rows(self._sure(other[-1])) for one, other in told])
        return Contest(self.config.weight * flattery + self.config.features * features, judging)

    def _fixed(self) -> dict[str, Tensor]:
        """Its weights as constants: gradients go through it, not into it."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def _true(self, said: Tensor) -> Tensor:
        """Loss of the vocoder where its sound is called ``said``."""
        return -said if self.config.use == "hinge" else (said - 1).square()

    def _sure(self, said: Tensor) -> Tensor:
        """Loss of the judge for a true sound."""
        return F.relu(1 - said) if self.config.use == "hinge" else (said - 1).square()

    def _false(self, said: Tensor) -> Tensor:
        """Loss of the judge for a made sound."""
        return F.relu(1 + said) if self.config.use == "hinge" else said.square()


@dataclass(frozen=True, slots=True)
class Contest:
    """Losses (B,) whose sum trains both sides at once: ``vocoder`` has no gradient for the judge's weights, ``judge``
    none for the vocoder's."""

    vocoder: Tensor
    judge: Tensor


def _rows(values: Tensor) -> Tensor:
    """(B,...) -> (B,) means."""
    return values.flatten(1).mean(1)


def _mean(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean(0)
