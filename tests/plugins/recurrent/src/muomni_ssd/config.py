"""The sizes of the Thinker and which of them fit together. Knows no torch."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from muomni_cli.api import PartConfig


class SSDConfig(PartConfig):
    """Sizes of :class:`muomni_ssd.model.SSDThinker`; with the same ``d_model``, ``n_layers`` and ``d_ff`` the defaults
    give as many parameters as the built-in transformer has, within a percent."""

    d_model: PositiveInt = Field(256, description="width D of embeddings and hidden states")
    n_layers: PositiveInt = Field(4, description="blocks of memory and MLP")
    n_heads: PositiveInt = Field(
        8, description="heads that forget at paces of their own; each is d_model / n_heads wide"
    )
    d_state: PositiveInt = Field(128, description="width N of keys and queries: rows of a layer's state")
    d_conv: int = Field(4, ge=2, description="tokens that the convolution before the memory sees, its own included")
    d_ff: PositiveInt = Field(1024, description="width of the MLP's hidden layer")
    chunk: PositiveInt = Field(64, description="tokens that are run in parallel at a time; changes the speed alone")
    ctx_len: PositiveInt = Field(512, description="most tokens in one sequence, prompt and answer together")
    tie_embeddings: bool = Field(False, description="use the embedding table as output head too")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each branch's output dropped in training")
    norm_eps: PositiveFloat = Field(1e-5, description="added to the mean square inside RMSNorm")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        return self
