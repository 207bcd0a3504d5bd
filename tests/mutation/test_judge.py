"""The judge of mutants, on a design whose mutants are known: some equal for reasons that need a proof, some not."""

import time
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, Signal, signed
from amaranth.hdl._ir import PortDirection
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.lib.blackbox import ports_of
from tb.model.yosys import run_yosys
from tests.mutation.circuit import Product, load_circuit
from tests.mutation.equivalence import Judge, Verdict
from tests.mutation.induction import candidates, proved
from tests.mutation.model import Model, build_library
from tests.mutation.netlist import CLOCK, MUTSEL, TOP, Contract, Mutant, MutatedNetlist, mutated_netlist, port_list
from tests.mutation.pair import Pair
from tests.mutation.search import search
from tests.mutation.simulation import Simulation, literals, values_of

EQUAL = {
    1: "data are kept also while `valid` is low",
    2: "a word is read that is not shown",
    3: "a factor is kept whose product is not shown",
    4: "a register that nobody looks at",
    5: "another way out of a state that is never reached",
    6: "of several bits the lowest counts, and the others are kept as well",
}
DIFFERENT = {
    11: "data are not kept",
    12: "the second of two codes in a row is taken for another: 16 bits that random inputs do not guess",
    13: "a word is written elsewhere",
    14: "the lowest bit of a factor is lost",
    15: "a register's clock stands still",
}
UNDECIDED = {16: "a register's clock is inverted"}
BOUNDED = {21: "after 200 cycles the counter jumps"}


class Sample(wiring.Component):
    """A stream's register, a lock, a memory, a multiplier and a counter, each with its mutants."""

    mutsel: In(16)
    i: In(stream.Signature(8))
    address: In(6)
    code: In(16)
    o: Out(stream.Signature(8))
    word: Out(stream.Signature(32))
    product: Out(stream.Signature(signed(16)))
    ring: Out(4)
    lowest: Out(3)
    opened: Out(1)
    late: Out(1)

    def elaborate(self, platform):
        m = Module()
        is_mutant = {n: self.mutsel == n for n in (*EQUAL, *DIFFERENT, *UNDECIDED, *BOUNDED)}
        m.d.comb += self.i.ready.eq(1)

        m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If((self.i.valid | is_mutant[1]) & ~is_mutant[11]):
            m.d.sync += self.o.payload.eq(self.i.payload)

        half = Signal()
        m.domains.clocked = clocked = ClockDomain(reset_less=True, local=True)
        m.d.comb += clocked.clk.eq((ClockSignal() & ~is_mutant[15]) ^ is_mutant[16])
        m.d.clocked += half.eq(self.code == 0x5A3C)
        m.d.sync += self.opened.eq(half & (self.code == Mux(is_mutant[12], 0xC3A6, 0xC3A5)))

        m.submodules.memory = memory = Memory(shape=32, depth=64, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address ^ (is_mutant[13] << 5)),
            write.en.eq(self.i.valid),
            write.data.eq(self.code),
            read.addr.eq(self.code),
            read.en.eq(~self.i.valid | is_mutant[2]),
            self.word.payload.eq(read.data),
        ]
        m.d.sync += self.word.valid.eq(~self.i.valid)

        left, right = Signal(signed(8)), Signal(signed(8))
        with m.If(self.i.valid):
            m.d.sync += [left.eq(self.i.payload & ~is_mutant[14]), right.eq(self.code)]
        with m.Elif(is_mutant[3]):
            m.d.sync += left.eq(self.code)
        m.d.comb += [self.product.valid.eq(self.o.valid), self.product.payload.eq(left * right)]

        ring = Signal(4, init=1)
        with m.If(self.i.valid):
            m.d.sync += ring.eq(ring.rotate_left(1))
        with m.If(is_mutant[5] & ring[0] & ring[1]):
            m.d.sync += ring.eq(0)
        m.d.comb += self.ring.eq(ring)

        lowest, several = Signal(8), Signal(8)
        bits = self.i.payload
        m.d.comb += several.eq(Mux(is_mutant[6], bits, bits & (~bits + 1)))
        with m.If(self.i.valid):
            m.d.sync += lowest.eq(several)
        with m.If(lowest[0]):
            m.d.comb += self.lowest.eq(0)
        for place in range(1, 8):
            with m.Elif(lowest[place]):
                m.d.comb += self.lowest.eq(place)

        unseen = Signal()
        m.d.sync += unseen.eq(unseen ^ is_mutant[4])
        counter = Signal(8)
        m.d.sync += counter.eq(counter + 1)
        m.d.comb += self.late.eq(counter[-1] & ~(is_mutant[21] & (counter > 200)))
        return m


@pytest.fixture(scope="module")
def netlist(tmp_path_factory) -> MutatedNetlist:
    directory = tmp_path_factory.mktemp("sample")
    sample = Sample()
    names = {port.member: MUTSEL if port.member == MUTSEL else port.name for port in port_list(sample)}
    bound = {names[member]: entry for member, entry in ports_of(sample).items()}
    m = Module()
    m.domains.sync = domain = ClockDomain(reset_less=True)
    m.submodules.sample = sample
    bound[CLOCK] = (domain.clk, PortDirection.Input)
    (directory / "block.il").write_text(rtlil.convert(m, name=TOP, ports=bound, emit_src=False))
    script = ["read_rtlil block.il", "proc", "flatten -noscopeinfo", "opt_expr", "memory_collect", "opt_clean -purge"]
    run_yosys([*script, "write_json mutants.json", "write_verilog -noattr mutants.v"], directory)
    mutants = tuple(Mutant(number, text) for number, text in (EQUAL | DIFFERENT | UNDECIDED | BOUNDED).items())
    return MutatedNetlist(directory, tuple(port for port in port_list(sample) if port.member != MUTSEL), mutants, 0)


@pytest.fixture(scope="module")
def judge(netlist) -> Judge:
    return Judge(netlist, netlist.directory / "judge")


@pytest.fixture(scope="module")
def pairs(netlist):
    circuit = load_circuit(netlist, netlist.directory / "pairs")
    return lambda number: Pair.of(circuit, number, netlist)


def port_of(netlist: MutatedNetlist, member: str) -> str:
    return next(port.name for port in netlist.ports if port.member == member)


def later() -> float:
    return time.process_time() + 60


def test_gates_memories_and_multipliers_do_what_the_compiled_netlist_does(netlist, pairs) -> None:
    circuit = pairs(0).circuit
    assert circuit.memories
    assert any(isinstance(step, Product) for step in circuit.steps)
    library = build_library(netlist)
    number = 14
    models = [Model(library, netlist.ports, mutant) for mutant in (0, number)]
    outputs = [port.name for port in netlist.ports if not port.is_input]
    simulation = Simulation(pairs(number), words=1, seed=5)
    lane = 9
    for values in simulation.run(80):
        driven = simulation.inputs_of(lane, simulation.driven())
        words = [driven[port.name] for port in netlist.ports if port.is_input]
        for copy, model in enumerate(models):
            expected = dict(zip(outputs, model.step(0, words), strict=True))
            for port, bits in circuit.outputs.items():
                found = values_of(values, literals(bits))[:, copy]
                assert sum((int(bit) >> lane & 1) << place for place, bit in enumerate(found)) == expected[port]
            model.step(1, words)


@pytest.mark.parametrize("number", EQUAL, ids=EQUAL.get)
def test_what_is_equal_for_ever_is_proved(judge, number) -> None:
    assert judge.judge(number).verdict is Verdict.EQUAL


@pytest.mark.parametrize("number", DIFFERENT, ids=DIFFERENT.get)
def test_what_is_different_is_shown(judge, number) -> None:
    assert judge.judge(number).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("number", BOUNDED, ids=BOUNDED.get)
def test_what_shows_late_is_not_taken_for_equal(judge, number) -> None:
    judgement = judge.judge(number, cycles=30)
    assert (judgement.verdict, judgement.cycles) == (Verdict.BOUNDED, 30)


@pytest.mark.parametrize("number", UNDECIDED, ids=UNDECIDED.get)
def test_what_the_judge_cannot_see_is_not_taken_for_equal(judge, number) -> None:
    assert judge.judge(number).verdict is Verdict.UNDECIDED


def test_a_search_finds_the_shortest_inputs(netlist, pairs) -> None:
    found = search(pairs(12), cycles=10, deadline=later())
    assert len(found.inputs) == 3
    code = port_of(netlist, "code")
    assert found.inputs[0][code] == 0x5A3C


def test_a_candidate_that_only_rare_inputs_refute_is_dropped(pairs) -> None:
    pair = pairs(12)
    kept = candidates(pair, 8)
    assert kept.equal >= pair.circuit.registers.keys(), "random inputs refute nothing"
    assert not proved(pair, kept, later())
    assert pair.circuit.registers.keys() - kept.equal


def test_a_condition_is_kept_that_makes_held_data_equal(netlist, pairs) -> None:
    pair = pairs(1)
    kept = candidates(pair, 8)
    assert proved(pair, kept, later())
    assert kept.guarded
    payload = port_of(netlist, "o__payload")
    (valid,) = {shown.means for shown in pair.shown if shown.port == payload}
    assert all((valid,) in conditions for conditions in kept.guarded.values())


def test_a_memory_that_is_written_differently_is_not_taken_for_equal(pairs) -> None:
    kept = candidates(pairs(13), 8)
    kept.memories.add(0)
    assert not proved(pairs(13), kept, later())
    assert not kept.memories


class Bits(wiring.Component):
    """The bits of a word, the lowest first; ``busy`` is a register of its own that says whether any is left."""

    load: In(1)
    i: In(4)
    busy: Out(1)
    o: Out(4)

    def elaborate(self, platform):
        m = Module()
        left, now = Signal(4), Signal(4)
        m.d.comb += [now.eq(Mux(self.load, self.i, left & (left - 1))), self.o.eq(Mux(self.busy, left & -left, 0))]
        m.d.sync += [left.eq(now), self.busy.eq(now.any())]
        return m


def test_a_flag_of_a_word_is_found_and_a_wrong_one_is_dropped(tmp_path) -> None:
    netlist = mutated_netlist(Bits(), tmp_path, mutants=24, seed=1)
    circuit = load_circuit(netlist, tmp_path / "judge")
    (left,) = circuit.words
    (busy,) = circuit.registers.keys() - {one >> 1 for one in left}
    right, wrong = ((2 * busy, *(one ^ 1 for one in bits)) for bits in (left, left[:3]))
    proofs = dict.fromkeys((False, True), 0)
    for mutant in netlist.mutants:
        pair = Pair.of(circuit, mutant.number, netlist)
        kept = candidates(pair, 0, flags=True)
        assert right in kept.flags
        assert wrong not in kept.flags, "random inputs refute it"
        kept.flags.add(wrong)
        equal = proved(pair, kept, later())
        assert right in kept.flags
        assert wrong not in kept.flags
        assert equal == (not search(pair, cycles=8, deadline=later()).inputs)
        proofs[equal] += 1
    assert all(proofs.values())


class Held(wiring.Component):
    """A word that is kept while ``enable`` is low."""

    enable: In(1)
    i: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.o.eq(self.i)
        return m


def _behind_enable(m: Module, dut: Held) -> dict[str, Signal]:
    enabled = Signal()
    m.d.sync += enabled.eq(dut.enable)
    return {"o": enabled}


@pytest.mark.parametrize(
    "contract",
    [Contract("o counts after enable", means=_behind_enable), Contract("always", allows=lambda m, dut: dut.enable)],
    ids=["of an output", "of the inputs"],
)
def test_a_contract_makes_equal_what_differs_only_without_it(tmp_path, contract) -> None:
    netlist = mutated_netlist(Held(), tmp_path, mutants=12, seed=1, contract=contract)
    circuit = load_circuit(netlist, tmp_path / "judge")

    def equal_mutants(*, contract: bool) -> set[int]:
        pairs = [Pair.of(circuit, mutant.number, netlist, contract=contract) for mutant in netlist.mutants]
        return {pair.number for pair in pairs if proved(pair, candidates(pair, 8), later())}

    equal = [equal_mutants(contract=contract) for contract in (False, True)]
    assert equal[False] < equal[True] < {mutant.number for mutant in netlist.mutants}
    for number in equal[True] - equal[False]:
        assert search(Pair.of(circuit, number, netlist), cycles=4, deadline=later()).inputs
        assert not search(Pair.of(circuit, number, netlist, contract=True), cycles=4, deadline=later()).inputs


def test_a_contract_is_named_where_it_was_presumed(netlist) -> None:
    judge = Judge(replace(netlist, contract="nobody waits"), netlist.directory / "contract")
    assert "nobody waits" in str(judge.judge(21, cycles=5))
    assert "nobody waits" not in str(judge.judge(1))


def test_inputs_that_do_not_replay_decide_nothing(judge, monkeypatch) -> None:
    monkeypatch.setattr("tests.mutation.equivalence._random_inputs", lambda pair: [{}])
    judgement = judge.judge(1)
    assert judgement.verdict is Verdict.UNDECIDED
    assert "do not tell it apart" in str(judgement)
