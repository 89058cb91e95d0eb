"""Floor 5: reports and lineage questions."""
