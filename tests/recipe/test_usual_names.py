"""Names that other tools use lead to ours, wherever a key is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.problems import USUAL, RecipeMistakesError, unknown, usual
from muomni_cli.recipe.settings import ChatSettings, DataSettings
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry

TRAIN = {
    "epochs": "steps", "num_epochs": "steps", "max_iters": "steps", "learning_rate": "lr", "batch": "batch_size",
    "bs": "batch_size", "warmup": "warmup_steps", "warmup_ratio": "warmup_steps", "grad_clip": "clip",
    "max_grad_norm": "clip", "wd": "weight_decay", "gradient_accumulation_steps": "accumulate",
    "grad_accum": "accumulate", "dtype": "precision", "mixed_precision": "precision", "eval_every": "val_every",
    "eval_interval": "val_every", "save_steps": "save_every", "num_workers": "threads",
}  # fmt: skip
THINKER = {
    "hidden_size": "d_model", "dim": "d_model", "n_embd": "d_model", "num_layers": "n_layers", "layers": "n_layers",
    "n_layer": "n_layers", "num_heads": "n_heads", "n_head": "n_heads", "intermediate_size": "d_ff", "ffn_dim": "d_ff",
    "max_seq_len": "ctx_len", "block_size": "ctx_len", "seq_len": "ctx_len", "context_length": "ctx_len",
    "n_ctx": "ctx_len",
}  # fmt: skip
BASE = '[tokenizer]\nuse = "bpe"\n[thinker]\nuse = "transformer"\n'


def message(text: str, *overrides: str) -> str:
    Path("mine.toml").write_text(text)
    with pytest.raises(RecipeMistakesError) as caught:
        load_recipe("mine.toml", overrides)
    return str(caught.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("said", "model_ref"), TRAIN.items())
def test_a_setting_of_the_training(said: str, model_ref: str) -> None:
    for told in (message(f"{BASE}[train.thinker]\n{said} = 1\n"), message(BASE, f"train.{said}=1")):
        assert f"unknown key {said!r}; did you mean {model_ref!r}?" in told
    assert f"unknown key {said!r}; did you mean 'train.{model_ref}'?" in message(BASE, f"{said}=1")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("said", "model_ref"), THINKER.items())
def test_a_size_of_a_part(said: str, model_ref: str) -> None:
    assert f"unknown key {said!r}; did you mean {model_ref!r}?" in message(f"{BASE}{said} = 1\n")
    assert f"unknown key {said!r}; did you mean 'thinker.{model_ref}'?" in message(BASE, f"{said}=1")


@pytest.mark.usefixtures("here")
def test_other_tables() -> None:
    told = message(BASE, "chat.temp=0.1", "chat.max_new_tokens=4", "tokenizer.vocab=8", "data.val_split=0.1")
    for said, model_ref in {
        "temp": "temperature", "max_new_tokens": "max_tokens", "vocab": "vocab_size", "val_split": "val_fraction"
    }.items():  # fmt: skip
        assert f"unknown key {said!r}; did you mean {model_ref!r}?" in told


@pytest.mark.usefixtures("here")
def test_a_known_name_in_the_wrong_place_is_shown_to_its_table() -> None:
    assert "unknown key 'steps'; did you mean 'train.steps'?" in message(BASE, "steps=20")
    assert "unknown key 'd_model'; did you mean 'thinker.d_model'?" in message(BASE, "d_model=64")
    assert "unknown key 'random_seed'; did you mean 'seed'?" in message(BASE, "random_seed=1")


def test_what_an_epoch_is() -> None:
    told = unknown("num_epochs", list(TrainSettings.model_fields), "key")
    assert told.endswith("did you mean 'steps'? (one epoch is the number of training examples divided by batch_size)")


def test_case_and_dashes_do_not_matter() -> None:
    assert usual("Learning-Rate", ["lr"]) == "lr"
    assert usual("learning_rate", ["steps"]) is None
    assert usual("lr", ["lr"]) is None


def test_every_name_leads_to_a_setting_that_there_is() -> None:
    """And none of them is one of ours in the same place, which would never be asked for."""
    models = [TrainSettings, ChatSettings, DataSettings]
    for kind in ("tokenizer", "thinker", "encoder", "talker", "codec", "vocoder", "dataset"):
        models += [registered.part.config for registered in get_registry().all(kind)]
    fields = {name for model in models for name in model.model_fields} | {"seed"}
    assert {one for model_ref in USUAL.values() for one in model_ref} <= fields
