"""Makes the sample documents: python ragkit/samples/make_samples.py [FOLDER]

The words and numbers lie in sources/, the results in documents/; everything about the Ysmere River
Observatory is invented. The same libraries make the same bytes: no clock, no chance without a seed, and
fonts that come with reportlab (Bitstream Vera, embedded as subsets) or PDFium (Courier, only as pixels).
"""

from __future__ import annotations

import sys
from pathlib import Path

from ragkit.samples.charts import charts
from ragkit.samples.form import form
from ragkit.samples.letter import letter
from ragkit.samples.paper import SOURCES, prepare_reportlab, toml
from ragkit.samples.report import report


def main() -> None:
    """Write all documents into the folder named on the command line, or into documents/."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES.parent / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    prepare_reportlab()
    (folder / "annual-report-2025.pdf").write_bytes(report())
    (folder / "flow-charts-2025.pdf").write_bytes(charts())
    (folder / "parish-letter-2025.pdf").write_bytes(letter())
    (folder / "calibration-note.md").write_bytes(note().encode())
    (folder / "loan-form-0417.png").write_bytes(form())


def note() -> str:
    """The Markdown note, its table worked out from the readings."""
    rows = ["| Station | Before | After | Drift taken out |", "|---|---|---|---|"]
    for sensor in toml("calibration.toml")["sensor"]:
        drift = sensor["before"] - sensor["after"]
        rows.append(f"| {sensor['station']} | {sensor['before']} | {sensor['after']} | {drift:+.1f} units |")
    return (SOURCES / "calibration-note.md").read_text("utf-8").format(readings="\n".join(rows))


if __name__ == "__main__":
    main()
