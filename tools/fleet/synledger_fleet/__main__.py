"""`python3 -m synledger_fleet`."""

import sys

from .cli import main

sys.exit(main())
