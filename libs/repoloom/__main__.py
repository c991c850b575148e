"""`python -m repoloom`, and so `torchrun -m repoloom`: the command line."""

from repoloom.cli import main

if __name__ == "__main__":
    main()
