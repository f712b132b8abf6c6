"""Command line: options of each command, dispatch, and one-line errors.

In come the words of a command line; out comes an exit status. Nothing here imports PyTorch, so that help and wrong
options are answered at once; the module of a command in `commands/` is imported when it is run. Open `commands.py`
first (the table of all commands; their options are in `options.py`), then `dispatch.py` (from words to an exit status);
`command_parser.py` words the errors of options, but for those of `helicon fit`, which are worded in
`training/usage_errors.py`; `errors.py` is for all rooms above.
"""

from helicon.cli.dispatch import main

__all__ = ["main"]
