"""Which model a command means, and opening its parts. Imports torch only when a Thinker is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.declarations import Can
from muomni_cli.contract.models import Thinker, Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.core.extras import require
from muomni_cli.models.find import Found, Need, find
from muomni_cli.runs.folder import JOINT, RUNS, WEIGHTS, RunFolder, open_entry
from muomni_cli.runs.header import read_header

if TYPE_CHECKING:
    from muomni_cli.data.shares import Sense
    from muomni_cli.omni.model import Omni
    from muomni_cli.recipe import ChatSettings


TRAIN = "muomni train all RECIPE"


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model ready for inference.

    Args:
        thinker: on its device.
        can: what its declaration promises.
        senses: what else it takes besides text.
        omni: encoders and projectors; None for a model of text alone.
    """

    thinker: Thinker
    can: frozenset[Can] | set[Can]
    senses: Mapping[str, Sense] = field(default_factory=dict)
    omni: Omni | None = None


@dataclass(frozen=True)
class ModelFolder:
    """A trained model: a run, and the checkpoint to use, of the omni stage or of the Thinker's own."""

    run: RunFolder
    weights: Path

    @property
    def label(self) -> str:
        """What to call it on stderr: the checkpoint and how far it was trained."""
        return f"{self.weights} (step {read_header(self.weights)['step']})"

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Part name -> use, plugin, config, weights."""
        parts: dict[str, dict[str, Any]] = self.run.model()["parts"]
        return parts

    @property
    def chat(self) -> ChatSettings:
        """The chat settings of the recipe that trained it."""
        from muomni_cli.recipe import ChatSettings

        return ChatSettings.model_validate(self.run.model()["chat"])

    def tokenizer(self) -> Tokenizer:
        """Open the tokenizer. RequestError if there is none."""
        return self.run.tokenizer()

    @property
    def joint(self) -> bool:
        """Whether the weights are those of the omni stage, and the model takes more than text."""
        return self.weights.parent.name == JOINT

    def open(self, device: str = "auto") -> OpenModel:
        """Open it for inference; averaged weights where the checkpoint has them.

        Raises:
            RequestError: for a broken checkpoint, a missing plugin, or a device that is not there.
        """
        from muomni_cli.layers.device import choose_device
        from muomni_cli.runs.checkpoint import load_model, read_checkpoint
        from muomni_cli.runs.parts import build_part, omni_entries, open_omni, senses_of

        place = choose_device(device)
        if self.joint:
            omni = open_omni(self.run, self.weights).eval().requires_grad_(False).to(place)
            registered, _ = open_entry(omni_entries(self.run)["thinker"])
            return OpenModel(omni.thinker, registered.part.can, senses_of(self.run), omni)
        registered, config, entry = self.run.part("thinker", TRAIN)
        module = build_part(registered, config, entry)
        load_model(module, read_checkpoint(self.weights), ema=True)
        return OpenModel(module.eval().requires_grad_(False).to(place), registered.part.can)

    def thinker(self, device: str = "auto") -> Thinker:
        """:meth:`open`, for those who want the Thinker alone."""
        return self.open(device).thinker


def find_model(spec: str | None = None, runs: Path = RUNS) -> ModelFolder:
    """The run to use, where nothing but a run will do; see :func:`muomni_cli.models.find.find`.

    Raises:
        RequestError: says what was looked for, and what to train.
    """
    return model_in(find(spec, RUN_THAT_THINKS, runs))


def model_in(found: Found) -> ModelFolder:
    """The run, and the checkpoint of it to use. RequestError if it has no run, or none that is complete."""
    run = found.run()
    weights = found.weights or _thinker_weights(run)
    parts = {*run.model()["parts"], *run.model()["stages"].get(JOINT, {}).get("parts", {})}
    if run.status("tokenizer") != "finished" or weights is None or "thinker" not in parts:
        raise RequestError(
            f"run {run.root} is not complete: it needs a tokenizer and a Thinker checkpoint",
            f"train what is missing: muomni train all {run.recipe_path}",
        )
    return ModelFolder(run, weights)


def _thinker_weights(run: RunFolder) -> Path | None:
    """The best checkpoint of the Thinker, else the last; those of the omni stage, which tuned it further, first."""
    candidates = [run.stage(stage) / name for stage in (JOINT, "thinker") for name in WEIGHTS]
    return next((path for path in candidates if path.is_file()), None)


def _complete(run: RunFolder) -> Path | None:
    """:func:`_thinker_weights` of a run that has the tokenizer as well."""
    return _thinker_weights(run) if run.status("tokenizer") == "finished" else None


THINKS = Need(_complete, "is complete", TRAIN, verb="answer")
"""A model that answers."""
RUN_THAT_THINKS = replace(THINKS, run=True)


def require_torch(run: RunFolder) -> None:
    """See that a run's parts can be opened. MuomniError if PyTorch is not installed, which they need."""
    require(f"run {run.root}", "torch", otherwise="or export it where PyTorch is, and name the bundle with -m")
