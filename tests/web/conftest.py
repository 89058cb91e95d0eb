"""The web pages are tested on the same small workspace as the audit."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "audit"))
