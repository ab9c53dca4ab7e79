"""`jaxcert COMMAND …`: picks the command, and turns a user's mistakes into one sentence and status 2."""

import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import jax

from jaxcert import __version__
from jaxcert.devices import processes
from jaxcert.errors import JaxcertError

# Command -> (module with `main(argv)`, what it is for). Only the module of the chosen one is imported.
COMMANDS = {
    "train": ("jaxcert.cli.train", "train one network: standard, adversarial or certified"),
    "evaluate": ("jaxcert.cli.evaluate", "clean, attacked and certified error of a trained run"),
    "certify": ("jaxcert.cli.certify", "certify test images of a run and write certificate files"),
    "check": ("jaxcert.cli.check", "check certificate files again, rigorously"),
    "attack": ("jaxcert.cli.attack", "attack a run or a network in a file and save the examples"),
    "demo": ("jaxcert.cli.demo", "train one small network four ways and compare (a few minutes)"),
    "methods": ("jaxcert.cli.methods", "which operations the bounding engines support"),
}
USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 after a user's mistake, 130 after Ctrl-C.

    `check` returns 1 when it could not confirm what it was given.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else USER_ERROR
    if arguments[0] == "--version":
        print(f"jaxcert {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        return _mistake(f"There is no command {arguments[0]!r}: choose one of {', '.join(COMMANDS)}.")
    return _run(arguments[0], arguments[1:])


def _run(command: str, arguments: Sequence[str]) -> int:
    try:
        status = _status(command, arguments)
    except Exception:
        if not processes.several():
            raise
        traceback.print_exc()
        status = 1
    if status and processes.several():
        processes.leave(status)
    return status


def _status(command: str, arguments: Sequence[str]) -> int:
    try:
        module = importlib.import_module(COMMANDS[command][0])
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax's notes are of no use to a user.
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = module.main(arguments)
    except JaxcertError as error:
        return _mistake(str(error))
    except jax.errors.JaxRuntimeError as error:
        if not processes.several():
            raise
        return _mistake(
            f"A device failed, or another process stopped ({str(error).splitlines()[0]}): see the output "
            "of all processes, then start all of them again to go on."
        )
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is None:
            raise
        return _mistake(
            f"Cannot use {error.filename} ({error.strerror}): check the path and its permissions."
        )
    except KeyboardInterrupt:
        print("\njaxcert: interrupted; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return status or 0


def _mistake(sentence: str) -> int:
    print(f"jaxcert: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    del category, filename, lineno, file, line
    print(f"jaxcert: warning: {message}", file=sys.stderr)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: jaxcert COMMAND [options]",
            "",
            "Certified and adversarial robustness of neural networks, in JAX.",
            "",
            *lines,
            "",
            "jaxcert COMMAND --help shows every option with its unit and default.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
