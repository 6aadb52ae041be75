"""A stranger's Thinker that remembers by a state of fixed size, not by keys and values: the package of
``tests/plugins/recurrent`` is trained, asked, measured, exported and asked again by the commands that serve every
Thinker."""

from __future__ import annotations

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muomni_cli.contract.models import PADDED_ROW
from tests.installing import Site
from tests.omni.small import make_world

pytestmark = pytest.mark.long

KEYS, VALUES, PAIRS = "abcdef", "0123", 2
ALIKE = 1e-4
"""Of a logit (they are about 5): a larger matrix product adds the same numbers in another order."""

SEVERAL = """
import contextlib, io, json, sys
from muomni_cli.app import main
done = []
for words in json.loads(sys.argv[1]):
    product, talk = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(product), contextlib.redirect_stderr(talk):
            main(words)
    except SystemExit as left:
        done.append([left.code, product.getvalue(), talk.getvalue()])
print(json.dumps(done))
"""
"""Commands one after the other in one process: to start one that knows PyTorch takes seconds."""

RECIPE = """
name = "recall"

[tokenizer]
use = "bytes"

[thinker]
use = "ssd"
d_model = 64
n_layers = 2
n_heads = 8
d_state = 32
d_ff = 64
chunk = 16
ctx_len = 64

[[data.text]]
use = "text"
path = "recall.txt"
split = "blank-line"

[data]
val_fraction = 0.05

[train]
device = "cpu"
threads = 1

[train.thinker]
steps = 100
batch_size = 32
optimizer = "muon"
lr = 1e-2
muon_lr = 0.04
schedule = "wsd"
warmup_steps = 20
decay_fraction = 0.4
val_every = 100
save_every = 100

[chat]
template = "plain"
temperature = 0.0
"""

Done = tuple[int, str, str]
"""Exit code, product and talk of a command."""


def several(site: Site, folder: Path, *commands: Sequence[str]) -> dict[tuple[str, ...], Done]:
    """What each of these commands gave; all of them end well."""
    told = json.loads(site.run(sys.executable, "-c", SEVERAL, json.dumps(commands), cwd=folder).stdout)
    for words, (code, product, example) in zip(commands, told, strict=True):
        assert code == 0, f"{' '.join(words)}\n{product}{example}"
    return {tuple(words): tuple(done) for words, done in zip(commands, told, strict=True)}


def line(draw: random.Random) -> tuple[str, str]:
    """``a1c0=`` and ``c0a1``: pairs, and the same in another order."""
    pairs = [key + draw.choice(VALUES) for key in draw.sample(KEYS, PAIRS)]
    return "".join(pairs) + "=", "".join(draw.sample(pairs, PAIRS))


def bigram(seen: Sequence[str], unseen: Sequence[str]) -> float:
    """Bits a byte of what a table of which byte follows which says of ``unseen``, each behind a beginning."""
    pairs = Counter(pair for text in seen for pair in zip("\n" + text, text, strict=False))
    firsts = Counter(first for text in seen for first, _ in zip("\n" + text, text, strict=False))
    bits = [
        math.log2(firsts[first] / pairs[first, byte])
        for text in unseen
        for first, byte in zip("\n" + text, text, strict=False)
    ]
    return sum(bits) / len(bits)


@dataclass(frozen=True, slots=True)
class Trained:
    """A folder with the run ``recall`` and, as ``bundle``, what was exported of it; and what commands said.

    Args:
        baseline: bits a byte of a table of bytes that follow each other.
        done: by command.
    """

    site: Site
    folder: Path
    baseline: float
    done: dict[tuple[str, ...], Done]

    def product(self, *words: str) -> str:
        """What a command wrote."""
        return self.done[words][1].removesuffix("\n")


MODELS = ("runs/recall", "bundle")
TRAIN = ("train", "all", "recall.toml")
EXPORT = ("export", "--onnx", "-m", "recall", "-o", "bundle")
CHECK = ("plugins", "check", "ssd")
DRAWN = ("--temperature", "1.5", "--seed", "5")


@pytest.fixture(scope="module")
def site(pip: Callable[..., Site]) -> Site:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")
    return pip("recurrent")


@pytest.fixture(scope="module")
def trained(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained, exported, asked and checked, in one process."""
    folder = tmp_path_factory.mktemp("recall")
    draw = random.Random(1)
    lines = ["".join(line(draw)) for _ in range(6000)]
    (folder / "recall.txt").write_text("\n\n".join(lines))
    (folder / "recall.toml").write_text(RECIPE)
    of_models = [
        words
        for model in MODELS
        for words in (
            ("eval", "recall", "-m", model, "--json"),
            ("chat", "-m", model, "f1c3="),
            ("chat", "-m", model, "f1", *DRAWN),
        )
    ]
    done = several(site, folder, TRAIN, EXPORT, *of_models, CHECK)
    return Trained(site, folder, bigram(lines[:5000], lines[5000:]), done)


def test_it_learns_to_recall_what_it_read(trained: Trained) -> None:
    """Each value is told by the pair that was read, and by nothing that stands near it: a model that remembers no
    values cannot do better than ``without``, whatever else it knows."""
    keys = sum(math.log2(len(KEYS) - place) for place in range(PAIRS)) + math.log2(math.factorial(PAIRS))
    without = (keys + 2 * PAIRS * math.log2(len(VALUES))) / (4 * PAIRS + 1)
    (result,) = json.loads(trained.product("eval", "recall", "-m", "runs/recall", "--json"))
    assert result["metric"] == "bits_per_byte"
    assert result["value"] < without - 0.15 < trained.baseline - 0.5


def test_the_bundle_says_what_pytorch_says(trained: Trained) -> None:
    for words in (("f1c3=",), ("f1", *DRAWN)):
        first, second = (trained.product("chat", "-m", model, *words) for model in MODELS)
        assert first == second != ""
    results = [json.loads(trained.product("eval", "recall", "-m", model, "--json"))[0] for model in MODELS]
    assert results[1]["value"] == pytest.approx(results[0]["value"], abs=1e-5)


def test_what_takes_keys_and_values_alone_is_left_out_with_a_word(trained: Trained) -> None:
    example = trained.done[EXPORT][2]
    assert "no files for onnxruntime-genai: its states are no key/value cache" in example
    written = {path.name for path in (trained.folder / "bundle").rglob("*")}
    assert {"embed.onnx", "thinker.onnx"} <= written
    assert not {"genai_config.json", "text.onnx"} & written


def test_it_keeps_every_law(trained: Trained) -> None:
    results = trained.done[CHECK]
    assert "FAILED" not in results[1]
    held = {words.split()[0] for words in results[1].splitlines() if " passed " in words}
    assert {"cache", "chunks", "ragged", "ragged-cache", "embeds", "causal", "exports", "serves"} <= held


# -- rows and sessions, in this process --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """Makes backends of the trained model, which tell how many tokens they have read."""

    make: Callable[..., Any]
    read: list[int]


@pytest.fixture(params=["torch", "onnx"])
def running(trained: Trained, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.syspath_prepend(trained.site.folder)
    with ExitStack() as stack:
        yield _in_torch(trained.folder) if request.param == "torch" else _in_onnx(trained.folder, stack)


def _in_torch(folder: Path) -> Running:
    from muomni_cli.generation.torch_backend import TorchBackend
    from muomni_cli.runs.checkpoint import load_model, read_checkpoint

    build, plugin = import_module("muomni_ssd.model").build, import_module("muomni_ssd.plugin")
    (part,) = plugin.register_thinkers()
    entry = json.loads((folder / "runs/recall/model.json").read_text())["parts"]["thinker"]
    thinker = build(part.config(**entry["config"]), entry["vocab_size"])
    load_model(thinker, read_checkpoint(folder / "runs/recall" / entry["weights"]))
    read: list[int] = []
    thinker.tok_emb.register_forward_hook(lambda _, given, __: read.append(given[0].numel()))
    return Running(lambda **options: TorchBackend(thinker, part.capabilities, **options), read)


def _in_onnx(folder: Path, stack: ExitStack) -> Running:
    from muomni_onnx.bundle import open_bundle
    from muomni_onnx.runtime import OnnxModel

    model = OnnxModel(open_bundle(folder / "bundle"), "cpu", 1)
    read: list[int] = []
    stack.enter_context(
        model.watched(lambda call: read.append(call.inputs["input_ids"].size) if call.graph == "embed" else None)
    )
    return Running(model.backend, read)


@pytest.mark.parametrize("seed", range(3))
def test_every_row_gives_what_it_gives_alone(running: Running, seed: int) -> None:
    """Unequal prompts, and rows that are finished at different times."""
    draw = np.random.default_rng(seed)
    together, alone = running.make(hidden=True), running.make(hidden=True)
    prompts = [draw.integers(0, 262, length).tolist() for length in draw.integers(1, 20, 5)]
    state, logits = together.begin(prompts, 64)
    single = [alone.begin([prompt], 64) for prompt in prompts]
    np.testing.assert_allclose(logits, np.concatenate([own for _, own in single]), atol=ALIKE)
    for step in range(6):
        tokens = np.where(np.arange(5) * 2 > 9 - step, PADDED_ROW, draw.integers(0, 262, 5))
        logits, hidden = together.step(state, tokens), together.hidden(state)
        for row in np.flatnonzero(tokens != PADDED_ROW):
            own = single[row][0]
            np.testing.assert_allclose(logits[row], alone.step(own, tokens[row : row + 1])[0], atol=ALIKE)
            np.testing.assert_allclose(hidden[row], alone.hidden(own)[0], atol=ALIKE)


def test_a_session_reads_again_only_what_it_must(running: Running) -> None:
    """A turn goes on from the state; a changed beginning is read anew, for there is no way back."""
    kept, fresh = running.make(prefix_cache=True), running.make()
    example = list(range(20, 30))
    for turn in range(3):
        running.read.clear()
        state, logits = kept.begin([example], 64)
        assert sum(running.read) == (10 if turn == 0 else 5)
        np.testing.assert_allclose(logits, fresh.begin([example], 64)[1], atol=ALIKE)
        for token in (40, 41):
            kept.step(state, np.array([token]))
        example += [40, 41, 42, 43, 44, 45, 46]
    for changed in ([*example[:12], 99, *example[13:]], example[:20]):
        running.read.clear()
        _, logits = kept.begin([changed], 64)
        assert sum(running.read) == len(changed)
        np.testing.assert_allclose(logits, fresh.begin([changed], 64)[1], atol=ALIKE)


# -- dearer ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_trace_and_bench_know_it_as_any_other(trained: Trained) -> None:
    folder, bench = trained.folder, ("bench", "generate")
    short = ("--rounds", "1", "--tokens", "4", "--prompt", "4", "--threads", "1")
    trace = [("trace", "-m", model, "f1c3=", "--tokens", "2") for model in MODELS]
    measured = [(*bench, "recall.toml", *short), (*bench, "-m", "bundle", "--vs", "torch", "--prefill", "8", *short)]
    done = several(trained.site, folder, *trace, *measured)
    assert "a state of 32 x 64" in done[trace[0]][1]
    assert "past_states" in done[trace[1]][1]
    assert "tokens/s".upper() in done[measured[0]][1]
    failed = trained.site.muomni(*bench, "recall.toml", "--vs-transformers", cwd=folder, code=2)
    assert "the thinker ssd declares no peer 'transformers'" in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("way", ["compile=true", "checkpoint_activations=true", 'precision="bf16"'])
def test_it_trains_in_every_way_that_a_recipe_may_ask_for(trained: Trained, way: str, tmp_path: Path) -> None:
    (tmp_path / "recall.txt").write_text((trained.folder / "recall.txt").read_text())
    (tmp_path / "recall.toml").write_text(RECIPE)
    words = ["train.thinker.steps=20", "train.thinker.val_every=20", f"train.{way}"]
    trained.site.muomni("train", "all", "recall.toml", *words, cwd=tmp_path)
    rows = [json.loads(row) for row in (tmp_path / "runs/recall/thinker/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_bits_per_byte"] < 5


@pytest.mark.slow
def test_a_larger_one_is_exported_in_eight_bits(site: Site, tmp_path: Path) -> None:
    """Its matrices become whole numbers although exponentials come before them: a norm lies between."""
    (tmp_path / "recall.toml").write_text(RECIPE)
    words = ["--recipe", "recall.toml", "thinker.d_model=256", "thinker.d_ff=512", "--precision", "int8"]
    done = site.muomni("export", "--onnx", *words, "-o", "eight", cwd=tmp_path)
    manifest = json.loads((tmp_path / "eight" / "muomni.json").read_text())
    graphs = manifest["parts"]["thinker"]["graphs"]
    assert {name: graph["precision"] for name, graph in graphs.items()} == {"embed": "int8", "thinker": "int8"}
    kept = [line for line in done.stderr.splitlines() if "stay in full precision" in line]
    assert not any("exponential" in line for line in kept)
    site.muomni("export", "check", "eight", cwd=tmp_path)


@pytest.mark.slow
def test_it_sees_and_hears(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joint tuning with pictures and sounds, which come to a Thinker as embeddings; the same answers as a bundle."""
    monkeypatch.chdir(tmp_path)
    make_world()
    recipe = (tmp_path / "small.toml").read_text()
    old = 'use = "transformer"\nd_model = 32\nn_layers = 2\nn_heads = 2\nd_ff = 64\nctx_len = 64'
    assert old in recipe
    new = 'use = "ssd"\nd_model = 32\nn_layers = 2\nn_heads = 4\nd_state = 16\nd_ff = 64\nctx_len = 64'
    (tmp_path / "small.toml").write_text(recipe.replace(old, new))
    long = [f"train.omni.{key}=150" for key in ("steps", "val_every", "save_every", "sample_every")]
    asked = [
        ["chat", "-m", model, "What colour?", "--image", f"{color}6.png"]
        for model in ("runs/small", "bundle")
        for color in ("red", "green", "blue")
    ]
    done = several(
        site,
        tmp_path,
        ["train", "tokenizer", "small.toml"],
        ["train", "omni", "small.toml", *long],
        ["export", "--onnx", "-m", "small", "-o", "bundle"],
        *asked,
    )
    answers = [done[tuple(words)][1].strip() for words in asked]
    assert answers == ["red", "green", "blue"] * 2
