"""What towers cost: pictures beside a plain tower and litert-torch's, sound beside transformers'.

    python scripts/make_planted_pair.py --size small --vision --audio --output pair
    python scripts/compare_towers.py pictures pair/target --kept graphs
    mtp-export export pair/target --no-drafter -o int8.litertlm --recipe int8
    mtp-export export pair/target --no-drafter --recipe float32 -o float32.litertlm
    python scripts/compare_towers.py sound pair/target int8.litertlm float32.litertlm
    python scripts/compare_towers.py engine int8.litertlm

`pictures` and `sound` run encoders in one process, one call of each in turn, by CPU time
(scripts/speed/towers.py says what those of pictures are). `engine` answers a prompt in the stock engine with
a picture, with a clip and without either, each in a process of its own, and gives the peak of its memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from speed.clocks import Call, alternate, load
from speed.litert import LitertFile, PreparedCall
from speed.rounds import Figures, memory_figures, table, take_turns

from exporter.bundle.reader import open_bundle
from exporter.contract.audio import ENCODER, FRAMES
from exporter.contract.names import MASK, Section
from exporter.contract.vision import DEFAULT_IMAGE_TOKENS, POSITIONS
from runtime_py.bench.memory import children_watched
from runtime_py.litert.hardware import cpu_options

OURS, PLAIN, PLAIN_FLOAT32, THEIRS = (
    "mtp-export, int8",
    "plain, int8",
    "plain, float32",
    "litert-torch, int8",
)

WITH_PICTURE, WITH_SOUND, TEXT_ONLY = "picture", "sound", "text only"
PICTURE_SIZE, REPLY_TOKENS = (640, 480), 16
"""In pixels: the engine makes of it as many patches as the largest signature takes."""

SAMPLE_RATE, CLIP_SECONDS = 16_000, 30


@click.group()
def main() -> None:
    """Measure towers."""


@main.command()
@click.argument("target", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--kept", type=click.Path(path_type=Path), required=True, help="Folder for files, kept."
)
@click.option(
    "--tokens",
    type=int,
    multiple=True,
    default=DEFAULT_IMAGE_TOKENS,
    show_default=True,
    help="Soft tokens of a picture; repeatable.",
)
@click.option("--calls", default=3, show_default=True, help="Timed calls of each side.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def pictures(target: Path, kept: Path, tokens: tuple[int, ...], calls: int, threads: int) -> None:
    """Time the encoders of the tower of TARGET."""
    from speed.towers import Towers  # which imports torch

    kept.mkdir(parents=True, exist_ok=True)
    made = Towers(target, kept)
    for count in tokens:
        files = {
            OURS: made.ours(count, "int8"),
            PLAIN: made.plain(count, "int8"),
            PLAIN_FLOAT32: made.plain(count, "float32"),
            THEIRS: made.theirs(count),
        }
        _compare(count, files, calls, threads)


def _compare(tokens: int, files: dict[str, Path], calls: int, threads: int) -> None:
    with ExitStack() as stack:
        sides = {}
        for side, path in files.items():
            file = stack.enter_context(closing(LitertFile.of(path, threads)))
            (signature,) = file.model.signatures
            sides[side] = _with_a_picture(file.call(signature))
        costs = alternate(sides, calls)
    click.echo(f"{tokens} tokens, CPU time, {threads} threads, {calls} calls, {load()}")
    for side, cost in costs.items():
        spread = f"{cost.cpu:.2f} s ({cost.low:.2f} to {cost.high:.2f})"
        click.echo(f"  {side:20} {spread}  ours / it {costs[OURS].cpu / cost.cpu:.2f}")


def _with_a_picture(call: PreparedCall) -> PreparedCall:
    """The call, with the places of a picture that leaves no padding."""
    places = call.inputs[POSITIONS].values
    count = places.shape[1]
    across = int(np.sqrt(count))
    index = np.arange(count)
    places[0] = np.stack([index % across, index // across], axis=-1)
    return call


@main.command()
@click.argument("target", type=click.Path(path_type=Path, exists=True))
@click.argument("bundles", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--calls", default=3, show_default=True, help="Timed calls of each side.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def sound(target: Path, bundles: tuple[Path, ...], calls: int, threads: int) -> None:
    """Time the audio encoders of BUNDLES and that of TARGET in transformers, for clips that fill them."""
    with ExitStack() as stack:
        sides: dict[str, Call] = {}
        options = cpu_options(threads)
        for path in bundles:
            file = LitertFile.section(open_bundle(path), Section.AUDIO_ENCODER, options)
            call = stack.enter_context(closing(file)).call(ENCODER)
            call.inputs[MASK].values[...] = True
            sides[path.name] = call
        sides["transformers"] = _in_transformers(target, call.inputs[FRAMES].values, threads)
        costs = alternate(sides, calls)
    click.echo(f"CPU time, {threads} threads, {calls} calls, {load()}")
    for side, cost in costs.items():
        click.echo(f"  {side:20} {cost.cpu:.2f} s ({cost.low:.2f} to {cost.high:.2f})")


def _in_transformers(target: Path, frames: NDArray[np.float32], threads: int) -> Call:
    import torch
    from transformers import Gemma4ForConditionalGeneration

    torch.set_num_threads(threads)
    model = Gemma4ForConditionalGeneration.from_pretrained(target, dtype=torch.float32)
    given = torch.from_numpy(frames.copy())

    def call() -> None:
        with torch.no_grad():
            model.model.get_audio_features(given, torch.ones(given.shape[:2], dtype=torch.bool))

    return call


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--prompt", default="say t1000", show_default=True, help="What is asked.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--rounds", default=3, show_default=True, help="How often each side answers.")
def engine(bundle: Path, prompt: str, threads: int, rounds: int) -> None:
    """Measure the memory of BUNDLE in the engine, its packed weights kept in a file."""
    with tempfile.TemporaryDirectory(dir=bundle.parent) as folder:
        asked = [str(bundle), "--cache", folder, "--prompt", prompt, "--threads", str(threads)]
        text_only, found = partial(_answered, asked), open_bundle(bundle)
        text_only()  # which fills the cache, as the first answer of each kind does
        for with_, section in (
            (WITH_PICTURE, Section.VISION_ENCODER),
            (WITH_SOUND, Section.AUDIO_ENCODER),
        ):
            if found.model(section) is not None:
                sides = {with_: partial(_answered, [*asked, f"--{with_}"]), TEXT_ONLY: text_only}
                sides[with_]()
                click.echo(table(take_turns(sides, rounds, equal_texts=False), below=TEXT_ONLY))


def _answered(asked: list[str]) -> tuple[list[str], Figures]:
    """What the engine says in a process of its own, and the memory that it took."""
    with children_watched() as memory:
        done = subprocess.run(
            [sys.executable, __file__, "answer", *asked],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return [done.stdout.splitlines()[-1]], memory_figures(memory)


@main.command(hidden=True)
@click.argument("bundle")
@click.option("--cache", required=True)
@click.option("--prompt", required=True)
@click.option("--threads", type=int, required=True)
@click.option("--picture", is_flag=True)
@click.option("--sound", is_flag=True)
def answer(bundle: str, cache: str, prompt: str, threads: int, picture: bool, sound: bool) -> None:
    """Answer once; the reply is the last line."""
    import litert_lm
    from PIL import Image

    asked: list[dict[str, str]] = [{"type": "text", "text": prompt}]
    settings: dict[str, Any] = {}
    cpu = litert_lm.Backend.CPU(thread_count=threads)
    if picture:
        shown = Path(cache) / "picture.png"
        Image.linear_gradient("L").convert("RGB").resize(PICTURE_SIZE).save(shown)
        asked.insert(0, {"type": "image", "path": str(shown)})
        settings = {"vision_backend": cpu, "max_num_images": 1}
    if sound:
        heard = Path(cache) / "clip.wav"
        _write_clip(heard)
        asked.insert(0, {"type": "audio", "path": str(heard)})
        settings = {"audio_backend": cpu}
    with (
        litert_lm.Engine(bundle, cpu, max_num_tokens=1024, cache_dir=cache, **settings) as running,
        running.create_conversation(max_output_tokens=REPLY_TOKENS) as chat,
    ):
        said = "".join(map(str, chat.send_message_async({"role": "user", "content": asked})))
    click.echo("\n" + said.replace("\n", " "))


def _write_clip(path: Path) -> None:
    """A tone."""
    moments = np.arange(SAMPLE_RATE * CLIP_SECONDS) / SAMPLE_RATE
    samples = (8000 * np.sin(2 * np.pi * 440 * moments)).astype("<i2")
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(samples.itemsize)
        clip.setframerate(SAMPLE_RATE)
        clip.writeframes(samples.tobytes())


if __name__ == "__main__":
    main()
