"""Floor 3: sources, decoding and validation, facts as found in files and tables."""
