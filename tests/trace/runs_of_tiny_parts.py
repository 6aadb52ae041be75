"""A run of tiny parts with random weights, as training leaves one."""

from __future__ import annotations

from pathlib import Path

import torch

from muomni_cli.omni import OmniModel
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder

SIZES = {
    "thinker": ("transformer", {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}),
    "image": ("vit", {"size": 32, "patch": 16, "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 32}),
    "audio": ("listener", {"n_mels": 32, "channels": 4, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}),
}

SPEAKS = """
[vocoder]
use = "griffin-lim"
iterations = 1

[codec]
use = "rvq"
{codec}
[talker]
use = "cursor"
"""
CODEC = """width = 16
fine_width = 16
encoder_layers = 0
decoder_layers = 1
mel = { sample_rate = 8000, n_fft = 256, window = 160, hop = 80, n_mels = 20 }
"""
SMALL = "d_text = 16\ntext_layers = 1\nd_model = 16\nn_layers = 1\nn_heads = 2\nd_ff = 16\n"


def make_run(root: Path, *, modalities: tuple[str, ...] = (), template: str = "plain", context: int = 256) -> None:
    """A run of tiny parts with random weights: of a Thinker alone, or of the omni stage."""
    registry, run = get_registry(), RunFolder(root)
    bytes_ = registry.get("tokenizer", "bytes")
    tokenizer = resolve(str(bytes_.part.objective))(bytes_.part.config(), iter(()))
    tokenizer.save(run.stage("tokenizer"))
    chat = {"template": template}
    run.record("tokenizer", {"status": "finished"}, part_entry(bytes_, bytes_.part.config(), "tokenizer"), chat)
    torch.manual_seed(1)
    entries, modules = {}, {}
    for name in ("thinker", *modalities):
        use, sizes = SIZES[name]
        sizes = {**sizes, "ctx_len": context} if name == "thinker" else sizes
        registered = registry.get("thinker" if name == "thinker" else "encoder", use)
        config = registered.part.config.model_validate(sizes)
        more = {"vocab_size": tokenizer.vocab_size} if name == "thinker" else {}
        modules[name] = resolve(registered.part.build)(config, **more)
        entries[name] = part_entry(registered, config, f"{name}/last.safetensors", **more)
    if modalities:
        model = OmniModel(modules.pop("thinker"), modules)
        run.record("omni", {"status": "finished", "parts": entries})
    else:
        model = modules["thinker"]
        run.record("thinker", {"status": "finished"}, entries["thinker"])
    folder = run.stage("omni" if modalities else "thinker")
    write_checkpoint(folder / "last.safetensors", {"step": 3}, {"model": model_tensors(model)})


def make_voice(here: Path, codec: str = "") -> None:
    """A run that speaks and cannot think, with random weights, as training leaves it. ``codec``: keys of the codec."""
    (here / "small.toml").write_text(SPEAKS.format(codec=codec) + SMALL)
    recipe, run = load_recipe("small.toml"), RunFolder(here / "runs/small")
    run.root.mkdir(parents=True)
    run.recipe_path.write_text((here / "small.toml").read_text())
    torch.manual_seed(0)
    for stage in ("codec", "talker"):
        chosen = recipe.parts[stage]
        shape = {"codes": {"codebooks": 2, "size": 128, "seconds": 0.08}, "voices": ["ann"], "thinker_width": 0}
        more = shape if stage == "talker" else {}
        module = build_part(chosen.registered, chosen.config, more)
        write_checkpoint(run.stage(stage) / "last.safetensors", {"step": 1}, {"model": model_tensors(module)})
        run.record(stage, {"status": "finished"}, part_entry(chosen.registered, chosen.config, "", **more))
