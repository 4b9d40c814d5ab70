"""`python -m ragtune` is the command `ragtune`, also where its folder is not on the path."""

from ragtune.cli import main

if __name__ == "__main__":
    main()
