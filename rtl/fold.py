r"""Folding of next-state processes into the clocked processes that they feed.

Amaranth's Verilog describes a register by two processes, one for its next state and a clocked one:

    always @* begin                       always @(posedge clk) begin
      \$35 = psum;                          if (enable) begin
      if (enable) begin                       psum <= sum;
        \$35 = sum;              ->         end
      end                                 end
    end
    always @(posedge clk)
      psum <= \$35;

In the first form simulators compute, copy and store every register in every cycle, whether it is enabled or not; in
the second, one that is not enabled costs a test. To synthesis both are the same register (tests/formal proves it,
module by module).
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["fold_registers"]

_IDENTIFIER = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(r"^module .*?^endmodule\n", re.MULTILINE | re.DOTALL)
_CLOCKED = re.compile(rf"^  always @\(posedge ({_IDENTIFIER})\)\n    ({_IDENTIFIER}) <= (\\\$\d+) ;\n", re.MULTILINE)
_PROCESS = re.compile(r"^  always @\* begin\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_TEMPORARY = re.compile(r"\\\$\d+(?= )")
_GUARD = re.compile(r"    if \((\\\S+) \) begin end\n")
"""What yosys puts into a process so that simulators run it at time 0."""
_GUARD_DECLARATION = re.compile(r"^  reg (\\\$auto\$\S+)  = 0;\n", re.MULTILINE)
_DECLARATION = re.compile(r"^  reg (?:\[[\d:]+\] )?(\\\$\d+) ;\n", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^( +)(\\\$\d+) (?:(\[[\d:]+\]) )? ?= (.*);\n$")
_CONTROL = re.compile(
    r"""\ +(?:
        if\ \(.*\)\ begin | end | end\ else\ begin | end\ else\ if\ \(.*\)\ begin
        | (?:\(\*.*\*\)\ )?casez?\ \(.*\) | \(\*.*\*\) | endcase
        | [^=;]+: | /\*\ empty\ \*/; | begin
    )\n""",
    re.VERBOSE,
)


def fold_registers(verilog: str) -> str:
    """The same modules, with each register that has a next-state process of its own in one clocked process.

    A process is folded where all its assignments are to one temporary, which it does not read itself, and which only
    one clocked process reads; everything else stays as it is.
    """
    return _MODULE.sub(lambda match: _fold_module(match[0]), verilog)


def _fold_module(text: str) -> str:
    uses = Counter(_TEMPORARY.findall(text))
    clocked = {match[3]: (match[1], match[2]) for match in _CLOCKED.finditer(text)}
    folded: set[str] = set()

    def fold(match: re.Match[str]) -> str:
        lines = match[1].splitlines(keepends=True)
        assigned = [_ASSIGNMENT.match(line) for line in lines]
        targets = {found[2] for found in assigned if found}
        if len(targets) != 1 or (temporary := targets.pop()) not in clocked:
            return match[0]
        others = [line for line, found in zip(lines, assigned, strict=True) if not found]
        if not all(_GUARD.fullmatch(line) or _CONTROL.fullmatch(line) for line in others):
            return match[0]
        # Declared once, read once by the clocked process; everything else must be an assignment to it.
        if uses[temporary] != 2 + sum(found is not None for found in assigned):
            return match[0]
        clock, register = clocked[temporary]
        body = []
        for line, found in zip(lines, assigned, strict=True):
            if found:
                if not (found[4] == register and not found[3] and not body):  # else it holds, as registers do
                    target = f"{register} {found[3]}" if found[3] else register
                    body.append(f"{found[1]}{target} <= {found[4]};\n")
            elif not _GUARD.fullmatch(line):
                body.append(line)
        folded.add(temporary)
        return f"  always @(posedge {clock}) begin\n{''.join(body)}  end\n"

    text = _PROCESS.sub(fold, text)
    text = _CLOCKED.sub(lambda match: "" if match[3] in folded else match[0], text)
    text = _DECLARATION.sub(lambda match: "" if match[1] in folded else match[0], text)
    return _GUARD_DECLARATION.sub(lambda match: match[0] if f"({match[1]} )" in text else "", text)
