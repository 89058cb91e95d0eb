"""The web pages are tested on the audit's small workspace, the API on a studio of the credentials' tests."""

import sys
from pathlib import Path

for room in ("audit", "credentials"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / room))
