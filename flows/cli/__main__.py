"""`python -m flows.cli` is `imprimatur`."""

from flows.cli import main

main()
