"""Fully sharded data parallelism (FSDP, arXiv:2304.11277, PyTorch's ``fully_shard``): each process holds a share of
every parameter, its gradient and its optimizer state, and gathers a layer only while it is computed.

The optimizer works on plain tensors that share memory with these shares. Muon needs whole matrices: their updates are
gathered, and every process orthogonalizes all of them. All processes run the same layers equally often, since each
gathers for all; so a process without targets repeats another's batch with weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from muomni_cli.contract.training import Batch, Loss, Objective
from muomni_cli.core.errors import RequestError
from muomni_cli.nn.device import multiplies_bf16
from muomni_cli.runs.checkpoint import Checkpoint, model_tensors
from muomni_cli.training.distributed.checkpoint import ShardedSave
from muomni_cli.training.distributed.ddp import DataParallel, LossModule
from muomni_cli.training.distributed.group import ProcessGroup
from muomni_cli.training.distributed.strategy import Sections

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings


class ShardedParallel(DataParallel):
    """Each process has a share of the model."""

    name = "fsdp"

    def __init__(self, group: ProcessGroup, stage: str) -> None:
        super().__init__(group, stage)
        self._root: Any
        self._objective: Objective
        self._precision = "fp32"
        self._names: list[str] = []  # of the module's state; tied weights once
        self._shapes: dict[str, torch.Size] = {}  # of whole parameters, by name
        self._locals: dict[int, tuple[str, nn.Parameter, Tensor]] = {}
        # Modules outside of the layers with the names of their parameters, and those that this step has called.
        self._owners: list[tuple[nn.Module, list[str]]] = []
        self._called: set[nn.Module] = set()
        self._saves: dist.ProcessGroup  # of the thread that writes checkpoints
        self._saving: ShardedSave | None = None

    def settings(self, settings: TrainSettings) -> TrainSettings:
        self._precision = settings.precision
        return super().settings(settings)

    def prepare(self, objective: Objective) -> Callable[[Batch], Loss]:
        self._ahead, self._control, self._saves = (self.group.subgroup() for _ in range(3))
        self._objective, module = objective, objective.module
        self._names = list(model_tensors(module))
        self._shapes = {name: p.shape for name, p in module.named_parameters()}
        layered = {id(p) for layer in _layers(objective) for p in layer.parameters()}
        for prefix, owner in module.named_modules(remove_duplicate=True):
            direct = owner.named_parameters(recurse=False)
            own = [f"{prefix}.{name}".lstrip(".") for name, p in direct if id(p) not in layered]
            if own:
                self._owners.append((owner, own))
                owner.register_forward_pre_hook(lambda called, _: self._called.add(called))
        device = next(module.parameters()).device
        mesh = init_device_mesh(device.type, (self.world_size,))
        scalars = {p for p in module.parameters() if p.ndim == 0}  # which fully_shard refuses
        half = self._precision == "bf16" and multiplies_bf16(device.type)
        # Layers travel in bfloat16; embeddings, heads and norms outside of them stay fp32, and so do all sums.
        layers = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
        for layer in _layers(objective):
            fully_shard(
                layer, mesh=mesh, mp_policy=layers, ignored_params={p for p in layer.parameters() if p.ndim == 0}
            )
        root: Any = LossModule(objective)
        fully_shard(root, mesh=mesh, ignored_params=scalars)
        for module in root.modules():
            if isinstance(module, FSDPModule):  # gradients are summed
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        root._get_fsdp_state()._lazy_init()  # before a layer runs by itself, in a validation for example
        self._mesh, self._root, self._wrapped = mesh, root, root
        return lambda batch: Loss(*self._run(batch))

    def _run(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        total, logs = self._root(batch)
        # Parameters outside of the layers are reduced together, so each needs a gradient in every process.
        touched = [p.sum() * 0.0 for p in self._root.parameters() if p.requires_grad and not isinstance(p, DTensor)]
        return total + sum(touched, total.new_zeros(())), logs

    def local(self, parameter: nn.Parameter) -> Tensor:
        if not isinstance(parameter, DTensor):
            name = next(n for n, p in self._objective.module.named_parameters() if p is parameter)
            self._locals[id(parameter)] = name, parameter, parameter
            return parameter
        tensor: Tensor = cast("DTensor", parameter.detach()).to_local().requires_grad_()
        name = next(n for n, p in self._objective.module.named_parameters() if p is parameter)
        self._locals[id(tensor)] = name, parameter, tensor
        return tensor

    def collect_gradients(self) -> None:
        for _, parameter, tensor in self._locals.values():
            if parameter is tensor:  # a scalar, of which each process has its own
                if tensor.grad is None:
                    tensor.grad = torch.zeros_like(tensor)
                dist.all_reduce(tensor.grad)
            elif parameter.grad is not None:
                assert isinstance(parameter.grad, DTensor)
                tensor.grad = parameter.grad.to_local()
                parameter.grad = None
        idle = self._idle()
        for name, _, tensor in self._locals.values():
            if name in idle:
                tensor.grad = None

    def _idle(self) -> set[str]:
        """Parameters that no process has used in this step: as with one process, they stay as they are. A matrix that
        is read directly is used where its gradient is not zero."""
        shares = {name: tensor.grad for name, _, tensor in self._locals.values()}

        def is_used(owner: nn.Module, names: Sequence[str]) -> bool:
            return owner in self._called or any(
                grad is not None and bool(grad.any()) for grad in map(shares.get, names)
            )

        used = torch.tensor([is_used(*one) for one in self._owners], dtype=torch.uint8)
        self._called.clear()
        with self._told():
            dist.all_reduce(used, dist.ReduceOp.MAX, group=self._control)
        return {name for (_, names), one in zip(self._owners, used.tolist(), strict=True) if not one for name in names}

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        self._root.set_requires_gradient_sync(last)
        with self._told():
            yield

    def divisor(self, weight: float) -> float:
        return weight

    def passes(self, step: int, batches: Sequence[Batch]) -> list[tuple[Batch, bool]]:
        if all(batch.weight for batch in batches):
            return [(batch, True) for batch in batches]
        others = (self._objective.batch(step, micro) for micro in range(len(batches) * self.world_size))
        spare = next(one for one in others if one.weight)
        return [(batch, True) if batch.weight else (spare, False) for batch in batches]

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        alone = {id(tensor.grad) for _, parameter, tensor in self._locals.values() if parameter is tensor}
        shares = [grad for grad in gradients if id(grad) not in alone]
        squared = torch.nn.utils.get_total_norm(shares).square()
        with self._told():
            dist.all_reduce(squared)
        whole = [grad for grad in gradients if id(grad) in alone]
        return (squared + torch.nn.utils.get_total_norm(whole).square()).sqrt() if whole else squared.sqrt()

    def whole_shape(self, tensor: Tensor) -> torch.Size:
        return self._shapes[self._locals[id(tensor)][0]]

    def gather_matrices(self, stacked: Tensor, shape: torch.Size) -> Tensor:
        rows = -(-shape[0] // self.world_size)
        own = stacked.new_zeros(stacked.shape[0], rows, shape[1])
        own[:, : stacked.shape[1]] = stacked
        found = own.new_empty(self.world_size, *own.shape)
        with self._told():
            dist.all_gather_into_tensor(found.flatten(0, 1), own)
        return found.transpose(0, 1).flatten(1, 2)[:, : shape[0]]

    def own_rows(self, whole: Tensor, rows: int) -> Tensor:
        begin = self.rank * -(-whole.shape[1] // self.world_size)
        return whole[:, begin : begin + rows]

    def part(self, name: str, whole: Tensor) -> Tensor:
        if whole.ndim == 0 or whole.shape != self._shapes.get(name):
            return whole
        parts = torch.chunk(whole, self.world_size)
        return parts[self.rank].clone() if self.rank < len(parts) else whole[:0].clone()

    def load_model(self, module: nn.Module, checkpoint: Checkpoint) -> None:
        given, state = checkpoint.section("model"), module.state_dict()
        wrong = sorted(
            {name for name in self._names if name not in given or given[name].shape != state[name].shape}
            | (given.keys() - set(self._names))
        )
        if wrong:
            raise RequestError(
                f"{checkpoint.path} does not fit this model: {len(wrong)} tensors differ, among them {wrong[0]!r}",
                "use the recipe in the checkpoint's own run folder, or train again with --force",
            )
        with torch.no_grad():
            for name in self._names:
                tensor = state[name]
                if isinstance(tensor, DTensor):
                    tensor.to_local().copy_(self.part(name, given[name]))
                else:
                    tensor.copy_(given[name])

    def evaluating(self) -> AbstractContextManager[Any]:
        return self._gathered()

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """All parameters whole in every process, so that each can run layers by itself."""
        modules = [module for module in self._root.modules() if isinstance(module, FSDPModule)]
        with self._told():
            for module in modules:
                module.set_reshard_after_forward(False, recurse=False)
                module.unshard()
            try:
                yield
            finally:
                for module in modules:
                    module.reshard()
                    module.set_reshard_after_forward(module is not self._root, recurse=False)
                    # The order of forward passes decides what is gathered ahead in the next backward pass, and here
                    # processes had different ones.
                    if (shares := module._get_fsdp_state()._fsdp_param_group) is not None:
                        shares.comm_ctx.post_forward_order.clear()
                        shares._post_forward_indices.clear()

    def tensors(self, module: nn.Module) -> Mapping[str, Tensor]:
        state = module.state_dict()
        return {name: state[name] for name in self._names}

    def gather(self, sections: Callable[[], Sections]) -> Sections:
        with self._told():
            found: dict[str, dict[str, Tensor]] = {}
            for section, tensors in self._marked(sections()).items():
                kept = found.setdefault(section, {})
                for name, tensor in tensors.items():
                    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
                    if self.main:
                        kept[name] = whole.cpu()
            return found

    def save(self, path: Path, header: Mapping[str, Any], sections: Callable[[], Sections]) -> bool:
        """Begin to write in the background: every process its share, and then the first one all of them as one file."""
        self.saved(wait=True)
        self._saving = ShardedSave(path, header, self._marked(sections()), self._saves, main=self.main)
        return False

    def saved(self, *, wait: bool) -> bool:
        if self._saving is None or not self._saving.finished(wait=wait):
            return False
        self._saving = None
        return True

    def keeps_weights(self, error: BaseException) -> bool:  # noqa: ARG002
        return False

    def _marked(self, sections: Sections) -> dict[str, dict[str, Tensor]]:
        """Shares of parameters, averages and optimizer state as DTensors, which know the whole."""
        by_name = {name: tensor for name, _, tensor in self._locals.values()}
        found: dict[str, dict[str, Tensor]] = {}
        for section, tensors in sections.items():
            found[section] = {}
            for full, tensor in tensors.items():
                name = full.partition(".")[2].rpartition("/")[0] if section == "optim" else full
                own = by_name.get(name) if section in ("optim", "ema") else None
                if own is not None and tensor.ndim and tensor.shape == own.shape and self._is_share(name):
                    whole = self._shapes[name]
                    like = torch.empty(whole, device="meta")
                    found[section][full] = DTensor.from_local(
                        tensor.detach(), self._mesh, [Shard(0)], run_check=False, shape=whole, stride=like.stride()
                    )
                else:
                    found[section][full] = tensor
        return found

    def _is_share(self, name: str) -> bool:
        return any(n == name and parameter is not tensor for n, parameter, tensor in self._locals.values())


def _layers(objective: Objective) -> Sequence[nn.Module]:
    """Those that run in every forward pass of every process."""
    layers: Sequence[nn.Module] = getattr(objective, "always_run", objective.blocks)
    return layers
