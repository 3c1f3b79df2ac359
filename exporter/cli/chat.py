"""``mtp-export chat``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.chat_partners import media_taken, open_partner
from exporter.cli.conversations import Asked
from exporter.cli.generate_usage import check_sampling, check_usage
from exporter.cli.running_options import MTP, Choices, runnable, running_options
from exporter.cli.runtimes import STOCK
from exporter.cli.strict_command import StrictCommand
from exporter.cli.terminal import colours, fitted, note

if TYPE_CHECKING:
    from runtime_py.chat.conversation import Conversation


@click.command(cls=StrictCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--system", help="What the model is told before the first question.")
@MTP
@running_options
def command(bundle: Path, system: str | None, mtp: str | None, choices: Choices) -> None:
    """Talk with BUNDLE in the terminal: answers appear as they are generated.

    /help lists what else can be typed. Ctrl-C cancels an answer, Ctrl-D leaves. A reference runtime colours
    the drafts that were accepted. If stdin is a pipe, each line of it is answered, and stdout has the answers
    only.
    """
    check_usage(Asked(), choices, mtp)
    agreed = runnable(bundle, choices, drafting=mtp == "on" or choices.about_drafts)
    mode = "on" if mtp != "off" and agreed.has_drafter else "off"
    check_sampling(choices, mode)
    from exporter.cli.chat_screen import Screen
    from exporter.cli.chat_talk import Talk

    screen = Screen()
    with open_partner(bundle, choices, _begun(system, choices), mtp=mode == "on") as partner:
        if screen.interactive:
            note(
                f"{bundle.name}, {choices.runtime}, MTP {mode}. /help lists commands, Ctrl-D leaves."
            )
            if mode == "on" and (choices.runtime == STOCK or colours()):
                click.echo(fitted(_colours(choices), sys.stderr), err=True)
        cache = min(choices.max_num_tokens or agreed.cache_length, agreed.cache_length)
        talk = Talk(partner, screen, media_taken(bundle, choices), cache)
        talk.hold()


def _begun(system: str | None, choices: Choices) -> Conversation:
    from runtime_py.chat.conversation import Conversation, Message, Setting

    history = (Message("system", system),) if system else ()
    return Conversation((), history, Setting(thinking=choices.thinking))


def _colours(choices: Choices) -> str:
    if choices.runtime == STOCK:
        return click.style(
            "The stock engine does not tell which tokens were drafted; --runtime reference does.",
            dim=True,
        )
    drafter, context = click.style("drafter", fg="green"), click.style("context", fg="cyan")
    return f"Coloured: accepted drafts of the {drafter}, or looked up in the {context}."
