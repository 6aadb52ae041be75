"""What the data tests share: a recipe of just the tables that data reads, and a tokenizer learned from little text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from muomni_cli.api import PartConfig
from muomni_cli.registry.registry import RegisteredPart, get_registry
from muomni_text.bpe import BPETokenizer, learn
from muomni_text.byte_level import ByteTokenizer
from muomni_text.plugin import BPEConfig


@dataclass
class Chosen:
    use: str
    registered: RegisteredPart
    config: PartConfig
    weight: float = 1.0
    task: str = ""
    eval_only: bool = False


def _choose(kind: str, use: str, weight: float = 1.0, **config: Any) -> Chosen:
    registered = get_registry().get(kind, use)
    return Chosen(use, registered, registered.part.config(**config), weight)


@dataclass
class Data:
    text: list[Chosen]
    val_fraction: float = 0.2
    tokenizer_chars: int = 1_000_000

    @property
    def sources(self) -> dict[str, list[Chosen]]:
        return {"text": self.text}


@dataclass
class Chat:
    template: str = "roles"


@dataclass
class SmallRecipe:
    data: Data
    chat: Chat = field(default_factory=Chat)
    tokenizer: Chosen | None = None
    thinker: Chosen | None = None
    name: str = "small"


def _recipe_of(*sources: Chosen, **data: Any) -> Any:
    return SmallRecipe(Data(list(sources), **data))


CORPUS = "The cat sat on the mat, and the dog saw the cat. <|user|> 12 cats! \n\n" * 40


@pytest.fixture(scope="session")
def bpe() -> BPETokenizer:
    return learn(BPEConfig(vocab_size=285), iter([CORPUS]))


@pytest.fixture(scope="session")
def plain_bytes() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def choose() -> Callable[..., Chosen]:
    """``choose(kind, use, weight=1.0, **config)``, as one table of a recipe would."""
    return _choose


@pytest.fixture
def recipe_of() -> Callable[..., Any]:
    """``recipe_of(*sources, **data)``: a recipe with these sources of text."""
    return _recipe_of
