"""Floor 3: licences, signals, consent fold, decision, snapshot and its proofs."""
