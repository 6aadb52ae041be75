"""Tokenizers of Hugging Face checkpoints: ``tokenizer.json`` with its own pre-tokenizer and added tokens, and the chat
template beside it.

The folder that is saved holds two files in their format: ``tokenizer.json``, and a ``tokenizer_config.json`` with the
special tokens, the chat template and ``vocab_size``, the rows of the model's table, of which there may be more than
tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from muomni_cli.api import RequestError, expand_path, files
from muomni_text.byte_level import BYTE_OF, FILE, ByteTable, not_unicode, spelt
from muomni_text.chat_template import ChatTemplate
from muomni_text.plugin import HfConfig

CONFIG, TEMPLATE, MODEL = "tokenizer_config.json", "chat_template.jinja", "config.json"
GENERATION = "generation_config.json"
ENDS = "eos_token_ids"  # in CONFIG as it is saved here: ids that end an answer, if the checkpoint names several
ROLES = ("system", "user", "assistant")
SPACE = "\u2581"  # how SentencePiece spells a space
AGAIN = "copy the checkpoint again"


class HfTokenizer(ByteTable):
    """A tokenizer as its ``tokenizer.json`` describes it. ``end_ids``: those at which generation ends, of a checkpoint
    whose ``generation_config.json`` or ``config.json`` names several.

    ``specials`` has ``eos`` and ``pad``, ``bos`` if sequences begin with one, and roles if the vocabulary has tokens
    spelled as muomni spells them.
    """

    specials: Mapping[str, int]

    def __init__(self, inner: tokenizers.Tokenizer, config: Mapping[str, Any], rows: int = 0) -> None:
        """``rows``: ids up to there belong to the vocabulary. ValueError if tokens cannot be told in bytes."""
        inner.encode_special_tokens = True  # text that spells a special token is text
        inner.no_padding()
        inner.no_truncation()
        self._inner, self._config = inner, dict(config)
        tokens = inner.get_vocab_size(with_added_tokens=True)
        super().__init__(_table(inner, max(rows, tokens)))
        self.specials = _specials(inner, config)
        self.end_ids = frozenset(one for one in config.get(ENDS) or () if 0 <= one < max(rows, tokens))
        self._drops_space = _drops_space(json.loads(inner.to_str()))
        self.chat_template = _template(config)

    def encode(self, text: str) -> list[int]:
        try:
            return self._inner.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise not_unicode([text]) from error

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encoded = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise not_unicode(texts) from error
        return [one.ids for one in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        text = super().decode(ids)
        return text[1:] if self._drops_space and text.startswith(" ") else text

    @cached_property
    def _marked(self) -> tokenizers.Tokenizer:
        """The same, for which the spelling of a special token is that token."""
        marked = tokenizers.Tokenizer.from_str(self._inner.to_str())
        marked.encode_special_tokens = False
        return marked

    def encode_marked(self, text: str) -> list[tuple[int, int, int]]:
        """Ids with the first and last character of each, where the spelling of a special token is that token."""
        encoded = self._marked.encode(text, add_special_tokens=False)
        return [(token, *span) for token, span in zip(encoded.ids, encoded.offsets, strict=True)]

    @cached_property
    def special_texts(self) -> Sequence[str]:
        """Spellings of special tokens."""
        added = self._inner.get_added_tokens_decoder().values()
        return [token.content for token in added if token.special]

    def save(self, folder: Path) -> None:
        files.write_text(folder / FILE, self._inner.to_str(pretty=True))
        files.write_json(folder / CONFIG, {**self._config, "vocab_size": self.vocab_size})

    def with_tokens(self, names: Sequence[str]) -> HfTokenizer:
        """The same with more special tokens, after its own. RequestError for one that is there already."""
        inner = tokenizers.Tokenizer.from_str(self._inner.to_str())
        if there := [name for name in names if inner.token_to_id(name) is not None]:
            raise RequestError(f"the tokenizer has a token {there[0]!r} already", "leave it out of add_tokens")
        inner.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in names])
        return HfTokenizer(inner, self._config, self.vocab_size)


def _table(inner: tokenizers.Tokenizer, rows: int) -> list[bytes]:
    """The bytes of each token; none for special ones and rows without a token."""
    added = inner.get_added_tokens_decoder()
    spell = _speller(json.loads(inner.to_str()))
    table = [b""] * rows
    for spelling, token in inner.get_vocab(with_added_tokens=True).items():
        if token in added:
            table[token] = b"" if added[token].special else added[token].content.encode()
        else:
            table[token] = spell(spelling)
    return table


def _speller(parts: Mapping[str, Any]) -> Callable[[str], bytes]:
    """The bytes of a token by its spelling. ValueError for kinds whose tokens have no bytes of their own."""
    kinds = {part["type"] for part in _parts(parts.get("decoder"))}
    if "ByteLevel" in kinds:
        return lambda spelling: bytes(BYTE_OF[character] for character in spelling)
    if kinds & {"ByteFallback", "Metaspace"} or any(part.get("pattern") for part in _parts(parts.get("decoder"))):

        def sentence_piece(spelling: str) -> bytes:
            if len(spelling) == 6 and spelling.startswith("<0x") and spelling.endswith(">"):
                return bytes([int(spelling[3:5], 16)])
            return spelling.replace(SPACE, " ").encode()

        return sentence_piece
    raise ValueError(
        f"its decoder is {' and '.join(sorted(kinds)) or 'missing'}; ByteLevel, ByteFallback and Metaspace are known"
    )


def _parts(part: Any) -> list[Mapping[str, Any]]:
    """The members of a sequence, or the part itself."""
    if not part:
        return []
    inner = part.get("decoders") or part.get("normalizers") or part.get("pretokenizers") or part.get("processors")
    return [one for member in inner for one in _parts(member)] if inner else [part]


def _drops_space(parts: Mapping[str, Any]) -> bool:
    """Whether a text is encoded with a space before it, which decoding removes."""
    return any(
        (part["type"] == "Strip" and part.get("start")) or (part["type"] == "Metaspace" and _prepends(part))
        for part in _parts(parts.get("decoder"))
    )


def _prepends(part: Mapping[str, Any]) -> bool:
    return part.get("prepend_scheme", "always") != "never" and part.get("add_prefix_space", True) is not False


def _spelling(value: Any) -> str | None:
    """The spelling of a special token in a config: a text, or the record of an added token."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _specials(inner: tokenizers.Tokenizer, config: Mapping[str, Any]) -> dict[str, int]:
    def token(name: str) -> int | None:
        spelling = _spelling(config.get(f"{name}_token"))
        return None if spelling is None else inner.token_to_id(spelling)

    eos, bos, pad = token("eos"), token("bos"), token("pad")
    if eos is None:
        raise ValueError(f"{CONFIG} names no eos_token of its vocabulary")
    found = {"pad": eos if pad is None else pad}
    begins = config.get("add_bos_token")
    if begins is None:
        begins = bos is not None and inner.encode("a").ids[:1] == [bos]
    if begins and bos is not None:
        found["bos"] = bos
    found["eos"] = eos
    roles = {role: inner.token_to_id(spelt(role)) for role in ROLES}
    if all(number is not None for number in roles.values()):
        found |= {role: number for role, number in roles.items() if number is not None}
    return found


def _template(config: Mapping[str, Any]) -> ChatTemplate | None:
    source = config.get("chat_template")
    if isinstance(source, list):  # several by name
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    spelled = {name: spelling for name in names if (spelling := _spelling(config.get(name))) is not None}
    return ChatTemplate(source, spelled)


def load(config: HfConfig, folder: Path) -> HfTokenizer:  # noqa: ARG001 (of every tokenizer)
    """Open what :meth:`HfTokenizer.save` wrote. RequestError if a file is missing or broken."""
    return _open(folder, 0)


def _open(folder: Path, rows: int) -> HfTokenizer:
    path = folder / FILE
    if not path.is_file():
        sentence_piece = (folder / "tokenizer.model").is_file()
        fix = (
            "convert its tokenizer.model: save it with transformers" if sentence_piece else "name a checkpoint's folder"
        )
        raise RequestError(f"there is no {path}", fix)
    try:
        config = _config(folder)
        return HfTokenizer(
            tokenizers.Tokenizer.from_file(str(path)), config, rows or int(config.get("vocab_size") or 0)
        )
    except RequestError:
        raise
    except Exception as error:  # HF raises bare Exception for every kind of broken file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RequestError(f"the tokenizer in {folder} cannot be used: {reason}", AGAIN) from error


def _config(folder: Path) -> dict[str, Any]:
    """The settings of the tokenizer, with a template that lies in a file of its own."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8")) if (folder / CONFIG).is_file() else {}
    if (folder / TEMPLATE).is_file():
        config["chat_template"] = (folder / TEMPLATE).read_text("utf-8")
    ends = {
        one: None
        for name in (GENERATION, MODEL)
        if (folder / name).is_file()
        for one in _ids(json.loads((folder / name).read_text("utf-8")).get("eos_token_id"))
    }
    if len(ends) > 1:
        config[ENDS] = sorted(ends)
    if _spelling(config.get("eos_token")) is None and (folder / MODEL).is_file():
        eos = json.loads((folder / MODEL).read_text("utf-8")).get("eos_token_id")
        inner = tokenizers.Tokenizer.from_file(str(folder / FILE))
        config["eos_token"] = inner.id_to_token(eos[0] if isinstance(eos, list) else eos) if eos is not None else None
    return config


def _ids(value: Any) -> list[int]:
    """The ids of a setting that is an id, several or none."""
    every = value if isinstance(value, list) else [value]
    return [one for one in every if isinstance(one, int) and not isinstance(one, bool)]


def learn(config: HfConfig, texts: Iterator[str]) -> HfTokenizer:  # noqa: ARG001 (of every tokenizer)
    """Open the tokenizer in the config's folder, with the tokens to add; reads no text. RequestError if there is none,
    or it cannot be used."""
    if not config.folder:
        raise RequestError("the tokenizer hf needs the folder of a checkpoint", 'set tokenizer.folder="FOLDER"')
    folder, rows = expand_path(config.folder), 0
    if (folder / MODEL).is_file():
        try:
            rows = int(json.loads((folder / MODEL).read_text("utf-8")).get("vocab_size") or 0)
        except (ValueError, AttributeError, TypeError) as error:
            raise RequestError(f"{folder / MODEL} is damaged", AGAIN) from error
    opened = _open(folder, rows)
    return opened.with_tokens(config.add_tokens) if config.add_tokens else opened
