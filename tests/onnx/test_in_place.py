# ruff: noqa: E402
"""A cache that is written in place gives what a growing one gives, to rows of any lengths that come and go."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnx
from onnx import numpy_helper

from muomni_cli import MuomniError, load
from muomni_cli.contract.models import PADDED_ROW
from muomni_onnx import export as exporting
from muomni_onnx import in_place as places
from muomni_onnx.alignment import alignment_of
from muomni_onnx.backend import OnnxBackend
from muomni_onnx.bundle import MANIFEST, open_bundle, write_manifest
from muomni_onnx.check import check
from muomni_onnx.graphs import Model
from muomni_onnx.in_place import InPlaceBackend, StandardCalls
from muomni_onnx.in_place_graph import IN_PLACE, why_not_in_place, write_in_place_form
from muomni_onnx.parity import compare, only_last
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession
from muomni_thinker.plugin import TransformerConfig
from tests.onnx.test_backend import LETTERS, TOLERANCE
from tests.onnx.test_parity import thinker_graph
from tests.onnx.thinker_parts import CONTEXT, TINY, VOCABULARY, write_thinker
from tests.traffic import said_alone, said_together, some_requests

WIDTH = 32
SIZES = TransformerConfig(d_model=WIDTH, n_layers=2, n_heads=2, n_kv_heads=1, d_ff=32, ctx_len=CONTEXT)
NORMED = TransformerConfig(d_model=WIDTH, n_layers=2, n_heads=2, d_ff=32, ctx_len=CONTEXT, qk_norm=True)


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("thinker")
    entry = write_thinker(folder, SIZES)
    assert write_in_place_form(folder, CONTEXT) == ""
    return folder, entry


def in_place(form: tuple[Path, dict[str, Any]], **options: bool) -> InPlaceBackend:
    folder, entry = form
    return InPlaceBackend(GraphSession(folder / IN_PLACE, 1), entry, CONTEXT, **options)


def growing(form: tuple[Path, dict[str, Any]], **options: bool) -> OnnxBackend:
    folder, entry = form
    embed, thinker = (GraphSession(folder / f"{name}.onnx", 1) for name in ("embed", "thinker"))
    return OnnxBackend(embed, thinker, entry, CONTEXT, **options)


def seal(bundle: Path, changes: dict[str, Any]) -> None:
    """Write the manifest anew, with digests of what is there now and changes to the entry of the Thinker's graph."""
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    manifest["parts"]["thinker"]["graphs"]["thinker"] |= changes
    write_manifest(bundle, {name: manifest[name] for name in manifest.keys() - {"format", "checksum", "files"}})


@pytest.mark.parametrize("seed", range(6))
def test_every_row_gives_what_a_growing_cache_gives(form: tuple[Path, dict[str, Any]], seed: int) -> None:
    """Random prompts, some with media, and rows that rest at random."""
    random = np.random.default_rng(seed)
    ours, theirs = in_place(form, hidden=True), growing(form, hidden=True)
    embeddings = random.standard_normal((3, WIDTH), np.float32)
    media_ids = ours.add_embeddings(embeddings)
    assert theirs.add_embeddings(embeddings) == media_ids
    lengths = random.choice([1, 3, 4, 7, 20], random.integers(1, 10))
    prompts = [random.choice([*range(VOCABULARY), *media_ids], length).tolist() for length in lengths]
    state, logits = ours.begin(prompts, CONTEXT)
    single = [theirs.begin([prompt], CONTEXT) for prompt in prompts]
    np.testing.assert_allclose(logits, np.concatenate([own for _, own in single]), atol=TOLERANCE)
    rests = np.zeros(len(prompts), bool)
    for _ in range(12):
        rests ^= random.random(len(prompts)) < 0.15
        if rests.all():
            continue
        tokens = np.where(rests, PADDED_ROW, random.integers(0, VOCABULARY, len(prompts)))
        logits, hidden = ours.step(state, tokens), ours.hidden(state)
        for row in np.flatnonzero(~rests):
            own = single[row][0]
            np.testing.assert_allclose(logits[row], theirs.step(own, tokens[row : row + 1])[0], atol=TOLERANCE)
            np.testing.assert_allclose(hidden[row], theirs.hidden(own)[0], atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_minds_who_comes_and_goes(form: tuple[Path, dict[str, Any]], seed: int) -> None:
    random = np.random.default_rng(seed)
    requests = some_requests(random, 12, VOCABULARY, CONTEXT)
    said, abandoned, _ = said_together(lambda: in_place(form), LETTERS, requests, random)
    for number, alone in enumerate(said_alone(lambda: in_place(form), LETTERS, requests)):
        assert said[number] == (alone[: len(said[number])] if number in abandoned else alone)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_changes_nothing(form: tuple[Path, dict[str, Any]], seed: int) -> None:
    random = np.random.default_rng(seed)
    kept, fresh = in_place(form, prefix_cache=True), in_place(form)
    prompts = [random.integers(0, 3, length).tolist() for length in (5, 5, 8, 8)]
    for _ in range(5):
        state, logits = kept.begin(prompts, CONTEXT)
        np.testing.assert_allclose(logits, fresh.begin(prompts, CONTEXT)[1], atol=TOLERANCE)
        tokens = random.integers(0, 3, len(prompts))
        tokens[random.integers(len(prompts))] = PADDED_ROW
        kept.step(state, tokens)
        prompts = [[*one, token] if token != PADDED_ROW else one for one, token in zip(prompts, tokens, strict=True)]
        prompts = [one[: random.integers(1, len(one))] + random.integers(0, 3, 2).tolist() for one in prompts]


def test_long_prompts_are_read_in_pieces(form: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = np.random.default_rng(0).integers(0, VOCABULARY, 20).tolist()
    whole = in_place(form).begin([prompt], CONTEXT)[1]
    monkeypatch.setattr(places, "PIECE", 7)
    np.testing.assert_allclose(in_place(form).begin([prompt], CONTEXT)[1], whole, atol=TOLERANCE)


def test_the_whole_context_can_be_filled_and_a_full_row_can_rest(form: tuple[Path, dict[str, Any]]) -> None:
    backend = in_place(form, prefix_cache=True)
    full = [1, 2] * (CONTEXT // 2 - 1) + [1]
    state, first = backend.begin([full, [3]], CONTEXT)
    backend.step(state, np.array([2, 4]))
    for _ in range(3):
        assert np.isfinite(backend.step(state, np.array([PADDED_ROW, 5]))).all()
    np.testing.assert_allclose(backend.begin([full, [3]], CONTEXT)[1], first, atol=TOLERANCE)


def test_buffers_are_released_with_the_rows(form: tuple[Path, dict[str, Any]]) -> None:
    """At once, not when cycles of references are looked for: each request has megabytes of them."""
    backend = in_place(form)
    gc.disable()
    try:
        state, _ = backend.begin([[1, 2], [3]], CONTEXT)
        backend.step(state, np.array([4, 5]))
        group = weakref.ref(state[0].group)
        assert group() is not None
        del state
        assert group() is None
    finally:
        gc.enable()


def test_a_row_moves_to_a_larger_buffer_where_it_grows_beyond(form: tuple[Path, dict[str, Any]]) -> None:
    backend = in_place(form)
    (row,), _ = backend.begin([[1, 2]], 4)
    groups = []
    for _ in range(4):
        backend.step([row], np.array([3]))
        groups.append(row.group)
    assert groups[0] is groups[1]
    assert groups[1] is not groups[2]
    assert groups[2] is groups[3]


def test_rows_of_any_lengths_share_a_step_to_the_bit(form: tuple[Path, dict[str, Any]]) -> None:
    assert alignment_of(lambda: in_place(form), VOCABULARY) in (1, 4, 8, 16, 32, None)


def test_normed_queries_and_keys_are_turned_by_the_operator(tmp_path: Path) -> None:
    entry = write_thinker(tmp_path, NORMED)
    assert write_in_place_form(tmp_path, CONTEXT) == ""
    prompts = [[1, 2, 3, 4, 5], [6, 7]]
    ours, theirs = in_place((tmp_path, entry)), growing((tmp_path, entry))
    held: list[Any] = [backend.begin(prompts, CONTEXT) for backend in (ours, theirs)]
    np.testing.assert_allclose(held[0][1], held[1][1], atol=TOLERANCE)
    tokens = np.array([3, 4])
    np.testing.assert_allclose(ours.step(held[0][0], tokens), theirs.step(held[1][0], tokens), atol=TOLERANCE)


def test_a_bundle_has_it_beside_the_standard_form_and_uses_it(model: Model, bundle: Path) -> None:
    entry = open_bundle(bundle).graph("thinker", "thinker")
    assert entry["in_place"]["domain"] == "com.microsoft"
    assert entry["in_place"]["error"] <= entry["tolerance"]
    assert (bundle / entry["in_place"]["file"]).stat().st_size < (bundle / entry["file"]).stat().st_size
    assert isinstance(OnnxModel(open_bundle(bundle), "cpu", 1).backend(), InPlaceBackend)
    graph = only_last(thinker_graph(model))
    assert compare(graph, StandardCalls(GraphSession(bundle / "thinker" / IN_PLACE, 1), entry)).holds


def test_the_check_of_a_bundle_runs_it(bundle: Path) -> None:
    (one,) = [one for one in check(bundle, 1) if one.graph == "cache in place"]
    assert one.error <= one.tolerance
    assert one.size == (bundle / "thinker" / IN_PLACE).stat().st_size


def test_a_mutated_rotation_fails_the_gate(model: Model, bundle: Path) -> None:
    path, entry = bundle / "thinker" / IN_PLACE, open_bundle(bundle).graph("thinker", "thinker")
    changed = onnx.load(path, load_external_data=False)
    table = next(one for one in changed.graph.initializer if one.name == "sines")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table) * np.float32(1.05), "sines"))
    path.write_bytes(changed.SerializeToString())
    seal(bundle, {})
    with pytest.raises(MuomniError, match=r"thinker: cache in place is .* from what it gave"):
        check(bundle, 1)
    assert not compare(only_last(thinker_graph(model)), StandardCalls(GraphSession(path, 1), entry)).holds


def test_heads_that_the_operator_does_not_rotate(tmp_path: Path) -> None:
    write_thinker(tmp_path, TINY)
    assert write_in_place_form(tmp_path, CONTEXT) == "the width of its heads is no multiple of 16"
    assert not (tmp_path / IN_PLACE).exists()


def test_a_thinker_without_a_cache_of_keys_has_no_such_form() -> None:
    graphs = {name: {"precision": "fp32", "states": {}, "inputs": {}} for name in ("embed", "thinker")}
    assert why_not_in_place({"graphs": graphs}) == "its states are no key/value cache"


def test_a_form_that_disagrees_is_left_out(model: Model, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry: Any = dict(open_bundle(bundle).parts["thinker"])
    thinker = {name: value for name, value in entry["graphs"]["thinker"].items() if name != "in_place"}
    entry["graphs"] = {**entry["graphs"], "thinker": thinker}
    monkeypatch.setattr(exporting, "compare", lambda graph, calls, _, distance: compare(graph, calls, -1.0, distance))
    assert "off" in exporting._add_in_place(model.parts[0], entry, bundle)
    assert "in_place" not in thinker
    assert not (bundle / "thinker" / IN_PLACE).exists()


@pytest.mark.parametrize("without", ["form", "operator"])
def test_without_it_the_standard_form_answers(bundle: Path, without: str) -> None:
    """An older bundle, or a runtime that lacks the operator."""
    with load(str(bundle), device="cpu", threads=1) as model:
        said = model.chat("abc", temperature=0, max_tokens=8)
    changes: dict[str, Any] = {}
    if without == "form":
        changes["in_place"] = None
        (bundle / "thinker" / IN_PLACE).unlink()
    else:
        path = bundle / "thinker" / IN_PLACE
        changed = onnx.load(path, load_external_data=False)
        for node in changed.graph.node:
            node.domain = "nowhere" if node.domain else ""
        path.write_bytes(changed.SerializeToString())
    seal(bundle, changes)
    with load(str(bundle), device="cpu", threads=1) as model:
        assert isinstance(model.engine.backend(), OnnxBackend)
        assert model.chat("abc", temperature=0, max_tokens=8) == said
