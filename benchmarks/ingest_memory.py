"""Memory does not grow with the source: peak resident set of an ingest of a small tar and of one five times its size.

    python benchmarks/ingest_memory.py [megabytes of the small tar] [megabytes of the large one]

Each ingest runs in a process of its own, with one worker. Printed: the peak of the ingest's own process and of its
largest child (the guard's process that decodes), from getrusage.
"""

import io
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CHILD = """
import resource, sys
from multiprocessing import forkserver
from pathlib import Path
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset
if __name__ == "__main__":
    settings = DatasetSettings(name="set", source=sys.argv[1])
    totals = ingest_dataset(settings, Workspace(Path(sys.argv[2])), WorkSettings(backend="serial"))
    forkserver._forkserver._stop()  # so that its children are counted
    peaks = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(totals.accepted, *peaks)
"""


def write(path: Path, megabytes: int) -> Path:
    """A tar of JPEGs of about 150 KB, each of other bytes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=95)
    picture = stream.getvalue()
    with tarfile.open(path, "w") as archive:
        for number in range(megabytes * 1_000_000 // len(picture)):
            data = picture + number.to_bytes(8, "big")
            member = tarfile.TarInfo(f"{number:08d}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def main(small: int = 200, large: int = 1000) -> None:
    """Both sizes, and the ratio of their peaks."""
    print("| tar | images | peak of the process, MB | of its largest child, MB |\n|---|---|---|---|")
    peaks = []
    for megabytes in (small, large):
        with tempfile.TemporaryDirectory() as place:
            tar = write(Path(place) / "a.tar", megabytes)
            script = Path(place) / "child.py"
            script.write_text(CHILD)
            done = subprocess.run(
                [sys.executable, str(script), str(tar), f"{place}/home"], check=True, capture_output=True
            )
            count, own, child = (int(word) for word in done.stdout.split())
            print(f"| {megabytes} MB | {count:,} | {own} | {child} |", flush=True)
            peaks.append((own, child))
    print(f"ratio: {peaks[1][0] / peaks[0][0]:.2f} and {peaks[1][1] / peaks[0][1]:.2f}")
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
