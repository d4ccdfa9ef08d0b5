"""`python -m gateway`: the program without its script."""

from gateway.cli import main

if __name__ == "__main__":
    main()
