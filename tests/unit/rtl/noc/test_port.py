"""`NetworkPort` between streams and models of its router."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest

from rtl.noc.flit import MessageClass, flit_layout, virtual_channel
from rtl.noc.port import NetworkPort, receive_depth
from tests.unit.rtl.drivers import simulate
from tests.unit.rtl.noc.noc_models import LinkSink, LinkSource, number_of, packet_words, payload_of, small_chip

DEPTH = 11
"""Slots of a channel; no power of two, so that a count in the wrong direction does not come out right."""


@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("vcs_per_class", [1, 2])
def test_sends_whole_packets_by_its_own_channels_within_its_credits(vcs_per_class: int, seed: int) -> None:
    chip = small_chip(2, 2, 2, vcs_per_class=vcs_per_class, vc_depth=DEPTH)
    rng = random.Random(seed)
    dut = NetworkPort(chip=chip)
    streams = [dut.send_request, dut.send_response]
    words: list[deque[int]] = [deque(), deque()]
    dests = [rng.getrandbits(chip.n_nodes) for _ in range(40)]
    for number, dest in enumerate(dests):
        words[number % 2].extend(packet_words(chip, number, rng.choice([1, 2, 8]), dest))
    source = 2 + seed
    channels = [virtual_channel(chip, source, kind) for kind in MessageClass]

    async def testbench(ctx) -> None:
        sink = LinkSink(chip, dut.link_out, chip.vc_depth, rng, rate=0.4)
        ctx.set(dut.source, source)
        offered = [False, False]
        for now in range(700):
            for kind, stream in enumerate(streams):
                offered[kind] |= bool(words[kind]) and rng.random() < 0.8
                ctx.set(stream.valid, offered[kind])
                if offered[kind]:
                    ctx.set(stream.payload.as_value(), words[kind][0])
            sink.cycle(ctx, now)
            for kind, stream in enumerate(streams):
                if offered[kind] and ctx.get(stream.ready):
                    words[kind].popleft()
                    offered[kind] = False
            await ctx.tick()
        for kind in MessageClass:
            assert sink.packets[channels[kind]] == list(enumerate(dests))[kind::2]
        assert sum(map(len, sink.packets)) == 40

    simulate(dut, testbench)


@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("vcs_per_class", [1, 2])
def test_receives_packets_whole_and_gives_credits_back(vcs_per_class: int, seed: int) -> None:
    chip = small_chip(2, 2, 2, vcs_per_class=vcs_per_class, vc_depth=DEPTH)
    rng = random.Random(seed)
    dut = NetworkPort(chip=chip)
    streams = [dut.receive_request, dut.receive_response]
    shape = flit_layout(chip)

    async def testbench(ctx) -> None:
        source = LinkSource(dut.link_in, receive_depth(chip), chip.n_vcs, rng, rate=0.9)
        sent: list[list[int]] = [[] for _ in range(chip.n_vcs)]
        dests, lengths = {}, {}
        for number in range(1, 61):
            vc = rng.randrange(chip.n_vcs)
            dests[number], lengths[number] = rng.getrandbits(chip.n_nodes), rng.choice([1, 2, 8])
            source.queues[vc].extend(packet_words(chip, number, lengths[number], dests[number]))
            sent[vc].append(number)
        got: list[list[int]] = [[], []]
        expected: list[tuple[int, int] | None] = [None, None]  # packet and index of the next flit; None between packets
        shown: list[int | None] = [None, None]
        for _ in range(900):
            source.cycle(ctx)
            for kind, stream in enumerate(streams):
                ready = rng.random() < 0.6
                ctx.set(stream.ready, ready)
                if not ctx.get(stream.valid):
                    assert shown[kind] is None, "an offer is withdrawn"
                    continue
                word = ctx.get(stream.payload.as_value())
                assert shown[kind] in (None, word), "an offer changes"
                shown[kind] = None if ready else word
                if ready:
                    flit = shape.from_bits(word)
                    assert flit.first == (expected[kind] is None)
                    if flit.first:
                        got[kind].append(number_of(flit))
                        assert flit.header.dest == dests[got[kind][-1]]
                        assert flit.header.flits == lengths[got[kind][-1]]
                        expected[kind] = (got[kind][-1], 0)
                    number, index = expected[kind]
                    assert flit.data == payload_of(number, index), "flits of packets are mixed"
                    assert flit.last == (index == lengths[number] - 1)
                    expected[kind] = None if flit.last else (number, index + 1)
            await ctx.tick()
        for vc, numbers in enumerate(sent):
            assert [number for number in got[vc % 2] if number in set(numbers)] == numbers
        assert sum(map(len, got)) == 60
        assert source.credits == [receive_depth(chip)] * chip.n_vcs

    simulate(dut, testbench)


@pytest.mark.parametrize("vcs_per_class", [1, 2])
def test_each_class_sends_exactly_as_many_flits_as_it_has_credits(vcs_per_class: int) -> None:
    chip = small_chip(2, 2, 2, vcs_per_class=vcs_per_class, vc_depth=DEPTH)
    dut = NetworkPort(chip=chip)
    streams = [dut.send_request, dut.send_response]
    source = 1
    channels = [virtual_channel(chip, source, kind) for kind in MessageClass]

    async def testbench(ctx) -> None:
        ctx.set(dut.source, source)
        for stream in streams:
            ctx.set(stream.valid, 1)

        async def sent_in(cycles: int) -> list[int]:
            """Flits of each class."""
            sent = [0] * chip.n_vcs
            for _ in range(cycles):
                await ctx.tick()
                ctx.set(dut.link_out.credit, 0)
                if ctx.get(dut.link_out.valid):
                    sent[ctx.get(dut.link_out.vc)] += 1
            assert sum(sent) == sum(sent[channel] for channel in channels)
            return [sent[channel] for channel in channels]

        for _ in range(2):
            assert await sent_in(4 * DEPTH) == [DEPTH, DEPTH]
            for given in ([0], [1], [0, 1]):
                for v in range(chip.n_vcs):
                    ctx.set(dut.link_out.credit[v], v in [channels[kind] for kind in given])
                assert await sent_in(4) == [int(kind in given) for kind in MessageClass]
            ctx.set(dut.clear, 1)  # all credits are there again
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert not ctx.get(dut.link_out.valid)

    simulate(dut, testbench)


def test_the_classes_take_turns_wherever_both_have_a_flit() -> None:
    chip = small_chip(2, 2, 2, vc_depth=DEPTH)
    dut = NetworkPort(chip=chip)
    rng = random.Random(0)

    async def testbench(ctx) -> None:
        sink = LinkSink(chip, dut.link_out, chip.vc_depth, rng)
        words = packet_words(chip, 1, 1, 1)[0]
        contests = []  # who goes first
        for _ in range(24):
            waiting = [True, True]
            while any(waiting):
                for kind, stream in enumerate([dut.send_request, dut.send_response]):
                    ctx.set(stream.payload.as_value(), words)
                    ctx.set(stream.valid, waiting[kind])
                ready = ctx.get(dut.send_request.ready), ctx.get(dut.send_response.ready)
                goes = [is_ready and wanted for is_ready, wanted in zip(ready, waiting, strict=True)]
                assert sum(goes) == 1
                if all(waiting):
                    contests.append(goes.index(True))
                waiting[goes.index(True)] = rng.random() < 0.3 if all(waiting) else False
                sink.cycle(ctx, 0)
                await ctx.tick()
            ctx.set(dut.send_request.valid, 0)
            ctx.set(dut.send_response.valid, 0)
            for _ in range(rng.randrange(4)):
                sink.cycle(ctx, 0)
                await ctx.tick()
        assert all(first != second for first, second in pairwise(contests))

    simulate(dut, testbench)


@pytest.mark.parametrize("kind", list(MessageClass), ids=lambda kind: kind.name.lower())
def test_merged_channels_take_turns_packet_by_packet(kind: MessageClass) -> None:
    chip = small_chip(2, 2, 2, vcs_per_class=2, vc_depth=DEPTH)
    dut = NetworkPort(chip=chip)
    stream = (dut.receive_request, dut.receive_response)[kind]
    channels = [virtual_channel(chip, source, kind) for source in range(2)]

    async def testbench(ctx) -> None:
        source = LinkSource(dut.link_in, receive_depth(chip), chip.n_vcs, random.Random(0))
        for number in range(12):
            source.queues[channels[number % 2]].extend(packet_words(chip, number, 2, 1))
        order = []
        for now in range(90):
            source.cycle(ctx)
            ctx.set(stream.ready, now >= 40)  # both queues have filled
            if now >= 40 and ctx.get(stream.valid):
                flit = flit_layout(chip).from_bits(ctx.get(stream.payload.as_value()))
                order += [number_of(flit)] if flit.first else []
            await ctx.tick()
        assert sorted(order) == list(range(12))
        assert all(first % 2 != second % 2 for first, second in pairwise(order))

    simulate(dut, testbench)


def test_one_flit_per_cycle_in_both_directions() -> None:
    chip = small_chip(2, 2, 2, vc_depth=DEPTH)
    dut = NetworkPort(chip=chip)
    rng = random.Random(0)

    async def testbench(ctx) -> None:
        source = LinkSource(dut.link_in, receive_depth(chip), chip.n_vcs, rng)
        sink = LinkSink(chip, dut.link_out, chip.vc_depth, rng)
        words = deque(packet_words(chip, 1, 8, 1) * 8)
        source.queues[1].extend(words)
        ctx.set(dut.receive_response.ready, 1)
        ctx.set(dut.send_request.valid, 1)
        arrivals = []
        for now in range(60):
            ctx.set(dut.send_request.payload.as_value(), words[0])
            source.cycle(ctx)
            sink.cycle(ctx, now)
            if ctx.get(dut.send_request.ready):
                words.popleft()
            if ctx.get(dut.receive_response.valid):
                arrivals.append(now)
            await ctx.tick()
        assert [now for now, _, _ in sink.flits] == list(range(1, 60))
        assert arrivals == list(range(1, 60))

    simulate(dut, testbench)


def test_clear_drops_what_is_under_way() -> None:
    chip = small_chip(2, 2, 2, vc_depth=DEPTH)
    dut = NetworkPort(chip=chip)

    async def testbench(ctx) -> None:
        source = LinkSource(dut.link_in, receive_depth(chip), chip.n_vcs, random.Random(0))
        source.queues[0].extend(packet_words(chip, 1, 8, 1))
        ctx.set(dut.send_response.valid, 1)
        for _ in range(chip.vc_depth + 4):
            source.cycle(ctx)
            await ctx.tick()
        assert ctx.get(dut.receive_request.valid)
        assert not ctx.get(dut.send_response.ready), "out of credits"
        ctx.set(dut.link_in.valid, 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert not ctx.get(dut.receive_request.valid)
        assert not ctx.get(dut.link_out.valid)
        assert ctx.get(dut.send_response.ready)

    simulate(dut, testbench)
