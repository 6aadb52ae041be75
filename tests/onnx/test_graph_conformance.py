"""The checks that this package adds: graphs that do something else than their part are told apart from right ones."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muomni_cli.api import EncoderPart, Graph, GraphInput, PartConfig
from muomni_cli.conformance.common import LoadedPart
from muomni_cli.conformance.runner import CheckRun, PartMatch, checks_of, parts_called
from muomni_cli.registry.registry import get_registry

CHECKS = ("exports", "serves")


class Doubler(nn.Module):
    """Every number of (B,T,3) readings becomes twice itself and a little."""

    width = 3

    def __init__(self, config: PartConfig) -> None:
        super().__init__()
        self.config, self.scale = config, nn.Parameter(torch.full((3,), 2.0))

    def forward(self, inputs: Tensor, lengths: Any = None) -> Any:
        from muomni_cli.api import EncoderOutput

        return EncoderOutput(inputs * self.scale, lengths or [inputs.shape[1]] * len(inputs))


class Doubling(nn.Module):
    """What is traced."""

    def __init__(self, module: Doubler, more: float) -> None:
        super().__init__()
        self.module, self.more = module, more

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (inputs * self.module.scale + self.more,)


def graph(module: Doubler, name: str = "encoder", more: float = 0.0, reference: Any = None) -> list[Graph]:
    return [
        Graph(
            name=name,
            module=Doubling(module, more),
            inputs=[GraphInput("inputs", ("batch", "time", 3))],
            outputs=["tokens"],
            cases={"traced": {"batch": 2, "time": 5}, "one": {"batch": 1, "time": 1}},
            reference=reference,
        )
    ]


def right(module: Doubler) -> list[Graph]:
    return graph(module)


def not_its_reference(module: Doubler) -> list[Graph]:
    return graph(module, more=0.1, reference=lambda inputs: (module(inputs).tokens,))


def not_its_part(module: Doubler) -> list[Graph]:
    return graph(module, more=0.1)


def of_another_name(module: Doubler) -> list[Graph]:
    return graph(module, "doubler")


def read(config: PartConfig, file: Any, name: str) -> None: ...


def count(config: PartConfig, inputs: Any) -> int:  # noqa: ARG001
    return len(inputs)


def inputs(config: PartConfig) -> dict[str, Any]:  # noqa: ARG001
    return {"readings": torch.linspace(-1, 1, 24).reshape(8, 3).numpy()}


@pytest.mark.parametrize(
    ("graphs", "check", "told"),
    [
        ("right", None, ""),
        ("not_its_reference", "exports", "largest difference 0.1 (graph encoder, "),
        ("not_its_part", "serves", "largest difference 0.1 (an input of "),
        ("of_another_name", "exports", "there is no graph called encoder"),
    ],
)
def test_graphs_are_those_of_the_part(
    graphs: str, check: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "doubling", sys.modules[__name__])
    names = {"build": "Doubler", "read": "read", "num_tokens": "count", "bench_inputs": "inputs", "graphs": graphs}
    references: dict[str, Any] = {field: f"doubling:{name}" for field, name in names.items()}
    part = EncoderPart(name="doubler", doc="twice", modality="motion", config=PartConfig, **references)
    with LoadedPart(part) as subject:
        trial = CheckRun(subject, checks_of("encoder"))
        results = {name: trial.result(name) for name in CHECKS}
    assert [name for name in CHECKS if results[name].state == "failed"] == ([check] if check else [])
    assert told in (results[check].summary if check else "")


def built_ins() -> list[PartMatch]:
    """Every part of every built-in plugin that declares graphs."""
    plugins = [plugin.info for plugin in get_registry().plugins if plugin.info.origin == "built-in"]
    every = [named for info in plugins for named in parts_called(info.name, get_registry())]
    return [named for named in every if named.part.graphs is not None]


@pytest.mark.slow
@pytest.mark.parametrize("named", built_ins(), ids=lambda named: named.part.name)
def test_the_graphs_of_a_built_in(named: PartMatch) -> None:
    with LoadedPart(named.part, named.plugin) as subject:
        trial = CheckRun(subject, checks_of(named.part.kind))
        assert [
            f"{name}: {trial.result(name).summary}" for name in CHECKS if trial.result(name).state != "passed"
        ] == []


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muomni_onnx.conformance.WANTED", ("a_package_that_nobody_has",))
    part = built_ins()[0].part
    with LoadedPart(part) as subject:
        result = CheckRun(subject, [check for check in checks_of(part.kind) if check.name in CHECKS]).result("exports")
    assert result.state == "skipped"
    assert "a_package_that_nobody_has must be installed" in result.reason
