"""A block as one flat netlist that holds all its mutants, chosen by the input ``mutsel`` (0: none).

Two kinds of mutants: those of yosys `mutate` (a bit of a cell's port inverted, stuck at 0 or 1, or gated by
its neighbour), and operator swaps of whole word-level cells, which no mode of `mutate` covers.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

import rtl
from rtl.lib.blackbox import ports_of
from tb.model.yosys import run_yosys

__all__ = [
    "ALLOWED",
    "CLOCK",
    "MUTSEL",
    "SWAPS",
    "TOP",
    "Contract",
    "Mutant",
    "MutatedNetlist",
    "PortOf",
    "fresh_bits",
    "make_cell",
    "mutated_netlist",
    "port_list",
]

TOP = "block"
CLOCK = "clk"
MUTSEL = "mutsel"
MUTSEL_BITS = 16
OUTSIDE = "outside_of_this_block"
"""Submodules below an instance of this name are blocks with a bench of their own; they stay as they are."""

ALLOWED = "allowed"
"""Port that says whether the contract allows this cycle's inputs."""

SWAPS = {
    "$add": "$sub",
    "$sub": "$add",
    "$lt": "$le",
    "$le": "$lt",
    "$gt": "$ge",
    "$ge": "$gt",
    "$eq": "$ne",
    "$ne": "$eq",
    "$and": "$or",
    "$or": "$and",
    "$xor": "$or",
    "$reduce_or": "$reduce_and",
    "$reduce_bool": "$reduce_and",
    "$reduce_and": "$reduce_or",
}
"""Cells of the netlist, and those that take their place in a mutant."""


@dataclass(frozen=True)
class Mutant:
    """A fault: its value of ``mutsel`` and what it does."""

    number: int
    text: str


@dataclass(frozen=True)
class PortOf:
    """A port of the flat netlist and the member of the component that it stands for."""

    name: str
    member: str
    bits: int
    is_input: bool


@dataclass(frozen=True)
class Contract:
    """What a component says of its ports, watched by logic beside it."""

    text: str
    """Where it says so, or why it is so."""
    means: Callable[[Module, Any], dict[str, Value]] = lambda m, dut: {}
    """By member that is an output: while it means something."""
    allows: Callable[[Module, Any], Value] | None = None
    """Whether this cycle's inputs are allowed."""


@dataclass(frozen=True)
class MutatedNetlist:
    """What `mutated_netlist` wrote."""

    directory: Path
    ports: tuple[PortOf, ...]
    mutants: tuple[Mutant, ...]
    candidates: int
    """Cells of the block that could be mutated."""
    contract: str | None = None
    watched: tuple[PortOf, ...] = ()
    """Outputs of the contract's own logic: by member, while it means something; `ALLOWED`."""

    @property
    def verilog(self) -> Path:
        return self.directory / "mutants.v"

    @property
    def design(self) -> Path:
        """The same netlist for yosys."""
        return self.directory / "mutants.json"


def port_list(component: wiring.Component) -> tuple[PortOf, ...]:
    """Ports under plain names, because Verilator encodes double underscores."""
    return tuple(
        PortOf(f"p{index}", member, len(value), direction is PortDirection.Input)
        for index, (member, (value, direction)) in enumerate(ports_of(component).items())
    )


class _WithoutReset(Elaboratable):
    """The block, and what watches its contract. Unit benches never reset it: registers start with their initial
    values."""

    def __init__(self, component: wiring.Component, watch: Module) -> None:
        self._component = component
        self._watch = watch
        self.domain = ClockDomain("sync", reset_less=True)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = self.domain
        m.submodules.dut = self._component
        m.submodules[OUTSIDE] = self._watch
        return m


def _watched(contract: Contract | None, component: wiring.Component, watch: Module) -> dict[PortOf, Signal]:
    """Outputs for what a contract says, and the logic that drives them."""
    if contract is None:
        return {}
    said = {
        PortOf(f"means{index}", member, 1, is_input=False): value
        for index, (member, value) in enumerate(contract.means(watch, component).items())
    }
    if contract.allows:
        said[PortOf(ALLOWED, ALLOWED, 1, is_input=False)] = contract.allows(watch, component)
    signals = {port: Signal(name=port.name) for port in said}
    watch.d.comb += [signal.eq(said[port]) for port, signal in signals.items()]
    return signals


@contextmanager
def _left_out(classes: Sequence[type]) -> Iterator[None]:
    """Within it, instances of these classes are elaborated one level deeper, below a submodule named `OUTSIDE`."""

    def deeper(original: Any) -> Any:
        def elaborate(self: Any, platform: Any) -> Module:
            m = Module()
            m.submodules[OUTSIDE] = original(self, platform)
            return m

        return elaborate

    originals = {cls: cls.elaborate for cls in classes}
    try:
        for cls, original in originals.items():
            cls.elaborate = deeper(original)
        yield
    finally:
        for cls, original in originals.items():
            cls.elaborate = original


def mutated_netlist(
    component: wiring.Component,
    directory: Path,
    *,
    mutants: int,
    seed: int,
    leave_out: Sequence[type] = (),
    contract: Contract | None = None,
    body: str | None = None,
) -> MutatedNetlist:
    """Write ``mutants.v`` and ``mutants.json`` of a component into a directory.

    ``mutants`` is how many to draw; a third of them are operator swaps, as far as there are operators. Submodules
    of a class in ``leave_out`` are not mutated. ``body`` is the Verilog file that the component has on a chip.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ports = port_list(component)
    bound = {port.name: entry for port, entry in zip(ports, ports_of(component).values(), strict=True)}
    watch = Module()
    watched = _watched(contract, component, watch)
    bound |= {port.name: (signal, PortDirection.Output) for port, signal in watched.items()}
    wrapped = _WithoutReset(component, watch)
    bound[CLOCK] = (wrapped.domain.clk, PortDirection.Input)
    with _left_out(leave_out):
        text = rtlil.convert(wrapped, name=TOP, ports=bound, emit_src=False, platform=body)
    (directory / "block.il").write_text(text)
    if body:
        shutil.copy(Path(rtl.__file__).parent / "verilog" / body, directory / "body.v")
    run_yosys(
        [
            "read_rtlil block.il",
            *(["read_verilog -defer body.v"] if body else []),
            f"hierarchy -check -top {TOP}",
            "proc",
            "flatten",
            "opt_expr",
            "opt_clean",
            "memory_collect",
            "opt_clean -purge",
            "write_json flat.json",
        ],
        directory,
        name="flatten",
    )
    design = json.loads((directory / "flat.json").read_text())
    cells = design["modules"][TOP]["cells"]
    own = sorted(name for name in cells if OUTSIDE not in name)
    rng = random.Random(seed)
    swappable = [name for name in own if cells[name]["type"] in SWAPS]
    swapped = sorted(rng.sample(swappable, min(mutants // 3, len(swappable))))
    wanted = mutants - len(swapped)
    listed = _draw(directory, wanted, seed, cells)
    found = [Mutant(number, _describe(line)) for number, line in enumerate(listed, 1)]
    for number, name in enumerate(swapped, len(found) + 1):
        found.append(Mutant(number, _swap(design["modules"][TOP], name, number)))
    (directory / "swapped.json").write_text(json.dumps(design))
    control = [f"{line} -ctrl {MUTSEL} {MUTSEL_BITS} {number}" for number, line in enumerate(listed, 1)]
    run_yosys(
        [
            "read_json swapped.json",
            *control,
            "opt_clean",
            "write_json mutants.json",
            "write_verilog -noattr mutants.v",
        ],
        directory,
        name="mutate",
    )
    text = contract.text if contract else None
    return MutatedNetlist(directory, ports, tuple(found), len(own), text, tuple(watched))


_CLOCKED = ("RD_CLK", "RD_EN", "RD_ARST", "RD_SRST")
"""Ports of a memory that yosys wants constant where it reads without a clock."""


def _draw(directory: Path, count: int, seed: int, cells: Mapping[str, Any]) -> list[str]:
    """Lines of `mutate -list`. Outputs of registers are left out, because `mutate` would leave the initial value
    on the far side of the fault; their inputs stand for them."""
    run_yosys(
        [
            "read_json flat.json",
            f"select {TOP}/c:* {TOP}/c:*{OUTSIDE}* %d",
            f"mutate -list {3 * count} -seed {seed} -o mutations.txt",
        ],
        directory,
        name="draw",
    )
    lines = (directory / "mutations.txt").read_text().splitlines()
    usable = [line for line in lines if "-port Q " not in line and not _of_no_clock(line, cells)]
    return random.Random(seed).sample(usable, min(count, len(usable)))


def _of_no_clock(line: str, cells: Mapping[str, Any]) -> bool:
    value = dict(re.findall(r"-(\w+) (\S+)", line))
    return (
        value.get("port", "").lstrip("\\") in _CLOCKED
        and "1" not in cells[value["cell"].lstrip("\\")]["parameters"]["RD_CLK_ENABLE"]
    )


def _describe(line: str) -> str:
    """`inv $add A[3]` and so on, with the wire it drives."""
    value = dict(re.findall(r"-(\w+) (\S+)", line))
    text = f"{value['mode']} {value['cell'].lstrip(chr(92))} {value['port'].lstrip(chr(92))}[{value['portbit']}]"
    if "wire" in value:
        text += f" ({value['wire'].lstrip(chr(92))}[{value['wirebit']}])"
    return text


def _swap(module: dict[str, Any], name: str, number: int) -> str:
    """Put ``SWAPS`` of a cell beside it, and a multiplexer behind both; the result describes it."""
    cell = module["cells"][name]
    select = _mutsel(module)
    first, second, chosen = (fresh_bits(module, n) for n in (*(2 * (len(cell["connections"]["Y"]),)), 1))
    result = cell["connections"]["Y"]
    cell["connections"]["Y"] = first
    kind, other = cell["type"], SWAPS[cell["type"]]
    added = {
        f"{name}_swapped": make_cell(
            other, cell["parameters"], cell["port_directions"], cell["connections"] | {"Y": second}
        ),
        f"{name}_chosen": make_cell(
            "$eq",
            {"A_SIGNED": 0, "B_SIGNED": 0, "A_WIDTH": MUTSEL_BITS, "B_WIDTH": MUTSEL_BITS, "Y_WIDTH": 1},
            {"A": "input", "B": "input", "Y": "output"},
            {"A": select, "B": [str(number >> bit & 1) for bit in range(MUTSEL_BITS)], "Y": chosen},
        ),
        f"{name}_either": make_cell(
            "$mux",
            {"WIDTH": len(result)},
            {"A": "input", "B": "input", "S": "input", "Y": "output"},
            {"A": first, "B": second, "S": chosen, "Y": result},
        ),
    }
    module["cells"] |= added
    return f"{kind} -> {other} {name.lstrip(chr(92))}"


def make_cell(kind: str, parameters: dict[str, Any], directions: dict[str, str], connections: dict[str, Any]) -> dict:
    """A cell in yosys' JSON."""
    bits = {key: f"{value:032b}" if isinstance(value, int) else value for key, value in parameters.items()}
    return {
        "hide_name": 0,
        "type": kind,
        "parameters": bits,
        "attributes": {},
        "port_directions": directions,
        "connections": connections,
    }


def fresh_bits(module: dict[str, Any], count: int) -> list[int]:
    """Numbers of new nets of a module in yosys' JSON."""
    if "next_bit" not in module:
        known = [bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)]
        wired = [
            bit
            for cell in module["cells"].values()
            for bits in cell["connections"].values()
            for bit in bits
            if isinstance(bit, int)
        ]
        module["next_bit"] = 1 + max(known + wired)
    first = module["next_bit"]
    module["next_bit"] += count
    return list(range(first, first + count))


def _mutsel(module: dict[str, Any]) -> list[int]:
    if MUTSEL not in module["ports"]:
        bits = fresh_bits(module, MUTSEL_BITS)
        module["ports"][MUTSEL] = {"direction": "input", "bits": bits}
        module["netnames"][MUTSEL] = {"hide_name": 0, "bits": bits, "attributes": {}}
    return module["ports"][MUTSEL]["bits"]
