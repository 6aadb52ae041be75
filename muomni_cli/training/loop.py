"""The training loop of every stage. It depends on objectives, checkpoints and callbacks, not on models or recipes."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from muomni_cli.contract.training import Objective
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import replacing, write_bytes
from muomni_cli.core.stopping import NAMES
from muomni_cli.data.batches import Drawn, drawn_until
from muomni_cli.nn.device import autocast, memory_bytes, multiplies_bf16, ran_out_of_memory, release_memory
from muomni_cli.runs.checkpoint import read_checkpoint, write_checkpoint
from muomni_cli.runs.listing import MetricsLog
from muomni_cli.runs.run import BEST, LAST
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.distributed.strategy import Sections
from muomni_cli.training.mfu import peak_flops
from muomni_cli.training.processes import BrokenOffError, StoppedError, StopRequests
from muomni_cli.training.retention import EarlyStopping, keep_checkpoint
from muomni_cli.training.step import AsyncMetrics, Prefetch, Stepper

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings
    from muomni_cli.training.context import TrainingContext

PROFILE_AFTER, PROFILED = 4, 3  # steps before and in a trace
RELEASE_EVERY = 20  # steps; each release costs some 0.05 s of page faults for every 250 MB that are used again


class Trainer:
    """Trains one stage and writes its metrics, checkpoints and samples into ``folder``.

    ``about``: fields of the checkpoint header besides step, best loss and the like. ``command``: continues this stage.
    ``drawn``: what the checkpoint to resume from has drawn from the data. ``profile``: write a trace of a few steps.
    """

    def __init__(
        self,
        objective: Objective,
        context: TrainingContext,
        *,
        folder: Path,
        about: Mapping[str, Any],
        command: str,
        callbacks: CallbackList,
        display: Display,
        drawn: Drawn = (),
        profile: bool = False,
    ) -> None:
        self.objective, self.context = objective, context
        self.settings, self.device = context.settings, context.device
        self.folder, self.last = folder, folder / LAST
        self.about, self.command = about, command
        self.callbacks, self.display, self.drawn = callbacks, display, drawn
        self.metrics = MetricsLog(folder / "metrics.jsonl")
        self.strategy = context.strategy
        self.main = self.strategy.main  # the process that writes files
        self.stepper = Stepper(objective, self.settings, self.device, self.strategy)
        self.best = math.inf
        self._early = EarlyStopping(self.settings.early_stopping, context.stage)
        self._readback: AsyncMetrics[tuple[int, int, int, list[str]]] = AsyncMetrics(self.device)  # see _report
        self._seconds = 0.0  # trained so far, over all sessions
        self._items = 0
        self._begin = self._mark = time.perf_counter()
        self._done = self._first = self._saved = 0  # steps, in total, before this session and in the last checkpoint
        self._stop = StopRequests(display.say)
        self._changes: list[str] = []  # what a resumed training does otherwise than before, to be said
        self._profile = profile
        self._peak = 0.0  # operations per second of the device
        self._pending: list[str] = []  # what is to be done after the last step: ``validate``, ``sample``

    def run(self, *, resume: bool = False, begin: Callable[[], None] = lambda: None) -> int:
        """Train to the last step; returns the number of steps done.

        With ``resume``, continue from :attr:`last`, on the CPU bit for bit as an uninterrupted run. ``begin`` is called
        when the checkpoint has accepted the settings, before anything is written.

        Raises:
            StoppedError: after a signal, when everything is saved.
            MuomniError: the loss is not finite, or the disk is full.
            RequestError: the checkpoint cannot be resumed, or memory ran out.
        """
        torch.manual_seed(self.context.seed)
        self._done = self._first = self._saved = self._restore() if resume else 0
        if self.main:
            begin()
            self.metrics.cut(self._done)
        if self.device.type == "cuda":  # on a CPU, which shares its cores, the figure would say little
            self._peak, _ = peak_flops(self.device, self.settings.precision)
            self.stepper.counts_flops = True
        self._begin = self._mark = time.perf_counter()
        with self.display:
            if self.settings.precision == "bf16" and not multiplies_bf16(self.device.type):
                self.display.say(f"this {self.device.type} has no instructions for bfloat16: training in fp32")
            for change in self._changes:
                self.display.say(change)
            try:
                self.callbacks.call(lambda callback: callback.on_start(self.context))
                asked = self._train()
            except BaseException as error:
                with suppress(MuomniError):  # such as a full disk: report the first error
                    self._rescue(error)
                    self.callbacks.call(lambda callback: callback.on_end(self._done, "failed"))
                if ran_out_of_memory(error):
                    raise RequestError(
                        f"out of memory on {self.device} in step {self._done + 1}",
                        "raise accumulate, lower batch_size, or set checkpoint_activations=true",
                    ) from error
                raise
            finally:
                self.strategy.close()
            self.callbacks.call(lambda callback: callback.on_end(self._done, "stopped" if asked else "finished"))
        if asked:
            raise StoppedError(
                f"{self.context.stage} stopped by {NAMES[asked]} after step {self._done} of {self.settings.steps}; "
                f"saved to {self.last}",
                f"continue with: {self.command} --resume",
                asked,
            )
        return self._done

    def _train(self) -> signal.Signals | None:
        """Run the remaining steps; returns the signal that stopped them, if any."""
        steps, cuda = self.settings.steps, self.device.type == "cuda"
        micro = self.settings.accumulate
        coming = Prefetch(self.objective, range(self._done, steps), accumulate=micro, pin=cuda, strategy=self.strategy)
        asked: signal.Signals | None = None
        with self._stop as stop, coming as batches, self._profiled() as profiled:
            if self._pending:
                self._evaluate(self._done)
                self._apart(self.save, self._done)
            while (asked := self.strategy.agree_to_stop(stop.asked)) is None and self._done < steps:
                if self._early.over:
                    self.display.say(self._early.reason())
                    break
                coming_step = batches.next()
                self.strategy.progressed()
                self.strategy.seed_step(self.context.seed, self._done)
                self.stepper.step(self._done, coming_step.batches, coming_step.weight)
                self._items += coming_step.items
                self._done += 1
                self.strategy.progressed()
                profiled()
                self.display.advance(self._done)
                self._between_steps(self._done)
            if asked is not None and self._saved != self._done:
                self._apart(self.save, self._done)
            self.saved(wait=True)
        return asked

    def _between_steps(self, done: int) -> None:
        last = done == self.settings.steps

        def due(every: int) -> bool:
            return every > 0 and (done % every == 0 or last)

        if due(self.settings.log_every):
            idle = self.stepper.idle
            names, values = self.stepper.read_window()
            self._readback.post((done, self._items, idle, names), values)
            self._items = 0
        if done % RELEASE_EVERY == 0:
            release_memory(self.device)
        self._report()
        self.saved()
        work = {"validate": self.settings.val_every, "sample": self.settings.sample_every}
        self._pending = [name for name, every in work.items() if due(every)]
        self._evaluate(done)
        if due(self.settings.save_every) or last or self._early.over:
            self._apart(self.save, done)

    def _evaluate(self, done: int) -> None:
        """Do the pending work. A stop request breaks it off; the checkpoint then says that it is still to be done."""
        with suppress(BrokenOffError):
            while self._pending:
                self._apart(getattr(self, self._pending[0]), done)
                del self._pending[0]

    def _apart(self, work: Callable[[int], None], done: int) -> None:
        """Work between steps: waits for pending metrics first, and is excluded from the rate."""
        self._report(wait=True)
        self._require_finite(int(self.stepper.bad_step))
        if not self.stepper.learned and not self._first:
            raise RequestError(
                f"{self.context.stage} has nothing to learn: none of the {done:,} steps so far had a target",
                "see what is wrong with the data: muomni data check RECIPE",
            )
        begin = time.perf_counter()
        work(done)
        self._mark += time.perf_counter() - begin

    def _report(self, *, wait: bool = False) -> None:
        """Write and show the metrics that have arrived from the device; with ``wait``, all."""
        for (step, items, idle, names), (bad_step, *means) in self._readback.take(wait=wait):
            self._require_finite(int(bad_step))
            self._log(step, items, idle, dict(sorted(zip(names, means, strict=True))))

    def _log(self, step: int, items: int, idle: int, values: dict[str, float]) -> None:
        """``idle``: number of steps without a target; if all were, there is no loss."""
        now = time.perf_counter()
        metrics = {
            **{name: values.pop(name) for name in ("loss",) if name in values},
            **values,
            **({"steps_without_targets": idle} if idle else {}),
            "lr": self.stepper.optimizers.lr(step - 1),
            f"{self.objective.unit}/s": items / max(now - self._mark, 1e-9),
            **self._utilization(items / max(now - self._mark, 1e-9)),
            "memory": memory_bytes(self.device),
            "time": round(self._elapsed(), 3),
        }
        self._mark = now
        if not self.main:
            return
        self.metrics.write(step, metrics)
        a_step = (now - self._begin) / max(1, step - self._first)
        self.display.log(step, metrics, a_step * (self.settings.steps - step))
        self.callbacks.call(lambda callback: callback.on_log(step, metrics))

    def _utilization(self, rate: float) -> dict[str, float]:
        """MFU at ``rate`` items per second in all processes, where it is known."""
        if not self._peak or self.stepper.flops is None or not self.stepper.flops[1]:
            return {}
        flops, items = self.stepper.flops
        return {"mfu": rate * flops / items / (self._peak * self.strategy.world_size)}

    @contextmanager
    def _profiled(self) -> Iterator[Callable[[], object]]:
        """What is called after each step; with ``profile``, a trace of some steps for Perfetto."""
        if not self._profile:
            yield lambda: None
            return
        from torch.profiler import ProfilerActivity, profile, schedule

        path = self.folder / f"trace-{self.strategy.rank}.json.gz"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]

        def write(finished: profile) -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            finished.export_chrome_trace(str(path))
            self.display.say(f"wrote {path}: open it at https://ui.perfetto.dev")

        plan = schedule(wait=PROFILE_AFTER, warmup=1, active=PROFILED, repeat=1)
        with profile(activities=kinds, schedule=plan, on_trace_ready=write) as profiler:
            yield profiler.step

    def validate(self, done: int) -> None:
        """Validate after ``done`` steps, and save the weights if they are the best so far."""
        with self._evaluation_mode(done):
            metrics = self.strategy.same(self.objective.validate())
        self._early.update(done, metrics)
        better = metrics["loss"] < self.best
        if better:
            self.best = metrics["loss"]
            weights = self.strategy.gather(self._weights)
            if self.main:
                write_checkpoint(self.folder / BEST, self._header(done), weights)
        if not self.main:
            return
        self.metrics.write(done, {**{f"val_{k}": v for k, v in metrics.items()}, "time": round(self._elapsed(), 3)})
        self.display.validation(done, metrics, best=better)
        self.callbacks.call(lambda callback: callback.on_validation(done, metrics))

    def sample(self, done: int) -> None:
        with self._evaluation_mode(done):
            samples = list(self.objective.samples(done)) if self.main else []
        files = []
        for sample in samples:
            content = sample.content if isinstance(sample.content, bytes) else sample.content.encode()
            files.append(self.folder / "samples" / f"{done:06}-{sample.name}")
            write_bytes(files[-1], content)
        self.callbacks.samples(done, files)

    def save(self, done: int) -> None:
        """Write the checkpoint of ``done`` steps, from which training resumes bit for bit."""
        self.saved(wait=True)
        self._saved = done
        if self.strategy.save(self.last, self._header(done), self._state):
            self._after_save(done)

    def saved(self, *, wait: bool = False) -> None:
        """Report a checkpoint that was written in the background."""
        if self.strategy.saved(wait=wait):
            self._after_save(self._saved)

    def _rescue(self, error: BaseException) -> None:
        """Save what is whole when another process is lost: the work since the last checkpoint is not."""
        if self.main and self.stepper.clean and self._saved < self._done and self.strategy.keeps_weights(error):
            self.stepper.window, self.stepper.count = {}, 0  # sums of this process alone
            write_checkpoint(self.last, self._header(self._done), self._state())
            self._after_save(self._done)

    def _state(self) -> Sections:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        state = {"optim": self.stepper.optimizers.state_tensors(), "rng": rng}
        return {**self._weights(), **state, "log": self.stepper.sums()}

    def _after_save(self, done: int) -> None:
        if self.main and not self.settings.val_every:  # else a stale best checkpoint would be preferred to this one
            (self.folder / BEST).unlink(missing_ok=True)
        if self.main:
            keep_checkpoint(self.last, done, self.settings.keep_last)
        self.callbacks.call(lambda callback: callback.on_checkpoint(done, self.last))

    def _restore(self) -> int:
        """Restore the state that :meth:`save` wrote; returns the number of steps done."""
        checkpoint = read_checkpoint(self.last)
        header, stepper = checkpoint.header, self.stepper
        if header["seed"] != self.context.seed:
            raise RequestError(
                f"{self.last} was trained with seed {header['seed']}, not {self.context.seed}",
                "leave the seed as it was, or train again with --force",
            )
        _require_same_adapters(self.last, header, self.settings)
        self.strategy.load_model(self.objective.module, checkpoint)
        rng = checkpoint.section("rng")
        if not rng:
            raise RequestError(
                f"{self.last} holds weights alone, without the state to resume from",
                "restore the original checkpoint, or train again with --force",
            )
        try:
            stepper.optimizers.load_state_tensors(checkpoint.section("optim"))
            if stepper.ema is not None:
                stepper.ema.load(checkpoint.section("ema"))
            torch.set_rng_state(rng["cpu"])
            if self.device.type == "cuda" and "cuda" in rng:
                torch.cuda.set_rng_state(rng["cuda"], self.device)
            done, stepper.count, best = int(header["step"]), int(header["window"]), header["best"]
            stepper.idle = int(header.get("idle", 0))
        except KeyError as error:
            raise RequestError(
                f"{self.last} cannot be continued with these settings: it has no {error.args[0]!r}",
                "leave optimizer and ema as they were, or train again with --force",
            ) from error
        if self.main:  # what is in it is the sum of all processes
            stepper.window = {name: t.to(self.device) for name, t in checkpoint.section("log").items()}
        self.best = math.inf if best is None or not self.settings.val_every else float(best)
        self._early.load(header.get("early"))
        self._seconds = float(header["seconds"])
        self._pending = [name for name in header.get("pending", []) if name in ("validate", "sample")]
        self._changes = self._changed(header, done)
        return done

    def _changed(self, header: Mapping[str, Any], done: int) -> list[str]:
        """Lines about settings that are not those of the checkpoint."""
        settings, rate, found = self.settings, self.stepper.optimizers.lr, []
        if self.drawn and (before := self.drawn[-1][1]) != settings.batch_size:
            example = 1 + sum(steps * size for steps, size in self.drawn)
            found.append(
                f"batch_size was {before} and is {settings.batch_size} from step {done + 1}, "
                f"which goes on at example {example:,}"
            )
        if "lr" in header and done < settings.steps:
            last, following = header["lr"]
            if header["steps"] != settings.steps or not math.isclose(following, rate(done)):
                end = rate(settings.steps - 1)
                found.append(
                    f"learning rate: {last:.2e} in step {done}, {rate(done):.2e} in step {done + 1} (it was to be "
                    f"{following:.2e}) and {end:.2e} in step {settings.steps}: {settings.schedule} over "
                    f"{settings.steps} steps, before over {header['steps']}"
                )
        return found

    def _weights(self) -> Sections:
        ema = self.stepper.ema
        return {"model": self.strategy.tensors(self.objective.module), "ema": ema.average if ema else {}}

    def _header(self, done: int) -> dict[str, Any]:
        return {
            **self.about,
            "stage": self.context.stage,
            "seed": self.context.seed,
            "step": done,
            "steps": self.settings.steps,
            "finished": done >= self.settings.steps or self._early.over,
            "early": self._early.state(),
            "best": None if math.isinf(self.best) else self.best,
            "seconds": self._elapsed(),
            "window": self.stepper.count,
            "pending": self._pending,
            "lr": [self.stepper.optimizers.lr(step) for step in (done - 1, done)],  # of the last step and the next
            "drawn": drawn_until(self.drawn, done, self.settings.batch_size),
            "idle": self.stepper.idle,
        }

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._begin

    @contextmanager
    def _evaluation_mode(self, done: int) -> Iterator[None]:
        """Averaged weights, no dropout, no gradients, and a separate random state."""
        module, ema = self.objective.module, self.stepper.ema
        devices = [self.device] if self.device.type == "cuda" else []
        module.eval()
        with (
            torch.random.fork_rng(devices),
            torch.no_grad(),
            torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext(),
            autocast(self.device, self.settings.precision),
            ema.applied() if ema else nullcontext(),
            self.strategy.evaluating(),
            # Innermost: nothing breaks off the exchange of the weights. Of several processes, none leaves the others.
            self._stop.breaking_off() if self.strategy.world_size == 1 else nullcontext(),
        ):
            torch.manual_seed(self.context.seed + done)
            yield
        module.train()

    def _require_finite(self, bad_step: int) -> None:
        """Stop after a non-finite step. Since then the device has skipped all updates, so the weights are good."""
        if bad_step < 0:
            return
        path = self.folder / f"bad-batch-{bad_step + 1}.safetensors"
        if self.main:
            self._keep_batch(bad_step, path)
        kept = f"the checkpoint {self.last} is good" if self.last.is_file() else "no checkpoint had been written yet"
        raise MuomniError(
            f"loss or gradient was not finite in step {bad_step + 1}; its batch is in {path}; {kept}",
            "try a lower lr, a smaller clip, precision=fp32, or look into the batch; then use --resume or --force",
        )

    def _keep_batch(self, bad_step: int, path: Path) -> None:
        tensors = {
            f"{micro}.{name}": tensor.contiguous()
            for micro in range(self.settings.accumulate)
            for name, tensor in self.objective.batch(bad_step, micro).tensors.items()
        }
        with replacing(path) as temporary:
            save_file(tensors, temporary)


def _require_same_adapters(path: Path, header: Mapping[str, Any], settings: TrainSettings) -> None:
    now = None if settings.lora is None else settings.lora.model_dump(mode="json")
    if header.get("lora") != now:
        raise RequestError(
            f"{path} was trained with {'other' if header.get('lora') else 'no'} adapters",
            "leave lora as it was, or train again with --force",
        )
