"""The workspace: where a studio's data lies. Every path below it is named here and nowhere else."""

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_HOME = Path("data/studio")


@dataclass(frozen=True)
class Workspace:
    """Paths of one workspace (`IMPRIMATUR_HOME`, default data/studio)."""

    home: Path

    @classmethod
    def at(cls, home: Path | None = None) -> "Workspace":
        """The workspace at `home`, else at IMPRIMATUR_HOME, else at data/studio; absolute."""
        return cls((home or Path(os.environ.get("IMPRIMATUR_HOME") or DEFAULT_HOME)).expanduser().resolve())

    @property
    def catalog(self) -> Path:
        """The SQLite catalog."""
        return self.home / "catalog.sqlite"

    @property
    def keys(self) -> Path:
        """Private keys; the folder is 0700, its files 0600."""
        return self.home / "keys"

    @property
    def registry(self) -> Path:
        """The manifest repository."""
        return self.home / "registry"

    @property
    def prefect(self) -> Path:
        """Prefect's own home, so that it never writes to the user's."""
        return self.home / "prefect"

    @property
    def looks(self) -> Path:
        """Index of earlier batches by their looks; made anew when it is missing."""
        return self.home / "looks"

    @property
    def cache(self) -> Path:
        """Downloads, named by digest."""
        return self.home / "cache"

    def dataset(self, name: str) -> Path:
        """Folder of an ingested dataset."""
        return self.home / "datasets" / name

    def snapshot(self, identifier: str) -> Path:
        """Folder of a snapshot."""
        return self.home / "snapshots" / identifier

    def model(self, identifier: str) -> Path:
        """Folder of a model."""
        return self.home / "models" / identifier

    def batch(self, identifier: str) -> Path:
        """Folder of a batch: generated/, images/, quarantine/, report/."""
        return self.home / "batches" / identifier
