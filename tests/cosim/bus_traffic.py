"""Traffic at the checkers of tb/hdl/systomesh_bus_check.v, cycle by cycle: legal, and with one rule broken.

A step holds the signals that are not idle in one cycle; "x" is undefined. Steps begin right behind reset, but for those
of `IN_RESET`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["AXI", "BEATS", "BURSTS", "BYTES", "LITE", "Broken", "Legal", "Traffic"]

BYTES, BEATS, BURSTS = 16, 8, 2
"""Parameters of the AXI4 checker."""
Step = dict[str, int | str]


@dataclass(frozen=True)
class Legal:
    steps: list[Step]
    unanswered: int = 0


@dataclass(frozen=True)
class Broken:
    """The rule breaks in the last step."""

    channel: str
    rule: str
    steps: list[Step]
    in_reset: bool = False

    @property
    def needs_unknowns(self) -> bool:
        """Only a simulator with four values sees it."""
        return any(value == "x" for step in self.steps for value in step.values())


@dataclass(frozen=True)
class Traffic:
    idle: Step
    legal: dict[str, Legal]
    broken: list[Broken] = field(default_factory=list)


def _offer(channel: str, taken: int, fields: Step) -> Step:
    return {f"{channel}valid": 1, f"{channel}ready": taken} | {f"{channel}{name}": v for name, v in fields.items()}


def _ar(taken: int = 1, **fields: int | str) -> Step:
    return _offer("ar", taken, {"addr": 0x100, "len": 1} | fields)


def _aw(taken: int = 1, **fields: int | str) -> Step:
    return _offer("aw", taken, {"addr": 0x200, "len": 1} | fields)


def _r(taken: int = 1, **fields: int | str) -> Step:
    return _offer("r", taken, fields)


def _w(taken: int = 1, **fields: int | str) -> Step:
    return _offer("w", taken, {"data": 0x55, "strb": 0xF} | fields)


def _b(taken: int = 1, **fields: int | str) -> Step:
    return _offer("b", taken, fields)


_READ, _WRITE = [_r(), _r(last=1)], [_w(), _w(last=1)]
_CHANNELS = {"AR": _ar, "R": _r, "AW": _aw, "W": _w, "B": _b}
_LITE = _CHANNELS | {
    "AR": lambda taken=1: _offer("ar", taken, {"addr": 0x10}),
    "AW": lambda taken=1: _offer("aw", taken, {"addr": 0x20}),
}
_ASKED: dict[str, list[Step]] = {"AR": [], "R": [_ar()], "AW": [], "W": [_aw()], "B": [_aw(), *_WRITE]}
"""What makes the first word of a channel legal."""
_LITE_ASKED: dict[str, list[Step]] = {
    "AR": [], "R": [_LITE["AR"]()], "AW": [], "W": [], "B": [_LITE["AW"](), _LITE["W"]()]
}  # fmt: skip


def _handshakes(makers: dict, asked: dict[str, list[Step]], payload: dict[str, tuple[str, ...]]) -> list[Broken]:
    """Each channel: valid in reset or undefined, withdrawn; each signal of its payload changed or undefined."""
    found = []
    for channel, make in makers.items():
        held, before = make(0), asked[channel]
        found += [
            Broken(channel, "valid in reset", [held], in_reset=True),
            Broken(channel, "valid withdrawn before ready", [*before, held, {}]),
            Broken(channel, "undefined bits", [*before, make() | {f"{channel.lower()}ready": "x"}]),
            Broken(channel, "undefined bits", [*before, make() | {f"{channel.lower()}valid": "x"}]),
        ]
        for name in payload[channel]:
            signal = f"{channel.lower()}{name}"
            other = {signal: int(held.get(signal, 0)) ^ 2 if name not in ("id", "last") else 1}
            found.append(Broken(channel, "changed before it was accepted", [*before, held, held | other]))
            if (channel, name) != ("R", "data") or "len" not in payload["AR"]:  # AXI4 memories may read undefined bits
                found.append(Broken(channel, "undefined bits", [*before, held | {signal: "x"}]))
    return found


def _burst_rules(channel: str) -> list[Broken]:
    make = _CHANNELS[channel]
    name = channel.lower()
    return [
        Broken(channel, rule, [make(0) | {f"{name}{signal}": value for signal, value in fields.items()}])
        for rule, fields in (
            ("an identifier other than 0", {"id": 1}),
            ("a burst that is not INCR", {"burst": 0}),
            ("a burst that is not INCR", {"burst": 2}),
            ("beats narrower than the bus", {"size": 3}),
            ("an address that is no multiple of the bus width", {"addr": 0x108}),
            ("a burst longer than max_packet_flits", {"len": BEATS}),
            ("a burst crosses 4 KB", {"addr": 0xFF0}),
        )
    ]


_ADDRESS = ("id", "addr", "len", "size", "burst")
AXI = Traffic(
    idle={"arsize": 4, "arburst": 1, "awsize": 4, "awburst": 1},
    legal={
        "nothing": Legal([{}]),
        "read": Legal([_ar(), *_READ, {"irq": 1}]),
        "write": Legal([_aw() | _w(), _w(last=1), _b(), {"irq": 1}]),
        "every channel held": Legal(
            [_ar(0), _ar(0), _ar(), _r(0), _r(), _r(0, last=1), _r(last=1), _aw(0) | _w(0), _aw() | _w(0), _w(),
             _w(0, last=1), _w(last=1), _b(0), _b(0), _b()]
        ),
        "words without a gap": Legal([_ar(addr=0x100), _ar(addr=0x200) | _r(), _r(last=1), *_READ]),
        "all data before the address is accepted": Legal([_aw(0) | _w(), _aw(0) | _w(last=1), _aw(), _b()]),
        "answers in the cycle of the request": Legal([_ar(len=0) | _r(last=1), _aw(len=0) | _w(last=1) | _b()]),
        "longest burst": Legal([_ar(len=BEATS - 1), *[_r()] * (BEATS - 1), _r(last=1)]),
        "end of a page": Legal([_ar(addr=0xFE0) | _aw(addr=0x1FE0)], unanswered=1),
        "as many as may be under way": Legal(
            [_ar(), _ar(), *_READ, _ar(), _aw(), _aw(), *_WRITE, _b(), _aw(), *_WRITE, *_WRITE, _b(), _b(),
             *_READ, *_READ]
        ),
        "errors": Legal(
            [_ar(), _r(resp=2), _r(resp=3, last=1), _aw(), *_WRITE, _b(resp=2), _aw(), *_WRITE, _b(resp=3)]
        ),
        "writes before earlier reads": Legal([_ar(), _aw(), *_WRITE, _b(), *_READ]),
        "interrupt amid a read": Legal([_ar(), _r(), {"irq": 1}], unanswered=1),
        "interrupt amid a write": Legal([_aw(), *_WRITE, {"irq": 1}], unanswered=1),
        "interrupt, then a read": Legal([{"irq": 1}, _ar() | {"irq": 1}]),
    },
    broken=[
        *_handshakes(_CHANNELS, _ASKED, {"AR": _ADDRESS, "R": ("id", "data", "resp", "last"), "AW": _ADDRESS,
                                         "W": ("data", "strb", "last"), "B": ("id", "resp")}),
        *_burst_rules("AR"),
        *_burst_rules("AW"),
        Broken("AR", "more bursts under way than outstanding_bursts", [_ar()] * (BURSTS + 1)),
        Broken("AW", "more bursts under way than outstanding_bursts", [_aw()] * (BURSTS + 1)),
        Broken("R", "nothing had asked for it", [_r()]),
        Broken("R", "nothing had asked for it", [_ar(0), _ar(0) | _r()]),
        Broken("R", "nothing had asked for it", [_ar(), *_READ, _r()]),
        Broken("W", "nothing had asked for it", [_w()]),
        Broken("W", "nothing had asked for it", [_aw(), *_WRITE, _w()]),
        Broken("B", "nothing had asked for it", [_b()]),
        Broken("B", "nothing had asked for it", [_aw(), _w(), _b()]),
        Broken("B", "nothing had asked for it", [_aw(0), _aw(0) | _w(), _aw(0) | _w(last=1), _aw(0) | _b()]),
        Broken("B", "nothing had asked for it", [_aw(), *_WRITE, _b(), _b()]),
        Broken("R", "LAST at the wrong beat", [_ar(), _r(last=1)]),
        Broken("R", "LAST at the wrong beat", [_ar(), _r(), _r()]),
        Broken("W", "LAST at the wrong beat", [_aw(), _w(last=1)]),
        Broken("W", "LAST at the wrong beat", [_aw(), _w(), _w()]),
        Broken("R", "an identifier other than 0", [_ar(), _r(id=1)]),
        Broken("B", "an identifier other than 0", [_aw(), *_WRITE, _b(id=1)]),
        Broken("R", "EXOKAY without an exclusive request", [_ar(), _r(resp=1)]),
        Broken("B", "EXOKAY without an exclusive request", [_aw(), *_WRITE, _b(resp=1)]),
    ],
)  # fmt: skip

_LAR, _LR, _LAW, _LW, _LB = (_LITE[name] for name in _LITE)
LITE = Traffic(
    idle={},
    legal={
        "nothing": Legal([{}]),
        "read": Legal([_LAR(), _LR()]),
        "address first": Legal([_LAW(), _LW(), _LB()]),
        "data first": Legal([_LW(), _LAW(), _LB()]),
        "every channel held": Legal(
            [_LAR(0), _LAR(), _LR(0), _LR(), _LAW(0) | _LW(0), _LAW() | _LW(0), _LW(), _LB(0), _LB()]
        ),
        "two under way": Legal([_LAR(), _LAR(), _LR(), _LR(), _LAW() | _LW(), _LAW() | _LW(), _LB(), _LB()]),
        "errors": Legal([_LAR(), _LR(resp=2), _LAW() | _LW(), _LB(resp=3)]),
    },
    broken=[
        *_handshakes(_LITE, _LITE_ASKED, {"AR": ("addr",), "R": ("data", "resp"), "AW": ("addr",),
                                          "W": ("data", "strb"), "B": ("resp",)}),
        Broken("R", "nothing had asked for it", [_LR()]),
        Broken("R", "nothing had asked for it", [_LAR(), _LR(), _LR()]),
        Broken("B", "nothing had asked for it", [_LAW(), _LB()]),
        Broken("B", "nothing had asked for it", [_LW(), _LB()]),
        Broken("B", "nothing had asked for it", [_LAW() | _LW(), _LB(), _LB()]),
        Broken("R", "EXOKAY without an exclusive request", [_LAR(), _LR(resp=1)]),
        Broken("B", "EXOKAY without an exclusive request", [_LAW() | _LW(), _LB(resp=1)]),
    ],
)  # fmt: skip
