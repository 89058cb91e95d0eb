"""Floor 3: sources, decoding and validation, facts as found in files and tables."""

from pipeline.ingest.ingest import IngestTotals, ingest_dataset

__all__ = ["IngestTotals", "ingest_dataset"]
