"""The README stays short and true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from meetscribe.cli import cli

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
LINES = README.splitlines()


def command(name: str) -> str:
    match = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)\n```", README, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_two_commands_are_single_lines() -> None:
    for name in ("run", "test"):
        assert "\n" not in command(name)
        assert "-c constraints.txt" in command(name)


def test_install_and_output_come_first() -> None:
    first = next(number for number, line in enumerate(LINES, 1) if "meetscribe transcribe" in line)
    shown = next(number for number, line in enumerate(LINES, 1) if line.startswith("[00:"))
    assert first <= 20
    assert shown <= 35


def shown_commands() -> list[str]:
    pages = [README]
    pages += [
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.parent.glob("docs/*.md")
    ]
    found = [
        line.split("#")[0].strip()
        for page in pages
        for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    return sorted({line for line in found if line.startswith("meetscribe ")})


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_shown_is_one_that_exists(line: str) -> None:
    words = shlex.split(line)[1:]
    context = click.Context(cli)
    here: click.Command = cli
    while isinstance(here, click.Group) and words and not words[0].startswith("-"):
        found = here.get_command(context, words[0])
        assert found is not None, line
        here, words = found, words[1:]
    flags = {flag for parameter in here.params for flag in (*parameter.opts, "--help")}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= flags


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
