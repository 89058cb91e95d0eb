"""Floor 1: tables, the append-only consent ledger, asset storage, lineage."""
