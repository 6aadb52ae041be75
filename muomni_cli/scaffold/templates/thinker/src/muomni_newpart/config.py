"""Settings: every one has a default and a description, which are its documentation. Knows no torch."""

from pydantic import Field, PositiveInt

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`. Every Thinker has ``d_model`` and ``ctx_len``."""

    d_model: PositiveInt = Field(128, description="width of the embeddings")
    n_layers: PositiveInt = Field(6, description="gated convolutions; layer n looks 2^n times as far back as the first")
    kernel: PositiveInt = Field(4, ge=2, description="places that a convolution looks at, its own and earlier ones")
    ctx_len: PositiveInt = Field(256, description="most tokens in one sequence")

    def reach(self, layer: int) -> int:
        """How many tokens back a layer looks."""
        return int((self.kernel - 1) * 2**layer)
