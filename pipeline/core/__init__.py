"""Floor 0: settings, digests, reason codes, errors, shard files, the work seam."""
