"""`make bench`: runs the benchmarks that are named, or all, and writes report.md and report.json beside this file."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("startup", "generation", "sources", "extraction", "steering", "report_page", "ray_cluster")


def main(names: list[str]) -> None:
    """Measure and merge what was measured into the report."""
    sys.path.insert(0, str(HERE))
    path = HERE / "report.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in names or BENCHMARKS:
        module = importlib.import_module(name)
        print(f"measuring {name} ...", flush=True)
        report[name] = {
            "what": (module.__doc__ or "").strip(),
            "date": date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "rows": module.measure(),
        }
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / "report.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def markdown(report: dict[str, dict]) -> str:
    """The report as tables."""
    parts = ["# Measurements\n"]
    for name, section in report.items():
        parts.append(f"\n## {name}\n\n{section['what']}\n\n{section['date']}, {section['machine']}\n")
        columns = list(dict.fromkeys(column for row in section["rows"] for column in row))
        lines = [
            columns,
            ["---"] * len(columns),
            *([row.get(column, "") for column in columns] for row in section["rows"]),
        ]
        parts.append("\n" + "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:])
