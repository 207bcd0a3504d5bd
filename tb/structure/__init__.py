"""The structure of a chip, read back from its Verilog and compared with what its parameters say."""
