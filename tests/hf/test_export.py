"""``muomni export --hf`` and ``--gguf``: what is written opens there, is compared first, and is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from muomni_cli.core.errors import RequestError
from muomni_cli.nn.llama_config import config_of, settings_of
from muomni_cli.nn.text_parity import compare_text_models
from muomni_thinker.model import Transformer
from muomni_thinker.plugin import TransformerConfig
from tests.hf.conftest import FAMILIES, Checkpoint, run, theirs

EXTRAS = ("gguf", "jinja2", "peft", "transformers")


@pytest.mark.parametrize("family", ["llama 3", "llama with biases", "smollm 3", "qwen 2, yarn", "qwen 3"])
def test_what_came_in_goes_out_as_it_was(family: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint(family)
    assert run("import", "hf", str(folder), "-o", str(tmp_path / "run")) == 0
    assert run("export", "--hf", "-m", str(tmp_path / "run"), "-o", str(tmp_path / "hf")) == 0
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "hf" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    ids = torch.randint(286, (1, 64))
    with torch.no_grad():
        assert torch.equal(theirs(folder)(input_ids=ids).logits, theirs(tmp_path / "hf")(input_ids=ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_survive_the_way_out_and_in(family: str, checkpoint: Checkpoint) -> None:
    from muomni_cli.nn.llama_config import read_config

    found = read_config(checkpoint(family))
    settings = TransformerConfig.model_validate(dict(found.settings)).model_dump(mode="json")
    again = settings_of(config_of(settings, 286)).settings
    back = TransformerConfig.model_validate(dict(again)).model_dump(mode="json")
    assert back == settings


def test_features_that_no_family_has_together_are_named() -> None:
    config = TransformerConfig(qk_norm=True, nope_layers=(1,)).model_dump(mode="json")
    with pytest.raises(RequestError, match="qk_norm, nope_layers together"):
        config_of(config, 100)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", ["llama 3", "smollm 3"])
def test_a_gguf_file_holds_the_model(precision: str, family: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    folder = checkpoint(family)
    assert run("import", "hf", str(folder), "-o", str(tmp_path / "run")) == 0
    file = tmp_path / "small.gguf"
    assert run("export", "--gguf", "-m", str(tmp_path / "run"), "-o", str(file), "--precision", precision) == 0
    reader = gguf.GGUFReader(file)
    held = {tensor.name: tensor for tensor in reader.tensors}
    kinds = {"fp32": "F32", "fp16": "F16", "int8": "Q8_0"}
    assert held["blk.0.ffn_up.weight"].tensor_type.name == kinds[precision]
    assert ("rope_freqs.weight" in held) == (family == "llama 3")
    before = load_file(folder / "model.safetensors")["model.layers.1.mlp.up_proj.weight"].numpy()
    after = gguf.quants.dequantize(held["blk.1.ffn_up.weight"].data, held["blk.1.ffn_up.weight"].tensor_type)
    assert np.abs(after - before).max() <= {"fp32": 0, "fp16": 1e-3, "int8": 1e-2}[precision]
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    assert tokens[-6] == "<|im_end|>"  # before the rows that have no token
    assert not list(tmp_path.glob("*.folder"))


def test_a_model_that_computes_something_else_is_found() -> None:
    torch.manual_seed(0)
    thinker, other = (
        Transformer(TransformerConfig(d_model=32, n_layers=1, n_heads=2, d_ff=32), 40).eval() for _ in "ab"
    )
    assert not compare_text_models(thinker, lambda ids: other(ids).logits, "fp32").holds
    other.load_state_dict(thinker.state_dict())
    assert compare_text_models(thinker, lambda ids: other(ids).logits, "fp32").holds
    assert not compare_text_models(thinker, lambda ids: other(ids).logits * torch.nan, "fp16").holds


def test_an_export_replaces_nothing_unless_asked(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert run("import", "hf", str(checkpoint("llama 2")), "-o", str(tmp_path / "run")) == 0
    words = ["export", "--hf", "-m", str(tmp_path / "run"), "-o", str(tmp_path / "out")]
    assert run(*words) == 0
    assert run(*words) == 2
    assert run(*words, "--force") == 0
    assert run(*words, "--gguf") == 2
    assert run(*words, "--force", "--precision", "int4") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["import", "--help"],
        ["export", "--help"],
        ["plugins", "list"],
        ["recipes", "list"],
        ["models", "list"],
    ],
    ids=" ".join,
)
def test_nothing_of_the_extras_is_loaded_by_what_lists(words: list[str]) -> None:
    code = (
        f"import sys\nfrom muomni_cli import app\nsys.argv[1:] = {words!r}\ntry:\n    app.main({words!r})\n"
        f"except SystemExit as left: assert not left.code\n"
        f"print([name for name in {(*EXTRAS, 'torch')!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_an_import_needs_no_transformers(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Nor does chatting with what was imported, which needs jinja2 for the template alone."""
    words = ["import", "hf", str(checkpoint("llama 2")), "-o", str(tmp_path / "run")]
    chat = ["chat", "-m", str(tmp_path / "run"), "a", "--max-tokens", "2"]
    code = (
        "import sys\nfor name in ('transformers', 'gguf', 'peft'): sys.modules[name] = None\n"
        f"from muomni_cli import app\nfor words in ({words!r}, {chat!r}):\n    try: app.main(words)\n"
        "    except SystemExit as left: assert not left.code, left.code"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
