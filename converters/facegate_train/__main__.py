"""`python -m facegate_train`."""

from facegate_train.cli import run

if __name__ == "__main__":
    run()
