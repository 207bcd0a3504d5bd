"""The inventory of a chip: what its Verilog has, beside what its parameters say it must have."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rtl.contract.params import ChipParams
from rtl.emit import emit
from tb.structure.block import Block
from tb.structure.expected import expected_chip
from tb.structure.netlist import Fault, Netlist, read_netlist
from tb.structure.waivers import all_waivers, unexplained

__all__ = ["Inventory", "Row", "compare", "print_inventory", "take_inventory"]

_BIT = re.compile(r"\[\d+\]$")


@dataclass
class Row:
    """All instances of one kind of block below one shared module."""

    module: str
    kind: str
    expected_instances: int = 0
    instances: int = 0
    ports: int = 0
    expected_flipflops: int = 0
    flipflops: int = 0
    expected_memory: int = 0
    memory: int = 0

    @property
    def agrees(self) -> bool:
        expected = (self.expected_instances, self.expected_flipflops, self.expected_memory)
        return expected == (self.instances, self.flipflops, self.memory)


@dataclass
class Inventory:
    """What was found. `differences` and `faults` are empty for a chip as it should be."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Without a written reason."""
    explained: list[Fault] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.differences and not self.faults


def take_inventory(chip: ChipParams) -> Inventory:
    """Emit a chip, read its Verilog back and compare.

    Raises
    ------
    ToolError
        If yosys is missing or refuses the Verilog.
    """
    with tempfile.TemporaryDirectory(prefix="systomesh-inventory-") as name:
        emitted = emit(chip, Path(name))
        return compare(expected_chip(chip), read_netlist(emitted.files, emitted.top, Path(name)))


def compare(expected: Block, netlist: Netlist) -> Inventory:
    """Compare a netlist with the tree that it should be."""
    inventory = Inventory()
    assert expected.module is not None
    if expected.module in netlist.modules:
        _compare(inventory, netlist, expected, expected.module, expected.module, expected.module)
    else:
        inventory.differences.append(f"no module {expected.module}")
    inventory.differences = list(dict.fromkeys(inventory.differences))
    inventory.faults = unexplained(netlist.faults)
    inventory.explained = sorted(set(netlist.faults) - set(inventory.faults))
    return inventory


def _compare(inventory: Inventory, netlist: Netlist, block: Block, module: str, shared: str, path: str) -> None:
    """Compare one instance, found as ``module`` at ``path``, and what is inside; ``shared`` is the row's module."""
    if block.module is not None and not block.parameters:
        shared = block.module
    row = inventory.rows.setdefault((shared, block.kind), Row(shared, block.kind))
    found = netlist.modules[module]
    state = module
    if block.parameters:
        values = ",".join(f"{name}={value}" for name, value in sorted(block.parameters.items()))
        state = f"{module}({values})"
    flipflops, memory = netlist.flipflops.get(state, 0), netlist.memory.get(state, 0)
    row.expected_instances += 1
    row.instances += 1
    row.expected_flipflops += block.flipflops
    row.flipflops += flipflops
    row.expected_memory += block.memory
    row.memory += memory
    row.ports = len(found.ports)
    if (flipflops, memory) != (block.flipflops, block.memory):
        inventory.differences.append(
            f"{path}: {flipflops} flip-flops and {memory} memory bits; "
            f"the parameters say {block.flipflops} and {block.memory}"
        )
    if block.ports is not None:
        inventory.differences += _port_differences(block, module, found.ports)
    for name in sorted(found.instances.keys() - block.inside.keys()):
        inventory.differences.append(f"{path}.{name}: an instance too many, of {found.instances[name].module}")
    for name, inner in block.inside.items():
        instance = found.instances.get(name)
        inner_shared = inner.module if inner.module and not inner.parameters else shared
        if instance is None or (inner.module is not None and instance.module != inner.module):
            missing = inventory.rows.setdefault((inner_shared, inner.kind), Row(inner_shared, inner.kind))
            missing.expected_instances += 1
            missing.expected_flipflops += inner.flipflops
            missing.expected_memory += inner.memory
            what = "is missing" if instance is None else f"is a {instance.module}, not a {inner.module}"
            inventory.differences.append(f"{path}.{name} {what}")
            continue
        if inner.parameters and dict(instance.parameters) != dict(inner.parameters):
            inventory.differences.append(
                f"{path}.{name}: parameters {dict(instance.parameters)}; expected {dict(inner.parameters)}"
            )
            continue
        _compare(inventory, netlist, inner, instance.module, shared, f"{path}.{name}")


def _port_differences(block: Block, module: str, found: object) -> list[str]:
    assert block.ports is not None
    assert isinstance(found, dict)
    differences = []
    for name in sorted(block.ports.keys() | found.keys()):
        expected, real = block.ports.get(name), found.get(name)
        if expected != real:
            texts = [f"{width} bits {direction}" if width else "none" for direction, width in
                     (real or ("", 0), expected or ("", 0))]  # fmt: skip
            differences.append(f"port {name} of {module}: {texts[0]}; the parameters say {texts[1]}")
    return differences


def print_inventory(inventory: Inventory, console: Console) -> None:
    """Print it as a table, with what differs below."""
    table = Table(title="structure read back from the Verilog (expected, where it differs)")
    for column in ("module", "block", "instances", "ports", "flip-flop bits", "memory bits", ""):
        table.add_column(column, justify="left" if column in ("module", "block", "") else "right")
    module = ""
    for row in inventory.rows.values():
        table.add_row(
            row.module.removeprefix("systomesh_") if row.module != module else "",
            row.kind,
            _beside(row.instances, row.expected_instances),
            f"{row.ports:,}",
            _beside(row.flipflops, row.expected_flipflops),
            _beside(row.memory, row.expected_memory),
            "[green]equal[/]" if row.agrees else "[red]differs[/]",
        )
        module = row.module
    rows = inventory.rows.values()
    table.add_section()
    table.add_row(
        "all",
        "",
        _beside(sum(r.instances for r in rows), sum(r.expected_instances for r in rows)),
        "",
        _beside(sum(r.flipflops for r in rows), sum(r.expected_flipflops for r in rows)),
        _beside(sum(r.memory for r in rows), sum(r.expected_memory for r in rows)),
        "[green]equal[/]" if all(row.agrees for row in rows) else "[red]differs[/]",
    )
    console.print(table)
    console.print(f"no latch, no loop, no undriven bit; {len(inventory.explained)} unused bits, each with a reason:"
                  if not inventory.faults else "faults without a reason:")  # fmt: skip
    for line in _summary(inventory.faults) if inventory.faults else _reasons(inventory.explained):
        console.print(f"  {line}", markup=False, highlight=False)
    for difference in inventory.differences:
        console.print(difference, style="red", markup=False, highlight=False)


def _beside(found: int, expected: int) -> str:
    return f"{found:,}" if found == expected else f"[red]{found:,} ({expected:,})[/]"


def _summary(faults: Sequence[Fault]) -> list[str]:
    """Faults with the bits of a name put together."""
    counts: dict[str, int] = {}
    for fault in faults:
        text = f"{fault.kind}: {_BIT.sub('', fault.name)} in {fault.module}"
        counts[text] = counts.get(text, 0) + 1
    return [f"{text} ({count} bits)" if count > 1 else text for text, count in counts.items()]


def _reasons(faults: Sequence[Fault]) -> list[str]:
    counts = {waiver.reason: sum(waiver.covers(fault) for fault in faults) for waiver in all_waivers()}
    return [f"{count:>5}  {reason}" for reason, count in counts.items() if count]
