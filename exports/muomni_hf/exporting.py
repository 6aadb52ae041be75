"""A Thinker with its tokenizer as a checkpoint that transformers opens, written once both agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from muomni_cli.contract.bundle import ExportedFile, TextModel
from muomni_cli.contract.data import Message
from muomni_cli.core.errors import MuomniError, RequestError, __version__
from muomni_cli.core.files import write_json, write_text
from muomni_cli.data.prompt import chat_ids, end_ids
from muomni_cli.nn.llama_config import config_of
from muomni_cli.nn.llama_weights import exported_tensors
from muomni_cli.nn.text_parity import ALLOWED, Agreement, compare_text_models
from muomni_cli.registry.entries import open_entry
from muomni_hf.tokenizer_files import write_tokenizer

TALK = [Message("user", "Who laid the egg?"), Message("assistant", "The hen did."), Message("user", "And then?")]
KINDS = {"fp32": torch.float32, "fp16": torch.float16}


def export(model: TextModel, folder: Path, *, precision: str, notify: Callable[[str], None]) -> list[ExportedFile]:
    """Write ``model`` into the empty ``folder``: config.json, generation_config.json, model.safetensors and the
    tokenizer with its chat template; then open it with transformers and compare logits and 128 greedy tokens.

    Raises:
        RequestError: no family of this format has the Thinker's features.
        MuomniError: transformers computes something else.
    """
    require_transformer(model)
    specials = dict(model.tokenizer.specials)
    settings = model.config.model_dump(mode="json")
    config = config_of(settings, model.thinker.vocab_size)
    ends = sorted(end_ids(model.tokenizer), key=lambda token: (token != specials["eos"], token))
    ids = {"bos_token_id": specials.get("bos"), "eos_token_id": specials["eos"], "pad_token_id": specials["pad"]}
    write_json(folder / "config.json", {**config, **ids, "dtype": str(KINDS[precision]).removeprefix("torch.")})
    write_json(
        folder / "generation_config.json",
        {**_generation(model.chat), **ids, **({"eos_token_id": ends} if len(ends) > 1 else {})},
    )
    tensors = {name: tensor.to(KINDS[precision]) for name, tensor in exported_tensors(model.thinker).items()}
    notify(f"writing {sum(t.numel() for t in tensors.values()):,} parameters in {precision}")
    save_file(tensors, folder / "model.safetensors", {"format": "pt", "muomni": __version__})
    write_tokenizer(model, folder)
    write_text(folder / "README.md", _card(model, config))
    parity = _compare(model, folder, specials)
    return [ExportedFile("model.safetensors", precision, parity.error, ALLOWED[precision], parity.text)]


def require_transformer(model: TextModel) -> None:
    """RequestError if the Thinker does not take weights of this format, and so has no counterpart there."""
    if open_entry(model.entry)[0].part.pretrained is None:
        raise RequestError(
            f"the Thinker {model.entry['use']} has no counterpart in this format", "export it with --onnx"
        )


def _generation(chat: Mapping[str, Any]) -> dict[str, Any]:
    if not chat.get("temperature"):
        return {"do_sample": False, "max_new_tokens": chat.get("max_tokens", 256)}
    return {
        "do_sample": True,
        "temperature": chat["temperature"],
        "top_k": chat.get("top_k", 0),
        "top_p": chat.get("top_p", 1.0),
        "min_p": chat.get("min_p", 0.0) or None,
        "repetition_penalty": chat.get("repetition_penalty", 1.0),
        "max_new_tokens": chat.get("max_tokens", 256),
    }


def _compare(model: TextModel, folder: Path, specials: Mapping[str, int]) -> Agreement:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    precision = json.loads((folder / "config.json").read_text("utf-8"))["dtype"].replace("float", "fp")

    def logits(ids: Tensor) -> Tensor:
        return theirs(input_ids=ids).logits  # type: ignore[no-any-return]

    parity = compare_text_models(model.thinker, logits, precision)
    if not parity.holds:
        raise MuomniError(f"transformers does not agree: {parity.text}; nothing was written", "report it")
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in ("Once upon a time, 1234 hens!", "  two  spaces\n\n\ta tab\r\nand ends \n", "naïve 日本語 🙂 don't"):
        ours = [*([specials["bos"]] if "bos" in specials else []), *model.tokenizer.encode(text)]
        if words(text)["input_ids"] != ours:
            raise MuomniError(f"transformers splits {text!r} into other tokens; nothing was written", "report it")
    _compare_chat(model, words)
    return parity


def _compare_chat(model: TextModel, words: Any) -> None:
    """MuomniError if a conversation is laid out in another way there."""
    template = model.chat.get("template", "plain")
    if not words.chat_template:
        return
    for talk in (TALK[:1], TALK):
        ours = chat_ids(model.tokenizer, talk, template, reply=True).ids
        turns = [{"role": message.role, "content": message.text} for message in talk]
        if words.apply_chat_template(turns, add_generation_prompt=True, return_dict=False) != ours:
            raise MuomniError("transformers lays out conversations in another way; nothing was written", "report it")


def _card(model: TextModel, config: Mapping[str, Any]) -> str:
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n# {model.name}\n\n"
        f"A language model of the architecture {config['model_type']}, exported by muomni {__version__}.\n"
    )
