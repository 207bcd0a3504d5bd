"""What a run tells its user: summary, tables, progress."""
