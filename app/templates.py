"""The operator's templates: files in, formats out."""

from collections.abc import Mapping
from pathlib import Path

from app.formats.format import Format


def read_templates(folder: Path) -> Mapping[str, Format]:
    return {}
