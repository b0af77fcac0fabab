"""The command line over the steps: ``python -m core <command>``.

Exit status: 0 the output was written whole; 1 ``inspect`` found something blocking; 2 a mistake that one line on
standard error explains; 130 interrupted, nothing half-written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.cli.arguments import command_line
from core.errors import Cancelled, SpatialMetaError

__all__ = ["command_line", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; *arguments* default to those of the process."""
    from core.cli.parser import build_parser  # the readers behind it take 50 MB that the web process can do without

    try:
        given = build_parser().parse_args(arguments)
        return given.command(given) or 0
    except SystemExit as stop:  # --help, or argparse's own refusals
        return int(stop.code or 0)
    except (KeyboardInterrupt, Cancelled):
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except SpatialMetaError as error:
        return _refuse(error.message)
    except OSError as error:
        return _refuse(str(error))


def _refuse(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2
