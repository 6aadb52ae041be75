"""Tiny checkpoints in Hugging Face's format with random weights, as transformers writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muomni_cli import app

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": None, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 2": ("llama", {}),
    "llama 3": ("llama", {"rope_parameters": {"rope_theta": 5000.0, **LLAMA3}, "tie_word_embeddings": True}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0}}),
    "smollm 2": ("llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "smollm 3": ("smollm3", {}),
    "qwen 2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen 2, yarn": ("qwen2", {"rope_parameters": {"rope_theta": 5000.0, **YARN}}),
    "qwen 3": ("qwen3", {"head_dim": 16}),
    "mistral": ("mistral", {"sliding_window": 48}),
}
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim "
    "+ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEXTS = [
    "Once the hen, who laid 12 eggs, said: no!",
    "  two  spaces\n\n\ta tab\r\nand ends \n",
    "naïve 日本語 🙂",
    "",
    " ",
]

Checkpoint = Callable[..., Path]


def byte_level() -> Any:
    """A byte-level BPE with ChatML's tokens, as SmolLM2 and Qwen2 have them."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["the hen and the fox and the egg that the hen laid"] * 4, trainer)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return inner


def sentence_piece() -> Any:
    """A BPE over characters with bytes to fall back on, and a space before each text, as Llama 2 and Mistral have."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, normalizers, processors

    names = ["<unk>", "<s>", "</s>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    vocabulary |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for character in "\u2581abcdefghijklmnopqrstuvwxyz,.!":
        vocabulary[character] = len(vocabulary)
    merges = [("\u2581", "t"), ("h", "e"), ("\u2581t", "he"), ("\u2581", "h")]
    for one, other in merges:
        vocabulary[one + other] = len(vocabulary)
    inner = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return inner


def write_tokenizer(folder: Path, inner: Any, **config: Any) -> None:
    inner.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHATML} | config
    held = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(held), encoding="utf-8")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """``checkpoint(family, ...)`` -> a folder with a model of :data:`FAMILIES`, larger by the keywords, and its
    tokenizer. Made once; it is not to be changed."""
    made: dict[str, Path] = {}

    def make(family: str, *, shards: bool = False, **more: Any) -> Path:
        key = f"{family} {shards} {more}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp("checkpoint")
            write_checkpoint(made[key], family, shards=shards, **more)
        return made[key]

    return make


def write_checkpoint(folder: Path, family: str, *, shards: bool, **more: Any) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    inner = byte_level()
    kind, changes = FAMILIES[family]
    torch.manual_seed(5)
    config = AutoConfig.for_model(kind, **{**SIZES, "vocab_size": inner.get_vocab_size() + 5, **changes, **more})
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.15) if parameter.ndim > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder, max_shard_size="30kB" if shards else "1GB")
    write_tokenizer(folder, inner)


def theirs(folder: Path) -> Any:
    """The checkpoint as transformers opens it."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    return int(left.value.code or 0)


RECIPE = """
[tokenizer]
use = "hf"
folder = "{folder}"
[thinker]
use = "transformer"
weights = "{folder}"
ctx_len = 32
[[data.text]]
use = "text"
path = "text.txt"
[train]
steps = 2
batch_size = 2
device = "cpu"
threads = 1
val_every = 0
{more}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(
        "\n\n".join(f"The hen laid {number} eggs, and the fox saw it." for number in range(90))
    )
    return tmp_path
