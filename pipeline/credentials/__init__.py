"""Floor 4: signing identity, manifests, watermark, stamp, verify, manifest repository."""
