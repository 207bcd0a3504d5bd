"""What is mutated, which tests must notice, and the faults that are seeded by hand."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GROUPS", "Group", "Seeded"]


@dataclass(frozen=True)
class Seeded:
    """A fault of a known meaning: `old`, which stands in the module once, becomes `new`."""

    module: str
    what: str
    old: str
    new: str


@dataclass(frozen=True)
class Group:
    """Modules that are mutated together, and the tests that must notice, quick ones first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    seeded: tuple[Seeded, ...]


_OPS, _WINDOW, _REQUANT = "golden/int8/ops.py", "golden/net/window.py", "golden/int8/requant.py"
_COMPUTE, _STORE, _STATE = "golden/machine/compute.py", "golden/machine/store.py", "golden/machine/state.py"
_MACHINE, _CHECKS = "golden/machine/machine.py", "golden/machine/checks.py"
_OPERANDS = "golden/machine/operands.py"
_M_ARRAY, _M_TAP = "golden/machine/engines/array.py", "golden/machine/engines/tap.py"
_M_SPARSE, _E_SPARSE = "golden/machine/engines/sparse.py", "sched/estimator/engines/sparse/recursion.py"
_EMIT, _SEQUENCE = "sched/scheduler/code/emit.py", "sched/scheduler/code/sequence.py"
_SOURCE, _SINK = "sched/scheduler/work/source.py", "sched/scheduler/work/sink.py"
_LOWER, _PASSES = "sched/scheduler/work/lower.py", "sched/scheduler/work/passes.py"
_ARRAY, _TAP = "sched/scheduler/engines/array.py", "sched/scheduler/engines/tap.py"
_FILTERS, _SPARSE = "sched/scheduler/work/filters.py", "sched/scheduler/engines/sparse.py"
_SPARSE_LISTS = "sched/scheduler/engines/sparse_lists.py"
_DRAFT, _MAPPING = "sched/scheduler/code/draft.py", "sched/scheduler/map/mapping.py"
_STRIPS = "sched/scheduler/fuse/strips.py"
_LINK, _SERIAL, _PACK = "sched/scheduler/code/link.py", "sched/scheduler/code/serial.py", "sched/scheduler/fuse/pack.py"
_STAY = "sched/scheduler/fuse/stay.py"
_LAYOUT, _TOKENS = "sched/scheduler/plan/layout.py", "sched/scheduler/map/tokens.py"
_TRANSFERS, _TIMELINE = "sched/estimator/transfers.py", "sched/estimator/timeline.py"
_TRACE, _ACTIVITY = "sched/estimator/trace.py", "rtl/contract/activity.py"
_NETWORK, _COEFFICIENTS = "sched/estimator/network.py", "sched/estimator/coefficients.py"
_ROUTES = "sched/estimator/routes.py"
_E_ENGINE, _E_ARRAY = "sched/estimator/engines/engine.py", "sched/estimator/engines/array.py"
_E_TAP, _E_SWITCH = "sched/estimator/engines/tap.py", "sched/estimator/engines/switch.py"
_ESTIMATES, _KINDS = "sched/estimator/estimates.py", "sched/estimator/instructions.py"

_OPS_FAULTS = (
    Seeded(_OPS, "ties round up, not to even", "        value += odd\n", "        value += 1\n"),
    Seeded(_OPS, "ties round down", "        value += odd\n", ""),
    Seeded(_OPS, "the clamp is missing", "np.clip(value, requant.lo, requant.hi)", "value.astype(np.int8)"),
    Seeded(
        _OPS, "the fused clamp is that of int8", "np.clip(value, requant.lo, requant.hi)", "np.clip(value, -128, 127)"
    ),
    Seeded(_OPS, "the zero point is missing", "        value += requant.zero_point\n", ""),
    Seeded(_OPS, "the table is entered at the byte itself", "[out.view(np.uint8) ^ 0x80]", "[out.view(np.uint8)]"),
    Seeded(_OPS, "a convolution pads with 0", "        pad_value=node.pad_value,\n", "        pad_value=0,\n"),
    Seeded(
        _OPS,
        "a pooled sum pads with 0",
        "taps = windows(pad(x, node.padding, node.pad_value)",
        "taps = windows(pad(x, node.padding, 0)",
    ),
    Seeded(_OPS, "the bias is missing", "sums.astype(np.int64) + node.bias[:, None, None]", "sums.astype(np.int64)"),
    Seeded(_OPS, "the residual is not weighted", "node.residual.factor[:, None, None] * tensors", "tensors"),
    Seeded(
        _OPS,
        "an addition mixes up its weights",
        "in zip(node.weights, node.inputs, strict=True)",
        "in zip(node.weights[::-1], node.inputs, strict=True)",
    ),
    Seeded(_OPS, "sums are always float32", "<= 1 << 24 else np.float64", "<= 1 << 62 else np.float64"),
    Seeded(
        _WINDOW,
        "padding is (left, top)",
        "    out[:, top : top + height, left : left + width] = x\n",
        "    out[:, left : left + height, top : top + width] = x\n",
    ),
    Seeded(
        _WINDOW,
        "the vertical stride is that of columns",
        "s_h * stride[0], s_w * stride[1]",
        "s_h * stride[1], s_w * stride[1]",
    ),
    Seeded(_WINDOW, "dilation is ignored", "s_h * dilation[0], s_w * dilation[1]", "s_h, s_w"),
    Seeded(
        _WINDOW,
        "a row too many where windows do not come out even",
        "// stride[0] + 1\n    width",
        "// stride[0] + 2\n    width",
    ),
    Seeded(
        _REQUANT,
        "a scale is rounded to one bit less",
        "multiplier = np.ldexp(fraction, SIGNIFICAND_BITS)",
        "multiplier = 2 * np.ldexp(fraction, SIGNIFICAND_BITS - 1).astype(np.int32)",
    ),
)

_FORMAT_FAULTS = (
    Seeded(
        _LAYOUT,
        "masks of a PE lie together",
        "set_bits.reshape(self._pes, len(weights), -1).transpose(1, 0, 2).reshape(-1)",
        "set_bits.reshape(-1)",
    ),
    Seeded(
        _LAYOUT,
        "the shortest list counts",
        "self._positions(weights, order), axis=1).max())",
        "self._positions(weights, order), axis=1).min())",
    ),
    Seeded(
        _LAYOUT,
        "weights are listed from the second on",
        "(np.cumsum(set_bits, axis=1) - 1)[pes, places], pes] =",
        "np.cumsum(set_bits, axis=1)[pes, places] % rounds, pes] =",
    ),
)
_SPARSE_FAULTS = (
    Seeded(
        _M_SPARSE,
        "lanes do not turn from item to item",
        "weights[item, (lane + item) % lanes][:, lane_of]",
        "weights[item, lane][:, lane_of]",
    ),
    Seeded(_M_SPARSE, "parts of a kernel turn from their own start", "(lane + first + item)", "(lane + item)"),
    Seeded(
        _M_SPARSE, "zeros are never counted", "counted = acts != 0 if skip_acts else", "counted = acts != 0 if 1 else"
    ),
    Seeded(_M_SPARSE, "a list may be a round too short", "if longest > rounds:", "if longest > rounds + 1:"),
    Seeded(
        _M_SPARSE, "a lane may come twice", "if sorted(lane_of) != list(range(params.cols)):", "if max(lane_of) > 7:"
    ),
    Seeded(_M_SPARSE, "zero is 0", '            operands -= geometry["pad_value"]\n', ""),
    Seeded(_M_SPARSE, "float32 holds any sum", "EXACT_OPERANDS = 512", "EXACT_OPERANDS = 1 << 20"),
    Seeded(_M_SPARSE, "weights of an item go to its filters in order", "[:, lane_of] = placed", "[:, :] = placed"),
    Seeded(_M_SPARSE, "items with a pair are empty", "np.count_nonzero(pairs == 0)", "np.count_nonzero(pairs == 1)"),
    Seeded(
        _E_SPARSE,
        "an empty item costs nothing",
        "np.maximum(pairs[item], 1, out=work)",
        "np.maximum(pairs[item], 0, out=work)",
    ),
    Seeded(
        _E_SPARSE,
        "PEs run ahead by an item more",
        "        if item > ahead:\n            np.maximum(accepted, release[item - 1 - ahead],",
        "        if item > ahead + 1:\n            np.maximum(accepted, release[item - 2 - ahead],",
    ),
    Seeded(_E_SPARSE, "sums are there a cycle early", "_COLLECT_CYCLES = 2", "_COLLECT_CYCLES = 1"),
    Seeded(
        _E_SPARSE,
        "a PE never waits for the collector",
        "            np.maximum(by_lane, collected.repeat(columns // groups, axis=0).T[:, None], out=by_lane)\n",
        "",
    ),
    Seeded(_E_SPARSE, "the collector may be at two pixels", "collected[-1] + 1)\n", "0)\n"),
    Seeded(
        _E_SPARSE,
        "an item enters whenever it is offered",
        "accepted += item_cycles if item else 1",
        "accepted[:] = 0",
    ),
)

_MACHINE_FAULTS = (
    Seeded(_STORE, "ties round up, not to even", "((remainder == half) & (floor & 1 == 1))", "(remainder == half)"),
    Seeded(_STORE, "the clamp is missing", "np.minimum(np.maximum(rounded, lo), hi)", "rounded"),
    Seeded(_STORE, "a pool takes padding for the lowest value of int8", "np.iinfo(np.int32).min", "-128"),
    Seeded(
        _STORE,
        "a pool's columns are padded like its rows",
        'column * pool["stride_w"] - pool["pad_left"]',
        'column * pool["stride_w"] - pool["pad_top"]',
    ),
    Seeded(
        _STORE,
        "all channel groups use the parameters of the first",
        'fields["param_base"] + group',
        'fields["param_base"]',
    ),
    Seeded(_STORE, "the table is entered at the byte itself", "out.astype(np.int16) + 128", "out.astype(np.int16)"),
    Seeded(_OPERANDS, "padding is 0", 'operands[:, :, :, i] = geometry["pad_value"]', "operands[:, :, :, i] = 0"),
    Seeded(_OPERANDS, "dilation of columns is ignored", 'kx * geometry["dilation_w"]', "kx"),
    Seeded(
        _OPERANDS, "a map is a row too long", 'fields["out_h"], fields["in_h"])', 'fields["out_h"], fields["in_h"] + 1)'
    ),
    Seeded(_M_TAP, "maxima are added", "combine=np.maximum", "combine=np.add"),
    Seeded(_M_TAP, "a maximum starts from 0", "_LOWEST = -128", "_LOWEST = 0"),
    Seeded(_M_TAP, "a window's columns all have the weights of the first", "* columns + column\n", "* columns\n"),
    Seeded(
        _M_ARRAY, "weights of the first block serve all", "first = piece.block * taps + piece.tap", "first = piece.tap"
    ),
    Seeded(_COMPUTE, "the first pass adds to what was there", "    if update.accumulate:\n", "    if True:\n"),
    Seeded(
        _OPERANDS,
        "activation addresses do not wrap",
        "_ADDRESS_MASK = ADDRESS_SPACE_BYTES - 1",
        "_ADDRESS_MASK = 2 * ADDRESS_SPACE_BYTES - 1",
    ),
    Seeded(_STATE, "a token counter ends one later", "== TOKEN_MAX:", "== TOKEN_MAX + 1:"),
    Seeded(_STATE, "a planar run steps by one flit", "return self.act_groups if planar else 1", "return 1"),
    Seeded(
        _MACHINE,
        "a wait range is one short",
        'range(first, first + self.fields[f"wait{i}_count"])',
        'range(first, first + self.fields[f"wait{i}_count"] - 1)',
    ),
    Seeded(_MACHINE, "tokens are not taken", "                tokens[token] -= 1\n", "                pass\n"),
    Seeded(
        _MACHINE,
        "signal 2 of a COMPUTE is sent at once",
        "self._signal(core, fields, range(2))",
        "self._signal(core, fields, range(3))",
    ),
    Seeded(_MACHINE, "a fence waits for nothing", "self.fencing = self.writes_under_way > 0", "self.fencing = False"),
    Seeded(
        _MACHINE,
        "a LOAD for several cores reaches the first alone",
        '        for core in cores:\n            self._later("arrive"',
        '        for core in cores[:1]:\n            self._later("arrive"',
    ),
)

_SCHEDULER_FAULTS = (
    Seeded(
        _SEQUENCE,
        "loads go round one slot less than they wait for",
        "base + number % slots * slot_bytes",
        "base + number % max(1, slots - 1) * slot_bytes",
    ),
    Seeded(
        _SEQUENCE, "a load waits for no free slot", "                load.waits_free = True\n", "                pass\n"
    ),
    Seeded(
        _SEQUENCE,
        "a slot is freed for one load too few",
        "load.frees = number + slots < len(loads)",
        "load.frees = number + slots + 1 < len(loads)",
    ),
    Seeded(
        _SEQUENCE,
        "loads leave in another order than the ring's",
        "loads = sorted(by_key.values(), key=lambda load: load.first)",
        "loads = sorted(by_key.values(), key=lambda load: -load.first)",
    ),
    Seeded(
        _EMIT,
        "loads of a core leave ring by ring",
        "in sorted(loads[core], key=lambda load: (load.start, load.needed)):",
        "in loads[core]:",
    ),
    Seeded(
        _EMIT,
        "a leader waits for one member less",
        "waits = tokens.wait(0, tokens.act_free, len(group.cores))",
        "waits = tokens.wait(0, tokens.act_free, len(group.cores) - 1)",
    ),
    Seeded(
        _EMIT,
        "a COMPUTE does not wait for its weights",
        "events |= tokens.wait(1, tokens.weight_ready + tokens.weight_memory(group.leader, load.number), 1)",
        "pass",
    ),
    Seeded(
        _EMIT,
        "a COMPUTE does not wait for its bank",
        "if visit.starts and unit >= len(banks):",
        "if visit.starts and unit > len(banks):",
    ),
    Seeded(
        _EMIT, "both accumulator banks are one", "acc_base = banks[unit % len(banks)] * self", "acc_base = 0 * self"
    ),
    Seeded(_EMIT, "the first step of a block accumulates", "acc_base, int(not visit.starts))", "acc_base, 1)"),
    Seeded(
        _EMIT,
        "a STORE takes the parameters of the other half",
        "param_base=mapping.param_base(load, ",
        "param_base=mapping.param_base(load + 1, ",
    ),
    Seeded(
        _EMIT,
        "a member frees the slot of another",
        "tokens.signal(0, tokens.act_free + member, group.leader)",
        "tokens.signal(0, tokens.act_free, group.leader)",
    ),
    Seeded(
        _SINK,
        "the output starts a pixel late",
        "(block.channel // self.block * self.plane + pixel)",
        "(block.channel // self.block * self.plane + pixel + 1)",
    ),
    Seeded(
        _TOKENS,
        "ready and free tokens of weights overlap",
        "return self.act_free + self.act_members",
        "return self.act_free",
    ),
    Seeded(
        _ARRAY,
        "the zero point of padding is 0",
        "pad_value=node.pad_value",
        "pad_value=0",
    ),
    Seeded(_TAP, "the highest digit of a sum is lost", "for place in range(3):", "for place in range(2):"),
    Seeded(
        _PASSES,
        "the weights of all steps start where the first's do",
        "                weight += size\n",
        "                pass\n",
    ),
    Seeded(
        _LOWER,
        "a layer of channels of its own has the parameters of the first",
        "0 if same_params else number",
        "0",
    ),
    Seeded(
        _SINK,
        "rows are not stored to the neighbour that reads them",
        "for cores, first, end in self._holders(core, chip.cores[core]):",
        "for cores, first, end in [held for held in self._holders(core, chip.cores[core]) if core in held[0]]:",
    ),
    Seeded(
        _SINK,
        "runs of rows go on behind the last that a core holds",
        "yield from pairwise([first, *sorted(edge for edge in edges if first < edge < end), end])",
        "yield first, end",
    ),
    Seeded(
        _STRIPS,
        "strips lie in one slot that the next one overwrites",
        "addr = at + strip % self.slots(number) * self._slot_bytes[number]",
        "addr = at",
    ),
    Seeded(
        _STRIPS,
        "rows that the next strip needs are not stored to it",
        "if self.slots(number) > 1 else strip + 1)",
        "if self.slots(number) > 2 else strip + 1)",
    ),
    Seeded(
        _SINK,
        "blocks of a word lie a plane apart",
        "stride = residence.plane if groups == 1 else 1",
        "stride = residence.plane",
    ),
    Seeded(_LINK, "parts do not wait for each other", "        if not number:\n", "        if True:\n"),
    Seeded(
        _LINK,
        "data may come after the part that reads them",
        "*ranges_of(self.barriers.data.first + source for source in sources)]",
        "]",
    ),
    Seeded(
        _LINK,
        "weights come before the part two in front is done",
        "self._load_waits(self.before_loads[number]), self",
        "self._load_waits(-1), self",
    ),
    Seeded(
        _LINK,
        "tensors are read before the part that writes them to memory is done",
        "else self.written[number]\n",
        "else -1\n",
    ),
    Seeded(
        _LINK,
        "tensors are loaded over what the part in front still uses",
        "number - 1 if number and _loads_over(parts[number], parts[number - 1]) else",
        "-1 if number and _loads_over(parts[number], parts[number - 1]) else",
    ),
    Seeded(_LINK, "a core that has nothing to do is done at once", "if own is None:", "if False:"),
    Seeded(
        _LINK,
        "a part starts before all cores have computed the one in front",
        "ranges = [self.barriers.computed, *ranges_of(",
        "ranges = [*ranges_of(",
    ),
    Seeded(
        _LINK,
        "STOREs to other cores bring no token",
        "bits = encode_fields(Opcode.STORE, token_valid=1, token=self.barriers.data.first + core)",
        "bits = 0",
    ),
    Seeded(_LINK, "load units run one part further ahead", "PARTS_APART = 2\n", "PARTS_APART = 3\n"),
    Seeded(
        _LINK,
        "a part is done before its writes are acknowledged",
        "self._tell(self.barriers.written, core, fence=True)",
        "self._tell(self.barriers.written, core)",
    ),
    Seeded(
        _LINK,
        "load units do not wait for the acknowledgement",
        "*([self.barriers.written] if passed in self.written else [])",
        "",
    ),
    Seeded(_LINK, "a core tells its column before its row is done", "*syncs(known, [(", "*syncs([], [("),
    Seeded(
        _LINK,
        "a core tells only the other columns of its row",
        "for other in (*column, core)]),",
        "for other in (core,)]),",
    ),
    Seeded(
        _SERIAL,
        "a load unit does not wait for the other cores to which it loads",
        "for target in sorted(self.targets[core, phase]):",
        "for target in [core]:",
    ),
    Seeded(_SERIAL, "a phase ends before its writes are acknowledged", "signals(told, fence=True)", "signals(told)"),
    Seeded(_SERIAL, "a phase has more blocks than banks", " + banks) * block", " + banks + 1) * block"),
    Seeded(
        _SERIAL,
        "a phase has two pairs of tiles",
        "len(mapping.budget.acc.banks) // mapping.together",
        "len(mapping.budget.acc.banks)",
    ),
    Seeded(
        _SERIAL,
        "the last load of one memory node speaks for all",
        'last = {(_field(load, "memory"), _field(load, "cores")): place',
        'last = {(0, _field(load, "cores")): place',
    ),
    Seeded(
        _SEQUENCE,
        "weights are loaded for every tile anew though blocks come first",
        "return (j, *key) if self.mapping.blocks_first else (t // self.mapping.together, j, *key)",
        "return (t, j, *key)",
    ),
    Seeded(
        _SEQUENCE,
        "weights are loaded for each of two tiles that take turns",
        "else (t // self.mapping.together, j, *key)",
        "else (t, j, *key)",
    ),
    Seeded(
        _SEQUENCE,
        "weights are kept for the next tile though its blocks come between",
        "return (j, *key) if self.mapping.blocks_first else (t // self.mapping.together, j, *key)",
        "return (j, *key)",
    ),
    Seeded(_PACK, "what dies in a part may be overwritten in it", "self.first <= last and", "self.first < last and"),
    Seeded(
        _STAY,
        "a residual may be overwritten that is still on its way",
        "tensors.written[step.residual] < number - 1",
        "tensors.written[step.residual] < number",
    ),
    Seeded(
        _STAY,
        "what other cores have still to store may be overwritten",
        "number - 1 or self._keeps_own_rows(output, stay, grid)",
        "number - 1 or grid is not None",
    ),
    Seeded(
        _EMIT,
        "a STORE's token comes with the first flits",
        "last.update(dict.fromkeys(target.cores, len(words)))",
        "last = {**dict.fromkeys(target.cores, len(words)), **last}",
    ),
    Seeded(
        _DRAFT,
        "parts forget whose turn the accumulators' banks are",
        "turns = {core: Turns(done[place], totals[place])",
        "turns = {core: Turns(0, totals[place])",
    ),
    Seeded(
        _SOURCE,
        "the first pixel of a resident input is that of the map",
        "tile.iy[0], tile.ix[0])\n        return flit",
        "self.residence.rows_of[core][0], tile.ix[0])\n        return flit",
    ),
    Seeded(
        _MAPPING,
        "parameters are loaded as if their budget began at 0",
        "return self.budget.params.first + (load",
        "return (load",
    ),
    Seeded(
        _LAYOUT,
        "the last block of channels is missing",
        "return ceil_div(self.shape[0], self.block)",
        "return max(1, self.shape[0] // self.block)",
    ),
    Seeded(
        _LAYOUT,
        "a packed row has no padding on its left",
        "padded = np.pad(x, ((0, 0), vertical, (left, right))",
        "padded = np.pad(x, ((0, 0), vertical, (0, left + right))",
    ),
    Seeded(_LOWER, "the zero point stays in the bias", "bias = node.bias + node.pad_value", "bias = node.bias + 0"),
    Seeded(_FILTERS, "groups read each other's channels", "column = group * depth - first", "column = 0"),
    Seeded(_FILTERS, "a folded window goes by kernel rows", "spread = spread.transpose(0, 2, 1, 3)", "spread = spread"),
    Seeded(
        _SPARSE_LISTS,
        "the last part of a kernel is as high as the others",
        "min(self.rows, kernel[0] - ky)",
        "self.rows",
    ),
    Seeded(
        _SPARSE, "lists of a COMPUTE are as long as its first", "rounds[group : group + count].max()", "rounds[group]"
    ),
    Seeded(_SPARSE, "the last pass has as many words as the others", "words - whole.stop * stacked", "stacked"),
    Seeded(_SPARSE, "every place in a word has the first one's weights", "parts[weights][start]", "parts[weights][0]"),
    Seeded(_SPARSE, "a pass may fill all of the scratchpad", "twice = 2 *", "twice ="),
    Seeded(_SPARSE, "lists may be longer than a PE holds", "longest <= core.sparse_depth and ", ""),
    Seeded(
        _SPARSE,
        "chunks begin anywhere in a pass",
        "step = lcm(work.source.word_step,",
        "step = min(work.source.word_step,",
    ),
    Seeded(_EMIT, "words as kernel rows move the window down", 'rows |= {"dilation_h": 0}', "rows |= {}"),
    Seeded(
        _EMIT,
        "stacked words lie a row apart",
        'geometry |= {"tap_y": geometry["block_pitch"], ',
        "geometry |= {",
    ),
    Seeded(
        _PASSES,
        "weights of a step are not padded to a flit",
        "if not self.pass_bytes % align or",
        "if self.pass_bytes or",
    ),
)

_ESTIMATOR_FAULTS = (
    Seeded(_E_TAP, "strides are ignored", "(streamed.width - 1) * streamed.stride_w +", "streamed.width - 1 +"),
    Seeded(
        _E_TAP,
        "a window's columns are one too many",
        "(streamed.width - 1) * streamed.stride_w +",
        "streamed.width * streamed.stride_w +",
    ),
    Seeded(
        _E_ARRAY,
        "short passes do not wait for their weights",
        "max(streamed.pixels, core.rows, core.cols)",
        "streamed.pixels",
    ),
    Seeded(
        _E_ARRAY,
        "short passes wait for rows alone",
        "max(streamed.pixels, core.rows, core.cols)",
        "max(streamed.pixels, core.rows)",
    ),
    Seeded(_E_ENGINE, "a pixel less", "return self.height * self.width", "return self.height * self.width - 1"),
    Seeded(_E_TAP, "maxima wait for weights", "0 if streamed.weightless else max(", "max("),
    Seeded(_E_TAP, "kernel columns of a window are passes", 'if setup["window"]:', "if False:"),
    Seeded(_E_ARRAY, "the way forgets the columns", "return core.rows + core.cols", "return core.rows"),
    Seeded(_E_SWITCH, "a change costs one direction alone", " + b.idle_cycles(core, c)", ""),
    Seeded(_COEFFICIENTS, "all engines have the cycles of the first", "if name == engine:", "if True:"),
    Seeded(
        _KINDS,
        "a COMPUTE's start is forgotten",
        "cycles=streaming + engine.start_cycles(c)",
        "cycles=streaming",
    ),
    Seeded(_TRANSFERS, "pooled stores read every entry once", "pixels * (pool[0] * pool[1] if pool else 1)", "pixels"),
    Seeded(_TRANSFERS, "bursts do not stop at 4 KB", "head = min(left, page - start % page)", "head = left"),
    Seeded(_NETWORK, "links carry anything", "free[output] = finish\n", "free[output] = now\n"),
    Seeded(_NETWORK, "a memory carries anything", "max(0.0, 2 / bandwidth - self.alone)", "0.0"),
    Seeded(_NETWORK, "a buffer has room for anything", "self.room[output] -= length", "pass"),
    Seeded(_NETWORK, "the last to wait is the first", "line.popleft()", "line.pop()"),
    Seeded(
        _NETWORK,
        "a multicast starts without room",
        "if when <= now and self.node_behind[output] < 0:",
        "if False:",
    ),
    Seeded(
        _NETWORK,
        "slow packets hold up the other plane",
        "        if pace >= 2:\n",
        "        if False:\n",
    ),
    Seeded(
        _NETWORK,
        "a memory node takes any number of requests",
        "if source.kept or not (transfer.program or self._takes(source)):",
        "if False:",
    ),
    Seeded(
        _NETWORK,
        "instructions wait behind all data",
        "        if transfer.program:\n",
        "        if False:\n",
    ),
    Seeded(_ROUTES, "links of other ways are counted", "flits[link] += count", "flits[link] += 1"),
    Seeded(
        _TIMELINE,
        "latency of the memory is forgotten",
        "self.c.read_latency + self.memory.latency_cycles",
        "self.c.read_latency",
    ),
    Seeded(
        _KINDS,
        "a LOAD counts one run",
        'flits = fields["runs"] * fields["run_flits"]',
        'flits = fields["run_flits"]',
    ),
    Seeded(
        _KINDS,
        "a STORE counts one group",
        'flits = fields["pixels"] * fields["groups"]',
        'flits = fields["pixels"]',
    ),
    Seeded(
        _TIMELINE,
        "signal 2 of a COMPUTE comes with its last pixel",
        "finish = unit.free + instruction.drain",
        "finish = unit.free",
    ),
    Seeded(
        _TIMELINE,
        "a program's bytes are not counted",
        '            self.bytes["program"] += nbytes\n',
        "",
    ),
    Seeded(_KINDS, "pages never end a burst", "timed |= PLACED", "pass"),
    Seeded(_E_TAP, "windows cost nothing else", '"stride_w", "out_w", "window"', '"stride_w", "out_w"'),
    Seeded(_TRACE, "the way of a LOAD's last flit is forgotten", "last + load.way", "last"),
    Seeded(_TRACE, "a COMPUTE ends when it begins", "max(self.now, unit.free)", "self.now"),
    Seeded(_ACTIVITY, "writes are no traffic", "count + self.write_bytes[name]", "count"),
    Seeded(
        _ESTIMATES,
        "passes are counted once an instruction",
        "            passes += instruction.passes\n",
        "            passes += 1\n",
    ),
    Seeded(_ESTIMATES, "all launches are worth the whole estimate", "estimate(launch, limit)", "estimate(launch)"),
    Seeded(_ESTIMATES, "the last of equals is the fastest", "estimated in found if", "estimated in found[::-1] if"),
    Seeded(
        _ESTIMATES,
        "of launches as fast the fastest one is taken",
        "key=lambda item: (sum(item[1].dram_bytes.values()), item[1].cycles)",
        "key=lambda item: item[1].cycles",
    ),
    Seeded(
        _ESTIMATES,
        "launches are as fast as the last one that was estimated",
        "limit = min(limit, (1 + alike) * estimated.cycles)",
        "limit = (1 + alike) * estimated.cycles",
    ),
    Seeded(
        _TIMELINE,
        "a launch is given up when its limit is near",
        "unit.free + unit.left_cycles[unit.index] > self.last_end",
        "unit.free + 2 * unit.left_cycles[unit.index] > self.last_end",
    ),
)

_MACHINE_TESTS = tuple(
    f"tests/unit/golden/machine/{part}.py"
    for part in (
        "test_control", "test_operands", "test_data", "test_errors", "engines/test_array", "engines/test_tap",
        "engines/test_registry",
    )
)  # fmt: skip

_EVENTS = "sched/estimator/events"
_EV_COMPUTE, _EV_PREDICT = f"{_EVENTS}/compute.py", f"{_EVENTS}/predict.py"
_EV_NETWORK, _EV_RECORD = f"{_EVENTS}/network.py", f"{_EVENTS}/record.py"
_EVENT_FAULTS = (
    Seeded(
        _EV_COMPUTE,
        "the first pass writes without reading",
        'passes if fields["accumulate"] else passes - 1',
        'passes if fields["accumulate"] else passes',
    ),
    Seeded(_EV_COMPUTE, "a window has weights for each of its columns", "max(1, streamed.columns,", "max(1,"),
    Seeded(_EV_COMPUTE, "a read ends in the next word from here on", "begins > word", "begins >= word"),
    Seeded(_EV_COMPUTE, "the window streams from its padding on", '[-setup["pad_left"]], 1', '[setup["pad_left"]], 1'),
    Seeded(_EV_COMPUTE, "places in a word go round", "whole[: len(whole) - len(a)] += whole[len(a) :]", "pass"),
    Seeded(_EV_PREDICT, "parameters of a group", "groups * max(1, lanes", "max(1, lanes"),
    Seeded(_EV_PREDICT, "packets end at pages", "ceil(head / most) +", "ceil(head / most) + 1 +"),
    Seeded(_EV_PREDICT, "a setting goes on in the next part", "setting = parts[part].take", "parts[part].take"),
    Seeded(_EV_PREDICT, "blocks of instructions begin where parts do not", "- ceil(start / block)", "- start // block"),
    Seeded(
        _EV_PREDICT,
        "a signal to the own core is no flit",
        'and fields[f"signal{i}_core"] != core',
        'and fields[f"signal{i}_core"] >= 0',
    ),
    Seeded(
        _EV_NETWORK, "a flit enters the first router", "entered = [y * chip.mesh_width + x]", "entered: list[int] = []"
    ),
    Seeded(_EV_RECORD, "queues bound what is fetched ahead", "params.fetch_block - 1)", "params.fetch_block + 1)"),
    Seeded(_EV_RECORD, "a block is asked for", "count * self.chip.request_flits", "self.chip.request_flits"),
)

GROUPS: dict[str, Group] = {
    "sparse": Group(
        (_M_SPARSE, _E_SPARSE),
        (
            "tests/unit/golden/machine/engines/test_sparse.py",
            "tests/unit/sched/estimator/engines/sparse/test_cycles.py",
        ),
        _SPARSE_FAULTS,
    ),
    "ops": Group(
        (_OPS, _WINDOW, _REQUANT),
        (
            "tests/unit/golden/int8/test_ops.py",
            "tests/unit/golden/int8/test_requant.py",
            "tests/unit/golden/net/test_norms.py",
            "tests/unit/golden/int8/test_quant.py",
            "tests/unit/golden/net/test_window.py",
        ),
        _OPS_FAULTS,
    ),
    "machine": Group(
        (_COMPUTE, _OPERANDS, _M_ARRAY, _M_TAP, _STORE, _STATE, _MACHINE, _CHECKS),
        (
            *_MACHINE_TESTS,
            "tests/unit/sched/estimator/events/test_predict.py",
            "tests/unit/sched/test_random_layers.py",
        ),
        _MACHINE_FAULTS,
    ),
    "scheduler": Group(
        (
            _EMIT,
            _SEQUENCE,
            _DRAFT,
            _LINK,
            _SOURCE,
            _SINK,
            _LAYOUT,
            _LOWER,
            _PASSES,
            _ARRAY,
            _TAP,
            _TOKENS,
            _MAPPING,
            _PACK,
            _STAY,
            _STRIPS,
            _SERIAL,
            _FILTERS,
            _SPARSE,
            _SPARSE_LISTS,
        ),
        (
            *(
                f"tests/unit/sched/scheduler/{part}.py"
                for part in (
                    "plan/test_layout",
                    "work/test_source",
                    "map/test_tokens",
                    "map/test_budget",
                    "test_alike",
                    "fuse/test_pack",
                    "fuse/test_search",
                    "fuse/test_stay",
                    "engines/test_sparse",
                )
            ),
            *(
                f"tests/unit/sched/test_{part}.py"
                for part in (
                    "resident",
                    "random_layers",
                    "schedule",
                    "replay",
                    "properties",
                    "fused",
                    "serial",
                )
            ),
        ),
        _SCHEDULER_FAULTS + _FORMAT_FAULTS,
    ),
    "estimator": Group(
        (
            _E_ENGINE,
            _E_ARRAY,
            _E_TAP,
            _E_SWITCH,
            _COEFFICIENTS,
            _TRANSFERS,
            _TIMELINE,
            _NETWORK,
            _ROUTES,
            _ESTIMATES,
            _KINDS,
            _TRACE,
            _ACTIVITY,
        ),
        (
            *(f"tests/unit/sched/estimator/engines/test_{part}.py" for part in ("array", "tap", "registry")),
            "tests/unit/sched/estimator/test_transfers.py",
            "tests/unit/sched/estimator/test_network.py",
            "tests/unit/sched/estimator/test_trace.py",
            "tests/unit/sched/estimator/test_marks.py",
            "tests/unit/rtl/contract/test_activity.py",
            "tests/unit/rtl/contract/test_marks.py",
            "tests/unit/sched/test_activity.py",
            "tests/unit/sched/test_estimator.py",
        ),
        _ESTIMATOR_FAULTS,
    ),
    "events": Group(
        (_EV_COMPUTE, _EV_PREDICT, _EV_NETWORK, _EV_RECORD),
        ("tests/unit/sched/estimator/events/test_predict.py", "tests/unit/tb/run/test_counts.py"),
        _EVENT_FAULTS,
    ),
}
