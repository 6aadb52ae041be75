"""Which optimiser moves which parameter, their rates, and their state as named tensors.

Knows nothing of checkpoints' files or of the loop. Matrices of hidden layers go to Muon if the recipe says so; the
rest, and everything under ``optimizer = "adamw"``, goes to fused AdamW. Vectors and embedding tables are never decayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def scale_of(name: str, scales: Mapping[str, float]) -> float:
    """The factor of the longest prefix (of whole words between dots) that ``name`` has in ``scales``; 1 for none."""
    words = name.split(".")
    prefixes = (".".join(words[:count]) for count in range(len(words), 0, -1))
    return next((scales[prefix] for prefix in prefixes if prefix in scales), 1.0)


class Optimizers:
    """The optimisers of one stage, stepped together.

    Args:
        module: whose parameters with ``requires_grad`` are trained.
        settings: optimiser, rates, decay and schedule.
        adam_only: names that Muon must not move.
    """

    def __init__(self, module: nn.Module, settings: TrainSettings, adam_only: frozenset[str] = frozenset()) -> None:
        self.settings = settings
        self._scales = {name: scale_of(name, settings.lr_scale) for name, _ in module.named_parameters()}
        for name, p in module.named_parameters():
            if self._scales[name] == 0:
                p.requires_grad_(False)
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
            groups = [*self._groups(decayed, settings.weight_decay), *self._groups(plain, 0.0)]
            # Fused also because it alone can leave out a step on the device (``found_inf``).
            self.named["adamw"] = torch.optim.AdamW(
                groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True
            )
        if hidden:
            self.named["muon"] = Muon(self._groups(hidden, settings.weight_decay), settings.muon_lr)
        self._peaks = {"adamw": settings.lr, "muon": settings.muon_lr}

    def _groups(self, names: list[str], weight_decay: float) -> list[dict[str, Any]]:
        """One group of parameters for each factor of the rate."""
        groups: dict[float, dict[str, Any]] = {}
        for name in names:
            scale = self._scales[name]
            group = groups.setdefault(scale, {"params": [], "weight_decay": weight_decay, "scale": scale})
            group["params"].append(self.names[name])
        return list(groups.values())

    @property
    def params(self) -> list[nn.Parameter]:
        """All trained parameters."""
        return list(self.names.values())

    def step(self, step: int, skip: Tensor) -> None:
        """Update the weights at the rate of ``step`` (from 0), unless ``skip`` (a scalar on the device) is true."""
        share = factor(self.settings, step)
        for name, optimizer in self.named.items():
            for group in optimizer.param_groups:
                group["lr"] = self._peaks[name] * share * group["scale"]
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
