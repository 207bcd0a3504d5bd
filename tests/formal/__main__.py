"""All proofs as one table; exit status 1 if one fails.

python -m tests.formal Fifo Store
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.formal.equality import EQUALITIES, check_equality
from tests.formal.proofs import PROOFS
from tests.formal.prover import check


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.formal", description=__doc__)
    known = "; ".join(proof.block for proof in (*PROOFS, *EQUALITIES))
    parser.add_argument("block", nargs="*", help=f"only blocks with this in their name (default: all): {known}")
    blocks = parser.parse_args(arguments).block

    def chosen(block: str) -> bool:
        return not blocks or any(name in block for name in blocks)

    proofs = [proof for proof in PROOFS if chosen(proof.block)]
    equalities = [equality for equality in EQUALITIES if chosen(equality.block)]
    if not proofs and not equalities:
        parser.error(f"no block is named like {' or '.join(blocks)}; blocks: {known}")
    begin = time.monotonic()
    table = Table("block", "property", "method", "s", "result", "seeded bugs found")
    passed = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [check(proof, pool) for proof in proofs] + [check_equality(one, pool) for one in equalities]
        for collect in track(pending, "proofs", console=Console(stderr=True), transient=True):
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
    print(f"{len(pending)} proofs: {'all hold' if passed else 'NOT ALL HOLD'}; {time.monotonic() - begin:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
