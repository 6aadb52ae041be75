"""The Thinker ``transformer``: settings and registration, without torch, for every listing."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from muomni_cli.api import (
    Capability,
    Depth,
    Factor,
    PartConfig,
    RequestError,
    ThinkerPart,
    Width,
    expand_path,
    hookimpl,
)
from muomni_cli.nn.rope_scaling import Context, RopeScaling


class TransformerConfig(PartConfig):
    """Sizes of :class:`muomni_thinker.model.Transformer`; with 5,000 tokens the defaults give 6,756,608 parameters."""

    training_only: ClassVar[frozenset[str]] = frozenset({"weights"})

    d_model: Width = Field(256, description="width D of embeddings and hidden states")
    n_layers: Depth = Field(4, description="blocks of attention and MLP")
    n_heads: Depth = Field(4, description="query heads")
    d_head: Width | None = Field(None, description="width of a head (unset: d_model / n_heads)")
    n_kv_heads: Depth | None = Field(None, description="key and value heads, shared by query heads (unset: n_heads)")
    d_ff: Width = Field(1024, description="width of the MLP's hidden layer")
    ctx_len: Context = Field(512, description="most tokens in one sequence, prompt and answer together")
    rope_theta: Factor = Field(10000.0, description="base of the rotary wavelengths; raise it for long contexts")
    rope_scaling: RopeScaling | None = Field(
        None, description="rotary frequencies stretched to a longer context, as those of Llama 3.1 or by YaRN"
    )
    nope_layers: tuple[Annotated[int, Field(ge=0, lt=1024)], ...] = Field(
        (), description="numbers of layers without positions, from 0, as SmolLM3 has them"
    )
    biases: tuple[Literal["qkv", "out", "mlp"], ...] = Field(
        (), description="linear layers with a bias, as those of Qwen2's queries, keys and values"
    )
    tie_embeddings: bool = Field(False, description="use the embedding table as output head too")
    qk_norm: bool = Field(False, description="RMSNorm on queries and keys: steadier at high learning rates")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each branch's output dropped in training")
    norm_eps: Factor = Field(1e-5, description="added to the mean square inside RMSNorm")

    weights: str = Field(
        "",
        description="folder with a checkpoint in Hugging Face's format (Llama, SmolLM, Qwen2, Qwen3, Mistral) to start "
        "from; it sets all sizes that the recipe does not",
    )

    @property
    def head_dim(self) -> int:
        return self.d_head or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_weights(cls, values: Any, info: ValidationInfo) -> Any:
        """In a recipe, the sizes of ``weights`` in place of the defaults. A run states them all, so it opens without
        the folder."""
        if not (info.context and isinstance(values, dict)):
            return values
        if values.get("weights") and isinstance(values["weights"], str):
            from muomni_cli.nn.llama_config import settings_of_recipe

            try:
                values = settings_of_recipe(values, expand_path(values["weights"]))
            except RequestError as error:
                raise ValueError(f"{error.what}; {error.fix}") from error
        # strict validation takes no lists of Python's for tuples
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        if self.head_dim % 2:
            sizes = "" if self.d_head else f"d_model / n_heads = {self.d_model} / {self.n_heads} = "
            raise ValueError(f"a head is {sizes}{self.head_dim} wide; rotary positions need an even width")
        if beyond := [layer for layer in self.nope_layers if layer >= self.n_layers]:
            raise ValueError(f"nope_layers names layer {beyond[0]}, and the last one is {self.n_layers - 1}")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is no multiple of n_kv_heads {self.kv_heads}")
        return self


@hookimpl
def register_thinkers() -> list[ThinkerPart]:
    return [
        ThinkerPart(
            name="transformer",
            doc="decoder with RMSNorm, rotary positions, SwiGLU and grouped-query attention",
            config=TransformerConfig,
            build="muomni_thinker.model:build",
            graphs="muomni_thinker.graphs:graphs",
            pretrained="muomni_thinker.model:load_weights",
            steps="muomni_thinker.graphs:steps",
            peers={"transformers": "muomni_thinker.peer:llama"},
            test_config={"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "ctx_len": 24},
            capabilities=frozenset(
                {
                    Capability.CACHE,
                    Capability.RAGGED,
                    Capability.TRUNCATE,
                    Capability.JOIN,
                    Capability.EMBEDS,
                    Capability.CAUSAL,
                }
            ),
        )
    ]
