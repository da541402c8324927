"""Source tables become item snapshots."""
