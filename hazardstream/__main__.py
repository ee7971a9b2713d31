"""`python -m hazardstream` is the `hazardstream` command."""

from hazardstream.cli import main

main()
