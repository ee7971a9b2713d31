"""`python -m hazardstream` is the `hazardstream` command."""

from hazardstream.start import main

main()
