# ruff: noqa: E402
"""The folder of a bundle's Thinker as onnxruntime-genai wants it: ids to logits, and no weight twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnx

from muomni_cli.models.run_engine import RunEngine
from muomni_onnx.bundle import open_bundle
from muomni_onnx.joined import SMALL
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession

Made = tuple[Path, RunEngine]


def test_ids_give_the_logits_that_embeddings_give(made: Made) -> None:
    session = GraphSession(made[0] / "thinker" / "text.onnx", 1)
    ids = np.array([[1, 5, 7, 9, 11]])
    caches = {name: np.zeros((1, 2, 0, 16), np.float32) for name in session.inputs if name != "input_ids"}
    first = session({"input_ids": ids[:, :2], **caches})
    held = {name: first[name.replace("past_key_values", "present")] for name in caches}
    logits = np.concatenate([first["logits"], session({"input_ids": ids[:, 2:], **held})["logits"]], axis=1)[0]
    np.testing.assert_allclose(logits, OnnxModel(open_bundle(made[0]), "cpu", 1).score(ids[0]), atol=1e-5)


def test_no_weight_is_there_twice(made: Made) -> None:
    model = onnx.load(made[0] / "thinker" / "text.onnx", load_external_data=False)
    assert max(len(tensor.raw_data) for tensor in model.graph.initializer) <= SMALL
    assert sum(bool(tensor.external_data) for tensor in model.graph.initializer) > 5


def test_the_configuration_says_what_the_graph_is_like(made: Made) -> None:
    config = json.loads((made[0] / "thinker" / "genai_config.json").read_text())
    model, decoder = config["model"], config["model"]["decoder"]
    assert (model["context_length"], model["vocab_size"], decoder["filename"]) == (64, 300, "text.onnx")
    assert [decoder[f"num_{what}"] for what in ("hidden_layers", "key_value_heads", "attention_heads")] == [2, 2, 2]
    assert (decoder["head_size"], decoder["hidden_size"]) == (16, 32)
    assert config["search"]["past_present_share_buffer"] is False
