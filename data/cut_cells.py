"""Cut single blood cells out of the photographs of BCCD, for configs/medicine.yaml.

    python data/cut_cells.py FOLDER-OF-BCCD data/blood-cells

FOLDER-OF-BCCD holds images/ and boxes.csv (github.com/Shenggan/BCCD_Dataset, MIT). Each cell becomes a square PNG
around the middle of its box, at most 360 of each type, with metadata.csv: file, type, licence, holder, and the place
that it was cut from as a media fragment (W3C Media Fragments, #xywh=).
"""

import sys
from pathlib import Path

import pandas as pd
from PIL import Image

MOST = 360  # of each type: there are no more platelets
MARGIN = 1.15  # of the longer side of the box
ORIGIN = "https://github.com/Shenggan/BCCD_Dataset/blob/d272fb14cdff6e473fafeeeba32aba5f560e9e43/BCCD/JPEGImages"


def cut(source: Path, out: Path) -> int:
    """Write the cells of `source` to `out`; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    boxes = pd.read_csv(source / "boxes.csv")
    rows = []
    for kind, cells in boxes.groupby("cell_type", sort=True):
        for number, box in enumerate(cells.sample(frac=1, random_state=0).itertuples(), start=1):
            side = round(max(box.xmax - box.xmin, box.ymax - box.ymin) * MARGIN)
            left, top = (box.xmin + box.xmax - side) // 2, (box.ymin + box.ymax - side) // 2
            with Image.open(source / "images" / box.filename) as photograph:
                if (
                    side < 24
                    or min(left, top) < 0
                    or left + side > photograph.width
                    or top + side > photograph.height
                ):
                    continue  # cut off by the edge of the photograph
                cell = photograph.convert("RGB").crop((left, top, left + side, top + side))
            name = f"{kind.lower()}-{number:04d}.png"
            cell.save(out / name)
            place = f"{ORIGIN}/{box.filename}#xywh={left},{top},{side},{side}"
            rows.append({"file": name, "type": kind, "licence": "MIT", "holder": "shenggan", "source": place})
            if sum(row["type"] == kind for row in rows) == MOST:
                break
    pd.DataFrame(rows).to_csv(out / "metadata.csv", index=False)
    return len(rows)


if __name__ == "__main__":
    print(cut(Path(sys.argv[1]), Path(sys.argv[2])), "cells")
