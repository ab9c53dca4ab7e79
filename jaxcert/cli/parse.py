"""Command-line options from frozen dataclasses, with mistakes told in one sentence."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from jaxcert.errors import ConfigError

Options = TypeVar("Options")
BOX = "─│╭╮╰╯ "


def parse(
    options: type[Options], argv: Sequence[str], *, command: str, default: Options | None = None
) -> Options:
    """The options in `argv`; `--help` prints them and exits with status 0.

    Raises:
      ConfigError: an option is unknown, missing or has a bad value.
    """
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return tyro.cli(  # pyright: ignore[reportReturnType]
                options,
                prog=f"jaxcert {command}",
                args=list(argv),
                default=default,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_sentence(message.getvalue(), command)) from stop


def _sentence(box: str, command: str) -> str:
    """The first paragraph of tyro's framed message, and where to look further."""
    words = []
    for line in box.splitlines()[1:]:
        text = line.strip(BOX)
        if not text:
            break
        words.append(text)
    # A whole configuration that is refused says by itself which of its values is wrong.
    reason = re.sub(r"^Error parsing (?!-)[^:]*: ", "", " ".join(words)).rstrip(".")
    reason = (reason or "the options could not be read").replace(". ", ", ")
    return f"{reason} (see jaxcert {command} --help)."
