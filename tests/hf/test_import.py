"""``muomni import hf``: checkpoints of others compute here what they compute in transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import end_ids
from muomni_cli.generation.loop import Request, Sampling, generate
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.nn.llama_config import read_config
from muomni_cli.nn.llama_weights import load_folder
from muomni_cli.runs.run import RunFolder
from muomni_thinker.model import Transformer
from muomni_thinker.plugin import TransformerConfig
from tests.hf.conftest import FAMILIES, RECIPE, Checkpoint, run, theirs
from tests.opening import run_engine

NEAR = 1e-5


def opened(folder: Path) -> Transformer:
    found = read_config(folder)
    thinker = Transformer(TransformerConfig.model_validate(dict(found.settings)), found.vocab_size).eval()
    load_folder(thinker, folder)
    return thinker


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_are_those_of_transformers(family: str, checkpoint: Checkpoint) -> None:
    folder = checkpoint(family)
    ours, others = opened(folder), theirs(folder)
    ids = torch.randint(ours.vocab_size, (2, ours.config.ctx_len), generator=torch.Generator().manual_seed(1))
    expected = others(input_ids=ids).logits
    assert expected.std() > 0.1
    assert (ours(ids).logits - expected).abs().max() < NEAR
    cache = ours.new_cache(2, ours.config.ctx_len)
    steps = [ours(ids[:, :7], cache=cache).logits]
    steps += [ours(ids[:, place : place + 1], cache=cache).logits for place in range(7, 12)]
    steps.append(ours(ids[:, 12:], cache=cache).logits)
    assert (torch.cat(steps, 1) - expected).abs().max() < NEAR


def test_weights_in_several_files_are_those_in_one(checkpoint: Checkpoint) -> None:
    several = checkpoint("qwen 3", shards=True)
    assert len(list(several.glob("*.safetensors"))) > 2
    one, other = opened(several).state_dict(), opened(checkpoint("qwen 3")).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_context_ends_where_a_sliding_window_does(checkpoint: Checkpoint) -> None:
    found = read_config(checkpoint("mistral"))
    assert found.settings["ctx_len"] == 48
    assert "48 tokens" in found.notes[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "gemma2"}, "gemma2"),
        ({"hidden_act": "gelu", "partial_rotary_factor": 0.5}, "gelu.*partial_rotary_factor|partial_rotary.*gelu"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_parameters": None}, "dynamic"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_what_is_not_supported_is_named_before_weights_are_read(
    changes: dict[str, Any], told: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    config = json.loads((checkpoint("llama 2") / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))  # and there are no weights at all
    with pytest.raises(RequestError, match=told):
        read_config(tmp_path)


def copy(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place / "copy"))


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "nan", "integers", "outside", "pickle"])
def test_weights_that_do_not_fit_are_refused(damage: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("llama 2"), tmp_path)
    file, name = folder / "model.safetensors", "model.layers.1.mlp.up_proj.weight"
    tensors = load_file(file)
    if damage == "missing":
        del tensors[name]
    elif damage == "unknown":
        tensors["model.layers.1.mlp.extra"] = torch.zeros(3)
    elif damage == "shape":
        tensors[name] = tensors[name][:-1].contiguous()
    elif damage == "nan":
        tensors[name][0, 0] = float("nan")
    elif damage == "integers":
        tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, file)
    if damage == "outside":
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {name: "../x.safetensors"}}))
    if damage == "pickle":
        file.rename(folder / "pytorch_model.bin")
    with pytest.raises(RequestError):
        opened(folder)
    assert run("import", "hf", str(folder), "-o", str(tmp_path / "run")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]  # nothing half written


def test_old_rows_stay_bit_for_bit_when_tokens_are_added(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint("llama 2")
    names = [f"<|media {number}|>" for number in range(8)]
    words = [word for name in names for word in ("--add-token", name)]
    assert run("import", "hf", str(folder), "-o", str(tmp_path / "run"), *words) == 0
    engine = RunEngine(RunFolder(tmp_path / "run"))
    tokenizer, thinker = engine.tokenizer(), engine.omni().thinker
    before = load_file(folder / "model.safetensors")
    for ours, name in (
        (thinker.tok_emb.weight, "model.embed_tokens.weight"),
        (thinker.lm_head.weight, "lm_head.weight"),
    ):
        rows = before[name]
        assert len(ours) == len(rows) + 3  # five rows were spare
        assert torch.equal(ours[: len(rows)], rows)
        assert torch.equal(ours[len(rows) :], rows.mean(0).expand(3, -1))
    assert tokenizer.encode(names[0]) != [tokenizer.vocab_size - 8]  # a text that spells it stays text
    assert tokenizer.encode_marked(names[7])[0][0] == tokenizer.vocab_size - 1
    assert tokenizer.decode([tokenizer.vocab_size - 1]) == ""


def test_the_same_token_is_not_added_twice(checkpoint: Checkpoint, tmp_path: Path) -> None:
    words = ["-o", str(tmp_path / "run"), "--add-token", "<|im_end|>"]
    assert run("import", "hf", str(checkpoint("llama 2")), *words) == 2


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in load_file(path).items() if name.startswith("model.")}


def test_a_recipe_starts_from_weights_and_takes_their_sizes(checkpoint: Checkpoint, here: Path) -> None:
    folder = checkpoint("smollm 3")
    (here / "small.toml").write_text(RECIPE.format(folder=folder, more="lr = 1e-30\nweight_decay = 0.0"))
    assert run("train", "thinker", "small.toml") == 0
    thinker = RunEngine(RunFolder(Path("runs/small"))).omni().thinker
    expected = opened(folder).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in thinker.state_dict().items())
    (here / "small.toml").write_text(RECIPE.format(folder=folder, more="").replace("ctx_len", "d_model = 16\nctx_len"))
    assert run("train", "thinker", "small.toml", "--run", "other") == 2  # sizes that are not those of the weights


def test_an_imported_run_is_tuned_chats_and_is_exported(
    checkpoint: Checkpoint, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint("qwen 2")
    assert run("import", "hf", str(folder), "-o", "runs/base", "--ctx-len", "56") == 0
    (here / "tuned.toml").write_text(RECIPE.format(folder=folder, more="").replace("32", "56"))
    assert run("train", "thinker", "tuned.toml", "--init", "base") == 0
    assert "runs/base/thinker/last.safetensors" in capfd.readouterr().err
    before, after = (weights(Path(f"runs/{name}/thinker/last.safetensors")) for name in ("base", "tuned"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 0.01
    assert run("chat", "-m", "base", "Hello", "--max-tokens", "8", "--temperature", "0") == 0
    said = capfd.readouterr().out
    assert run("export", "--onnx", "-m", "base", "-o", "bundle") == 0
    assert run("chat", "-m", "bundle", "Hello", "--max-tokens", "8", "--temperature", "0") == 0
    assert said.strip()
    assert capfd.readouterr().out.endswith(said)


def test_an_answer_ends_at_every_end_token_of_the_checkpoint(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(checkpoint("qwen 3"), tmp_path / "checkpoint"))
    reference, prompt = theirs(folder), [7, 30, 55, 12]
    eos = json.loads((folder / "config.json").read_text())["eos_token_id"]
    free = reference.generate(
        torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    said = free[0, len(prompt) :].tolist()
    place = next(n for n in range(4, 24) if said[n] not in said[:n] and said[n] != eos)
    settings = {"eos_token_id": [said[place], 99999, 1], "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert run("import", "hf", str(folder), "-o", "run") == 0
    assert run("export", "--hf", "-m", "run", "-o", "again") == 0
    assert said[place] in json.loads(Path("again/generation_config.json").read_text())["eos_token_id"]
    assert run("import", "hf", "again", "-o", "second") == 0  # what is exported ends there, too
    for name in ("run", "second"):
        engine = run_engine(name)
        tokenizer = engine.tokenizer()
        request = Request(prompt, Sampling(temperature=0.0), max_tokens=24, loop_guard=False)
        events = list(generate(engine.backend(), tokenizer, [request]))
        assert [event.token for event in events] == said[: place + 1]
        assert events[-1].finish == "eos"
        assert end_ids(tokenizer) == {tokenizer.specials["eos"], said[place], 1}
