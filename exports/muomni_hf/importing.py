"""A checkpoint in Hugging Face's format as a training run: tokenizer, Thinker and chat settings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.checksums import COMMENT, sealed, sha256
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import new_folder, write_bytes, write_sealed_json
from muomni_cli.nn.llama_config import read_config
from muomni_cli.nn.llama_weights import load_folder
from muomni_cli.recipe.model import PartSpec, Recipe
from muomni_cli.recipe.settings import ChatSettings
from muomni_cli.recipe.write import resolved_toml
from muomni_cli.registry.entries import first_problem, part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import build_aside, model_tensors, write_checkpoint
from muomni_cli.runs.run import LAST, RunFolder, make_lock

GENERATION = "generation_config.json"
LONG = 8192  # tokens of context whose cache is worth a word


def import_checkpoint(
    folder: Path,
    root: Path,
    *,
    ctx_len: int = 0,
    add_tokens: Sequence[str] = (),
    replace: bool = False,
    notify: Callable[[str], None],
) -> RunFolder:
    """Make the run ``root`` of the checkpoint in ``folder``; it appears only when it is complete.

    Args:
        folder: with ``config.json``, weights as safetensors, and ``tokenizer.json``.
        root: of the run.
        ctx_len: a shorter context than the checkpoint's; 0: that one.
        add_tokens: special tokens to add; their embeddings begin as the mean of the others, which stay as they are.
        replace: replace an earlier run.
        notify: called with a line for each step.

    Raises:
        RequestError: the folder exists; or the checkpoint has what is not supported, which is said before its weights
            are read, is damaged, or its files do not fit together.
    """
    found = read_config(folder)
    for note in found.notes:
        notify(note)
    settings = dict(found.settings)
    if ctx_len > settings["ctx_len"]:
        raise RequestError(
            f"the context of {folder} has {settings['ctx_len']:,} tokens, not {ctx_len:,}", "give a smaller --ctx-len"
        )
    settings["ctx_len"] = ctx_len or settings["ctx_len"]
    tokenizer_spec = _spec("tokenizer", "hf", {"folder": str(folder.resolve()), "add_tokens": list(add_tokens)})
    tokenizer: Tokenizer = resolve(str(tokenizer_spec.registered.part.objective))(tokenizer_spec.config, iter(()))
    tokenizer_spec = _spec("tokenizer", "hf", {"add_tokens": list(add_tokens)})  # a run names no folder outside
    thinker = _spec("thinker", "transformer", settings)
    chat = _chat_settings(folder, tokenizer)
    recipe = Recipe(root.resolve().name, f"imported: a checkpoint of type {found.family}",
                    parts={"tokenizer": tokenizer_spec, "thinker": thinker}, chat=chat)  # fmt: skip
    with new_folder(root, replace=replace) as temporary:
        _write(RunFolder(temporary), recipe, tokenizer, folder, notify)
    notify(f"wrote {root} ({found.family}, {tokenizer.vocab_size:,} tokens, context of {settings['ctx_len']:,})")
    _warn_of_memory(settings, notify)
    return RunFolder(root)


def _write(run: RunFolder, recipe: Recipe, tokenizer: Tokenizer, folder: Path, notify: Callable[[str], None]) -> None:
    thinker, words = recipe.parts["thinker"], recipe.parts["tokenizer"]
    chat = recipe.chat.model_dump(mode="json")
    tokenizer.save(run.stage("tokenizer"))
    size = {"vocab_size": tokenizer.vocab_size}
    run.record(
        "tokenizer", {"status": "finished"}, part_entry(words.registered, words.config, "tokenizer", **size), chat
    )
    module = build_aside(thinker.registered, thinker.config, size)
    notify(f"reading {sum(p.numel() for p in module.parameters()):,} parameters from {folder}")
    rows = load_folder(module, folder)
    if added := tokenizer.vocab_size - rows:
        notify(f"{added} new rows of the table begin as the mean of the others")
    entry = part_entry(thinker.registered, thinker.config, f"thinker/{LAST}", **size)
    header = {"stage": "thinker", "part": entry, "seed": recipe.seed, "step": 0, "steps": 0, "finished": True}
    write_checkpoint(run.stage("thinker") / LAST, header, {"model": model_tensors(module)})
    run.record("thinker", {"status": "finished", "step": 0}, entry)
    write_bytes(run.recipe_path, sealed(f"{COMMENT}{resolved_toml(recipe)}".encode()))
    lock = make_lock([thinker.registered, words.registered], seed=recipe.seed, data={})
    source = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.suffix in (".json", ".safetensors")}
    write_sealed_json(run.root / "lock.json", {**lock, "imported": {"format": "hf", "files": source}})
    write_sealed_json(run.model_path, {"format": 1, **run.model(), "name": recipe.name})


def _spec(kind: str, use: str, settings: Mapping[str, Any]) -> PartSpec:
    """The built-in part of this name. RequestError if it does not take these settings."""
    registered = next(
        one for one in get_registry().all(kind) if one.part.name == use and one.plugin.origin == "built-in"
    )
    try:
        return PartSpec(use, registered, registered.part.config.model_validate(settings))
    except ValidationError as error:
        raise RequestError(
            f"the {kind} {use} cannot be such a model: {first_problem(error)}", "use another one"
        ) from error


def _chat_settings(folder: Path, tokenizer: Tokenizer) -> ChatSettings:
    """The checkpoint's own template and ways of sampling, as far as it states them."""
    given: dict[str, Any] = {}
    if (folder / GENERATION).is_file():
        with contextlib.suppress(ValueError):  # only wishes
            given = json.loads((folder / GENERATION).read_text("utf-8"))
    if not isinstance(given, dict) or not given.get("do_sample"):
        given = {}
    names = ("temperature", "top_k", "top_p", "repetition_penalty")
    chosen = {name: given[name] for name in names if isinstance(given.get(name), int | float)}
    template = "own" if getattr(tokenizer, "chat_template", None) is not None else "plain"
    try:
        return ChatSettings(template=template, **chosen)
    except ValidationError:
        return ChatSettings(template=template)


def _warn_of_memory(settings: Mapping[str, Any], notify: Callable[[str], None]) -> None:
    width = settings.get("d_head") or settings["d_model"] // settings["n_heads"]
    size = 2 * 4 * settings["n_layers"] * settings["n_kv_heads"] * width * settings["ctx_len"]
    if settings["ctx_len"] > LONG:
        notify(
            f"a full context takes {size / 1e9:.1f} GB; --ctx-len {LONG} takes {LONG / settings['ctx_len']:.0%} of it"
        )
