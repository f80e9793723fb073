"""python -m synthforge: the command, where no script of that name is on the PATH."""

from synthforge.cli import main

if __name__ == "__main__":
    main()
