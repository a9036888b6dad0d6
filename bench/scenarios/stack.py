"""The product as ``tracker up`` starts it, on an empty folder that is gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tracker.embedded import children

STOP_S = 60.0


@contextmanager
def running_stack() -> Iterator[dict[str, Any]]:
    """Yields what ``tracker up --json`` prints: addresses and the administrator's log-in.

    Raises:
        RuntimeError: it did not start; the text is the end of its log.
    """
    with TemporaryDirectory(prefix="bench-") as folder:
        home, log = Path(folder) / "data", Path(folder) / "stderr"
        command = [sys.executable, "-m", "tracker.cli", "up", "--data", str(home), "--json"]
        with log.open("wb") as stderr:
            process = children.start(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the stack did not start: {log.read_text()[-2000:]}")
            yield json.loads(line)
        finally:
            children.end(process, timeout_s=STOP_S)
