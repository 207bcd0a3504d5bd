"""Golden models: layer graphs, int8 quantisation, exact layer mathematics and the program machine."""
