"""Is a mutant that no test noticed any different from the block? yosys decides.

Two copies of the netlist, one without and one with the mutant, get the same inputs, any inputs at all. Of an
interface with a `valid`, the other outputs are compared while it is high: else they mean nothing.

`EQUAL`
    Every pair of registers and outputs is equal one cycle after all pairs of registers were. Both copies start
    from the same initial values, so they stay equal for ever.
`DIFFERENT`
    SAT found inputs after which an output differs.
`BOUNDED`
    SAT found none in the first `Judgement.cycles` cycles; what lies behind them is open.
`UNDECIDED`
    Not even one cycle in the time allowed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tb.errors import ToolError
from tb.yosys import YosysTimeoutError, run_yosys
from tests.mutation.netlist import MUTSEL, TOP, MutatedNetlist, PortOf, fresh_bits, make_cell

__all__ = ["Judgement", "Verdict", "judge"]

_UNPROVEN = "Unproven $equiv"


class Verdict(Enum):
    EQUAL = "equivalent"
    DIFFERENT = "different"
    BOUNDED = "not told apart"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    cycles: int = 0
    """DIFFERENT: of the shortest search that tells them apart; BOUNDED: in which they are equal."""

    def __str__(self) -> str:
        match self.verdict:
            case Verdict.BOUNDED:
                return f"not told apart in {self.cycles} cycles"
            case Verdict.DIFFERENT:
                return f"different within {self.cycles} cycles"
            case _:
                return self.verdict.value


def judge(
    netlist: MutatedNetlist,
    number: int,
    directory: Path,
    *,
    cycles: tuple[int, ...] = (2, 5, 12),
    timeout_s: float = 60,
) -> Judgement:
    """Compare a mutant with the block; see the module for what is claimed. ``timeout_s`` is for each step."""
    directory.mkdir(parents=True, exist_ok=True)
    design = _with_matched_registers(netlist, directory)
    _hide_what_is_not_valid(design["modules"][TOP], netlist.ports)
    for name, value in (("gold", 0), ("gate", number)):
        (directory / f"{name}.json").write_text(json.dumps(_chosen(design, name, value)))
    # Memories and what was read from them start as zero, as in simulation; a value left open would differ by itself.
    prepared = [
        "read_json gold.json",
        "read_json gate.json",
        "opt_expr",
        "opt_clean",
        "setundef -init -zero",
        "opt_expr",
        "opt_clean",
    ]
    induction = ["equiv_make gold gate equal", "hierarchy -top equal", "equiv_struct", "equiv_simple -seq 1"]
    try:
        log = run_yosys(
            [*prepared, *induction, "equiv_status -assert"], directory, name="induction", timeout_s=timeout_s
        )
        if _UNPROVEN not in log:
            return Judgement(Verdict.EQUAL)
    except YosysTimeoutError:
        pass
    except ToolError as error:
        if "equiv" not in str(error):
            raise
    equal = 0
    for depth in cycles:
        search = [
            "miter -equiv -flatten -make_outputs gold gate miter",
            "hierarchy -top miter",
            f"sat -seq {depth} -prove trigger 0 miter",
        ]
        try:
            log = run_yosys([*prepared, *search], directory, name=f"search{depth}", timeout_s=timeout_s)
        except YosysTimeoutError:
            break
        if "proof finished - no model found: SUCCESS!" not in log:
            return Judgement(Verdict.DIFFERENT, depth)
        equal = depth
    return Judgement(Verdict.BOUNDED, equal) if equal else Judgement(Verdict.UNDECIDED)


def _with_matched_registers(netlist: MutatedNetlist, directory: Path) -> dict[str, Any]:
    """The design with its memories as registers, and no names but those of ports and registers.

    yosys matches what has the same name in both copies, and then demands that it is equal. So each register gets a
    name, the words of memories too, and wires between registers lose theirs: a mutant may change them where
    nobody looks.
    """
    shutil.copyfile(netlist.design, directory / "mutants.json")
    run_yosys(["read_json mutants.json", "memory_map", "opt_clean", "write_json mapped.json"], directory, name="map")
    design = json.loads((directory / "mapped.json").read_text())
    module = design["modules"][TOP]
    nets = {}
    for index, (name, net) in enumerate(module["netnames"].items()):
        known = name in module["ports"]
        nets[name if known else f"$wire{index}"] = net if known else net | {"hide_name": 1}
    registers = [cell for cell in module["cells"].values() if "Q" in cell["connections"]]
    for index, cell in enumerate(registers):
        nets[f"register{index}"] = {"hide_name": 0, "bits": cell["connections"]["Q"], "attributes": {}}
    module["netnames"] = nets
    return design


def _hide_what_is_not_valid(module: dict[str, Any], ports: Sequence[PortOf]) -> None:
    """Make the outputs beside an output `valid` zero while that is low."""
    outputs = {port.member: port for port in ports if not port.is_input and port.bits}
    for member, port in outputs.items():
        valid = outputs.get(f"{member.rpartition('__')[0]}__valid")
        if valid is None or valid is port:
            continue
        shown, raw = fresh_bits(module, port.bits), module["ports"][port.name]["bits"]
        gate = module["ports"][valid.name]["bits"] * port.bits
        sizes = {"A_SIGNED": 0, "B_SIGNED": 0, **dict.fromkeys(("A_WIDTH", "B_WIDTH", "Y_WIDTH"), port.bits)}
        ends = {"A": raw, "B": gate, "Y": shown}
        directions = {"A": "input", "B": "input", "Y": "output"}
        module["cells"][f"{port.name}_if_valid"] = make_cell("$and", sizes, directions, ends)
        module["ports"][port.name]["bits"] = module["netnames"][port.name]["bits"] = shown


def _chosen(design: dict[str, Any], name: str, number: int) -> dict[str, Any]:
    """The design as module ``name`` with constant ``mutsel``."""
    module = json.loads(json.dumps(design["modules"][TOP]))
    bits = {bit: str(number >> place & 1) for place, bit in enumerate(module["ports"].pop(MUTSEL)["bits"])}
    del module["netnames"][MUTSEL]
    for cell in module["cells"].values():
        for port, connection in cell["connections"].items():
            cell["connections"][port] = [bits.get(bit, bit) for bit in connection]
    return {"creator": "systomesh", "modules": {name: module}}
