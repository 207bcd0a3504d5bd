"""Coverage of the RTL by the regression's programs: lines, branches and toggles, and functional points."""
