"""Benchmarks are scripts: what lies beside one is imported by its plain name, also in a test."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
