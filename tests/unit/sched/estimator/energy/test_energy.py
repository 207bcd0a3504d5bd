"""Energies: every event has a price, sets and tables are read strictly, and sets that disagree decide nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from estimator.energy import (
    CONSTANTS,
    SETS,
    Energy,
    EnergyError,
    Prices,
    compare,
    energy_of,
    load_prices,
    load_set,
    named_sets,
    read_ert,
    write_ert,
)
from estimator.events import UPDATES, Events
from rtl.contract.engines import ENGINES
from rtl.contract.params import CoreParams, default_chip
from rtl.contract.regs import STATIC_COUNTERS, CoreCounter, EngineCounter, EventCounter

CHIP = default_chip(2)


def _events(**counts: int) -> Events:
    """Core 0 counted these, each of core 1 is 0."""
    events = Events.none(CHIP)
    names = {counter.name: counter for counter in (*CoreCounter, *EventCounter)}
    for name, count in counts.items():
        events.counts[0][names[name.upper()]] = count
    return events


def test_the_sets_say_where_each_value_is_from_and_disagree() -> None:
    assert {"narrow", "wide", "relative"} <= set(SETS)
    for constants in named_sets():
        assert set(constants.constants) == set(CONSTANTS)
        assert all(each.source and each.node and each.unit for each in constants.constants.values())
    narrow, wide = (load_prices(CHIP, name)[0].of for name in ("narrow", "wide"))
    assert narrow["chip.core_0.acc", "read"] > 2 * wide["chip.core_0.acc", "read"]
    assert narrow["chip.dram", "read_byte"] < wide["chip.dram", "read_byte"] / 2


def test_energy_is_events_times_prices() -> None:
    (narrow,) = load_prices(CHIP, "narrow")
    assert energy_of(_events(array_pixels=3), narrow).of["mac"] == pytest.approx(3 * 256 * 0.3)
    # Entries of 16 x int32 in banks of 32 KB: 1.25 pJ/B at 8 KB grows with the root of the size.
    assert energy_of(_events(acc_reads=5), narrow).of["accumulators"] == pytest.approx(5 * 64 * 1.25 * 2)
    # A read that touches two words costs two.
    one, two = (energy_of(_events(act_reads=4, act_split_reads=n), narrow).of["activations"] for n in (0, 4))
    assert one > 0
    assert two == pytest.approx(2 * one)
    assert energy_of(Events.none(CHIP), narrow, cycles=100).total == 0
    assert Energy.together([Energy({"mac": 1.0}), Energy({"mac": 2.0, "dram": 4.0})]).total == 7.0
    assert Energy({"mac": 1.0, "dram": 3.0}).largest == ("dram", 0.75)


def test_every_event_has_a_price() -> None:
    """An event more costs something, but for those that others are made of."""
    (prices,) = load_prices(CHIP, "wide")
    made_of_others = {CoreCounter.PASSES, CoreCounter.STORE_DRAIN, EventCounter.FLITS_TO_CORES}
    for counter in STATIC_COUNTERS - made_of_others:
        if counter in [*CoreCounter, *EventCounter]:
            events = Events.none(CHIP)
            events.counts[1][counter] = 1000
            assert energy_of(events, prices).total > 0, counter
    without = Prices("mine", "pJ", {key: value for key, value in prices.of.items() if key[1] != "maximum"})
    with pytest.raises(EnergyError, match=r"mine: no price for action 'maximum' of 'chip.core_0.tap'"):
        energy_of(_events(tap_maxima=1), without)


def test_a_sparse_engine_pays_for_pairs_items_and_updates() -> None:
    chip = default_chip(1, CoreParams(rows=64, cols=64, acc_entries=256, engines=("sparse", "tap")))
    (narrow,) = load_prices(chip, "narrow")
    spec = ENGINES["sparse"]

    def spent(number: int) -> dict[str, float]:
        events = Events.none(chip).with_data([{number: 10}])
        return {kind: value for kind, value in energy_of(events, narrow).of.items() if value}

    # A list's byte, an activation, 16 bits of a mask, a sum of 32 bits.
    assert spent(EngineCounter.SPARSE_PAIRS) == pytest.approx({"mac": 3, "registers": 10 * 8 * 0.144})
    # Masks of 64 x 64 bits out of a bank of 16 such, 8 KB; with 64 activations of 9 bits into a slot.
    assert spent(spec.pixels_counter) == pytest.approx(
        {"weights": 10 * 512 * 1.25, "registers": 10 * (512 + 72) * 0.144}
    )
    # 8 lanes of 64 sums of 32 bits.
    assert spent(UPDATES + spec.code) == pytest.approx({"registers": 10 * 2048 * 0.144, "accumulators": 10 * 448 * 0.1})


def test_a_set_of_ones_own_may_change_some_constants(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "narrow"\n[mac]\nvalue = 3\nunit = "pJ"\nnode = "7 nm"\nsource = "measured"\n')
    mine, *others = load_prices(CHIP, str(file))
    assert [mine.name, *(each.name for each in others)] == ["mine", *SETS]
    assert energy_of(_events(array_pixels=1), mine).of["mac"] == 3 * 256
    core_cycle = '[core_cycle]\nvalue = 2\nunit = "pJ"\nnode = "7 nm"\nsource = "measured"\n'
    file.write_text('base = "narrow"\n' + core_cycle)
    spent = energy_of(Events.none(CHIP), load_prices(CHIP, str(file))[0], cycles=10)
    assert spent.of["static"] == spent.total == 2 * 2 * 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no price for mac"),
        ('base = "narow"', "base is 'narow'"),
        ('base = "narrow"\n[mak]\nvalue = 1', "unknown constant 'mak'"),
        ('base = "narrow"\n[mac]\nvalue = 1', "it must be a table of node, source, unit, value"),
        ('base = "narrow"\n[mac]\nvalue = -1\nunit = "pJ"\nnode = "x"\nsource = "x"', "value is -1"),
        ('base = "narrow"\n[mac]\nvalue = 1\nunit = "pJ"\nnode = "x"\nsource = " "', "source is ' '"),
        ("mac = [", "is not valid TOML"),
    ],
)
def test_a_set_that_does_not_do_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(EnergyError, match=re.escape(message)):
        load_set(file)


def test_accelergys_tables_are_written_and_read_back(tmp_path: Path) -> None:
    chip = replace(CHIP, cores=(CoreParams(), CoreParams(rows=32, cols=8)))
    prices = load_prices(chip, "narrow")[0]
    file = tmp_path / "ert.yaml"
    file.write_text(write_ert(prices))
    assert read_ert(file, chip).of == prices.of
    assert {component for component, _ in prices.of} >= {"chip.core_0.act", "chip.core_1.act", "chip.dram"}
    file.write_text(file.read_text().replace("name: add", "name: addd", 1))
    with pytest.raises(EnergyError, match=r"no energy for action 'add' of 'chip\.core_0\.acc'"):
        read_ert(file, chip)
    for text in ("ERT: {}", "- 1", "ERT: [", "x: 1"):
        file.write_text(text)
        with pytest.raises(EnergyError):
            read_ert(file, chip)
    with pytest.raises(EnergyError, match="ENERGY=cheap: give one of"):
        load_prices(chip, "cheap")


def test_a_comparison_that_depends_on_the_set_is_undecided() -> None:
    less = compare({"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 4.0})
    assert (less.decided, str(less)) == (True, "-50.0 ... -25.0 %")
    either = compare({"a": 1.0, "b": 5.0}, {"a": 2.0, "b": 4.0})
    assert (either.decided, str(either)) == (False, "undecided (-50.0 ... +25.0 %)")
    assert not compare({"a": 1.0}, {"a": 1.0}).decided
    with pytest.raises(ValueError, match="no set of constants for both"):
        compare({"a": 1.0}, {"b": 1.0})
