"""Imported first by tests: finds the package in the working tree where no wheel is installed."""

import pathlib
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TREE))
