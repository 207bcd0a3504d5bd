"""The long campaigns, and the table of their last results."""
