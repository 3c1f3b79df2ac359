"""Entry point: the command group, exit codes, and errors as one sentence."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import time
from types import FrameType

import click

from exporter.cli.terminal import colours, fitted
from exporter.errors import MtpExportError
from exporter.files.interrupts import STOPS
from exporter.files.output import FULL
from exporter.files.scratch import VARIABLE, command_scratch

INTERRUPTED = 130
"""The exit code of an interrupted command, as shells give it."""

PATIENCE = 5.0
"""Seconds that an interrupted command has to remove its files, undisturbed."""

TIMERS = hasattr(signal, "setitimer")
"""Windows has none."""

SOON = 0.01
"""Seconds until an interrupt that Python ignored is made again."""

COMMANDS = {
    "export": "Make a bundle from a target checkpoint and its drafter.",
    "inspect": "Show what is inside a bundle and check that it keeps the engine's contract.",
    "generate": "Answer prompts with a bundle.",
    "chat": "Talk with a bundle in the terminal.",
    "compare": "Answer prompts with MTP off and on: speed, and whether the text is the same.",
    "verify": "Prove a bundle right, rung by rung, against its checkpoints and the engine.",
    "bench": "Measure a bundle: calls, tokens/s in both runtimes, memory, acceptance, speed-up.",
    "compare-drafters": "Compare drafters of one target on prompts of your own.",
    "tune": "Train a drafter on what a fine-tuned target answers.",
    "recipes": "List recipes; of a model: sizes, losses, and which one to take.",
    "quantize-report": "Compare recipes on a text: size, quality, drafts accepted, speed, tensors.",
    "quantize-search": "Find a recipe for a budget, from measured sensitivities.",
    "rebuild": "Make a bundle again from its sources, and compare the bytes.",
    "card": "Write the model card of a bundle, for the hub.",
    "doctor": "Say what works on this machine, and what installs the rest.",
}

EXIT_CODES = """\b
Exit codes:
  0  fine
  1  an error, told in one message on stderr; nothing half-written is left
  2  wrong usage
  3  results that must agree differ
  130  interrupted

Documents that help names (docs/...) lie where `mtp-export doctor` says."""


class LazyGroup(click.Group):
    """Imports a command's module when it is run, not when the group is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"exporter.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and its arguments; an unknown name is told with those that resemble it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=COMMANDS, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with their summaries, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="mtp-export")
def cli() -> None:
    """Export Gemma 4 and its MTP drafter to one .litertlm bundle that runs with speculative decoding.

    Pictures and sound are part of it where the checkpoint takes them.
    """


def main() -> None:
    """Run the command; every expected error becomes one message and its exit code.

    Once it has ended nothing interrupts: a signal that comes while Python leaves changes no exit code.
    """
    _open_closed_streams()
    _use_utf8()
    signals = _Signals()
    try:
        code = _run()
        signals.leave()
    except (KeyboardInterrupt, click.Abort):
        signals.leave()
        code = INTERRUPTED
        _tell("interrupted; nothing was left half-written")
    for number in STOPS:  # Python takes its handlers back before its end
        signal.signal(number, signal.SIG_IGN)
    _forget_interrupts()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open stdin, stdout and stderr on nothing where they were closed (``2>&-``).

    Their descriptors would be those of the first files to be opened, into which libraries then write what
    they mean for stderr.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, the stream's
            setattr(sys, name, os.fdopen(nothing, mode, encoding="utf-8", closefd=False))


def _use_utf8() -> None:
    """Read and write UTF-8 in pipes and files, whatever the locale; a terminal gets what it can show.

    Bytes that are no characters are read as surrogates, for the reader to refuse.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            errors = "surrogateescape" if stream is sys.stdin else "backslashreplace"
            stream.reconfigure(encoding=encoding, errors=errors)


class _Signals:
    """SIGINT and SIGTERM interrupt the command once, and again if it has not ended some seconds later.

    Whoever is impatient interrupts no removal of files by that. Python ignores what is raised in a callback
    of its garbage collector, of which jax has one, or in ``__del__``; the interrupt is then made again.
    """

    def __init__(self) -> None:
        self._leaving = False
        self._next = 0.0
        signal.signal(signal.SIGTERM, self._interrupt)
        if TIMERS:
            sys.unraisablehook = self._ignored
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)  # where it is ignored, it stays so

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if not self._leaving and time.monotonic() >= self._next:
            self._next = time.monotonic() + PATIENCE
            raise KeyboardInterrupt

    def _ignored(self, error: sys.UnraisableHookArgs) -> None:
        """Told by Python of an error that it ignores; what is raised here would be ignored, too."""
        if error.exc_type is KeyboardInterrupt:
            signal.signal(signal.SIGALRM, self._interrupt_again)
            signal.setitimer(signal.ITIMER_REAL, SOON)
        else:
            sys.__unraisablehook__(error)

    def _interrupt_again(self, signum: int, frame: FrameType | None) -> None:
        self._next = 0.0
        signal.raise_signal(signal.SIGTERM)  # which may be held back at this moment

    def leave(self) -> None:
        """Let nothing interrupt from now on."""
        self._leaving = True
        if TIMERS and signal.getsignal(signal.SIGALRM) == self._interrupt_again:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _run() -> int:
    """Run the command and tell of its errors; returns the exit code."""
    try:
        with command_scratch():
            return cli.main(prog_name="mtp-export", standalone_mode=False) or 0
    except MtpExportError as error:
        _tell("\n".join([str(error), *getattr(error, "__notes__", ())]))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader of our output (head, less) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # of a file that no reader of ours has a better sentence for
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{where}{error.strerror or error}{_room(error)}")
        return 1


def _tell(problem: str) -> None:
    """Say on stderr why the command ends."""
    name = click.style("mtp-export:", fg="red", bold=True)
    click.echo(
        fitted(f"{name} {problem}", sys.stderr), err=True, color=None if colours() else False
    )


def _room(error: OSError) -> str:
    """What to do where there is no room for something that has no better sentence."""
    if error.errno not in FULL:
        return ""
    folder = os.environ.get(VARIABLE) or "the system's folder for them"
    return (
        f"; make room for temporary files ({folder}; {VARIABLE} names another) and for what is printed, "
        "if that goes to a file"
    )


def _forget_interrupts() -> None:
    """Make the exit code count: CPython ends on SIGINT instead if one ever left an ``exec()``.

    Making a dataclass is such a call; the next one resets it.
    """
    exec("")  # noqa: S102


if __name__ == "__main__":
    main()
