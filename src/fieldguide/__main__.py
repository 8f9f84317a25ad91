"""`python -m fieldguide` is the command line."""

from fieldguide.cli import main

if __name__ == "__main__":
    main()
