"""All benchmarks: ``python -m bench [--quick]``."""

from __future__ import annotations

import sys

from bench import ingest, latency

if __name__ == "__main__":
    sys.exit(ingest.main(sys.argv[1:]) or latency.main(sys.argv[1:]))
