"""Which model speaks, and opening its Talker, codec and vocoder. Imports torch only to open those of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.core.errors import RequestError
from muomni_cli.models.find import Need, find
from muomni_cli.models.open import require_torch
from muomni_cli.registry.registry import Registered, get_registry
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry
from muomni_cli.speaking.bundle import voice_of

if TYPE_CHECKING:
    from muomni_cli.contract.speech import Codec
    from muomni_cli.speaking.parts import SpeakingParts
    from muomni_cli.speaking.voice import Voice

WEIGHTS = ("best.safetensors", "last.safetensors")
TRAIN = "muomni train all RECIPE"


@dataclass(frozen=True, slots=True)
class Speaking:
    """A run that speaks, and its vocoder: ``config`` is set where it needs no training, else its own stage's weights
    are used."""

    run: RunFolder
    vocoder: Registered
    config: Any = None


def find_speaking(spec: str | None = None, vocoder: str | None = None, runs: Path = RUNS) -> Speaking:
    """The run to speak with, where nothing but a run will do.

    Args:
        spec: see :func:`muomni_cli.models.find.find`.
        vocoder: the vocoder to use in place of the run's own.
        runs: where runs lie.

    Raises:
        RequestError: says what was looked for, what is not trained, and what to train.
    """
    return speaking_with(find_speaking_run(spec, runs), vocoder)


def find_speaking_run(spec: str | None = None, runs: Path = RUNS) -> RunFolder:
    """The run alone, whatever its vocoder; see :func:`find_speaking`."""
    return find(spec, RUN_THAT_SPEAKS, runs).run()


def speaking_with(run: RunFolder, vocoder: str | None = None) -> Speaking:
    """``run`` with its own vocoder or another; errors as in :func:`find_speaking`."""
    for stage in ("talker", "codec"):
        if _weights(run, stage) is None:
            raise RequestError(
                f"run {run.root} has no trained {stage}, so it cannot speak",
                f"train it: muomni train {stage} {run.recipe_path}, or name another run with -m",
            )
    entry = run.model()["parts"].get("vocoder")
    if entry is not None and _weights(run, "vocoder") is not None:
        registered, _ = open_entry(entry)
        if vocoder is None or registered.part.name == vocoder.rpartition(":")[2]:
            return Speaking(run, registered)
    registered, config = untrained_vocoder(run, vocoder)
    if registered.part.objective is not None:
        raise RequestError(
            f"the vocoder {registered.use} of run {run.root} is not trained",
            f"train it: muomni train vocoder {run.recipe_path}, or use one that needs no training: {_ready()}",
        )
    return Speaking(run, registered, config)


def open_mouth(
    spec: str | None, vocoder: str | None = None, *, device: str = "auto", threads: int | None = None
) -> Voice:
    """The voice of the model that is meant, whatever runs it.

    Args:
        spec: see :func:`muomni_cli.models.find.find`.
        vocoder: the vocoder to use in place of the model's own.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads.

    Raises:
        RequestError: as of :func:`find_speaking` and :func:`open_voice`.
        MuomniError: a run, and PyTorch is not installed.
    """
    meant = find(spec, SPEAKS)
    if meant.bundle is not None:
        return voice_of(meant.bundle.open(device, threads), vocoder)
    speaking = speaking_with(meant.run(), vocoder)
    require_torch(speaking.run)
    if threads is not None:
        from muomni_cli.layers.device import set_threads

        set_threads(threads)
    return open_voice(speaking, device)


def open_voice(speaking: Speaking, device: str = "auto") -> Voice:
    """The voice of :func:`open_parts`."""
    return open_parts(speaking, device).voice()


def open_parts(speaking: Speaking, device: str = "auto") -> SpeakingParts:
    """The parts on their device, averaged weights where the checkpoints have them.

    Raises:
        RequestError: for a broken checkpoint, a device that is not there, or parts that were not trained together.
    """
    from muomni_cli.layers.device import choose_device
    from muomni_cli.registry.registry import resolve
    from muomni_cli.runs.parts import open_part
    from muomni_cli.speaking.parts import SpeakingParts

    run, place = speaking.run, choose_device(device)

    def ready(module: Any) -> Any:
        return module.eval().requires_grad_(False).to(place)

    talker, weights = open_part(run, "talker", _command(run, "talker"))
    codec = ready(open_part(run, "codec", _command(run, "codec"))[0])
    require_made_for(run, "talker", codec)
    if speaking.config is None:
        require_made_for(run, "vocoder", codec)
        vocoder: Any = open_part(run, "vocoder", _command(run, "vocoder"))[0]
    else:
        part = speaking.vocoder.part
        vocoder = resolve(part.build, f"vocoder {part.name}")(speaking.config, codec.mel)
    return SpeakingParts(ready(talker), codec, ready(vocoder), str(weights), speaking.vocoder.part.name)


def usable_vocoders(run: RunFolder) -> list[str]:
    """Names of the vocoders that ``run`` can speak with: its own where it is trained, and all that need no training."""
    own = _entry_name(run) if _weights(run, "vocoder") is not None else None
    ready = [one.use for one in get_registry().all("vocoder") if one.part.objective is None]
    return list(dict.fromkeys([*([own] if own else []), *ready]))


def _entry_name(run: RunFolder) -> str | None:
    entry = run.model()["parts"].get("vocoder")
    return None if entry is None else str(entry["use"])


def _weights(run: RunFolder, stage: str) -> Path | None:
    """The checkpoint of a stage that the run's model knows of."""
    if stage not in run.model()["parts"]:
        return None
    return next((path for name in WEIGHTS if (path := run.stage(stage) / name).is_file()), None)


def untrained_vocoder(run: RunFolder, name: str | None = None) -> tuple[Registered, Any]:
    """The vocoder that is named, with the settings that the run's recipe has for it, else the defaults."""
    from muomni_cli.recipe import load_recipe

    chosen = load_recipe(str(run.recipe_path)).vocoder if run.recipe_path.is_file() else None
    if name is None:
        if chosen is None:
            raise RequestError(f"run {run.root} has no vocoder", f"name one that needs no training: {_ready()}")
        return chosen.registered, chosen.config
    registered = get_registry().get("vocoder", name)
    if chosen is not None and chosen.registered.part == registered.part:
        return registered, chosen.config
    return registered, registered.part.config()


def _ready() -> str:
    """What to type for a vocoder that needs no training."""
    names = [one.use for one in get_registry().all("vocoder") if one.part.objective is None]
    return " or ".join(f"--vocoder {name}" for name in names) or "none is installed"


def require_made_for(run: RunFolder, stage: str, codec: Codec) -> None:
    """Refuse a part that was trained for another codec than the run has now."""
    from muomni_cli.runs.arguments import code_shape

    entry = run.model()["parts"][stage]
    now = {"codes": asdict(code_shape(codec)), "mel": codec.mel.model_dump(mode="json")}
    if any(entry[name] != value for name, value in now.items() if name in entry):
        raise RequestError(
            f"the {stage} of run {run.root} was trained for another codec than the run has now",
            f"train it again: {_command(run, stage)} --force",
        )


def _command(run: RunFolder, stage: str) -> str:
    return f"muomni train {stage} {run.recipe_path}"


SPEAKS = Need(lambda run: _weights(run, "talker"), "has a trained Talker", TRAIN, verb="speak")
"""A model that reads aloud."""
RUN_THAT_SPEAKS = replace(SPEAKS, run=True)
