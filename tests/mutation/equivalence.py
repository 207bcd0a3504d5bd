"""Is a mutant that no test noticed any different from the block? yosys decides.

Two copies of the netlist, one without and one with the mutant, get the same inputs, any inputs at all.

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
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tb.errors import ToolError
from tb.yosys import YosysTimeoutError, run_yosys
from tests.mutation.netlist import MUTSEL, TOP, MutatedNetlist

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
    design = json.loads(netlist.design.read_text())
    for name, value in (("gold", 0), ("gate", number)):
        (directory / f"{name}.json").write_text(json.dumps(_chosen(design, name, value)))
    # Memories and what was read from them start as zero, as in simulation; a value left open would differ by itself.
    prepared = [
        "read_json gold.json",
        "read_json gate.json",
        "opt_expr",
        "opt_clean",
        "memory_map",
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


def _chosen(design: dict[str, Any], name: str, number: int) -> dict[str, Any]:
    """The design as module ``name`` with constant ``mutsel``."""
    module = json.loads(json.dumps(design["modules"][TOP]))
    bits = {bit: str(number >> place & 1) for place, bit in enumerate(module["ports"].pop(MUTSEL)["bits"])}
    del module["netnames"][MUTSEL]
    for cell in module["cells"].values():
        for port, connection in cell["connections"].items():
            cell["connections"][port] = [bits.get(bit, bit) for bit in connection]
    return {"creator": "systomesh", "modules": {name: module}}
