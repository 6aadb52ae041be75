"""A byte-level BPE in a GGUF file: tokens, merges, special tokens, chat template, and how llama.cpp splits text."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from muomni_cli.contract.bundle import TextModel
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import CHAT_TEMPLATES

FILE = "tokenizer.json"
GPT2, QWEN2 = "gpt-2", "qwen2"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {  # what splits a text, as in tokenizer.json -> llama.cpp's name for it
    rf"{CONTRACTIONS}|\p{{N}}|{REST}": QWEN2,
    rf"{CONTRACTIONS}|\p{{N}}{{1,3}}|{REST}": "llama-bpe",
}
DIFFERS = (
    "llama.cpp has no rule that splits text as this tokenizer does: its GPT-2 rule is used, and some texts get other "
    'tokens there; a tokenizer trained with pattern = "gpt2" or "qwen2" is split alike'
)


def add_tokenizer(writer: gguf.GGUFWriter, model: TextModel) -> str:
    """Add the tokenizer of ``model``; returns a remark for the user, or nothing. RequestError if it is no byte-level
    BPE."""
    with tempfile.TemporaryDirectory() as folder:
        model.tokenizer.save(Path(folder))
        path = Path(folder) / FILE
        if not path.is_file():
            raise RequestError(
                f"the tokenizer of {model.name} writes no {FILE}", "train a Thinker with the tokenizer bpe"
            )
        parts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    bpe = parts["model"]
    if bpe.get("type", "BPE") != "BPE" or bpe.get("byte_fallback"):
        raise RequestError(
            f"the tokenizer of {model.name} is no byte-level BPE, the only kind that is exported to GGUF",
            "export it with --hf, and convert that with llama.cpp",
        )
    rows = model.thinker.vocab_size
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [int(gguf.TokenType.UNUSED)] * rows
    for spelling, number in bpe["vocab"].items():
        tokens[number], kinds[number] = spelling, int(gguf.TokenType.NORMAL)
    for added in parts.get("added_tokens") or []:
        special = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], kinds[added["id"]] = added["content"], int(special)
    specials = dict(model.tokenizer.specials)
    for number in specials.values():
        kinds[number] = int(gguf.TokenType.CONTROL)
    merges = [one if isinstance(one, str) else " ".join(one) for one in bpe["merges"]]
    rule = rule_of(parts)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule or GPT2)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(specials["eos"])
    writer.add_pad_token_id(specials["pad"])
    if "bos" in specials:
        writer.add_bos_token_id(specials["bos"])
    writer.add_add_bos_token("bos" in specials)
    writer.add_add_space_prefix(False)
    if template := _chat_template(model):
        writer.add_chat_template(template)
    return "" if rule else DIFFERS


def rule_of(parts: Mapping[str, Any]) -> str:
    """llama.cpp's name of the rule that splits a text in this ``tokenizer.json``; empty if it has none."""
    given = parts.get("pre_tokenizer") or {}
    steps = given.get("pretokenizers") or [given]
    if parts.get("normalizer") not in (None, {"type": "NFC"}):
        return ""
    if [step.get("type") for step in steps] == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "" if steps[0].get("add_prefix_space") else GPT2
    digits = [step for step in steps if step.get("type") == "Digits" and step.get("individual_digits")]
    if digits and [step.get("type") for step in steps] == ["Digits", "ByteLevel"] and steps[1].get("use_regex", True):
        return "smollm"
    splits = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    return PATTERNS.get(splits[0], "") if len(splits) == 1 and len(steps) == 2 else ""


def _chat_template(model: TextModel) -> str:
    if model.chat.get("template") == "own":
        return str(getattr(getattr(model.tokenizer, "chat_template", None), "source", ""))
    return CHAT_TEMPLATES[str(model.chat.get("template", "plain"))]
