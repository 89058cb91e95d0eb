"""Floor 5: draws the sample set that the demo runs on."""
