"""Rights: who has consented to what, what that permits, and the signed snapshot of what may be used.

Import from the modules: `decision.decide`, `selection.select`, `snapshot.make_snapshot`, `events.read_event_file`,
`policy.load_policy`, `findings.Purpose`, `reasons.Reason`.
"""
