"""Memory nodes: packets of the mesh on one side, AXI4 on the other."""
