"""Floor 4: the gate on outputs."""
