"""`python -m helicon`, for where the command `helicon` is not on the path."""

import os
import sys

if __name__ == "__main__":
    # `python -m` searches the current folder first, which may be a stranger's; unless it is where we are ourselves.
    # What follows imports more than the interpreter has
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.realpath(ours):
        del sys.path[0]

    from helicon.cli import main

    sys.exit(main())
