"""Other people's Llama with our weights computes what ours computes: an implementation nobody here wrote agrees."""

from __future__ import annotations

import pytest
import torch

from muomni_thinker.model import Transformer, build
from muomni_thinker.peer import Llama, llama
from muomni_thinker.plugin import TransformerConfig


def with_our_weights(ours: Transformer) -> Llama:
    """The peer, its weights taken from ``ours``."""
    theirs = llama(ours.config, ours.vocab_size)
    size = ours.config.head_dim
    sections = [ours.config.n_heads * size, ours.config.kv_heads * size, ours.config.kv_heads * size]
    state = {"model.embed_tokens.weight": ours.tok_emb.weight, "model.norm.weight": ours.norm.weight}
    state["lm_head.weight"] = ours.head_weight
    for number, block in enumerate(ours.blocks):
        at = f"model.layers.{number}."
        names = (f"{at}self_attn.{name}_proj.weight" for name in "qkv")
        state |= dict(zip(names, block.attention.qkv.weight.split(sections), strict=True))
        gate, up = block.mlp.gate_up.weight.chunk(2)
        state |= {
            f"{at}self_attn.o_proj.weight": block.attention.out.weight,
            f"{at}mlp.gate_proj.weight": gate,
            f"{at}mlp.up_proj.weight": up,
            f"{at}mlp.down_proj.weight": block.mlp.down.weight,
            f"{at}input_layernorm.weight": block.attention_norm.weight,
            f"{at}post_attention_layernorm.weight": block.mlp_norm.weight,
        }
    theirs.llama.load_state_dict(state)
    theirs.llama.eval()
    return theirs


@pytest.mark.parametrize(
    "config",
    [
        TransformerConfig(d_model=32, n_layers=2, n_heads=4, d_ff=48, ctx_len=32),
        TransformerConfig(
            d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, ctx_len=32, rope_theta=500.0, tie_embeddings=True
        ),
    ],
    ids=["plain", "grouped queries, tied, another theta"],
)
def test_llama_of_transformers_agrees(config: TransformerConfig) -> None:
    torch.manual_seed(0)
    ours = build(config, 61).eval()
    theirs = with_our_weights(ours)
    tokens = torch.randint(0, 61, (3, 20))
    with torch.no_grad():
        logits = theirs.llama(input_ids=tokens).logits
        torch.testing.assert_close(ours(tokens).logits, logits, atol=1e-5, rtol=1e-4)
        loss = torch.nn.functional.cross_entropy(ours(tokens[:, :-1]).logits.flatten(0, 1), tokens[:, 1:].flatten())
        torch.testing.assert_close(theirs.loss(tokens), loss, atol=1e-5, rtol=1e-5)


def test_generation_of_transformers_agrees() -> None:
    torch.manual_seed(1)
    ours = build(TransformerConfig(d_model=32, n_layers=2, n_heads=4, d_ff=48, ctx_len=64), 61).eval()
    prompt = torch.randint(0, 61, (2, 7))
    ids = prompt
    with torch.inference_mode():
        cache = ours.new_cache(2, 64)
        new = ids
        for _ in range(30):
            new = ours(new, cache=cache, last_only=True).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat((ids, new), dim=1)
    assert with_our_weights(ours).generate(prompt, 30).tolist() == ids.tolist()
