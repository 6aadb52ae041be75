"""One training a run, stages that replace each other, and requests that cannot be continued."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny import settings, trainer

from muomni_cli.commands.train import train
from muomni_cli.core.checksums import BLANK, sealed
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import read_json
from muomni_cli.runs.run import RunFolder, read_header, stage_lock
from muomni_cli.training.optim import Optimizers
from tests.opening import run_engine
from tests.training.test_stages import RECIPE

HOLD = (
    "import sys, pathlib; from muomni_cli.runs.run import stage_lock\n"
    "with stage_lock(pathlib.Path(sys.argv[1]), sys.argv[2]): print('held', flush=True); sys.stdin.read()"
)
RECORD = (
    "import sys, pathlib; from muomni_cli.runs.run import RunFolder\n"
    "for n in range(15): RunFolder(pathlib.Path(sys.argv[1])).record(f'{sys.argv[2]}{n}', {'step': n})"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    lines = (f"Line {n}: the {n % 7} cats and {n % 5} dogs ran up the hill to see the sea.\n" for n in range(200))
    Path("text.txt").write_text("".join(lines))


@contextmanager
def held_by_another(root: Path, stage: str = "") -> Iterator[None]:
    """Another process has stage_lock it, and is killed at the end."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), stage], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.kill()


def test_a_second_training_of_a_run_is_refused_until_the_first_is_gone() -> None:
    root = Path("runs/small")
    with held_by_another(root), pytest.raises(RequestError, match="another process is training into"):
        train("tokenizer", "small.toml")
    train("tokenizer", "small.toml")
    assert RunFolder(root).status("tokenizer") == "finished"


def test_stages_are_trained_at_the_same_time_but_each_by_one_process() -> None:
    root = Path("runs/small")
    with held_by_another(root, "talker"), pytest.raises(RequestError, match="another process is training into"):
        train("all", "small.toml")  # a tokenizer is for all of the run
    train("tokenizer", "small.toml")
    with held_by_another(root, "thinker"), pytest.raises(RequestError, match="training into runs/small/thinker"):
        train("all", "small.toml")
    with held_by_another(root, "talker"):
        train("all", "small.toml")
        with pytest.raises(RequestError, match="training into runs/small"):
            train("thinker", "small.toml", force=True)
    assert RunFolder(root).status("thinker") == "finished"
    assert not (root / "talker").exists() or not list((root / "talker").iterdir())


def test_what_processes_record_at_the_same_time_is_all_kept() -> None:
    root = Path("runs/small")
    command = [sys.executable, "-c", RECORD, str(root)]
    writers = [subprocess.Popen([*command, name]) for name in ("codec", "thinker")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(RunFolder(root).model()["stages"]) == 30


def test_a_claim_leaves_no_folder_behind(tmp_path: Path) -> None:
    with stage_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()


def test_all_stages_can_be_trained_again_at_once() -> None:
    train("all", "small.toml")
    train("all", "small.toml", ["tokenizer.vocab_size=280", "thinker.d_ff=48"], force=True)
    assert run_engine().parts["thinker"]["vocab_size"] == 280
    assert read_header(Path("runs/small/thinker/last.safetensors"))["part"]["config"]["d_ff"] == 48


def test_a_checkpoint_beyond_the_last_step_is_not_called_finished() -> None:
    train("all", "small.toml")
    run = RunFolder(Path("runs/small"))
    run.record("thinker", {"status": "unfinished"})
    with pytest.raises(RequestError, match="has done 4 steps already"):
        train("thinker", "small.toml", ["train.thinker.steps=2"], resume=True)
    assert run.status("thinker") == "unfinished"


def test_weights_alone_cannot_be_continued_and_the_state_stays() -> None:
    train("all", "small.toml")
    folder = Path("runs/small/thinker")
    (folder / "last.safetensors").write_bytes((folder / "best.safetensors").read_bytes())
    with pytest.raises(RequestError, match="weights alone"):
        train("thinker", "small.toml", ["train.thinker.steps=6"], resume=True)
    (folder / "last.safetensors").write_bytes(b"garbage")
    before = read_json(Path("runs/small/model.json"))
    with pytest.raises(RequestError, match="damaged"):
        train("thinker", "small.toml", ["train.thinker.steps=6"], resume=True)
    assert read_json(Path("runs/small/model.json")) == before


def test_an_optimizer_does_not_take_the_state_of_another() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False))
    adam = Optimizers(module, settings(optimizer="adamw"))
    module(torch.ones(1, 4)).sum().backward()
    adam.step(0, torch.tensor(False))
    with pytest.raises(KeyError, match="adamw"):
        Optimizers(module, settings(optimizer="muon")).load_state_tensors(adam.state_tensors())


def test_a_damaged_run_does_not_stand_in_the_way_of_others() -> None:
    train("all", "small.toml")
    for name, content in (("cut", "{"), ("odd", '{"stages": []}'), ("odder", '{"parts": {"thinker": 3}}')):
        Path(f"runs/{name}/thinker").mkdir(parents=True)
        Path(f"runs/{name}/thinker/last.safetensors").touch()
        Path(f"runs/{name}/model.json").write_bytes(sealed(f"{content}".replace("{", f'{{"": "{BLANK}", ', 1).encode()))
        with pytest.raises(RequestError):
            run_engine(name).omni()
    assert run_engine().run.name == "small"


@pytest.mark.parametrize(("stage", "near"), [("tinker", "thinker"), ("tokeniser", "tokenizer"), ("al", "all")])
def test_an_unknown_stage_names_the_nearest(stage: str, near: str) -> None:
    with pytest.raises(RequestError) as caught:
        train(stage, "small.toml")
    assert f"did you mean '{near}'?" in caught.value.fix
    assert not Path("runs").exists()


def test_a_recipe_without_text_says_so() -> None:
    Path("text.txt").write_text("")
    with pytest.raises(RequestError, match="has no documents"):
        train("tokenizer", "small.toml")
    assert not Path("runs").exists()


def test_a_tokenizer_that_cannot_be_written_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("muomni_text.bpe.BPETokenizer.save", full)
    with pytest.raises(MuomniError, match=r"could not write runs/small/tokenizer: No space left"):
        train("tokenizer", "small.toml")
    assert not Path("runs").exists()


def test_the_first_error_is_told_even_if_the_end_cannot_be_recorded(tmp_path: Path) -> None:
    class FailsTwice:
        ended: tuple[int, str] | None = None

        def on_start(self, context: object) -> None: ...

        def on_log(self, step: int, metrics: object) -> None:  # noqa: ARG002
            if step == 2:
                raise MuomniError("first", "")

        def on_validation(self, step: int, metrics: object) -> None: ...

        def on_checkpoint(self, step: int, path: Path) -> None: ...

        def on_end(self, step: int, reason: str) -> None:
            self.ended = (step, reason)
            raise MuomniError("second", "")

    callback = FailsTwice()
    with pytest.raises(MuomniError, match="first"):
        trainer(tmp_path, settings(), [("fails", callback)]).run()
    assert callback.ended == (2, "failed")
