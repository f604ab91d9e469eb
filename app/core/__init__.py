"""What workflows mean: pure decisions, no I/O."""
