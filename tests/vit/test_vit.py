"""The vision transformer against the specification's shapes, and the properties of an encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from muomni_vit.model import Vit, build, pooling
from muomni_vit.plugin import VitConfig

TINY = {"size": 24, "patch": 4, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 48}
VARIANTS = {
    "cls": VitConfig(**TINY),
    "cls-rope": VitConfig(**TINY, positions="rope"),
    "grid": VitConfig(**TINY, tokens=2),
    "uneven-grid-rope": VitConfig(**TINY, tokens=4, positions="rope"),
    "patches": VitConfig(**TINY, tokens=6),
    "conv": VitConfig(**TINY, stem="conv", tokens=3),
}


def tiny(config: VitConfig) -> Vit:
    """A small model whose weights are large enough for differences to show."""
    torch.manual_seed(1)
    model = build(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not name.startswith(("proj.", "pos")):
                parameter.mul_(8)
    return model


def pictures(rows: int, size: int = 24, seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, 3, size, size), generator=numbers, dtype=torch.uint8)


@pytest.fixture(scope="module")
def spec() -> Vit:
    torch.manual_seed(0)
    return build(VitConfig()).eval()


def test_parameter_count_of_the_specification(spec: Vit) -> None:
    assert sum(p.numel() for p in spec.parameters()) == 916_992


@torch.no_grad()
def test_every_shape_of_the_image_pipeline(spec: Vit) -> None:
    picture = pictures(1, 224)
    patches = spec.patches(picture)
    assert patches.shape == (1, 128, 14, 14)
    x = spec.embed(patches)
    assert x.shape == (1, 197, 128)
    query, key, value = spec.blocks[0].attention.project(x, None, 197)
    assert query.shape == key.shape == value.shape == (1, 4, 197, 32)
    for block in spec.blocks:
        x = block(x, None, 197)
        assert x.shape == (1, 197, 128)
    output = spec(picture)
    assert output.tokens.shape == (1, 1, 128)
    assert output.lengths == [1]
    # The shortcut of the last layer gives what the specification's "take the first of 197" gives.
    torch.testing.assert_close(output.tokens, spec.norm(x[:, :1]))


@pytest.mark.parametrize(("tokens", "count"), [("cls", 1), (1, 1), (2, 4), (4, 16), (7, 49), (14, 196)])
@torch.no_grad()
def test_how_many_tokens_reach_the_thinker(tokens: int | str, count: int) -> None:
    config = VitConfig(tokens=tokens, n_layers=1)
    model = build(config)
    output = model(pictures(2, 224))
    assert output.tokens.shape == (2, count, 128)
    assert output.lengths == [count, count]
    assert model.config.token_count == count
    assert model.width == 128


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_a_batch_gives_what_each_picture_gives_alone_in_any_order(config: VitConfig) -> None:
    model, batch = tiny(config), pictures(5)
    together = model(batch).tokens
    alone = torch.cat([model(picture[None]).tokens for picture in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(model(batch[order]).tokens, together[order], atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.05  # different pictures, different tokens


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_parameter_learns(config: VitConfig) -> None:
    model = tiny(config).train()
    (model(pictures(3)).tokens * torch.linspace(-1, 1, config.d_model)).square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    assert model.tables <= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_bf16_is_near(config: VitConfig) -> None:
    torch.manual_seed(0)
    model, batch = build(config).eval(), pictures(2)
    exact = model(batch).tokens
    with torch.autocast("cpu", torch.bfloat16):
        near = model(batch).tokens.float()
    torch.testing.assert_close(near, exact, atol=0.1, rtol=0.05)
    assert model.bfloat16()(batch).tokens.dtype == torch.bfloat16


@torch.no_grad()
def test_bytes_and_floats_are_the_same_picture_and_normalized_inside() -> None:
    config = VitConfig(**TINY, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    model, batch = tiny(config), pictures(2)
    torch.testing.assert_close(model(batch).tokens, model(batch.float()).tokens)
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    normalized = (batch / 255 - mean) / std
    torch.testing.assert_close(model.patches(batch), model.proj(normalized), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("patch", "grid"), [(1, 24), (2, 12), (8, 3)])
@torch.no_grad()
def test_convolutions_make_as_many_patches(patch: int, grid: int) -> None:
    model = build(VitConfig(**{**TINY, "patch": patch}, stem="conv"))
    batch = pictures(3)
    assert model.patches(batch).shape == (3, 32, grid, grid)
    assert 0.3 < model.patches(batch).std() < 3  # about as large as what stands beside them in the stream
    assert model(batch).tokens.shape == (3, 1, 32)


@pytest.mark.parametrize("positions", ["learned", "rope"])
@torch.no_grad()
def test_where_a_patch_is_matters(positions: str) -> None:
    model = tiny(VitConfig(**TINY, positions=positions))
    left = torch.zeros(1, 3, 24, 24)
    left[..., 4:8, 0:8] = 255
    right, above = left.flip(3), left.transpose(2, 3)
    seen = [model(picture).tokens for picture in (left, right, above)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (seen[one] - seen[other]).abs().max() > 1e-2


@torch.no_grad()
def test_rope_knows_distances_only_between_patches() -> None:
    """Scores of a query and a key depend on how far apart they are, in rows and in columns, not on where."""
    model = tiny(VitConfig(**TINY, positions="rope"))
    assert model.pos is None
    assert model.turn_cos is not None
    x = torch.randn(1, 1, 32).expand(1, 37, 32)  # the same content everywhere
    query, key, _ = model.blocks[0].attention.project(x, (model.turn_cos, model.turn_sin), 37)
    scores = (query @ key.transpose(2, 3))[0, :, 1:, 1:].reshape(2, 6, 6, 6, 6)
    torch.testing.assert_close(scores[:, 0, 0, 1, 2], scores[:, 3, 2, 4, 4])
    torch.testing.assert_close(scores[:, 1, 5, 0, 0], scores[:, 5, 5, 4, 0])
    assert (scores[:, 0, 0, 1, 2] - scores[:, 0, 0, 2, 1]).abs().min() > 1e-3


@torch.no_grad()
def test_grid_tokens_are_where_their_patches_are() -> None:
    """With no mixing between patches a bright corner changes the token of its own corner and no other."""
    model = tiny(VitConfig(**TINY, tokens=2))
    for block in model.blocks:
        block.attention.out.weight.zero_()
    dark = torch.zeros(1, 3, 24, 24)
    for corner, (top, left) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16)]):
        lit = dark.clone()
        lit[..., top : top + 8, left : left + 8] = 255
        changed = (model(lit).tokens - model(dark).tokens).abs().amax(2)[0] > 1e-4
        assert changed.nonzero().flatten().tolist() == [corner]


@pytest.mark.parametrize(("grid", "cells"), [(14, 4), (14, 7), (5, 3), (6, 6), (3, 1)])
def test_pooling_is_a_mean_in_which_all_patches_count_the_same(grid: int, cells: int) -> None:
    weights = pooling(grid, cells)
    torch.testing.assert_close(weights.sum(1), torch.ones(cells**2))
    torch.testing.assert_close(weights.sum(0), torch.full((grid**2,), (cells / grid) ** 2))
    rows = torch.arange(grid).repeat_interleave(grid).float()
    middles = (torch.arange(cells) + 0.5) * grid / cells - 0.5
    if grid % cells == 0:
        torch.testing.assert_close(weights @ rows, middles.repeat_interleave(cells))


@pytest.mark.parametrize("variant", ["cls", "uneven-grid-rope"])
def test_it_learns_eight_pictures_by_heart(variant: str) -> None:
    config = VARIANTS[variant]
    torch.manual_seed(0)
    model = build(config)
    head = torch.nn.Linear(config.d_model, 8)
    batch, labels = pictures(8, seed=3), torch.randperm(8)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(model(batch).tokens.mean(1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.05
    assert head(model.eval()(batch).tokens.mean(1)).argmax(1).equal(labels)


@torch.no_grad()
def test_weights_are_saved_and_loaded_whatever_tokens_and_fit(tmp_path: Path) -> None:
    model = tiny(VARIANTS["cls"])
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    torch.manual_seed(9)
    again = build(VARIANTS["cls"]).eval()
    again.load_state_dict(load_file(tmp_path / "vit.safetensors"))
    assert again(pictures(2)).tokens.equal(model(pictures(2)).tokens)
    grid = build(VitConfig(**TINY, tokens=3, fit="crop"))
    grid.load_state_dict(load_file(tmp_path / "vit.safetensors"))


@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 1, 24, 24), (1, 3, 24, 20), (1, 3, 32, 32)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, 24, 24\)"):
        tiny(VARIANTS["cls"])(torch.zeros(shape))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"size": 225}, "patches of 16"),
        ({"size": 24, "patch": 12, "stem": "conv"}, "must be a power of 2"),
        ({"words": {"n_heads": 3}}, "equal heads"),
        ({"n_heads": 3}, "equal heads"),
        ({"d_model": 24, "n_heads": 4, "positions": "rope"}, "multiple of 4"),
        ({"tokens": 15}, "14 x 14 patches"),
        ({"tokens": 0}, "greater than 0"),
        ({"std": (0.5, 0.0, 0.5)}, "greater than 0"),
        ({"mean": (127, 127, 127)}, "less than or equal to 1"),
        ({"max_pixels": 10**9}, "less than or equal to"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VitConfig(**keys)


def test_listing_the_plugin_imports_no_torch_numpy_or_pillow() -> None:
    code = (
        "import sys, muomni_vit.plugin as p; [part] = p.register_encoders(); "
        "assert part.config(size=32).size == 32; "
        "print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_host_knows_the_encoder_and_what_it_names_is_there() -> None:
    from muomni_cli.registry.registry import get_registry, resolve

    part = get_registry().get("encoder", "vit").part
    assert part.modality == "image"
    assert isinstance(resolve(part.build)(part.config(**TINY)), Vit)
    assert callable(resolve(part.read))
    assert part.objective is not None
    assert callable(resolve(part.objective))


def test_a_recipe_names_its_keys_and_is_written_with_them(tmp_path: Path) -> None:
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.recipe.write import resolved_toml

    path = tmp_path / "eyes.toml"
    path.write_text(
        'name = "eyes"\n[encoders.image]\nuse = "vit"\nsize = 28\npatch = 4\ntokens = 2\nmean = [0, 0.5, 1]\n'
    )
    chosen = load_recipe(path).encoders["image"]
    assert chosen.config == VitConfig(size=28, patch=4, tokens=2, mean=(0.0, 0.5, 1.0))
    path.write_text(resolved_toml(load_recipe(path)))
    assert load_recipe(path).encoders["image"].config == chosen.config
    again = load_recipe(path, ['encoders.image.tokens="cls"', 'encoders.image.fit="crop"']).encoders["image"]
    assert (again.config.tokens, again.config.fit) == ("cls", "crop")


@pytest.mark.external
@torch.no_grad()
def test_transformers_gives_the_same_tokens() -> None:
    from muomni_vit.peer import vit

    for config in (VitConfig(), VitConfig(tokens=14)):
        ours, peer = build(config).eval(), vit(config).eval()
        peer.vit.load_state_dict(_renamed(ours))
        batch = pictures(2, 224)
        torch.testing.assert_close(ours(batch).tokens, peer(batch).tokens, atol=1e-4, rtol=1e-4)


def _renamed(ours: Vit) -> dict[str, Tensor]:
    """Our weights under the names of transformers' ViT. Its patches have a bias, which becomes zero."""
    weights = ours.state_dict()
    theirs = {
        "embeddings.cls_token": weights["cls"],
        "embeddings.position_embeddings": weights["pos"],
        "embeddings.patch_embeddings.projection.weight": weights["proj.weight"],
        "embeddings.patch_embeddings.projection.bias": torch.zeros(ours.width),
        "layernorm.weight": weights["norm.weight"],
        "layernorm.bias": weights["norm.bias"],
    }
    names = {"attention_norm": "layernorm_before", "mlp_norm": "layernorm_after", "attention.out": "attention.o_proj"}
    names |= {"up": "mlp.fc1", "down": "mlp.fc2"}
    for layer in range(len(ours.blocks)):
        for kind in ("weight", "bias"):
            old, new = f"blocks.{layer}", f"layers.{layer}"
            for part, name in zip("qkv", weights[f"{old}.attention.qkv.{kind}"].chunk(3), strict=True):
                theirs[f"{new}.attention.{part}_proj.{kind}"] = name
            theirs |= {f"{new}.{theirs_}.{kind}": weights[f"{old}.{mine}.{kind}"] for mine, theirs_ in names.items()}
    return theirs
