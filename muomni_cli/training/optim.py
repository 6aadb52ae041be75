"""Optimizers: learning-rate schedules, Muon, AdamW, and the moving average of the weights.

Muon (Keller Jordan, 2024; analyzed in arXiv:2502.16982) trains the matrices of hidden layers if the recipe asks for it;
fused AdamW trains everything else. Vectors and embedding tables have no weight decay. :class:`Muon` computes the update
of :class:`torch.optim.Muon` with its defaults, but batches matrices of equal shape (a handful of kernels for many
layers) and can skip a step without a host sync.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from muomni_cli.nn.device import quick_dtype
from muomni_cli.training.distributed.strategy import Strategy

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings


def factor(settings: TrainSettings, step: int) -> float:
    """Share of the peak learning rate at ``step`` (from 0), in (0, 1]; a pure function, so resuming needs no state.

    Every schedule warms up linearly over ``warmup_steps``. Then ``cosine`` decays along half a cosine to ``min_lr``
    (arXiv 1608.03983), ``wsd`` stays at the peak and decays linearly to ``min_lr`` over the last ``decay_fraction`` of
    the steps (arXiv 2404.06395), and ``constant`` stays.
    """
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "cosine":
        span = max(1, settings.steps - settings.warmup_steps)
        share = (1 + math.cos(math.pi * min(1.0, (step - settings.warmup_steps) / span))) / 2
    else:
        falling = max(1.0, settings.decay_fraction * settings.steps)
        share = min(1.0, max(0.0, (settings.steps - step) / falling))
    return settings.min_lr + (1 - settings.min_lr) * share


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """(N,R,C) -> (N,R,C) with the same singular vectors, all singular values near 1; in bfloat16 where that is fast."""
    a, b, c = 3.4445, -4.7750, 2.0315  # of a quintic that drives all singular values towards 1 in few iterations
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(quick_dtype(matrices.device))
    x = x.mT if tall else x  # the Gram matrix is taken over the short side
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum that is orthogonalized before it is applied, for 2-D parameters.

    ``lr``: size of the update's singular values, times ``sqrt(max(1, rows / columns))``; 0.02 is a usual rate. The
    momentum is Nesterov's, the weight decay decoupled.
    """

    skip: Tensor | None = None  # scalar on the device; where true, step() changes neither weights nor state
    strategy = Strategy()  # whether the parameters are whole matrices

    def __init__(
        self,
        params: Sequence[Tensor] | Sequence[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        matrices = all(p.ndim == 2 for group in self.param_groups for p in group["params"])
        assert matrices, "Muon takes matrices only"

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "gradients are computed before the step"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(self.strategy.whole_shape(p), []).append(p)
            for shape, params in by_shape.items():
                self._step_shape(params, shape, group["lr"], group["momentum"], group["weight_decay"])

    def _step_shape(
        self, params: list[Tensor], shape: torch.Size, lr: float, momentum: float, weight_decay: float
    ) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum"] for p in params]
        if self.skip is not None:  # keep NaN out of the average and the weights
            grads = [torch.where(self.skip, buffer, grad) for buffer, grad in zip(buffers, grads, strict=True)]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        stacked = torch.stack(torch._foreach_lerp(grads, buffers, momentum))
        whole = orthogonalize(self.strategy.gather_matrices(stacked, shape)).to(params[0].dtype)
        updates = self.strategy.own_rows(whole, stacked.shape[1])
        rows, columns = shape
        scale = lr * max(1.0, rows / columns) ** 0.5
        go = 1.0 if self.skip is None else (~self.skip).to(params[0].dtype)
        torch._foreach_mul_(params, 1 - go * (lr * weight_decay))
        torch._foreach_add_(params, list((updates * go).unbind()), alpha=-scale)


def scale_of(name: str, scales: Mapping[str, float], default: float = 1.0) -> float:
    """The value of the longest dotted prefix of ``name`` in ``scales``."""
    words = name.split(".")
    prefixes = (".".join(words[:count]) for count in range(len(words), 0, -1))
    return next((scales[prefix] for prefix in prefixes if prefix in scales), default)


def freeze(module: nn.Module, scales: Mapping[str, float]) -> None:
    """No gradients for parameters whose learning rate is scaled by 0."""
    for name, p in module.named_parameters():
        if scale_of(name, scales) == 0:
            p.requires_grad_(False)


class Optimizers:
    """The optimizers of one stage, stepped together; ``adamw_params`` are excluded from Muon. ``strategy``: which part
    of each parameter is updated here. Parameters without a gradient (:func:`freeze`) are left out.

    Attributes:
        names: the trained parameters, or the parts of them that are updated here.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainSettings,
        adamw_params: frozenset[str] = frozenset(),
        strategy: Strategy | None = None,
    ) -> None:
        self.settings = settings
        self._strategy = strategy = strategy or Strategy()
        self._scales = {name: scale_of(name, settings.lr_scale) for name, _ in module.named_parameters()}
        self._frozen = {name: int(scale_of(name, settings.freeze_until, 0)) for name, _ in module.named_parameters()}
        self.names = {name: strategy.local(p) for name, p in module.named_parameters() if p.requires_grad}
        unknown = adamw_params - dict(module.named_parameters(remove_duplicate=False)).keys()
        assert not unknown, f"adamw_params names no parameters: {sorted(unknown)}"
        embeddings = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
        tables = {name for name, p in module.named_parameters() if id(p) in embeddings}
        use_muon = settings.optimizer == "muon"
        hidden = [n for n, p in self.names.items() if use_muon and p.ndim == 2 and n not in adamw_params | tables]
        rest = [n for n in self.names if n not in set(hidden)]
        decayed = [n for n in rest if self.names[n].ndim >= 2 and n not in tables]
        plain = [n for n in rest if n not in set(decayed)]
        self.named: dict[str, torch.optim.Optimizer] = {}
        if rest:
            groups = [*self._groups(decayed, settings.weight_decay), *self._groups(plain, 0.0)]
            # fused: only this variant can skip a step on the device (``found_inf``)
            self.named["adamw"] = torch.optim.AdamW(groups, settings.lr, settings.betas, settings.eps, fused=True)
        if hidden:
            muon = Muon(self._groups(hidden, settings.weight_decay), settings.muon_lr)
            muon.strategy = strategy
            self.named["muon"] = muon
        self._peaks = {"adamw": settings.lr, "muon": settings.muon_lr}

    def _groups(self, names: list[str], weight_decay: float) -> list[dict[str, Any]]:
        groups: dict[tuple[float, int], dict[str, Any]] = {}
        for name in names:
            scale, until = self._scales[name], self._frozen[name]
            new = {"params": [], "weight_decay": weight_decay, "scale": scale, "frozen_until": until}
            group = groups.setdefault((scale, until), new)
            group["params"].append(self.names[name])
        return list(groups.values())

    def step(self, step: int, skip: Tensor) -> None:
        """Update the weights at the rate of ``step`` (from 0), unless ``skip`` (scalar on the device) is true."""
        share = factor(self.settings, step)
        for name, optimizer in self.named.items():
            for group in optimizer.param_groups:
                group["lr"] = self._peaks[name] * share * group["scale"] if step >= group["frozen_until"] else 0.0
            if isinstance(optimizer, Muon):
                optimizer.skip = skip
            else:
                optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.named.values():
            optimizer.zero_grad(set_to_none=True)

    def lr(self, step: int) -> float:
        """AdamW's rate at ``step`` (from 0); Muon's if there is no AdamW."""
        return self._peaks["adamw" if "adamw" in self.named else "muon"] * factor(self.settings, step)

    def state_tensors(self) -> dict[str, Tensor]:
        """``<optimizer>.<parameter>/<key>`` -> state tensor."""
        found: dict[str, Tensor] = {}
        for name, optimizer in self.named.items():
            for parameter, p in self.names.items():
                for key, value in optimizer.state.get(p, {}).items():
                    found[f"{name}.{parameter}/{key}"] = value
        return found

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore :meth:`state_tensors`. KeyError for names that do not match."""
        for full, value in tensors.items():
            name, _, rest = full.partition(".")
            parameter, _, key = rest.rpartition("/")
            p, optimizer = self.names[parameter], self.named[name]
            if not any(p is own for group in optimizer.param_groups for own in group["params"]):
                raise KeyError(f"{name} state of {parameter}")
            optimizer.state[p][key] = self._strategy.part(parameter, value).to(p.device)


class Ema:
    """Exponential moving average of the trained parameters ``params``, by name, or of the parts that ``strategy`` keeps
    in this process."""

    def __init__(self, params: Mapping[str, Tensor], decay: float, strategy: Strategy | None = None) -> None:
        self.decay, self._strategy = decay, strategy or Strategy()
        self.params = dict(params)
        self.average = {name: p.detach().float().clone() for name, p in self.params.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))  # small at first: the initial weights are soon forgotten
        weights = [p.detach().float() for p in self.params.values()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Swap the averaged weights in, and the trained ones back at the end."""
        own = [p.detach().clone() for p in self.params.values()]
        self._write(list(self.average.values()))
        try:
            yield
        finally:
            self._write(own)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the averages from a checkpoint. KeyError for a missing name."""
        for name, average in self.average.items():
            average.copy_(self._strategy.part(name, tensors[name]))

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for p, value in zip(self.params.values(), values, strict=True):
            p.copy_(value)
