"""A program that waits for the end of its input."""

import sys

if __name__ == "__main__":
    sys.stdin.read()
