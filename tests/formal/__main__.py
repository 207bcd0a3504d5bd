"""``python -m tests.formal [block ...]``: all proofs as one table; exit status 1 if one fails."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from tests.formal.proofs import PROOFS
from tests.formal.prover import check


def main(blocks: list[str]) -> int:
    chosen = [proof for proof in PROOFS if not blocks or any(name in proof.block for name in blocks)]
    if not chosen:
        print(f"no block is named like {' or '.join(blocks)}; blocks: {', '.join(proof.block for proof in PROOFS)}")
        return 2
    begin = time.monotonic()
    table = Table("block", "property", "method", "s", "result", "seeded bugs found")
    passed = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [check(proof, pool) for proof in chosen]
        for collect in pending:
            for line in collect():
                passed &= line.passed
                if line.kind == "cover":
                    result, bugs = "reached" if line.holds else "NOT REACHED", ""
                else:
                    result, bugs = "holds" if line.holds else "FAILS", f"{line.bugs_found} of {line.bugs}"
                name = f"({line.name})" if line.kind == "cover" else line.name
                table.add_row(line.block, name, line.method, f"{line.seconds:.0f}", result, bugs)
            table.add_section()
    Console(width=None if sys.stdout.isatty() else 190).print(table)
    print(f"{'all hold' if passed else 'NOT ALL HOLD'}; {time.monotonic() - begin:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
