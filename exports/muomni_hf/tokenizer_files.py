"""The files of a tokenizer as transformers reads them: ``tokenizer.json``, ``tokenizer_config.json`` and
``chat_template.jinja``."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers import processors

from muomni_cli.contract.bundle import TextModel
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_json, write_text
from muomni_cli.data.prompt import CHAT_TEMPLATES

FILE, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


def write_tokenizer(model: TextModel, folder: Path) -> None:
    """Write the tokenizer of ``model``. RequestError if it has no ``tokenizer.json``."""
    model.tokenizer.save(folder)
    if not (folder / FILE).is_file():
        raise RequestError(
            f"the tokenizer {model.entry['use']} writes no {FILE}", "train a Thinker with the tokenizer bpe or bytes"
        )
    if (folder / CONFIG).is_file():  # it came in this format
        _as_it_came(model, folder)
        return
    inner = tokenizers.Tokenizer.from_file(str(folder / FILE))
    specials = dict(model.tokenizer.specials)
    names = {name: str(inner.id_to_token(token)) for name, token in specials.items()}
    bos = names["bos"]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, specials["bos"])]
    )
    inner.add_special_tokens(list(names.values()))
    write_text(folder / FILE, inner.to_str(pretty=True))
    write_json(
        folder / CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": names["eos"],
            "pad_token": names["pad"],
            "additional_special_tokens": [names[role] for role in ("system", "user", "assistant")],
            "model_max_length": int(model.thinker.config.ctx_len),
            "clean_up_tokenization_spaces": False,
        },
    )
    write_text(folder / TEMPLATE, CHAT_TEMPLATES[model.chat.get("template", "plain")])


def _as_it_came(model: TextModel, folder: Path) -> None:
    """The template in a file of its own, as transformers 5 writes it; and no key that it does not know."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    config.pop("vocab_size", None)
    config.pop("eos_token_ids", None)  # which generation_config.json holds
    template = config.pop("chat_template", None)
    if isinstance(template, str):
        write_text(folder / TEMPLATE, template)
    elif template is not None:
        config["chat_template"] = template
    config["model_max_length"] = int(model.thinker.config.ctx_len)
    write_json(folder / CONFIG, config)
