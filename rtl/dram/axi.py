"""AXI4 and AXI4-Lite interfaces, seen from the master (IHI 0022H, chapters A2 and B1).

Only the signals that the chip uses: no cache, protection, quality-of-service, region, lock or user
signals. Member names are the standard ones in lower case.
"""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Axi4", "Axi4Lite", "Axi4Read", "Axi4Write", "Burst", "Resp"]


class Burst(enum.IntEnum, shape=unsigned(2)):
    FIXED = 0
    INCR = 1
    WRAP = 2


class Resp(enum.IntEnum, shape=unsigned(2)):
    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def _address_channel(prefix: str, addr_bits: int, id_bits: int) -> dict[str, wiring.Member]:
    fields = {"id": id_bits, "addr": addr_bits, "len": 8, "size": 3, "burst": 2, "valid": 1}
    return {**{f"{prefix}{name}": Out(width) for name, width in fields.items()}, f"{prefix}ready": In(1)}


class Axi4Read(wiring.Signature):
    """The read channels (AR, R) of AXI4."""

    def __init__(self, *, data_bits: int, addr_bits: int = 32, id_bits: int = 1) -> None:
        super().__init__(
            {
                **_address_channel("ar", addr_bits, id_bits),
                "rid": In(id_bits),
                "rdata": In(data_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4Write(wiring.Signature):
    """The write channels (AW, W, B) of AXI4."""

    def __init__(self, *, data_bits: int, addr_bits: int = 32, id_bits: int = 1) -> None:
        super().__init__(
            {
                **_address_channel("aw", addr_bits, id_bits),
                "wdata": Out(data_bits),
                "wstrb": Out(data_bits // 8),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(id_bits),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class Axi4(wiring.Signature):
    """AXI4 of ``data_bits`` bits, with 32-bit addresses and one-bit transaction identifiers."""

    def __init__(self, *, data_bits: int, addr_bits: int = 32, id_bits: int = 1) -> None:
        sizes = {"data_bits": data_bits, "addr_bits": addr_bits, "id_bits": id_bits}
        super().__init__({**dict(Axi4Write(**sizes).members), **dict(Axi4Read(**sizes).members)})


class Axi4Lite(wiring.Signature):
    """AXI4-Lite with 32-bit data."""

    def __init__(self, *, addr_bits: int = 16) -> None:
        super().__init__(
            {
                "awaddr": Out(addr_bits),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(addr_bits),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )
