"""What a module says in its log, whatever earlier tests have set up for logging.

Structlog's own `capture_logs` hears nothing from a logger that was used before, once a command that
ran in this process has configured loggers to be cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture


@contextmanager
def logged(module: ModuleType) -> Iterator[list[Any]]:
    """The entries of ``module.log`` within the block, with ``event`` and ``log_level``."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[capture], cache_logger_on_first_use=False
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "log", logger)
        yield capture.entries
