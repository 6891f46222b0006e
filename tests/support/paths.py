"""Folders of this repository."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
