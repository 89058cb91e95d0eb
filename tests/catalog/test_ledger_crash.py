"""SIGKILL in the middle of imports: no event is lost, doubled or torn, on SQLite and on PostgreSQL."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import append_events, read_events, verify_chain
from pipeline.core.settings import ConsentFile
from pipeline.core.workspace import Workspace
from pipeline.rights.events import read_event_file

END, MOMENT = "9999", "2026-06-01T00:00:00.000000Z"
BATCH = 250
ROOT = str(Path(__file__).parents[2])
# Imports a table in batches of its own, and says which batch was acknowledged.
WRITER = """
import sys
from pathlib import Path
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import append_events
from pipeline.core.settings import ConsentFile
from pipeline.core.workspace import Workspace
from pipeline.rights.events import read_event_file
home, table, batch, moment = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
events = read_event_file(table, ConsentFile(file=table.name), "d", moment)
catalog = open_catalog(Workspace(home))
for start in range(0, len(events), batch):
    append_events(catalog, events[start : start + batch])
    print(start // batch, flush=True)
"""


def test_kill_nine_while_importing(workspace: Workspace, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    lines = [f"E-{n},asset,{n},{'withdraw' if n % 3 else 'grant'}" for n in range(40 * BATCH)]
    table.write_text("event_id,subject_type,subject_id,action\n" + "\n".join(lines))
    chance, acknowledged = random.Random(7), set[int]()
    for kill in range(3):
        known = len(acknowledged)  # these are acknowledged again first
        acknowledged |= killed_import(workspace.home, table, until=known + chance.randrange(1, 8))
        catalog = open_catalog(workspace)
        stored = [event.event_id for event in read_events(catalog, END)]
        whole = len(stored) // BATCH
        assert stored == [f"E-{n}" for n in range(whole * BATCH)], "batches are whole, in order, none twice"
        assert acknowledged <= set(range(whole)) and verify_chain(catalog).intact, f"after kill {kill}"
    events = read_event_file(table, ConsentFile(file=table.name), "d", MOMENT)
    again = append_events(open_catalog(workspace), events)
    assert (again.imported, again.already_known) == (len(events) - len(stored), len(stored))
    assert verify_chain(open_catalog(workspace)).events == len(events)


def killed_import(home: Path, table: Path, until: int) -> set[int]:
    """Import until so many batches are acknowledged, then kill -9; gives the acknowledged batches."""
    command = [sys.executable, "-c", WRITER, str(home), str(table), str(BATCH), MOMENT]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": ROOT})
    assert process.stdout is not None
    heard = [next(process.stdout) for _ in range(until)]
    time.sleep(random.uniform(0, 0.01))  # somewhere inside the next transaction
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return {int(line) for line in [*heard, *rest.split("\n")] if line.strip()}
