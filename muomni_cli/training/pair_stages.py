"""The stages on pairs: ``dpo`` tunes the Thinker of a run, ``talker_dpo`` its Talker.

Each begins with the weights that the run has from its stages ``omni`` (else ``thinker``) and ``talker``, or with those
of the model in ``init``. The checkpoint of ``dpo`` has the form of one of ``omni``, with the encoders as they were; it
takes the place of that in whatever uses the run, and that of ``talker_dpo`` the place of the Talker's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from muomni_cli.contract.declarations import TalkerPart
from muomni_cli.contract.training import Objective, Policy
from muomni_cli.core.checksums import sha256
from muomni_cli.core.errors import RequestError
from muomni_cli.data.preferences import open_answers, open_utterances
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.stages import DPO, OMNI, TALKER_DPO, TUNED
from muomni_cli.registry.entries import differences, open_entry, part_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.checkpoint import (
    build_aside,
    load_part,
    omni_entries,
    open_omni,
    read_checkpoint,
    write_checkpoint,
)
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.base_model import load_pretrained
from muomni_cli.training.context import TrainingContext
from muomni_cli.training.initial_weights import adapt
from muomni_cli.training.preferences import PreferenceObjective, ThinkerPolicy, reference_log_probs

SPOKEN_BY = ("codec", "vocoder", "talker")  # stages that a run takes from the model in ``init`` of ``talker_dpo``
BEGUN = "begun_from"  # key, in the header of a checkpoint, of the digest of the weights that the stage began with


def pair_objective(context: TrainingContext, held: Mapping[str, Any] | None) -> Objective:
    """The objective of a stage on pairs. ``held``: the header of the checkpoint that it resumes from.

    Raises:
        RequestError: no model to begin with, one that differs from the recipe, or no pair that can be used.
    """
    begun = begun_from(context)
    if held is not None and held.get(BEGUN) != begun[BEGUN]:
        raise RequestError(
            f"{context.stage} of {context.run.root} began from other weights than {_base(context)[1]} has now",
            f"restore them, or train {context.stage} again with --force",
        )
    talks = context.stage == TALKER_DPO
    data = (
        open_utterances(context.recipe, context.progress)
        if talks
        else open_answers(context.recipe, context.tokenizer(), context.progress)
    )
    build = _talker_policy if talks else _thinker_policy
    reference = reference_log_probs(lambda: build(context, adapted=False), begun, data, context)
    policy = build(context, adapted=True)
    context.progress(f"{context.stage}: {_base(context)[1]}")
    return PreferenceObjective(policy, reference, data, context, _continuations(policy, context))


def begun_from(context: TrainingContext) -> dict[str, str]:
    """For the header of checkpoints: the digest of the weights that the stage begins with."""
    weights = _base(context)[1]
    return {BEGUN: "" if weights is None else sha256(weights)}


def pair_entries(context: TrainingContext) -> dict[str, Any]:
    """What ``model.json`` holds about the stage; a run without codec, vocoder and Talker gets those of ``init``."""
    run, weights = _base(context)
    assert weights is not None, "a dry run writes nothing"
    if context.stage == TALKER_DPO:
        if run.root != context.run.root and context.strategy.main:
            _adopt(run, context.run)
        return {}
    if weights.parent.name in (OMNI, DPO):
        return {"parts": omni_entries(run, weights)}
    return {"parts": {"thinker": run.model()["parts"]["thinker"]}}


def require_untuned(run: RunFolder, stage: str, again: Collection[str]) -> None:
    """RequestError if the run has a stage on pairs that began with the weights that ``stage`` is to train, unless it is
    among those that are trained ``again``."""
    tuned = TUNED.get(OMNI if stage == "thinker" else stage)
    if tuned is not None and tuned not in again and run.status(tuned) != "missing":
        raise RequestError(
            f"{tuned} of {run.root} began with the weights of {stage}",
            f"train another run with --run NAME, or remove {run.stage(tuned)} and its entry by training {tuned} again "
            "after this: muomni train all RECIPE --force",
        )


def _base(context: TrainingContext) -> tuple[RunFolder, Path | None]:
    """The run and the checkpoint that the stage begins with. RequestError if there is none, except in a dry run of
    ``dpo``, which does with random weights."""
    init, stage = context.settings.init, context.stage
    if init == "random":
        raise RequestError(
            f"train.{stage}.init is random, and {stage} tunes a trained model", 'name one, or write "trained"'
        )
    base = load_pretrained(init, stage)
    run = context.run if base is None else base.run
    first = "talker" if stage == TALKER_DPO else OMNI
    found = run.checkpoint(first) if base is None else run.tuned(first)
    if base is not None and stage == DPO and base.joint is not None:
        found = base.joint
    if found is None and stage == DPO:
        found = run.checkpoint("thinker")
    if found is None and not (context.trial and stage == DPO and base is None):
        missing = "talker" if stage == TALKER_DPO else "thinker"
        raise RequestError(
            f"run {run.root} has no trained {missing} that {stage} could tune",
            f"train it first: {context.command(missing)}    or name a model in train.{stage}.init",
        )
    return run, found


def _thinker_policy(context: TrainingContext, *, adapted: bool) -> Policy:
    run, weights = _base(context)
    chosen = context.recipe.thinker
    if weights is None and chosen is not None:
        size = {"vocab_size": context.tokenizer().vocab_size}
        return ThinkerPolicy(OmniModel(build_aside(chosen.registered, chosen.config, size), {}))
    assert weights is not None, "a recipe with this stage has a Thinker"
    joint = weights.parent.name in (OMNI, DPO)
    held = omni_entries(run, weights)["thinker"] if joint else run.model()["parts"]["thinker"]
    _require_same(context, "thinker", held)
    omni = open_omni(run, weights) if joint else OmniModel(load_part(held, weights), {})  # type: ignore[arg-type]
    if adapted:
        adapt(omni.thinker, context)
    return ThinkerPolicy(omni)


def _talker_policy(context: TrainingContext, *, adapted: bool) -> Policy:
    run, weights = _base(context)
    assert weights is not None, "only dpo is tried without"
    held = run.model()["parts"]["talker"]
    _require_same(context, "talker", held)
    registered, _ = open_entry(held)
    part = registered.part
    if not isinstance(part, TalkerPart) or part.policy is None:
        what = f"the Talker {registered.use} cannot be tuned on pairs: it declares no policy"
        raise RequestError(what, "use another Talker")
    talker: nn.Module = load_part(held, weights)
    if adapted:
        adapt(talker, context)
    policy: Policy = resolve(part.policy, f"talker {part.name}")(talker)
    return policy


def _require_same(context: TrainingContext, slot: str, held: Mapping[str, Any]) -> None:
    """RequestError if the part that is tuned differs from the recipe's."""
    chosen = context.recipe.parts[slot]
    named = part_entry(chosen.registered, chosen.config, "")
    if changed := differences(held, named, chosen.registered.part.config.training_only):
        raise RequestError(
            f"{slot} of {_base(context)[0].root} differs from the recipe in {' and '.join(changed)}",
            f"write [{slot}] as in {_base(context)[0].recipe_path}",
        )


def _continuations(policy: Policy, context: TrainingContext) -> Any:
    """What gives the texts of samples: continuations of ``sample_prompts`` by a Thinker; None for a Talker."""
    prompts = list(context.settings.sample_prompts)
    if not isinstance(policy.module, OmniModel) or not prompts:
        return None
    thinker = policy.module.thinker

    def texts() -> list[str]:
        made = context.generate(thinker, prompts, context.settings.sample_tokens)
        return [f"{prompt}{text}" for prompt, text in zip(prompts, made, strict=True)]

    return texts


def _adopt(source: RunFolder, run: RunFolder) -> None:
    """Copy the stages by which ``source`` speaks into ``run``, where it has none."""
    model = source.model()
    for stage in SPOKEN_BY:
        weights = source.tuned(stage)
        if weights is None or stage not in model["parts"] or run.status(stage) != "missing":
            continue
        checkpoint = read_checkpoint(weights)
        header = {key: value for key, value in checkpoint.header.items() if key != "format"}
        sections = {name: found for name in ("model", "ema") if (found := checkpoint.section(name))}
        with run.new_stage(stage) as folder:  # written anew: files of a package have no checksums of their own
            write_checkpoint(folder / weights.name, header, sections)
        state = {key: value for key, value in model["stages"].get(stage, {}).items() if key != "updated"}
        run.record(stage, {"status": "finished", **state}, model["parts"][stage], model["chat"])
