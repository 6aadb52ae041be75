"""The recipe ``omni-hf`` with tiny checkpoints in place of those that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from muomni_cli import app
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import stages_of_all
from tests.hf.conftest import write_checkpoint
from tests.pretrained.conftest import Checkpoint

SMALL = [
    "thinker.d_model=32", "thinker.n_layers=4", "thinker.n_heads=4", "thinker.d_ff=48", "thinker.ctx_len=200",
    "encoders.image.d_model=32", "encoders.image.n_layers=2", "encoders.image.n_heads=2", "encoders.image.d_ff=48",
    "encoders.image.tokens=2", "encoders.audio.d_model=32", "encoders.audio.n_layers=2", "encoders.audio.n_heads=2",
    "encoders.audio.d_ff=48", "train.*.batch_size=2", "train.*.threads=1", "train.*.device='cpu'",
]  # fmt: skip
LITTLE = [  # data that no other program speaks
    "data.text=[{use='tales', count=40, conversations=0.7}]",
    "data.omni=[{use='asked', count=20, val_count=4, from={image={use='scenes', size=32, count=12}}, "
    "ask=[{question=['What?'], answer='{image.text}'}]}]",
]


def test_it_names_what_it_is_made_of() -> None:
    recipe = load_recipe("omni-hf")
    assert [recipe.encoders[name].registered.part.name for name in ("image", "audio")] == ["siglip", "whisper"]
    assert stages_of_all(recipe) == ["tokenizer", "thinker", "codec", "talker", "omni"]


@pytest.mark.parametrize("stage", ["omni", pytest.param("all", marks=pytest.mark.slow)])
def test_a_dry_run_with_tiny_checkpoints(
    stage: str,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "writes").mkdir()
    write_checkpoint(tmp_path / "writes", "smollm 2", shards=False, max_position_embeddings=256)
    named = [
        "tokenizer.folder='writes'", "thinker.weights='writes'", f"encoders.image.weights='{checkpoint('siglip')}'",
        f"encoders.audio.weights='{checkpoint('whisper')}'",
    ]  # fmt: skip
    if stage == "all":
        given = ["data.text.0.count=60", "data.speech.0.count=8", "data.omni.0.count=60", "data.omni.0.val_count=8",
                 "data.omni.0.from.image.count=20", "data.omni.0.from.heard.count=30"]  # fmt: skip
    else:
        given = LITTLE
    with pytest.raises(SystemExit) as left:
        app.main(["train", stage, "omni-hf", "--dry-run", *named, *SMALL, *given])
    told = capsys.readouterr()
    assert left.value.code == 0, told.err
    assert "omni on cpu" in told.out + told.err
    assert not (tmp_path / "runs").exists()
