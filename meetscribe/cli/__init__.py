"""The command line: one file a command; here they come together, and errors become text.

Commands load when they are called, so that ``meetscribe --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from meetscribe.cli.console import JsonLog, error_event, error_lines
from meetscribe.errors import MeetscribeError, OutputError
from meetscribe.version import __version__

EXIT_INTERRUPTED = 130

_COMMANDS = {
    "transcribe": "Say who spoke what and when in a recording.",
    "batch": "Transcribe folders of recordings; stopped, it goes on where it was.",
    "export": "Turn a transcript into other formats, without running a model.",
    "rename": "Give speakers their names, in every file of a transcript.",
    "speakers": "Keep people's voices on this machine, name them, forget them.",
    "models": "List, fetch and verify model weights.",
    "pipelines": "List the pipelines and show their settings.",
    "corpus": "Prepare AMI, AliMeeting or your own recordings for scoring.",
    "evaluate": "Score transcripts against references, or a pipeline on a corpus.",
    "compare": "Put two scored runs side by side.",
    "simulate": "Make meetings from read speech, with their reference.",
    "train": "Train the models that meetscribe has of its own.",
    "cache": "Say what finished stages are kept, and delete them.",
    "doctor": "Say what this machine has, what is missing and how fast it is.",
}

_RESUMING = {"transcribe", "batch", "evaluate", "simulate", "train"}
"""Commands that go on where they were stopped."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the commands in the order of a reader's interest."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; click suggests near names for unknown ones."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"meetscribe.cli.{cmd_name}")
        command = getattr(module, cmd_name)
        return command if isinstance(command, click.Command) else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the near command when there is no such one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"{error.format_message()}{hint}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: meetscribe transcribe meeting.wav",
)
@click.version_option(__version__, prog_name="meetscribe")
@click.option("--debug", is_flag=True, help="Show tracebacks and library logs.")
@click.pass_obj
def cli(as_json: bool | None, *, debug: bool) -> None:
    """Who said what and when, from a recording of a meeting."""
    # A debug run shows what libraries say; otherwise only meetscribe's own warnings are shown.
    level = logging.DEBUG if debug else logging.ERROR
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    if as_json:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLog())
    logging.getLogger("meetscribe").setLevel(logging.DEBUG if debug else logging.WARNING)


def main() -> NoReturn:
    """Run the command line and leave with the exit code of what happened."""
    sys.exit(_run(sys.argv[1:]))


def _run(args: list[str]) -> int:
    debug = "--debug" in args
    as_json = "--progress=json" in args or ("--progress", "json") in itertools.pairwise(args)
    # the flag may stand anywhere, as people append it to the command that failed
    args = ["--debug", *(arg for arg in args if arg != "--debug")] if debug else args
    try:
        code: Any = cli.main(args=args, prog_name="meetscribe", standalone_mode=False, obj=as_json)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # click turns Ctrl-C into Abort
        kept = _RESUMING.intersection(args) and "--no-cache" not in args
        next_step = "what is finished is kept, the same command goes on from there" if kept else ""
        _tell("interrupted", next_step, as_json=as_json)
        return EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # the reader of our output went away, as in `| head`: not an error of ours; it is the one
        # case in which click leaves by itself
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the interpreter's own flush
        return 0
    except Exception as error:  # noqa: BLE001 - the one place where nothing may escape
        if debug:
            traceback.print_exc()
        known = _known(error)
        _tell(known.message, known.hint, as_json=as_json)
        return known.exit_code
    return code if isinstance(code, int) else 0


def _known(error: Exception) -> MeetscribeError:
    """Give what a person can make use of."""
    if isinstance(error, MeetscribeError):
        return error
    if isinstance(error, OSError):
        # a full disk or a vanished folder can show up at any write
        place = error.filename or "output"
        return OutputError(f"{place}: {error.strerror or error}", hint="check space and rights")
    if isinstance(error, MemoryError):
        return MeetscribeError(
            "this machine ran out of memory",
            hint="close other programs, or use a smaller model: --model tiny",
        )
    return MeetscribeError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a bug; run again with --debug and report what it prints",
    )


def _tell(message: str, hint: str, *, as_json: bool) -> None:
    lines = [error_event(message, hint)] if as_json else error_lines(message, hint)
    with contextlib.suppress(OSError):
        for line in lines:
            click.echo(line, err=True)
