"""`python -m pocketvlm`."""

from pocketvlm.cli import main

main()
