"""GGUF files in llama.cpp, through the npm package node-llama-cpp: the same greedy tokens and the same split texts."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import muomni_datasets
from muomni_cli import app
from muomni_cli.contract.bundle import TextModel
from muomni_cli.generation.loop import Request, Sampling, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_gguf.exporting import export
from muomni_onnx.sources import find_trained
from muomni_text.bpe import learn
from muomni_text.plugin import BPEConfig
from tests.hf.conftest import Checkpoint, checkpoint  # noqa: F401 - a fixture

pytestmark = pytest.mark.external

PACKAGE = "node-llama-cpp@3.21.1"
STORIES = Path(str(muomni_datasets.__file__)).parent / "texts" / "stories.txt.gz"
COUNT = 32


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with node-llama-cpp, ``$MUOMNI_NODE_LLAMA`` if that has it."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = Path(os.environ.get("MUOMNI_NODE_LLAMA") or tmp_path_factory.mktemp("node"))
    if not (folder / "node_modules" / "node-llama-cpp").is_dir():
        words = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    shutil.copy(Path(__file__).with_name("llama.mjs"), folder / "llama.mjs")
    return folder


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    assert not left.value.code


def llama_cpp(node: Path, file: Path, texts: Sequence[str], prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
    request = file.with_suffix(".json").resolve()
    request.write_text(json.dumps({"texts": texts, "prompts": prompts, "count": COUNT}), encoding="utf-8")
    words = ["node", "llama.mjs", str(file.resolve()), str(request), str(answers := request.with_suffix(".out"))]
    done = subprocess.run(words, cwd=node, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(answers.read_text(encoding="utf-8"))
    return answer


def greedy(model: str, prompts: Sequence[list[int]]) -> list[list[int]]:
    """Our own continuations."""
    engine = find_trained(model).engine()
    backend = TorchBackend(engine.omni().thinker)
    answers: list[list[int]] = [[] for _ in prompts]
    requests = [Request(prompt, Sampling(temperature=0), 0, COUNT, (), False) for prompt in prompts]
    for event in generate(backend, engine.tokenizer(), requests):
        answers[event.row].append(event.token)
    return answers


def same(ours: list[int], theirs: list[int]) -> int:
    """Tokens before the first that differs."""
    pairs = zip(ours, theirs, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))


@pytest.mark.parametrize(
    "family", ["llama 2", "llama 3", "llama, linear", "qwen 2", "qwen 2, yarn", "qwen 3", "smollm 3"]
)
def test_a_family_computes_the_same_there(
    family: str,
    node: Path,
    checkpoint: Checkpoint,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run("import", "hf", str(checkpoint(family, max_position_embeddings=256)), "-o", "runs/small")
    run("export", "--gguf", "-m", "small", "-o", "small.gguf", "--precision", "fp32")
    generator = torch.Generator().manual_seed(3)
    prompts = torch.randint(256, (3, 40), generator=generator).tolist()
    ours = greedy("small", prompts)
    theirs = llama_cpp(node, Path("small.gguf"), [], prompts)["answers"]
    assert [same(one, other) for one, other in zip(ours, theirs, strict=True)] == [len(one) for one in ours]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nano_opens_there(precision: str, node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("export", "--gguf", "-m", "nano", "-o", "nano.gguf", "--precision", precision)
    tokenizer = find_trained("nano").engine().tokenizer()
    prompts = [[1, *tokenizer.encode(text)] for text in ("Once upon a time", "The old fox said that", "One day a girl")]
    ours, theirs = greedy("nano", prompts), llama_cpp(node, Path("nano.gguf"), [], prompts)["answers"]
    kept = [same(one, other) for one, other in zip(ours, theirs, strict=True)]
    if precision == "int8":  # rounding may choose another word somewhere
        assert sum(kept) > COUNT
    else:
        assert kept == [len(one) for one in ours]


@pytest.mark.parametrize(
    "settings", [{"pattern": "gpt2"}, {"pattern": "gpt2", "single_digits": False}, {"pattern": "qwen2"}], ids=str
)
def test_every_text_is_split_alike(settings: dict[str, Any], node: Path, tmp_path: Path) -> None:
    text = gzip.decompress(STORIES.read_bytes()).decode()
    paragraphs = [one for one in text.split("\n") if one.strip()][:1500]
    odd = [
        "  two  spaces\n\n\ta tab\r\nand ends \n",
        "naïve façade e\u0301 日本語 🙂",
        "don't WE'LL 3.14 1,000",
        "a\n\n b\n",
    ]
    tokenizer = learn(BPEConfig(vocab_size=1200, **settings), iter(paragraphs))
    engine = find_trained("nano").engine()
    sizes = {"d_model": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "d_ff": 32, "d_head": None}
    thinker = engine.omni().thinker
    small = type(thinker)(thinker.config.model_copy(update=sizes), tokenizer.vocab_size).eval()  # type: ignore[call-arg]
    entry = {**engine.parts["thinker"], "config": small.config.model_dump(mode="json")}
    said: list[str] = []
    files = export(TextModel("words", small, small.config, entry, tokenizer, {}), tmp_path, precision="fp32",
                   notify=said.append)  # fmt: skip
    assert not any("no rule" in line for line in said)
    theirs = llama_cpp(node, tmp_path / files[0].name, [*paragraphs, *odd], [])["tokens"]
    different = [text for text, ids in zip([*paragraphs, *odd], theirs, strict=True) if tokenizer.encode(text) != ids]
    assert different == []
