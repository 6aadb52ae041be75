"""``muomni bench serve`` asks as often and as long as it was told, and counts what fails."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from muomni_cli import MuomniError, RequestError, app
from muomni_serve.bench import KINDS, BenchServer, Load, measure, percentile
from tests.serve.running import Served, serving


def test_it_asks_as_often_as_it_was_told(served: Served) -> None:
    chat, speech = measure(BenchServer(served.url), KINDS, Load(clients=2, requests=5))
    for result in (chat, speech):
        assert len(result.first) == len(result.whole) == 5
        assert result.failures == {}
        assert all(0 < first <= whole for first, whole in zip(result.first, result.whole, strict=True))
        assert result.rate > 0


def test_it_stops_in_time(served: Served) -> None:
    begin = time.monotonic()
    (result,) = measure(BenchServer(served.url), ["chat"], Load(requests=10**6, seconds=0.5))
    assert result.whole
    assert time.monotonic() - begin < 30


def test_failures_are_counted_and_not_timed() -> None:
    with serving(queue=1) as full:
        (result,) = measure(BenchServer(full.url), ["speech"], Load(clients=24, requests=30, text="hello there " * 20))
    assert result.failures.keys() == {"status 429"}
    assert len(result.whole) + result.failures["status 429"] == 30


def test_a_server_that_refuses_is_an_error() -> None:
    with serving(api_key="k") as locked:
        with pytest.raises(RequestError, match="is not a server that lists its models"):
            measure(BenchServer(locked.url), ["chat"], Load())
        with pytest.raises(MuomniError, match="answers chat with an error: status 404"):
            measure(BenchServer(locked.url), ["chat"], Load(key="k"), model="other")
        assert measure(BenchServer(locked.url), ["chat"], Load(key="k", requests=1))[0].whole


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://a.test", "nonsense"])
def test_what_is_no_server_is_named(url: str) -> None:
    with pytest.raises(RequestError):
        measure(BenchServer(url), ["chat"], Load())


def test_the_command_prints_a_table_or_json(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--json"], []):
        with pytest.raises(SystemExit) as ended:
            app.main(["bench", "serve", "--url", served.url, "--requests", "2", "--kind", "chat", *words])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        if words:
            (found,) = json.loads(out)
            assert found["requests"] == 2
            assert found["first_50_ms"] <= found["first_95_ms"]
        else:
            assert out.splitlines()[0].split()[:3] == ["kind", "clients", "requests"]


def test_it_starts_a_server_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["bench", "serve", "-m", "nano", "--requests", "1", "--json"])
    assert ended.value.code == 0
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)] == ["chat", "speech"]


def test_other_benches_are_still_there(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the group is one object for all calls
        with pytest.raises(SystemExit):
            app.main(["bench", "--help"])
        shown = capsys.readouterr().out
        assert shown.count("  serve ") == 1
        assert shown.count("  tts ") == 1


def test_a_share_of_the_clients_hangs_up_and_the_others_get_what_they_get_alone(served: Served) -> None:
    load = Load(clients=4, requests=24, hang_up=0.4, check=True)
    for result in measure(BenchServer(served.url), KINDS, load):
        leaving = sum(load.leaves(number) is not None for number in range(24))
        assert 0 < result.left <= leaving < 20  # an answer may be over before its client leaves
        assert result.failures == {}
        assert result.equal == len(result.whole) == 24 - result.left


def test_the_memory_of_a_server_that_the_bench_started_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["bench", "serve", "-m", "nano", "--kind", "chat", "--requests", "12", "--check", "--json"])
    assert ended.value.code == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["as_alone"] == 12
    assert all(20 < megabytes < 2000 for megabytes in found["memory_mb"])


def test_other_answers_than_alone_are_an_error(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Load, "body", with_another_seed(Load.body))
    with pytest.raises(SystemExit) as ended:
        app.main(["bench", "serve", "--url", served.url, "--kind", "chat", "--requests", "6", "--check"])
    assert ended.value.code == 1
    assert "were not those of the same request alone" in capsys.readouterr().err


def with_another_seed(body: Any) -> Any:
    """Requests whose seed is never the same."""
    numbers = iter(range(10**6))
    return lambda load, kind, model, _: body(load, kind, model, next(numbers))


def test_percentiles_are_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 95), percentile([7.0], 95)) == (50, 95, 7)
