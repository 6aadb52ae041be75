"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from pydantic import Field

from muomni_cli.api import Depth, PartConfig, Width


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`. Every Thinker has ``d_model`` and ``ctx_len``."""

    d_model: Width = Field(128, description="width of the embeddings")
    n_layers: Depth = Field(6, description="gated convolutions; layer n has dilation 2^n")
    kernel: Depth = Field(4, ge=2, description="kernel size (causal)")
    ctx_len: Width = Field(256, description="maximum number of tokens in a sequence")

    def reach(self, layer: int) -> int:
        """Number of earlier tokens that a layer depends on."""
        return int((self.kernel - 1) * 2**layer)
