"""Other people's models of accelerators: SCALE-Sim, ZigZag, Stream, Timeloop, ONNXim, MAESTRO.

Their inputs are written for a chip and a network (`tb.foreign.write`), their outputs read (`tb.foreign.read`), and
their cycles corrected by the RTL's (`tb.foreign.fit`, `tb.foreign.correction`). `tb.foreign.tools` lists them.
"""
