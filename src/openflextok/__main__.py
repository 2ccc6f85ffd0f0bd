"""`python -m openflextok`."""

from openflextok.cli.main import main

if __name__ == "__main__":
    main()
