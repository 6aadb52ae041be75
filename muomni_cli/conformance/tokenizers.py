"""Conformance checks of tokenizers (:class:`muomni_cli.api.Tokenizer`). Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from muomni_cli.contract.checks import Check, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import Capability

LEARNED = [
    "Once there was a hen who laid an egg, and the egg was blue.",
    "The hen said: it is my egg! No, said the fox, it is not.",
    "def add(a, b):\n    return a + b  # 12 + 30 = 42\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 日本語の文章。 Это пример. 🙂🙃",
] * 8  # training text: words, punctuation, numbers, code, four scripts

TEXTS = {
    "the empty text": "",
    "a space": " ",
    "words": "Once the hen said no.",
    "whitespace": "  two  spaces\n\n\ta tab\r\nand ends \n",
    "punctuation": "!?#$%&'()*+,-./:;<=>@[]^_`{|}~\"\\",
    "numbers": "007 3.14 1,000,000 ١٢٣",
    "diacritics": "naïve façade, Ångström, e\u0301 and é",
    "other scripts": "日本語、한국어, العربية, עברית, Ελληνικά",
    "emoji of several characters": "🙂 👩‍👩‍👧 🇪🇺 ❤️",
    "control characters": "\x00\x01\x1b[31m\x7f\u200b\ufeff\u2028",
    "spelled-out special tokens": "<|bos|><|pad|> <s></s> <|endoftext|> [PAD] <|user|>",
    "capitals": "ÀÉÎ HEN hen Hen",
}  # test texts by their difficulty
ROLES = ("system", "user", "assistant")


def tokenizer_of(subject: PartUnderTest) -> Any:
    return subject.once("tokenizer", lambda: subject.find("objective")(subject.config, iter(LEARNED)))


def builds(subject: PartUnderTest) -> Sequence[Number]:
    return [Number("vocabulary", tokenizer_of(subject).vocab_size)]


def specials(subject: PartUnderTest) -> Sequence[Number]:
    """Special tokens are there, decode to nothing, and no text is encoded with one."""
    tokenizer = tokenizer_of(subject)
    held = dict(tokenizer.specials)
    roles = ROLES if Capability.TRAINABLE in subject.part.capabilities or held.keys() & set(ROLES) else ()
    for name in ("pad", "eos", *roles):
        check_that(name in held, f"there is no special token {name}")
    for name, token in held.items():
        check_that(0 <= token < tokenizer.vocab_size, f"{name} is {token}, outside the vocabulary")
        check_that(tokenizer.decode([token]) == "", f"{name} decodes to {tokenizer.decode([token])!r}")
        check_that(tokenizer.token_bytes(token) == b"", f"the token_bytes of {name} are not empty")
    apart = {name: token for name, token in held.items() if name != "pad"}  # which eos may serve as
    check_that(len(set(apart.values())) == len(apart), f"two special tokens share an id: {held}")
    for what, text in TEXTS.items():
        found = [name for name, token in held.items() if token in tokenizer.encode(text)]
        check_that(not found, f"a text ({what}) is encoded with the special token {found[0] if found else ''}")
    return [Number("special tokens", len(held))]


def in_range(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer = tokenizer_of(subject)
    ids = [token for text in TEXTS.values() for token in tokenizer.encode(text)]
    check_that(all(isinstance(token, int) for token in ids), "ids must be int")
    check_that(min(ids) >= 0, f"the id {min(ids)} is below 0")
    return [Number("largest id", max(ids), tokenizer.vocab_size - 1)]


def lossless(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer = tokenizer_of(subject)
    for what, text in TEXTS.items():
        back = tokenizer.decode(tokenizer.encode(text))
        check_that(back == text, f"a text ({what}) decodes to {back[:60]!r} instead of {text[:60]!r}")
    return [Number("texts", len(TEXTS))]


def batch(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer = tokenizer_of(subject)
    together = tokenizer.encode_batch(list(TEXTS.values()))
    check_that(len(together) == len(TEXTS), f"{len(TEXTS)} texts give {len(together)} lists of ids")
    for (what, text), ids in zip(TEXTS.items(), together, strict=True):
        check_that(list(ids) == list(tokenizer.encode(text)), f"a text ({what}) has other ids in a batch")
    check_that(tokenizer.encode_batch([]) == [], "an empty batch gives ids")
    return []


def stands_for(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer = tokenizer_of(subject)
    for what, text in TEXTS.items():
        ids = tokenizer.encode(text)
        joined = b"".join(tokenizer.token_bytes(token) for token in ids).decode("utf-8", errors="replace")
        check_that(joined == tokenizer.decode(ids), f"the bytes of a text ({what}) are {joined[:60]!r}")
    return []


def state(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer, folder = tokenizer_of(subject), subject.folder()
    tokenizer.save(folder)
    opened = subject.find("build")(subject.config, folder)
    check_that(opened.vocab_size == tokenizer.vocab_size, f"after loading it has {opened.vocab_size} tokens")
    check_that(dict(opened.specials) == dict(tokenizer.specials), "after loading the special tokens differ")
    for what, text in TEXTS.items():
        check_that(
            list(opened.encode(text)) == list(tokenizer.encode(text)), f"after loading a text ({what}) has other ids"
        )
    return [Number("bytes", sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))]


def learns(subject: PartUnderTest) -> Sequence[Number]:
    tokenizer = tokenizer_of(subject)
    again = subject.find("objective")(subject.config, iter(LEARNED))
    texts = [*TEXTS.values(), *LEARNED[:4]]
    check_that(again.encode_batch(texts) == tokenizer.encode_batch(texts), "training twice gives different tokenizers")
    size = sum(len(text.encode()) for text in LEARNED)
    return [Number("tokens per byte", sum(map(len, tokenizer.encode_batch(LEARNED))) / size, 1.0)]


def reads_nothing(subject: PartUnderTest) -> Sequence[Number]:
    if Capability.TRAINABLE in subject.part.capabilities:
        raise CheckSkipped("it declares trainable")

    def texts() -> Iterator[str]:
        check_that(False, "it reads training text")
        yield ""

    subject.find("objective")(subject.config, texts())
    return []


CHECKS = (
    Check(name="builds", doc="it can be trained on a little text", run=builds, depends_on=("references",)),
    Check(name="specials",
        doc="pad and eos exist, and those of all roles if of one; no text encodes to them; decoded they are empty",
        run=specials, depends_on=("builds",)),
    Check(name="range", doc="ids are integers within the vocabulary", run=in_range, depends_on=("builds",)),
    Check(name="lossless", doc="decoding returns the encoded text exactly", run=lossless, needs=Capability.LOSSLESS,
        depends_on=("specials",)),
    Check(name="batch", doc="texts in a batch get the same ids as one by one", run=batch, depends_on=("builds",)),
    Check(name="bytes", doc="the joined token_bytes of ids are the text that decode returns", run=stands_for,
        depends_on=("builds",)),
    Check(name="state", doc="saved and loaded, it encodes the same", run=state, depends_on=("builds",)),
    Check(name="learns", doc="training is deterministic, and needs at most one token per byte", run=learns,
        needs=Capability.TRAINABLE, depends_on=("builds",)),
    Check(name="untaught", doc="a tokenizer that does not declare trainable reads no training text", run=reads_nothing,
        depends_on=("builds",)),
)  # fmt: skip
