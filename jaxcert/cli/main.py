"""`jaxcert COMMAND …`: picks the command, and turns a user's mistakes into one sentence and status 2."""

import importlib
import sys
from collections.abc import Sequence

from jaxcert import __version__
from jaxcert.errors import JaxcertError

# Command -> (module with `main(argv)`, what it is for). Only the module of the chosen one is imported.
COMMANDS = {
    "train": ("jaxcert.cli.train", "train one network: standard, adversarial or certified"),
    "evaluate": ("jaxcert.cli.evaluate", "clean, attacked and certified error of a trained run"),
    "attack": ("jaxcert.cli.attack", "attack a trained run and save the adversarial examples"),
    "demo": ("jaxcert.cli.demo", "train one small network four ways and compare (a few minutes)"),
    "methods": ("jaxcert.cli.methods", "which operations the bounding engines support"),
}
USER_ERROR, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 after a user's mistake, 130 after Ctrl-C."""
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
        importlib.import_module(COMMANDS[command][0]).main(arguments)
    except JaxcertError as error:
        return _mistake(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        return _mistake(
            f"Cannot use {error.filename} ({error.strerror}): check the path and its permissions."
        )
    except KeyboardInterrupt:
        print("\njaxcert: interrupted; the same command goes on from where it stopped.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _mistake(sentence: str) -> int:
    print(f"jaxcert: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


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
