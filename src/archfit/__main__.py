"""`python -m archfit` is the command line."""

from archfit.cli import main

if __name__ == "__main__":
    main()
