"""`python -m outgrow` is the command `outgrow`."""

from outgrow.cli import main

main()
