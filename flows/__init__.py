"""The schedule and the way in: Prefect flows and the command line; no logic of their own."""
