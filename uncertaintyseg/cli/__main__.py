"""`python -m uncertaintyseg.cli`."""

from uncertaintyseg.cli import main

main()
