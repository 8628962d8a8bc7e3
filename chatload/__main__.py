"""Runs the command line: python -m chatload."""

from chatload.cli import main

if __name__ == "__main__":
    main()
