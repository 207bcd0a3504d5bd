"""What the scheduler puts out: launches, placements, storage orders."""
