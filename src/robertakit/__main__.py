"""``python -m robertakit``: the command line, where the script ``robertakit`` is not on the path."""

import sys

from robertakit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
