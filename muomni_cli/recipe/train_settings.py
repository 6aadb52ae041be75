"""The host's settings in a recipe: ``[train]`` and ``[train.<stage>]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from muomni_cli.recipe.settings import Settings

_Share = Annotated[float, Field(ge=0, lt=1)]
MAX_STEPS = 10**9
OWN_INIT = ("trained", "random")  # values of ``train.<stage>.init`` that do not name a model


class LoraSettings(Settings):
    """Adapters of a stage, in place of training its weights."""

    rank: int = Field(8, ge=1, le=4096, description="rows of an adapter")
    alpha: float = Field(16.0, gt=0, le=1e6, description="its output is scaled by alpha / rank")
    targets: tuple[str, ...] = Field(
        ("qkv", "out", "gate_up", "down"), min_length=1, description="last names of the linear layers to adapt"
    )


class EarlyStoppingSettings(Settings):
    """When a stage ends before its last step."""

    patience: int = Field(5, ge=1, le=MAX_STEPS, description="validations without improvement after which it ends")
    min_delta: float = Field(0.0, ge=0, le=1e9, description="smallest change of the metric that is an improvement")
    metric: str = Field("loss", min_length=1, description="metric of the validation, without val_")
    mode: Literal["min", "max"] = Field("min", description="whether lower or higher is better")


class TrainSettings(Settings):
    """``[train]`` for every stage; ``[train.<stage>]`` overrides it."""

    steps: int = Field(1000, ge=1, le=MAX_STEPS, description="optimizer steps")
    batch_size: int = Field(8, ge=1, le=65_536, description="sequences (images, clips) per step")
    accumulate: int = Field(
        1, ge=1, le=65_536, description="micro-batches per step; saves memory, does not change results"
    )
    optimizer: Literal["adamw", "muon"] = Field("adamw", description="muon: Muon for hidden matrices, AdamW for others")
    lr: float = Field(1e-3, gt=0, le=1e3, description="peak learning rate of AdamW")
    muon_lr: float = Field(0.02, gt=0, le=1e3, description="peak learning rate of Muon")
    lr_scale: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = Field(
        {}, description="prefix of parameter names -> factor of both learning rates; 0 freezes them"
    )
    init: str = Field(
        "trained",
        min_length=1,
        description="initial weights: a run or an installed model (its part of this stage; for the stages thinker and "
        "omni its tokenizer, too), or random; trained: in the omni stage those of the parts' own stages, in those on "
        "pairs those of the run, else random",
    )
    init_encoders: dict[str, str] = Field(
        {}, description="modality -> run or installed model to take this encoder of the omni stage from"
    )
    word_dropout: _Share | dict[str, _Share] = Field(
        0.0,
        description="omni stage: probability of replacing a token of an answer about media in the input by pad, so "
        "that the model relies on the media; or by modality: { image = 0.5 }",
    )
    beta: float = Field(
        0.1, gt=0, le=1e3, description="stages on pairs: how strongly they hold to the model that they begin with"
    )
    preference_loss: Literal["sigmoid", "ipo"] = Field(
        "sigmoid", description="stages on pairs: DPO's (arXiv 2305.18290), or IPO's per target (arXiv 2310.12036)"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="stages on pairs: share of them that is assumed to be the wrong way round"
    )
    sft_weight: float = Field(
        0.0,
        ge=0,
        le=1e3,
        description="stages on pairs: weight of the chosen answer's cross-entropy per target, beside the loss on the "
        "pair (RPO, arXiv 2404.19733)",
    )
    lora: LoraSettings | None = Field(
        None, description="train low-rank adapters instead of the part's weights: { rank = 8, alpha = 16.0 }"
    )
    freeze_until: dict[str, Annotated[int, Field(ge=0, le=MAX_STEPS)]] = Field(
        {}, description="prefix of parameter names -> number of first steps in which they stay as they are"
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.95), description="AdamW's decay of the first and second moment"
    )
    eps: float = Field(1e-8, gt=0, le=1e3, description="AdamW's epsilon")
    weight_decay: float = Field(0.1, ge=0, le=1e3, description="decoupled; not for norms, biases and embedding tables")
    schedule: Literal["cosine", "wsd", "constant"] = Field("cosine", description="of the learning rate, after warm-up")
    warmup_steps: int = Field(0, ge=0, le=MAX_STEPS, description="steps of linear learning rate warm-up")
    min_lr: float = Field(0.1, ge=0, le=1, description="final learning rate, as a fraction of the peak")
    decay_fraction: float = Field(0.2, gt=0, le=1, description="fraction of the steps in which wsd decays")
    clip: float = Field(1.0, ge=0, le=1e9, description="maximum gradient norm; 0 disables clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the moving average of weights; 0 for none")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of activations; weights are always fp32; on CPUs without bf16 everything is fp32"
    )
    compile: bool = Field(False, description="torch.compile: slow start, faster steps")
    checkpoint_activations: bool = Field(False, description="recompute activations: less memory, slower steps")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$",
        description='"auto", "cpu", "cuda", "cuda:1", "mps" (Apple) or "xpu" (Intel)',
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of a process; 0 for all cores")
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="several processes: ddp, each holds the whole model; fsdp, each holds a share; auto: ddp if the "
        "model and its optimizer fit into 60 % of a device",
    )
    timeout: float = Field(
        600.0, ge=5, le=1e6, description="several processes: seconds that one waits for another within a step"
    )
    log_every: int = Field(10, ge=1, le=MAX_STEPS, description="steps between lines of metrics")
    val_every: int = Field(100, ge=0, le=MAX_STEPS, description="steps between validations; 0 for none")
    save_every: int = Field(100, ge=0, le=MAX_STEPS, description="steps between checkpoints; 0 for the last step only")
    sample_every: int = Field(0, ge=0, le=MAX_STEPS, description="steps between samples; 0 for none")
    keep_last: int = Field(
        0, ge=0, le=100_000, description="checkpoints to keep as step-N.safetensors, each with all that resumes from it"
    )
    early_stopping: EarlyStoppingSettings | None = Field(
        None, description="end when validations do not improve: { patience = 5, min_delta = 0.0 }"
    )
    val_batches: int = Field(0, ge=0, le=MAX_STEPS, description="batches per validation; 0 for all")
    sample_prompts: tuple[str, ...] = Field((), description="prompts of text samples")
    sample_tokens: int = Field(96, ge=1, le=1_000_000, description="length of a text sample")

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        if self.batch_size % self.accumulate:
            message = f"{self.accumulate} micro-batches do not divide batch_size {self.batch_size}"
            yield "accumulate", "batch_size", message
        if self.warmup_steps > self.steps:
            message = f"{self.warmup_steps} steps of warm-up are more than all {self.steps} steps"
            yield "warmup_steps", "steps", message
        if self.early_stopping is not None and not self.val_every:
            yield "early_stopping", "val_every", "early stopping needs validations: set val_every"
