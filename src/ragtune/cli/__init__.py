"""The command `ragtune`: a thin front on the same classes.

Exit codes: 0 all is well; 1 it is not (a file has errors, a job failed, nothing was deleted for want of `--yes`, or the
server, the backend or the disk refused); 2 the command line makes no sense; 3 no key was found; 130 Ctrl-C (0 for
`serve`, which ends so); 141 who read the output closed it.

A group of verbs is a module in `verbs` with `register(app)`; each of its verbs stands in `application`. Only the module
of the verb that is called is loaded, and what that needs of the library is imported in its functions.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragtune.cli.application import app

__all__ = ["app", "main"]

# What a shell says of a program that Ctrl-C ended; `common` has it for the commands, and takes long to load.
_STOPPED = 130


def main() -> None:
    """Run the command; Ctrl-C while Python is still loading it ends it in a word, too."""
    try:
        from ragtune.cli.application import run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("stopped\n")
        sys.exit(_STOPPED)


# Hidden from type checkers, which would accept any misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # The application is for programs that put commands of their own beside it, and for tests; `main` must be
        # there before anything that takes time is loaded.
        if name != "app":
            message = f"module 'ragtune.cli' has no attribute {name!r}"
            raise AttributeError(message)
        from ragtune.cli.application import app

        return app
