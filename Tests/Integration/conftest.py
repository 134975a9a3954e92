"""Makes the package `harness` (ops/harness) importable; fixtures for servers stand in `stacks.py`."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "ops"))
