"""What the parameters of a chip say of its netlist: hierarchy, ports, and the state bits of every block.

Nothing here looks at the hardware's own description: the figures follow from the contract (`rtl.contract`: parameters,
the fields of instructions, registers) and the formulas below, one for each block. A change of a block that adds or
drops a register must change its formula, too.
"""

from __future__ import annotations

from rtl.contract.engines import ENGINES
from rtl.contract.isa import (
    INSTRUCTION_BITS,
    MARK_BITS,
    PARAM_FLITS,
    Compute,
    Load,
    Pool,
    Prefix,
    Setup,
    Signals,
    TrafficClass,
    Unit,
)
from rtl.contract.params import ChipParams, CoreParams, Direction
from rtl.contract.regs import COUNTER_BITS, MemoryCounter, compute_counters, router_counters
from tb.structure.block import Block, fifo, index_bits, ram, tag_bits
from tb.structure.engines import STRUCTURE

__all__ = ["expected_chip"]

COUNTER = COUNTER_BITS
PORTS = len(Direction)
ADDRESS = 32
TOKEN, CORE, TURN = 7, 6, 2
"""Fields that name a token counter and a core; the turn of a STORE."""
NODE = 7
SPACE = Load["space"].width
ENGINE = Setup["engine"].width
SIGNAL = 1 + TOKEN + CORE
"""A signal with its valid bit."""
ERROR = 8
TABLE = 256
"""Entries of an activation table, a byte each."""


def _header_bits(chip: ChipParams) -> int:
    """dest, src, kind, flits, space, planar, addr, traffic, lane_offset, lanes, token_valid, token."""
    return chip.n_nodes + NODE + 3 + 7 + SPACE + 1 + ADDRESS + 3 + 6 + 7 + 1 + TOKEN


def _flit_bits(chip: ChipParams) -> int:
    """Data, first, last, header."""
    return 8 * chip.link_bytes + 2 + _header_bits(chip)


def _setup(*names: str) -> int:
    return sum(Setup[name].width for name in names)


def _compute(*names: str) -> int:
    return sum(Compute[name].width for name in names)


def _scratchpad(size_bytes: int, write_bytes: int, read_bytes: int) -> Block:
    """Two banks of whole words, and of the read under way its byte offset and parity."""
    word = max(write_bytes, read_bytes)
    banks = {name: ram(8 * word, size_bytes // word // 2, 8) for name in ("even", "odd")}
    return Block("Scratchpad", index_bits(word) + 1, inside=banks)


def _accumulator(core: CoreParams) -> Block:
    """Two banks; the update under way (data, address, overwrite, is_max, valid), a forwarded word and its use, and
    the bank that was read."""
    word = 32 * core.cols
    banks = {name: ram(word, core.acc_bank_entries) for name in ("bank0", "bank1")}
    return Block("Accumulator", 2 * word + index_bits(core.acc_entries) + 5, inside=banks)


def _option_bits(core: CoreParams) -> int:
    """Of the options that a SETUP may have: the engines' lie over each other."""
    return max(spec.options.size for spec in ENGINES.of(core.engines).values())


def _pixel_option_bits(core: CoreParams) -> int:
    """Of the options that pixels bring along, each engine's beside the others'."""
    parts = STRUCTURE.of(core.engines)
    return sum(ENGINES[name].options[option].width for name, part in parts.items() for option in part.pixel_options)


def _window_columns(core: CoreParams) -> int:
    return max(part.window_columns(core) for part in STRUCTURE.of(core.engines).values())


def _has_lists(core: CoreParams) -> bool:
    return any(spec.lists for spec in ENGINES.of(core.engines).values())


def _weight_loader(core: CoreParams) -> Block:
    """Kernel size and the place in it, row, block, address with a bit to overflow into; engine now and of the row
    offered; running, window, if there is one, first_row, failed, valid, more. With lists rows of the tail, and how many
    are left; has_tail, in_tail, tail."""
    kernel = 2 * _setup("kernel_h", "kernel_w")
    rows = max(spec.weight_rows(core) for spec in ENGINES.of(core.engines).values())
    own = kernel + index_bits(rows) + _compute("blocks") + _compute("weight_base") + 1 + 2 * ENGINE
    tails = [s.lists.rows(core, s.lists.rounds(core)) for s in ENGINES.of(core.engines).values() if s.lists]
    own += index_bits(max(tails)) + max(tails).bit_length() + 3 if tails else 0
    return Block("WeightLoader", own + 5 + int(_window_columns(core) > 0))


def _streamer(core: CoreParams) -> Block:
    """The job, where the walk over it is, and the pixel offered."""
    act, coordinate, acc = _compute("act_base"), 16, index_bits(core.acc_entries)
    has_window = int(_window_columns(core) > 0)
    skips, columns = has_window * _setup("stride_w"), max(0, _window_columns(core) - 1)
    kept = _setup(
        *("engine", "stride_h", "stride_w", "dilation_h", "dilation_w", "in_w"),
        *("step_x", "tap_x", "step_y", "tap_y", "block_pitch", "pad_value"),
    ) + _compute("iy0", "in_h", "accumulate")
    # With lists the loops of kernel and map change places.
    lists = int(_has_lists(core))
    loops = 2 * (_setup("out_w") + _compute("out_h"))
    loops += loops if lists else 2 * _setup("kernel_w", "kernel_h")
    # illegal, running, hold, is_max, options of pixels, engine shown; accumulator range; -pad_left; signals; skips;
    # columns.
    job = 4 + _pixel_option_bits(core) + ENGINE + acc + 1 + coordinate + 3 * SIGNAL + 2 * skips + columns
    # Addresses and coordinates at the start of row, kernel column, kernel row, block, and of the pixel.
    walk = _compute("blocks") + skips + 5 * act + 4 * coordinate + acc + 1 + 2
    pixel = 8 * core.rows + 1 + _pixel_option_bits(core) + has_window + columns + tag_bits(core)
    # valid, padding and its value, error, stopped.
    offered = pixel + 1 + 1 + _setup("pad_value") + ERROR + 1
    # The order of the loops; the last item of a pixel, and its zero.
    return Block("PixelStreamer", kept + loops + job + walk + offered + lists * (1 + 1 + 8))


def _compute_unit(core: CoreParams) -> Block:
    """The SETUP in force, the job made of it and a COMPUTE, and the signals of jobs that are through."""
    jobs = 4
    not_kept = {name for name, _ in Prefix} | {"reserved"} | (set() if _has_lists(core) else {"rounds"})
    setup = _setup(*(name for name, _ in Setup if name not in not_kept | {"options"})) + _option_bits(core)
    compute = _compute(*(name for name, _ in Compute if name not in not_kept))
    job = setup + compute + 1
    # error; the job is for loader, for streamer; two of three signals sent; counts of jobs ahead and complete.
    own = setup + job + ERROR + 2 + 2 + index_bits(jobs + 4) + index_bits(jobs + 1) + 1
    inside = {
        **{name: part.block(core) for name, part in STRUCTURE.of(core.engines).items()},
        "loader": _weight_loader(core),
        "streamer": _streamer(core),
        "operands": fifo(3 * SIGNAL, jobs),
        "results": fifo(SIGNAL, jobs),
    }
    return Block("ComputeUnit", own, inside=inside)


def _sender() -> Block:
    """Signals of an instruction, and which are still to go."""
    return Block("SignalSender", Signals.size + 3)


def _trace(core: CoreParams) -> Block:
    """A mark under way, marks passed; the entries."""
    words = COUNTER * len(compute_counters())
    return Block("TraceMemory", 1 + index_bits(core.marks) + MARK_BITS, inside={"ram": ram(words, core.marks)})


def _issue(chip: ChipParams) -> Block:
    """State, three wait masks, the kind of the instruction, error, and the instruction handed over."""
    return Block("Issue", 2 + 3 * chip.tokens + 3 + ERROR + INSTRUCTION_BITS + 1, inside={"sender": _sender()})


def _read_flits(chip: ChipParams) -> int:
    """Flits of a LOAD in a READ packet."""
    return max(1, INSTRUCTION_BITS // 8 // chip.link_bytes)


def _load(chip: ChipParams) -> Block:
    """Error, checked, and the flit of the packet."""
    return Block("Load", ERROR + 1 + index_bits(_read_flits(chip)))


def _fetch(core: CoreParams, chip: ChipParams) -> Block:
    """For each unit the next address, room claimed in its queue, and ended; one request; one instruction in parts."""
    units, flit = len(Unit), 8 * chip.link_bytes
    streams = units * (ADDRESS + core.queue_depth.bit_length() + 1)
    # running, sending, for which unit, its flit; flits on their way; error.
    request = 1 + 1 + index_bits(units) + index_bits(_read_flits(chip)) + 16 + ERROR
    parts = INSTRUCTION_BITS // flit if flit <= INSTRUCTION_BITS else 0
    assembly = INSTRUCTION_BITS - flit + index_bits(parts) if parts else 1
    queues = {f"queue{unit}": fifo(INSTRUCTION_BITS, core.queue_depth) for unit in range(units)}
    return Block("Fetch", streams + request + assembly, inside=queues)


def _inbound() -> Block:
    """Error; for each stream the fields of its packet's header that later flits need, and the address."""
    held = 3 + SPACE + 1 + 6 + 7 + 1 + TOKEN
    return Block("Inbound", ERROR + 2 * (held + ADDRESS))


def _packets(core: CoreParams, chip: ChipParams) -> Block:
    """What is left of the job, the header of the packet under way, its flits left, its lane offset."""
    own = _job_bits(core) + 1 + _header_bits(chip) + 1 + index_bits(chip.max_packet_flits) + 6
    return Block("Packets", own)


def _job_bits(core: CoreParams) -> int:
    """to_core, memory, core, space, planar, addr, flits, lanes, lane_offset, traffic, token_valid, token; turn of the
    STORE; last core."""
    return 1 + 4 + CORE + SPACE + 1 + ADDRESS + 13 + 7 + 6 + 3 + 1 + TOKEN + TURN + (CORE if core.multicast else 0)


def _postprocessor(lanes: int) -> Block:
    """For each lane: bias, multiplier and shift, in use and next, the shift once more along the pipeline; sum, product
    and rounded value; the value that the activation table may replace, and the table. For all: levels of three stages
    (zero point, bounds, table), swaps, valid, whether the table was asked."""
    bias, multiplier, shift = 32, 24, 6
    lane = 2 * (bias + multiplier + shift) + shift + 33 + 57 + 10 + 8
    tables = {f"table{number}": ram(8, TABLE) for number in range(lanes)}
    return Block("PostProcessor", lanes * lane + 3 * (3 * 8 + 1) + 4 + 4 + 1, inside=tables)


def _group_bits(core: CoreParams, chip: ChipParams) -> int:
    """Names a storage block of an accumulator entry; never less than one bit."""
    return max(1, index_bits(core.drain_groups(chip.link_bytes)))


def _drain(core: CoreParams, chip: ChipParams) -> Block:
    """Geometry of the last POOL and of the running job; where its windows are; the entry read and the maximum."""
    entry = index_bits(core.acc_entries)
    fields = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left", "in_h", "in_w", "out_w")
    geometry = sum(Pool[name].width for name in fields) + 2 * entry
    # plane and has_pool; pooled, busy, pixels left; tap and column; rows and columns with sign; four entries.
    place = 20 + 1 + 2 + 13 + 3 + 3 + 10 + 2 * 17 + 2 * 14 + 4 * entry
    lanes = core.drain_lanes(chip.link_bytes)
    return Block("Drain", 2 * geometry + place + 2 * _group_bits(core, chip) + 5 + 32 * lanes)


def _store(core: CoreParams, chip: ChipParams) -> Block:
    """One STORE in work, credits for the buffer, parameters or a table being loaded."""
    buffer_flits, param_flits = 8, PARAM_FLITS
    lanes = core.drain_lanes(chip.link_bytes)
    # checked, loaded, fire; turn; group and its offset; error; acknowledgements outstanding.
    work = 3 + TURN + 5 + ADDRESS + ERROR + 16 + Signals.size + buffer_flits.bit_length()
    params = param_flits.bit_length() + index_bits(param_flits) + 1
    table = TABLE.bit_length() + index_bits(TABLE) + 1
    inside = {
        "buffer": fifo(8 * lanes, buffer_flits),
        "jobs": fifo(_job_bits(core), 2),
        "packets": _packets(core, chip),
        "post": _postprocessor(lanes),
        "drain": _drain(core, chip),
        "sender": _sender(),
    }
    return Block("Store", work + params + table, inside=inside)


def _core(core: CoreParams, chip: ChipParams, module: str) -> Block:
    """Registers on all inputs but streams, the reset; inside, all that the reset reaches."""
    flit = _flit_bits(chip)
    sources = 4
    # error and its unit, started, progress; instructions done by each unit; of a chip with counters, whether the packet
    # that leaves goes to cores.
    own = ERROR + 2 + 1 + 1 + len(Unit) * 32 + chip.counters
    logic = {
        "act": _scratchpad(core.act_bytes, chip.link_bytes, core.rows),
        "weight": _scratchpad(core.weight_bytes, chip.link_bytes, core.cols),
        "param": ram(8 * chip.link_bytes, PARAM_FLITS * core.param_blocks, 8),
        "acc": _accumulator(core),
        "tokens": Block("TokenFile", 8 * chip.tokens),
        "fetch": _fetch(core, chip),
        "load": _load(chip),
        "compute": _compute_unit(core),
        "store": _store(core, chip),
        "inbound": _inbound(),
        "outbound": Block("Outbound", sources + 1),
        "signals": Block("SignalRouter", SIGNAL),
        **({"trace": _trace(core)} if core.marks else {}),
        "counters": Block("CoreCounters", COUNTER * len(ENGINES.counters(core.engines, events=chip.counters))),
        **{f"issue_{unit.name.lower()}": _issue(chip) for unit in Unit},
        **{name: fifo(flit, 2) for name in ("response_in", "request_in", "request_out")},
    }
    inputs = {"node": 6, "home": 4, "start": 1, "halt": 1, "running": 1, "program_base": 32, "program_stride": 32}
    inputs["counter_index"] = 6
    if core.marks:
        inputs["trace_entry"] = index_bits(core.marks)
    ports = {
        **_stream("request_out", "output", flit),
        **_stream("request_in", "input", flit),
        **_stream("response_in", "input", flit),
        **{name: ("input", width) for name, width in (inputs | {"clear": 1, "clk": 1, "rst": 1}).items()},
        **{name: ("output", width) for name, width in (("done", 1), ("error", ERROR), ("error_unit", 2))},
        "progress": ("output", 1),
        "counter_value": ("output", COUNTER),
    }
    shell = sum(inputs.values()) + 2
    return Block("Core", shell, inside={"logic": Block("logic", own, inside=logic)}, module=module, ports=ports)


def _stream(name: str, direction: str, width: int) -> dict[str, tuple[str, int]]:
    back = {"input": "output", "output": "input"}[direction]
    return {
        f"{name}__payload": (direction, width),
        f"{name}__valid": (direction, 1),
        f"{name}__ready": (back, 1),
    }


def _axi(chip: ChipParams, prefix: str) -> dict[str, tuple[str, int]]:
    """An AXI4 master with 32-bit addresses and one-bit identifiers."""
    data = 8 * chip.link_bytes
    outputs = {f"{c}{n}": w for c in ("aw", "ar") for n, w in zip(("id", "addr", "len", "size", "burst", "valid"),
                                                                (1, ADDRESS, 8, 3, 2, 1), strict=True)}  # fmt: skip
    outputs |= {"wdata": data, "wstrb": data // 8, "wlast": 1, "wvalid": 1, "bready": 1, "rready": 1}
    inputs = {"awready": 1, "wready": 1, "bid": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rid": 1, "rdata": data}
    inputs |= {"rresp": 2, "rlast": 1, "rvalid": 1}
    return {f"{prefix}{name}": ("output", width) for name, width in outputs.items()} | {
        f"{prefix}{name}": ("input", width) for name, width in inputs.items()
    }


def _memory_node(chip: ChipParams) -> Block:
    """A LOAD being collected, kind and place of the request's packet; counters and the one read; error."""
    load = INSTRUCTION_BITS if _read_flits(chip) > 1 else 0
    classes = len(TrafficClass)
    cycles = len({MemoryCounter.READ_STALL, MemoryCounter.WRITE_STALL, MemoryCounter.READ_IDLE})
    counters = COUNTER * (2 * classes + cycles + 1)
    own = load + 3 + _read_flits(chip).bit_length() + counters + 1 + ERROR
    # Of a LOAD: what the engine works with.
    wanted = ("dram_addr", "runs", "run_flits", "dram_stride", "space", "dst", "dst_stride", "planar", "traffic")
    descriptor = chip.n_cores + sum(Load[name].width for name in (*wanted, "token_valid", "token"))
    # Two descriptors in work; addresses now and next of one of them, flits and runs left; AR; first, error.
    walk = 4 * ADDRESS + 16 + 12
    read = 2 * (descriptor + 1) + walk + (ADDRESS + 8 + 1) + 1 + ERROR
    note = chip.n_cores + SPACE + 1 + ADDRESS + 7 + 3 + 1 + TOKEN
    queues = {name: fifo(descriptor, chip.memory_queue_depth) for name in ("queue", "program_queue")}
    # AW, W; beats left, dropping, error; strobe, class and lanes of the packet; acknowledgements due.
    lanes = chip.link_bytes
    write = (ADDRESS + 8 + 1) + (9 * lanes + 2) + 7 + 1 + ERROR + lanes + 3 + 7 + chip.outstanding_bursts.bit_length()
    ports = {
        **_stream("request_in", "input", _flit_bits(chip)),
        **_stream("response_out", "output", _flit_bits(chip)),
        **_axi(chip, "axi__"),
        **dict.fromkeys(("clear", "halt", "running", "clk", "rst"), ("input", 1)),
        "node": ("input", NODE),
        "error": ("output", ERROR),
        "idle": ("output", 1),
        "progress": ("output", 1),
        "counter_index": ("input", 6),
        "counter_value": ("output", COUNTER),
    }
    inside = {
        "read": Block("ReadEngine", read, inside={**queues, "notes": fifo(note, chip.outstanding_bursts)}),
        "write": Block("WriteEngine", write, inside={"sources": fifo(NODE, chip.outstanding_bursts)}),
    }
    return Block("MemoryNode", own, inside=inside, module="systomesh_memory_node", ports=ports)


def _link(chip: ChipParams, name: str, direction: str) -> dict[str, tuple[str, int]]:
    back = {"input": "output", "output": "input"}[direction]
    return {
        f"{name}__valid": (direction, 1),
        f"{name}__vc": (direction, index_bits(chip.n_vcs)),
        f"{name}__flit": (direction, _flit_bits(chip)),
        f"{name}__credit": (back, chip.n_vcs),
    }


def _router(chip: ChipParams) -> Block:
    """Inside: for each input a buffer, for each channel an allocator. Counters and the one read, the crossbar's
    setting, and which channel goes first."""
    slot = index_bits(chip.vc_depth)
    slots = chip.n_vcs << slot
    channel = index_bits(chip.n_vcs)
    front = 1 + 1 + 7 + PORTS
    # Pointers with a wrap bit, credits given back, channel of the flit read.
    buffer = Block(
        "InputBuffer",
        2 * chip.n_vcs * (slot + 1) + chip.n_vcs + channel,
        front * slots,
        inside={"flits": ram(_flit_bits(chip), slots)},
    )
    # Routes, claims and turns of every input and output; flits of this channel behind each output.
    allocator = Block("Allocator", 3 * PORTS**2 + PORTS * chip.vc_depth.bit_length())
    inside = {f"buffer_{side.name.lower()}": buffer for side in Direction}
    inside |= {f"allocator_{channel}": allocator for channel in range(chip.n_vcs)}
    own = COUNTER * (len(router_counters(events=chip.counters)) + 1) + PORTS**2 + channel
    ports: dict[str, tuple[str, int]] = {}
    for port in range(PORTS):
        ports |= _link(chip, f"i__{port}", "input") | _link(chip, f"o__{port}", "output")
        ports[f"reach__{port}"] = ("input", chip.n_nodes)
        ports[f"capacity__{port}"] = ("input", chip.vc_depth.bit_length())
    ports |= dict.fromkeys(("clear", "running", "clk", "rst"), ("input", 1))
    ports |= {"sink": ("input", PORTS), "counter_index": ("input", 6)}
    ports |= {"progress": ("output", 1), "counter_value": ("output", COUNTER)}
    return Block("Router", own, inside=inside, module="systomesh_router", ports=ports)


def _port(chip: ChipParams) -> Block:
    """The flit on the link; credits of both classes and which goes first; credits given back; with two channels in
    a class, for each class which of them goes on."""
    receive_depth = chip.vc_depth if chip.vcs_per_class > 1 else 8
    flit, channel = _flit_bits(chip), index_bits(chip.n_vcs)
    merge = 2 * 2 if chip.vcs_per_class > 1 else 0
    own = flit + 1 + channel + 2 * chip.vc_depth.bit_length() + 1 + chip.n_vcs + merge
    ports: dict[str, tuple[str, int]] = {}
    for kind in ("request", "response"):
        ports |= _stream(f"send_{kind}", "input", flit) | _stream(f"receive_{kind}", "output", flit)
    ports |= _link(chip, "link_out", "output") | _link(chip, "link_in", "input")
    ports |= {"source": ("input", NODE)} | dict.fromkeys(("clear", "clk", "rst"), ("input", 1))
    inside = {f"queue_{v}": fifo(flit, receive_depth) for v in range(chip.n_vcs)}
    return Block("NetworkPort", own, inside=inside, module="systomesh_port", ports=ports)


def _control(chip: ChipParams) -> Block:
    """Registers of `rtl.contract.regs` and the run; the AXI4-Lite write and read under way."""
    selection = 16 + (MARK_BITS if any(core.marks for core in chip.cores) else 0)
    # cycles, watchdog, active, error with node and unit, done, program base and stride, irq.
    registers = 64 + 32 + 64 + (8 + 8 + 2) + 1 + selection + 32 + 32 + 1
    # cycles of clearing left, phase, start wanted, idle cycles.
    run = 3 + 2 + 1 + 32
    # Address and data with strobes, which came, and the answer.
    write = 16 + 32 + 4 + 2 + (1 + 2)
    # Word address, pending, cycles left, the counter, two high halves, and the answer.
    read = 14 + 1 + 2 + COUNTER + 32 + 32 + (1 + 2 + 32)
    return Block("Control", registers + run + write + read)


def expected_chip(chip: ChipParams) -> Block:
    """The tree of a chip, from the top module down."""
    kinds = list(dict.fromkeys(chip.cores))
    router, port = _router(chip), _port(chip)
    mesh = {f"router_{x}_{y}": router for x, y in map(chip.position, range(chip.n_cores))}
    mesh |= {f"port_{node}": port for node in range(chip.n_nodes)}
    cores = [_core(core, chip, f"systomesh_core_{number}") for number, core in enumerate(kinds)]
    memory = _memory_node(chip)
    inside = {
        "control": _control(chip),
        "mesh": Block("Mesh", inside=mesh),
        **{f"core_{i}": cores[kinds.index(core)] for i, core in enumerate(chip.cores)},
        **{f"memory_{i}": memory for i in range(len(chip.memory_nodes))},
    }
    lite = {"awaddr": 16, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1}
    lite |= {"araddr": 16, "arvalid": 1, "rready": 1}
    answers = {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": 32, "rresp": 2, "rvalid": 1}
    ports: dict[str, tuple[str, int]] = dict.fromkeys(("clk", "rst"), ("input", 1))
    ports |= {f"s_axil_{name}": ("input", width) for name, width in lite.items()}
    ports |= {f"s_axil_{name}": ("output", width) for name, width in answers.items()}
    for i in range(len(chip.memory_nodes)):
        ports |= _axi(chip, f"m{i}_axi_")
    ports["irq"] = ("output", 1)
    # Progress of any block, registered.
    return Block("Chip", 1, inside=inside, module="systomesh_chip", ports=ports)
