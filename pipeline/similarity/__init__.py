"""Floor 2: fingerprints, exact near-duplicate join, nearest neighbours."""
