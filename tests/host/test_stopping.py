"""A stop signal ends a command at any moment: in one line, with the right code, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muomni_cli.core.files import cached_folder
from muomni_cli.core.stopping import GRACE, NAMES
from muomni_cli.training.processes import PROGRAM as STAGE
from tests.faults.kills import handles_signals, processes_of
from tests.faults.small import environment

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name != "posix", reason="sends signals")]

PROGRAM = """
import hashlib, os, sys, time
from pathlib import Path
from muomni_cli.commands import cli
from muomni_cli.core.files import cached_folder, new_folder
from muomni_cli.core.workers import WorkerPool
from muomni_cli import app

def ready():
    print("ready", flush=True)

def busy(_):
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)

def waits(_=None):
    ready()
    time.sleep(60)

def swallows(_=None):
    ready()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def in_c(_=None):  # where Python runs no handler
    ready()
    busy(0)

def turns_into_another_error(_=None):
    try:
        waits()
    except BaseException:
        raise ImportError("a part of the library is missing")

def in_a_destructor(_=None):  # where Python prints an exception and goes on
    class Slow:
        def __del__(self):
            waits()
    Slow()
    time.sleep(60)

def with_workers(_=None):
    with WorkerPool() as pool:
        found = [pool.submit(time.sleep, 60) for _ in range(4)]
        pool.submit(os.getpid)
        time.sleep(0.5)
        ready()
        found[0].result()

def in_a_generator_with_workers(_=None):
    def made():
        with WorkerPool() as pool:
            found = [pool.submit(time.sleep, 60) for _ in range(4)]
            yield found
    for found in made():
        waits()

def with_threads(_=None):
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(1)
    pool.submit(time.sleep, 60)
    waits()

def fills(work):
    def make(folder):
        (folder / "some").write_text("half")
        work()
    return lambda _: cached_folder(Path("cache/shards/abc"), "index.json", "the tokens", make)

def writes(_):
    with new_folder(Path("bundle")) as folder:
        (folder / "some").write_text("half")
        in_c()

work = sys.argv.pop(1)
cli.execute = fills(globals()[work[6:]]) if work.startswith("fills ") else globals()[work]
app.main()
"""
WORK = [
    "waits", "swallows", "in_c", "turns_into_another_error", "in_a_destructor", "with_workers",
    "in_a_generator_with_workers", "with_threads", "fills waits", "fills in_c", "fills swallows", "writes",
]  # fmt: skip


def start(folder: Path, *words: str, **options: object) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment(folder), start_new_session=True, **{**pipes, **options}
    )  # type: ignore[call-overload,no-any-return]


def await_end(process: subprocess.Popen[str], number: int, *, to_all: bool = False) -> str:
    """Send the signal; everything has to be gone in time. Returns what was printed."""
    sent = time.monotonic()
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, told = process.communicate(timeout=30)
    while processes_of(process.pid) and time.monotonic() < sent + 30:
        time.sleep(0.01)
    assert processes_of(process.pid) == []
    assert time.monotonic() - sent < GRACE + 3.0, "the end of a process takes longer where others compute"
    return told


@pytest.mark.parametrize("number", list(NAMES), ids=lambda number: number.name)
@pytest.mark.parametrize("work", WORK)
def test_a_signal_ends_a_command_whatever_it_does(tmp_path: Path, work: str, number: signal.Signals) -> None:
    process = start(tmp_path, "-c", PROGRAM, work)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    told = await_end(process, number, to_all="workers" in work)
    assert process.returncode == 128 + number
    assert told == f"stopped by {NAMES[number]}\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")] == []


COMMAND = """
import time
import typer
from muomni_cli.api import hookimpl

def rest() -> None:
    print("ready", flush=True)
    time.sleep(60)

@hookimpl
def register_commands(cli: typer.Typer) -> None:
    cli.command("rest")(rest)
"""


@pytest.mark.parametrize("number", list(NAMES), ids=lambda number: number.name)
def test_a_signal_ends_a_command_of_typer_with_a_line(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "resting.py").write_text(COMMAND)
    process = start(tmp_path, "-m", "muomni_cli", "rest", "--plugin", "resting.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert await_end(process, number) == f"stopped by {NAMES[number]}\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", list(NAMES), ids=lambda number: number.name)
def test_a_signal_ends_a_command_that_is_still_being_imported(tmp_path: Path, number: signal.Signals) -> None:
    for pause in (0.0, 0.03, 0.1, 0.2, 0.4, 0.7):
        process = start(tmp_path, "-m", "muomni_cli", "recipes", "list", stdout=subprocess.DEVNULL)
        while process.poll() is None and not handles_signals(process.pid):
            time.sleep(0.002)
        time.sleep(pause)
        if process.poll() is None:
            told = await_end(process, number)
            assert (process.returncode, told) in [(128 + number, f"stopped by {NAMES[number]}\n"), (0, "")]
        else:
            process.communicate()


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    process = start(tmp_path, "-c", PROGRAM, "swallows")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    begun = time.monotonic()
    await_end(process, signal.SIGINT)
    assert process.returncode == 130
    assert time.monotonic() - begun < GRACE / 2


def test_nohup_is_respected(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + PROGRAM
    process = start(tmp_path, "-c", code, "waits")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    await_end(process, signal.SIGTERM)
    assert process.returncode == 143


def test_workers_end_with_a_killed_process(tmp_path: Path) -> None:
    process = start(tmp_path, "-c", PROGRAM, "with_workers")
    assert process.stdout is not None
    process.stdout.readline()
    told = await_end(process, signal.SIGKILL)
    assert "Traceback" not in told


def test_workers_import_nothing_from_the_working_directory(tmp_path: Path) -> None:
    for name in ("random", "pickle", "tokenizers", "selectors"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path; Path('was run').touch()")
    program = "import sys; sys.path.remove('')\n" + PROGRAM  # as the script of an installation
    process = start(tmp_path, "-c", program, "with_workers")
    assert process.stdout is not None
    process.stdout.readline()
    await_end(process, signal.SIGTERM)
    assert not (tmp_path / "was run").exists()


def test_a_stage_of_its_own_stops_with_the_process_that_started_it(tmp_path: Path) -> None:
    follow = "from muomni_cli.core.stopping import follow_stdin; follow_stdin()\n"
    process = start(tmp_path, "-c", follow + PROGRAM, "waits", stdin=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    _, told = process.communicate(timeout=30)  # closes stdin, as the end of this process would
    assert (process.returncode, told) == (143, "stopped by SIGTERM\n")


def test_a_stage_of_its_own_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    for name in ("tokenizers", "typer", "muomni_cli", "signal", "numpy"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path; Path('was run').touch()")
    process = start(tmp_path, "-P", "-c", STAGE, "recipes", "list", stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert "nano" in process.stdout.read()
    process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "was run").exists()


def test_what_dead_processes_left_in_the_cache_is_removed(tmp_path: Path) -> None:
    dead = start(tmp_path, "-c", PROGRAM, "fills waits")
    alive = start(tmp_path, "-c", PROGRAM, "fills waits")
    for process in (dead, alive):
        assert process.stdout is not None
        process.stdout.readline()
    await_end(dead, signal.SIGKILL)
    shards = tmp_path / "cache" / "shards"
    (shards / ".old-1234").mkdir()
    assert len(list(shards.iterdir())) == 3
    cached_folder(shards / "other", "index.json", "the tokens", lambda _: {})
    (left,) = shards.glob(".*")
    assert (left / "some").read_text() == "half", "of the process that lives"
    await_end(alive, signal.SIGTERM)
    assert [path.name for path in shards.iterdir()] == ["other"]
