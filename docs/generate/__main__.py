"""Write the generated pages into docs/reference/ or another folder: `python -m docs.generate [FOLDER]`."""

import json
import sys
from pathlib import Path

from docs.generate import commands, metrics, openapi, params, settings

ROOT = Path(__file__).resolve().parents[2]


def generate(folder: Path) -> list[Path]:
    """Write the pages into `folder`, which is created, and return their paths."""
    document = openapi.document()
    pages = {
        "settings.md": settings.page(ROOT / ".env.example"),
        "params.md": params.page(ROOT / "params.yaml", ROOT / "sweep.yaml"),
        "http-api.md": openapi.page(document),
        "openapi.json": json.dumps(document, indent=2) + "\n",
        "metrics.md": metrics.page(),
        "make.md": commands.make_page(ROOT),
        "commands.md": commands.page(ROOT),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


if __name__ == "__main__":
    for path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference"):
        print(path)
