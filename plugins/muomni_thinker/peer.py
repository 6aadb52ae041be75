"""The same architecture in transformers, to measure speed and check numbers against. Imported only by ``muomni bench
--vs-transformers`` and tests; needs the extra ``muomni[bench]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from muomni_cli.api import RequestError
from muomni_thinker.plugin import TransformerConfig


class Llama:
    """A :class:`muomni_cli.contract.models.Peer` of the transformer: the same sizes and function, with SDPA
    attention."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        if config.qk_norm:
            raise RequestError("Llama has no QK norm", "measure with thinker.qk_norm=false")
        for name in ("nope_layers", "biases", "rope_scaling"):
            if getattr(config, name):
                raise RequestError(f"this peer has no {name}", "measure a Thinker without")
        self.llama = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab_size,
                hidden_size=config.d_model,
                head_dim=config.head_dim,
                intermediate_size=config.d_ff,
                num_hidden_layers=config.n_layers,
                num_attention_heads=config.n_heads,
                num_key_value_heads=config.n_kv_heads or config.n_heads,
                max_position_embeddings=config.ctx_len,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
                rms_norm_eps=config.norm_eps,
                tie_word_embeddings=config.tie_embeddings,
                attention_dropout=0.0,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=None,  # generation runs its full length
            )
        )
        self.llama.set_attn_implementation("sdpa")
        self.module: nn.Module = self.llama

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean next-token loss over (B,T+1) ``tokens``, a scalar in nats."""
        logits = self.llama(input_ids=tokens[:, :-1], use_cache=False).logits
        return nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    @torch.inference_mode()
    def generate(self, ids: Tensor, count: int) -> Tensor:
        """(B,T) -> (B,T+count), greedy, by the library's own loop and cache."""
        mask, lengths = torch.ones_like(ids), {"max_new_tokens": count, "min_new_tokens": count}
        generated: Tensor = self.llama.generate(ids, attention_mask=mask, do_sample=False, **lengths)
        return generated


llama = Llama
