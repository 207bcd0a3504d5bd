"""The page of the instruction set is that of the contract."""

import re
from pathlib import Path

import pytest

from rtl.contract.codec import fields_of
from rtl.contract.isa import LAYOUTS, Opcode
from rtl.contract.page import main, page

PAGE = Path(__file__).parents[4] / "docs" / "instructions.md"


def test_the_page_in_docs_is_the_one_that_is_written() -> None:
    assert PAGE.read_text() == page(), "run `make instructions`"


@pytest.mark.parametrize("opcode", list(LAYOUTS))
def test_every_field_stands_at_its_bits(opcode: Opcode) -> None:
    text = page()
    for name, (low, width, _) in fields_of(opcode).items():
        if name != "reserved":
            bits = f"{low + width - 1}:{low}" if width > 1 else f"{low}"
            assert re.search(rf"^\| `{name}` \| {bits} \|", text, re.MULTILINE), name


def test_every_instruction_is_explained() -> None:
    for opcode in LAYOUTS:
        _, _, section = page().partition(f"### {opcode.name} ({int(opcode)})\n\n")
        assert re.match(r"[A-Z(]", section), opcode.name
        assert len(section.partition("\n\n")[0]) > 20


def test_a_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == page()
    with pytest.raises(SystemExit):
        main([])
    assert "usage" in capsys.readouterr().err
