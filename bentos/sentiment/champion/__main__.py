"""Store the current champion and print its tag: python -m bentos.sentiment.champion.

A running server starts this as a child process, because MLflow's client takes seconds to import and 150 MB.
"""

import os
import sys

from bentos.sentiment.champion import files
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.settings import Settings


def main() -> int:
    os.nice(5)  # the server that waits for the result is answering requests
    try:
        print(files.current(Settings()).tag)
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
