"""Which strategy trains a stage."""

from __future__ import annotations

from muomni_cli.training.distributed.ddp import DataParallel
from muomni_cli.training.distributed.fsdp import ShardedParallel
from muomni_cli.training.distributed.group import Group, ProcessGroup
from muomni_cli.training.distributed.strategy import Strategy


def strategy_for(parallel: str, group: Group, stage: str) -> Strategy:
    """The strategy of a stage: one process, or what the recipe's ``parallel`` says."""
    if not isinstance(group, ProcessGroup):
        return Strategy()
    return ShardedParallel(group, stage) if parallel == "fsdp" else DataParallel(group, stage)
