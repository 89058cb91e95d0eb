"""What a lawyer asks for, on the command line, after one night."""

import json
from pathlib import Path

import pandas as pd

from pipeline.core.workspace import Workspace
from tests.e2e.conftest import Finished
from tests.e2e.in_process import lines, said


def test_report_credits_and_exports_of_a_night(finished: Finished, tmp_path: Path) -> None:
    home, snapshot = ["--home", str(finished.home)], finished.outcome["snapshot"]
    (report,) = lines("audit", "report", "--dataset", "sample", "--out", str(tmp_path / "audit"), *home)
    decisions = lines("audit", "decisions", "--dataset", "sample", *home)
    table = pd.read_parquet(report["table"])
    assert table.set_index("file").decision.to_dict() == {row["file"]: row["decision"] for row in decisions}
    sheet = pd.read_csv(report["sheet"], keep_default_na=False)
    assert len(sheet) == len(table) and list(sheet.columns) == list(table.columns)
    assert Path(report["report"]).read_text().count("<h2>") >= 9
    signed = said("audit", "report", "--snapshot", snapshot, "--out", str(tmp_path / "signed"), *home)
    assert signed.code == 0 and str(tmp_path / "signed" / "consent-audit.html") in signed.out
    both = said("audit", "report", "--snapshot", snapshot, "--dataset", "sample", "--out", str(tmp_path), *home)
    assert both.code == 2 and "either --dataset or --snapshot" in both.err

    credits = lines("audit", "attribution", "--snapshot", snapshot, *home)
    batch = finished.outcome["run"]
    assert credits and credits == lines("audit", "attribution", "--batch", batch, *home)
    kept = pd.read_csv(Workspace(finished.home).batch(batch) / "attribution.csv", keep_default_na=False)
    assert len(kept) == len(credits) and set(kept.asset) == {row["asset"] for row in credits}
    missing = said("audit", "attribution", "--batch", "nightly-9999", *home)
    assert missing.code == 2 and "nightly-9999" in missing.err

    (written,) = lines("audit", "export", "--snapshot", snapshot, "--out", str(tmp_path / "export"), *home)
    assert all(Path(path).exists() for path in written.values())
    described = json.loads(Path(written["croissant"]).read_text())
    assert described["recordSet"][0]["@id"] == "assets" and described["usageInfo"]["odrl:permission"]
    assert finished.outcome["model"] in Path(written["eu_summary"]).read_text()
