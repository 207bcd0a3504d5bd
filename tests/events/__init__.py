"""Campaign: events predicted from the instructions against all counters of the RTL, over networks, chips, schedules."""
