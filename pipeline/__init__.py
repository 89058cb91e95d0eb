"""Imprimatur: everything that knows something. Rooms are stacked on floors; imports point down only."""
