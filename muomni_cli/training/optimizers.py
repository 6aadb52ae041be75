"""Which optimiser moves which parameter, their rates, and their state as named tensors.

Knows nothing of checkpoints' files or of the loop. Matrices of hidden layers go to Muon if the recipe says so; the
rest, and everything under ``optimizer = "adamw"``, goes to fused AdamW. Vectors and embedding tables are never decayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from muomni_cli.training.muon import Muon
from muomni_cli.training.schedules import factor

if TYPE_CHECKING:
    from muomni_cli.recipe import TrainSettings


def table_names(module: nn.Module) -> set[str]:
    """Names of the parameters that are embedding tables (and not used as anything else before)."""
    tables = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    return {name for name, p in module.named_parameters() if id(p) in tables}


class Optimizers:
    """The optimisers of one stage, stepped together.

    Args:
        module: whose parameters with ``requires_grad`` are trained.
        settings: optimiser, rates, decay and schedule.
        adam_only: names that Muon must not move.
    """

    def __init__(self, module: nn.Module, settings: TrainSettings, adam_only: frozenset[str] = frozenset()) -> None:
        self.settings = settings
        self.names = {name: p for name, p in module.named_parameters() if p.requires_grad}
        unknown = adam_only - dict(module.named_parameters(remove_duplicate=False)).keys()
        assert not unknown, f"adam_only names no parameters: {sorted(unknown)}"
        tables = table_names(module)
        use_muon = settings.optimizer == "muon"
        hidden = [n for n, p in self.names.items() if use_muon and p.ndim == 2 and n not in adam_only | tables]
        rest = [n for n in self.names if n not in set(hidden)]
        decayed = [n for n in rest if self.names[n].ndim >= 2 and n not in tables]
        plain = [n for n in rest if n not in set(decayed)]
        self.named: dict[str, torch.optim.Optimizer] = {}
        if rest:
            self.named["adamw"] = self._adamw(decayed, plain)
        if hidden:
            self.named["muon"] = Muon(
                [self.names[n] for n in hidden], settings.muon_lr, weight_decay=settings.weight_decay
            )
        self._peaks = {"adamw": settings.lr, "muon": settings.muon_lr}

    def _adamw(self, decayed: list[str], plain: list[str]) -> torch.optim.Optimizer:
        groups = [
            {"params": [self.names[n] for n in decayed], "weight_decay": self.settings.weight_decay},
            {"params": [self.names[n] for n in plain], "weight_decay": 0.0},
        ]
        b1, b2 = self.settings.betas
        # Fused also because it alone can leave out a step on the device (``found_inf``).
        return torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=self.settings.lr, betas=(b1, b2), eps=self.settings.eps, fused=True
        )

    @property
    def params(self) -> list[nn.Parameter]:
        """All trained parameters."""
        return list(self.names.values())

    def step(self, step: int, skip: Tensor) -> None:
        """Update the weights at the rate of ``step`` (from 0), unless ``skip`` (a scalar on the device) is true."""
        share = factor(self.settings, step)
        for name, optimizer in self.named.items():
            for group in optimizer.param_groups:
                group["lr"] = self._peaks[name] * share
            if isinstance(optimizer, Muon):
                optimizer.skip = skip
            else:
                optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
            optimizer.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimizer in self.named.values():
            optimizer.zero_grad(set_to_none=True)

    def lr(self, step: int) -> float:
        """AdamW's rate at ``step`` (from 0); Muon's if it moves everything."""
        return self._peaks["adamw" if "adamw" in self.named else "muon"] * factor(self.settings, step)

    def state_tensors(self) -> dict[str, Tensor]:
        """``<optimiser>.<parameter>/<key>`` -> state tensor."""
        found: dict[str, Tensor] = {}
        for name, optimizer in self.named.items():
            for parameter, p in self.names.items():
                for key, value in optimizer.state.get(p, {}).items():
                    found[f"{name}.{parameter}/{key}"] = value
        return found

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state_tensors` gave; names that do not fit raise ``KeyError``."""
        for full, value in tensors.items():
            name, _, rest = full.partition(".")
            parameter, _, key = rest.rpartition("/")
            p, optimizer = self.names[parameter], self.named[name]
            if not any(p is own for group in optimizer.param_groups for own in group["params"]):
                raise KeyError(f"{name} state of {parameter}")
            optimizer.state[p][key] = value.to(p.device)
