"""Low-rank adapters: trained beside frozen weights, merged, and exchanged with peft in both directions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from muomni_cli.core.errors import RequestError
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.nn.lora import Adapters, LoraLinear, add_adapters, merged_weights
from muomni_cli.runs.run import RunFolder
from muomni_thinker.model import Transformer
from muomni_thinker.plugin import TransformerConfig
from tests.hf.conftest import RECIPE, Checkpoint, run, theirs

SETTINGS = Adapters(4, 8.0, ("qkv", "out", "gate_up", "down"))
SMALL = TransformerConfig(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, ctx_len=32)
LORA = "lr = 0.01\nlora = {{ rank = 3, alpha = 6.0 }}"


def lively(module: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("lora_a", "lora_b")):
                parameter.normal_(std=0.1)


@torch.no_grad()
def test_new_adapters_change_nothing_and_merged_ones_compute_the_same() -> None:
    plain = Transformer(SMALL, 50).eval()
    adapted = Transformer(SMALL, 50).eval()
    adapted.load_state_dict(plain.state_dict())
    names = add_adapters(adapted, SETTINGS)
    assert len(names) == 8
    ids = torch.randint(50, (2, 20))
    assert torch.equal(adapted(ids).logits, plain(ids).logits)
    lively(adapted)
    expected = adapted(ids).logits
    assert not torch.allclose(expected, plain(ids).logits, atol=1e-3)
    plain.load_state_dict(merged_weights(plain, adapted.state_dict(), SETTINGS.scale))
    assert (plain(ids).logits - expected).abs().max() < 1e-5
    cache = adapted.new_cache(2, 20)  # one token at a time, too
    steps = [adapted(ids[:, place : place + 1], cache=cache).logits for place in range(20)]
    assert (torch.cat(steps, 1) - expected).abs().max() < 1e-5


def test_adapters_alone_are_trained() -> None:
    thinker = Transformer(SMALL, 50)
    add_adapters(thinker, Adapters(4, 8.0, ("qkv",)))
    trained = {name for name, parameter in thinker.named_parameters() if parameter.requires_grad}
    assert trained == {f"blocks.{layer}.attention.qkv.lora_{side}" for layer in (0, 1) for side in "ab"}
    assert isinstance(thinker.blocks[0].attention.qkv, LoraLinear)
    with pytest.raises(RequestError, match="'query'"):
        add_adapters(Transformer(SMALL, 50), Adapters(4, 8.0, ("query",)))


def digest(path: Path) -> str:
    """Of the weights besides adapters."""
    tensors = {name: tensor for name, tensor in load_file(path).items() if name.startswith("model.")}
    held = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith(("lora_a", "lora_b")):
            held.update(name.encode() + tensors[name].numpy().tobytes())
    return held.hexdigest()


def logits(spec: str) -> torch.Tensor:
    thinker = RunEngine(RunFolder(Path("runs") / spec)).omni().thinker
    ids = torch.randint(thinker.vocab_size, (2, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found: torch.Tensor = thinker(ids).logits
    return found


def trained(checkpoint: Checkpoint, name: str = "tuned", **changes: Any) -> Path:
    """A run with adapters on an imported one, ``base``."""
    folder = checkpoint("smollm 2")
    if not Path("runs/base").exists():
        run("import", "hf", str(folder), "-o", "runs/base", "--ctx-len", "32")
    steps = changes.get("steps", 4)
    Path(f"{name}.toml").write_text(
        RECIPE.format(folder=folder, more=LORA.format()).replace("steps = 2", f"steps = {steps}\nsave_every = 2")
    )
    return Path("runs") / name / "thinker" / "last.safetensors"


@pytest.mark.usefixtures("here")
def test_the_base_stays_and_merging_computes_the_same(
    checkpoint: Checkpoint,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = trained(checkpoint)
    assert run("train", "thinker", "tuned.toml", "--init", "base") == 0
    assert digest(path) == digest(Path("runs/base/thinker/last.safetensors"))
    assert not torch.allclose(logits("tuned"), logits("base"), atol=1e-3)
    assert run("models", "merge", "tuned", "-o", "runs/merged") == 0
    assert not any("lora" in name for name in load_file("runs/merged/thinker/last.safetensors"))
    assert torch.equal(logits("merged"), logits("tuned"))
    assert run("models", "merge", "base", "-o", "runs/other") == 2  # there is nothing to merge
    capfd.readouterr()
    said = []
    for name in ("tuned", "merged"):
        assert run("chat", "-m", name, "a", "--max-tokens", "6", "--temperature", "0") == 0
        said.append(capfd.readouterr().out)
    assert said[0] == said[1] != "\n"


@pytest.mark.usefixtures("here")
def test_a_resumed_training_of_adapters_is_the_same_to_the_bit(checkpoint: Checkpoint) -> None:
    path = trained(checkpoint)
    assert run("train", "thinker", "tuned.toml", "--init", "base") == 0
    half = trained(checkpoint, "half", steps=4)
    assert run("train", "thinker", "half.toml", "steps=2", "schedule=constant", "--init", "base") == 0
    whole = trained(checkpoint, "whole")
    assert run("train", "thinker", "whole.toml", "schedule=constant", "--init", "base") == 0
    assert run("train", "thinker", "half.toml", "steps=4", "schedule=constant", "--resume") == 0
    one, other = load_file(half), load_file(whole)
    assert path.is_file()
    assert all(torch.equal(one[name], other[name]) for name in one if name.startswith(("model.", "optim.")))
    assert run("train", "thinker", "half.toml", "steps=6", "lora.rank=5", "--resume") == 2  # other adapters


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # between peft and transformers
@pytest.mark.usefixtures("here")
def test_peft_opens_adapters_of_ours_and_we_open_those_of_peft(checkpoint: Checkpoint) -> None:
    peft = pytest.importorskip("peft")
    trained(checkpoint)
    assert run("train", "thinker", "tuned.toml", "--init", "base") == 0
    assert run("export", "--peft", "-m", "tuned", "-o", "adapter") == 0
    base = theirs(checkpoint("smollm 2"))
    adapted = peft.PeftModel.from_pretrained(base, "adapter").eval()
    expected = logits("tuned")
    ids = torch.randint(base.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert (adapted(input_ids=ids).logits - expected).abs().max() < 1e-5
    settings = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True)
    model = peft.get_peft_model(theirs(checkpoint("smollm 2")), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
        expected = model.eval()(input_ids=ids).logits
    model.save_pretrained("peft")
    assert run("import", "peft", "peft", "--base", "base", "-o", "runs/peft") == 0
    assert (logits("peft") - expected).abs().max() < 1e-5
    assert run("import", "peft", "base", "--base", "base", "-o", "runs/none") == 2


@pytest.mark.usefixtures("here")
def test_parameters_stay_as_they_are_until_their_step(checkpoint: Checkpoint) -> None:
    folder = checkpoint("smollm 2")
    more = 'freeze_until = {{ "blocks.0" = 2, "blocks.1" = 1 }}'.format()
    Path("frozen.toml").write_text(RECIPE.format(folder=folder, more=more))
    assert run("train", "thinker", "frozen.toml") == 0
    after = load_file("runs/frozen/thinker/last.safetensors")
    before = Transformer(
        TransformerConfig.model_validate({"weights": str(folder), "ctx_len": 32}, context={"a": 1}), 291
    )
    from muomni_thinker.model import load_weights

    load_weights(before, before.config)
    state = before.state_dict()
    same = {name for name in state if torch.equal(after[f"model.{name}"], state[name])}
    assert all(name in same for name in state if name.startswith("blocks.0."))
    assert not any(name in same for name in state if name.startswith("blocks.1.") and name.endswith("qkv.weight"))
