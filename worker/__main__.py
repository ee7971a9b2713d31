"""`python -m worker` is the `hazardstream` command."""

from worker.cli import main

main()
