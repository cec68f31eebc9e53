"""`python -m bayesfit`."""

from bayesfit.cli import main

if __name__ == "__main__":
    main()
