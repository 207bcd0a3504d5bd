"""cocotb tests of a chip on the models of cocotbext-axi; plusarg `+cases=` names pickled `BusCase`s."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from rtl.contract.params import ChipParams
from rtl.contract.regs import ID_VALUE, Control, ErrorCode, Register, Status
from tb.sim.driver import Driver, Outcome
from tests.cosim.bus_models import Access, BusTransport, pauses, reset_chip

TESTS = 4
TIMEOUT: dict[str, Any] = {"timeout_time": 3, "timeout_unit": "ms"}
WATCHDOG_CYCLES = 10_000
CONTROL_BYTES = 0x38
"""Where the registers end."""


@dataclass(frozen=True, eq=False)
class BusCase:
    """Launches on a chip, and by golden.machine the memory behind each."""

    chip: ChipParams
    image: np.ndarray
    launches: list[tuple[int, int]]
    """Base and stride of the programs."""
    expected: list[np.ndarray]


class BusBench:
    """A chip between the models."""

    def __init__(self, dut: Any, case: str = "short") -> None:
        cases: dict[str, BusCase] = pickle.loads(Path(str(cocotb.plusargs["cases"])).read_bytes())
        self.case = cases[case]
        self.transport = BusTransport(dut, self.case.chip, self.case.image)
        self.driver = Driver(self.transport, self.case.chip)

    async def launch(self, number: int) -> Outcome:
        base, stride = self.case.launches[number]
        await self.driver.start(base, stride, watchdog_cycles=WATCHDOG_CYCLES)
        outcome = await self.driver.wait()
        self.transport.check(done=outcome.status == "done")
        return outcome

    async def run_all(self) -> None:
        """All launches from the initial memory on; every byte must be the machine's."""
        await self.transport.write_memory(0, self.case.image)
        for number, expected in enumerate(self.case.expected):
            outcome = await self.launch(number)
            assert outcome.status == "done", outcome
            found = np.frombuffer(bytes(self.transport.memory), np.uint8)
            wrong = np.flatnonzero(found != expected)
            assert wrong.size == 0, f"launch {number}: {wrong.size} bytes differ, the first at {wrong[0]:#x}"


@cocotb.test(**TIMEOUT)
async def bytes_are_those_of_the_machine_under_random_stalls(dut: Any) -> None:
    """Every channel of every bus is held back at random, a little, then most of the time."""
    bench = BusBench(dut)
    await reset_chip(dut)
    await bench.driver.identify()
    for seed, probability in ((1, 0.2), (1000, 0.6)):
        bench.transport.stall(seed, probability)
        await bench.run_all()
    for port in bench.transport.ports:
        assert any(access.node == port.node for access in bench.transport.log), f"node {port.node} had nothing to do"


@cocotb.test(**TIMEOUT)
async def reads_and_writes_may_overtake_each_other(dut: Any) -> None:
    """Identifiers are all 0, so reads stay in order and so do writes; between the two, and between nodes, nothing does.

    Written bytes reach the memory as late as their response allows.
    """
    bench = BusBench(dut, "reads while it writes")
    rng = random.Random(7)
    for port in bench.transport.ports:
        port.delay = lambda: rng.choice((0, 0, 1, 3, 20))
    await reset_chip(dut)
    await bench.run_all()
    log = bench.transport.log
    overtaken = {(a.write, a.node == b.node) for a in log for b in log if _overtakes(b, a)}
    other_node = {(False, False)} if len(bench.transport.ports) > 1 else set()
    wanted = {(False, True), (True, True)} | other_node
    assert overtaken >= wanted, overtaken


def _overtakes(late: Access, early: Access) -> bool:
    """Whether an access began behind another of the other direction or node, and ended before it."""
    other = (late.write, late.node) != (early.write, early.node)
    return other and early.began < late.began and late.ended < early.ended


@cocotb.test(**TIMEOUT)
async def error_responses_name_the_node(dut: Any) -> None:
    """SLVERR or DECERR at the first, a middle or the last read or write of each node; a healthy run behind each two."""
    bench = BusBench(dut)
    transport, chip = bench.transport, bench.case.chip
    await reset_chip(dut)
    await bench.run_all()
    last = len(bench.case.launches) - 1
    await transport.write_memory(0, bench.case.expected[last - 1] if last else bench.case.image)
    transport.log.clear()
    assert (await bench.launch(last)).status == "done"
    counts = {(node, write): sum((a.node, a.write) == (node, write) for a in transport.log)
              for node, write in product(range(len(chip.memory_nodes)), (False, True))}  # fmt: skip
    tried = 0
    for (node, write), count in counts.items():
        for place, response in ((0, AxiResp.DECERR), (count // 2, AxiResp.SLVERR), (count - 1, AxiResp.DECERR)):
            if count == 0 or (place == 0 and write):
                continue
            transport.answer_errors_by(response)
            seen = 0

            def fails(access: Access, write: bool = write, place: int = place) -> bool:
                nonlocal seen
                seen += access.write == write
                return access.write == write and seen == place + 1

            port = transport.ports[node]
            port.fails = fails
            outcome = await bench.launch(last)
            port.fails = lambda access: False
            code = ErrorCode.AXI_WRITE if write else ErrorCode.AXI_READ
            assert len(port.failed) == 1, (node, write, place)
            assert (outcome.status, outcome.error, outcome.node, outcome.unit) == (
                "error", code.name, chip.memory_node_id(node), None
            ), (outcome, port.failed)  # fmt: skip
            port.failed.clear()
            tried += 1
    assert tried >= 2 * len(chip.memory_nodes) + 2
    await bench.run_all()


@cocotb.test(**TIMEOUT)
async def control_takes_accesses_in_any_order(dut: Any) -> None:
    """Address first, data first, byte enables, addresses without a register, reads and writes at once."""
    bench = BusBench(dut)
    master = bench.transport.control
    write, read = master.write_if, master.read_if
    await reset_chip(dut)
    orders = ((write.aw_channel, write.w_channel), (write.w_channel, write.aw_channel))
    for (early, late), value in zip(orders, (0x1234_5678, 0x9ABC_DEF0), strict=True):
        late.pause = True
        task = cocotb.start_soon(bench.transport.write32(Register.PROGRAM_BASE, value))
        await ClockCycles(dut.clk, 20)
        assert early.idle(), "the first half was not accepted on its own"
        assert not task.done(), "answered before it was whole"
        late.pause = False
        await task
        assert await bench.transport.read32(Register.PROGRAM_BASE) == value

    rng = random.Random(5)
    channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    for number, channel in enumerate(channels):
        channel.set_pause_generator(pauses(number, 0.5))
    registers = bytearray((await master.read(0, CONTROL_BYTES)).data)
    assert int.from_bytes(registers[Register.ID : Register.ID + 4], "little") == ID_VALUE
    ranges = ((Register.PROGRAM_BASE, Register.CYCLES_LOW), (Register.ACTIVE_CORES_LOW, CONTROL_BYTES))
    for _ in range(40):
        first, end = rng.choice(ranges)
        at = rng.randrange(first, end)
        data = rng.randbytes(rng.randint(1, min(9, end - at)))
        assert (await master.write(at, data)).resp == AxiResp.OKAY
        registers[at : at + len(data)] = data
        at = rng.randrange(first, end)
        size = rng.randint(1, end - at)
        answer = await master.read(at, size)
        assert (answer.resp, answer.data) == (AxiResp.OKAY, bytes(registers[at : at + size]))

    for address in (CONTROL_BYTES, 0x3C, 0x80, 0x1000, 0x8010, 0xFFFC):
        assert (await master.write(address, b"\xff" * 4)).resp == AxiResp.SLVERR
        answer = await master.read(address, 4)
        assert (answer.resp, answer.data) == (AxiResp.SLVERR, bytes(4))
    assert (await master.write(Register.ID, bytes(4))).resp == AxiResp.OKAY  # read-only: no effect
    # CONTROL with its byte not enabled commands nothing.
    assert (await master.write(Register.CONTROL + 1, bytes([Control.START] * 3))).resp == AxiResp.OKAY
    assert Status(await bench.transport.read32(Register.STATUS)) == Status(0)
    reads = [cocotb.start_soon(master.read(Register.ID, 4)) for _ in range(6)]
    writes = [cocotb.start_soon(master.write(Register.WATCHDOG, bytes([n] * 4))) for n in range(6)]
    for task in reads:
        assert int.from_bytes((await task).data, "little") == ID_VALUE
    for task in writes:
        assert (await task).resp == AxiResp.OKAY
    registers[Register.WATCHDOG : Register.WATCHDOG + 4] = bytes([5] * 4)
    assert (await master.read(0, CONTROL_BYTES)).data == bytes(registers)
    bench.transport.check()
