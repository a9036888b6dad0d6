"""The scenario benchmark: ``python -m bench.scenarios [--quick]``."""

from __future__ import annotations

import sys

from bench.scenarios.suite import main

if __name__ == "__main__":
    sys.exit(main())
