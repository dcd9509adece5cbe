"""`python -m podstack` is the command line."""

from podstack.cli import main

if __name__ == "__main__":
    main()
