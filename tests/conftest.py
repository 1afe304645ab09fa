"""What every test gets: pytest's own test harness, and a kernel cache apart from the user's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

pytest_plugins = ["pytester"]

# Kept between runs: kernels are found by content, so an old one is never used by mistake. Set the variable to
# an empty folder to start cold.
os.environ.setdefault(
    "ACCELC_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"accelc-test-kernels-{os.getuid()}")
)
