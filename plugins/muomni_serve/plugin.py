"""The plugin: ``muomni serve``. Every command imports this module, so the server is imported inside functions."""

from __future__ import annotations

from typing import Annotated

import typer

from muomni_cli.api import hookimpl

NEEDS = ("starlette", "uvicorn", "multipart", "prometheus_client", "websockets")


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="[ID=]MODEL",
            help="Run, bundle or installed model to serve, and the id that clients use; repeatable "
            "(default: $MUOMNI_MODEL, else the newest run).",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option(envvar="MUOMNI_API_KEY", help="Key that every request must carry.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host name under which clients reach the server; repeatable."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin whose pages may call the server, such as https://a.org."),
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="TIME", help="How long an unused model stays loaded: 30s, 10m, 2h or forever.")
    ] = "10m",
    queue: Annotated[int, typer.Option(min=1, help="Requests of a model that wait; more get status 429.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until an answer must be complete.")] = 600.0,
    upload_timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until a request has arrived.")] = 60.0,
    max_body: Annotated[float, typer.Option(min=0.001, help="Largest request, in MB.")] = 25.0,
    max_audio: Annotated[float, typer.Option(min=0.1, help="Longest audio to transcribe, in seconds.")] = 3600.0,
    max_pixels: Annotated[float, typer.Option(min=0.001, help="Largest image, in millions of pixels.")] = 50.0,
    max_text: Annotated[int, typer.Option(min=1, help="Longest text to speak, in characters.")] = 4096,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that answers may take after a stop signal.")] = 3.0,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--exact",
            help="Decode answers of a model together, or one after the other, with the same bytes whoever else is "
            "served (default: together, unless that could change an answer).",
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="Language of transcripts, which clients may name.")] = "en",
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
    wyoming: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Also serve the Wyoming protocol of Home Assistant there."),
    ] = None,
) -> None:
    """Serve models over HTTP, with the interfaces of OpenAI for chat, speech and transcription."""
    from muomni_serve.settings import ServeSettings, key_of, models_of, require_packages, seconds_of

    require_packages((*NEEDS, "wyoming") if wyoming else NEEDS)
    settings = ServeSettings(
        models=models_of(model or []),
        host=host,
        port=port,
        api_key=key_of(api_key),
        hosts=tuple(allow_host or ()),
        origins=tuple(cors_origin or ()),
        keep=seconds_of(keep),
        queue=queue,
        timeout=timeout,
        upload_timeout=upload_timeout,
        max_body=round(max_body * 1e6),
        max_audio=max_audio,
        max_pixels=round(max_pixels * 1e6),
        max_text=max_text,
        grace=grace,
        together=together,
        language=language,
        device=device,
        threads=threads,
        wyoming=wyoming or "",
    )
    from muomni_serve.server import run

    run(settings)


def bench(
    url: Annotated[
        str | None, typer.Option(help="Address of a running server (default: one is started for the bench).")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Model to serve; with --url, its id (default: the first).")
    ] = None,
    kind: Annotated[str, typer.Option(help="What is asked for: chat, speech or both.")] = "both",
    clients: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 1,
    requests: Annotated[int, typer.Option(min=1, help="Most requests of each kind.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest time for each kind.")] = 60.0,
    text: Annotated[str | None, typer.Option(help="What is asked or spoken.")] = None,
    hang_up: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests whose client leaves in the middle of the answer.")
    ] = 0.0,
    check: Annotated[
        bool, typer.Option("--check", help="Compare each answer with that of the same request alone.")
    ] = False,
    api_key: Annotated[str | None, typer.Option(envvar="MUOMNI_API_KEY", help="Key of the server.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Requests per second of a server, and the time until the first token and the first sound."""
    from contextlib import nullcontext

    from muomni_cli.api import MuomniError, RequestError, console
    from muomni_serve.bench import CHANGED, HEADINGS, KINDS, BenchServer, Load, measure, server_of
    from muomni_serve.settings import key_of, require_packages

    if kind not in (*KINDS, "both"):
        raise RequestError(f"--kind cannot be {kind!r}", f"one of: {', '.join(KINDS)}, both")
    load = Load(clients, requests, seconds, text, key_of(api_key), hang_up, check)
    if url is None:
        require_packages(NEEDS)
    with server_of(model) if url is None else nullcontext(BenchServer(url.rstrip("/"))) as server:
        results = measure(server, KINDS if kind == "both" else [kind], load, model if url else None)
    if json:
        console.print_json([result.as_json() for result in results])
    else:
        console.print_table(HEADINGS, [result.row for result in results])
    if changed := sum(result.failures.get(CHANGED, 0) for result in results):
        raise MuomniError(f"{changed} answers were not those of the same request alone", "serve with --exact")


def talk(
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", help="Run, bundle or installed model (default: $MUOMNI_MODEL, else the newest run)."
        ),
    ] = None,
    voice: Annotated[str | None, typer.Option(help="Voice of the answers (default: the model's first).")] = None,
    speed: Annotated[float, typer.Option(min=0.5, max=2, help="Speed of the answers.")] = 1.0,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    seed: Annotated[int | None, typer.Option(help="Random seed of all answers (default: another each time).")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    silence: Annotated[float, typer.Option(min=0.1, max=10, help="Seconds of silence that end your turn.")] = 0.5,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Probability at which a sound is speech.")] = 0.5,
    microphone: Annotated[str | None, typer.Option(help="Name or number of the microphone.")] = None,
    loudspeaker: Annotated[str | None, typer.Option(help="Name or number of the loudspeaker.")] = None,
    list_devices: Annotated[bool, typer.Option("--devices", help="List the audio devices, and exit.")] = False,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
) -> None:
    """Talk with a model: speak, hear its answer while it is made, and interrupt it by speaking."""
    from muomni_cli import load
    from muomni_cli.api import console
    from muomni_serve.live import LiveSettings
    from muomni_serve.live_answer import AnswerSettings
    from muomni_serve.talk import devices
    from muomni_serve.talk import talk as talk_with
    from muomni_serve.turn_detection import TurnSettings, silero

    if list_devices:
        console.print_table(("number", "name", "inputs", "outputs"), devices())
        return
    silero()  # what is missing is said before the model is loaded
    settings = LiveSettings(
        instructions=system,
        answer=AnswerSettings(voice=voice, speed=speed, max_tokens=max_tokens, seed=seed),
        turns=TurnSettings(threshold, silence=silence),
    )
    with load(model, device=device, threads=threads) as opened:
        talk_with(opened, settings, microphone, loudspeaker)


def bench_talk(
    model: Annotated[str | None, typer.Option("-m", "--model", help="Run, bundle or installed model.")] = None,
    dialogues: Annotated[int, typer.Option(min=1, help="Dialogues: a question and its answer, in real time.")] = 40,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time from the end of a spoken question to the first sound of its answer, and false interruptions."""
    from muomni_cli import load
    from muomni_cli.api import console
    from muomni_serve.live_bench import measure_talk
    from muomni_serve.turn_detection import silero

    silero()  # what is missing is said before the model is loaded
    with load(model, device=device, threads=threads) as opened:
        found = measure_talk(opened, dialogues).as_json()
    if json:
        console.print_json(found)
    else:
        console.print_table(("measured", "value"), [(name, str(value)) for name, value in found.items()])


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    cli.command()(serve)
    cli.command()(talk)
    benches = typer.Typer()
    benches.command("serve")(bench)
    benches.command("talk")(bench_talk)
    cli.add_typer(benches, name="bench")
