// The timeline of a launch, recorded beside the model: what the monitors of tb/hdl/trace.v tell, as spans and points.
//
// tb/sim/trace.py starts it before a launch, takes the events behind it, and says what each of them means. Cycles are
// those of the launch, as the chip counts them. Which instruction it is that issues, ends or signals is not said: units
// work in the order of their streams.

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "svdpi.h"

double sc_time_stamp();

namespace {

constexpr double PERIOD = 10'000;  // ps
constexpr uint64_t START_CYCLES = 1;  // those of a launch before its cores count

enum Kind : uint8_t { WORK, WAIT, ISSUED, ENDED, RELEASED, READ, WRITTEN, STREAMED, MOVED, PASSED };
enum Unit : uint8_t { LOAD, COMPUTE, STORE };

// Its layout is that of tb.sim.trace.EVENT.
struct Event {
    uint32_t begin, end;
    uint8_t kind, place, unit, what;
    uint32_t first, second;
};

// What a unit is seen to do: a cause of waiting, or one of these.
constexpr int STREAM = 0, WEIGHT_STALL = 4, FETCH = 5, OVERHEAD = 6, DONE = 7;  // numbers of COMPUTE counters
constexpr int WORKS = 8, NOTHING = 9;

// Sources of a token: 0 to 6 are signals, by the port of the core that sends them.
constexpr uint8_t FROM_STORE = 7, FROM_MEMORY = 8;
constexpr int SIGNAL_SOURCES = 7, KIND_SIGNAL = 3;

struct Release {
    uint8_t token, source;
    uint32_t node, number;  // who sent it, and how many it had sent before
};

struct Lane {
    int does = NOTHING;
    uint64_t since = 0;
};

struct Core {
    uint32_t levels = 0;
    std::array<Lane, 3> lanes;
    uint64_t accounted = 0;  // compute unit: up to where the next two, and `streamed`, hold
    int cause = -1;
    uint32_t stream = 0, stall = 0;  // of the span under way
    uint64_t interval = 0;
    uint32_t streamed = 0;  // in this interval, of the COMPUTE under way
    std::array<uint32_t, SIGNAL_SOURCES> sent{};
    std::map<int, uint32_t> received, stored;  // tokens by memory node, and by core that stores
    std::vector<Release> releases;
    uint64_t released = 0;
};

struct Load {
    uint32_t source, flits, left;
    bool begun;
    uint64_t begin;
};

struct Memory {
    std::deque<Load> loads, programs;
    bool writes = false;
    uint64_t begin = 0, end = 0;
    uint8_t traffic = 0;
    uint32_t source = 0, bytes = 0, lanes = 0;
    std::array<uint64_t, 2> interval{};
    std::array<uint32_t, 2> moved{};  // read and written in it
};

constexpr uint64_t WRITE_GAP = 32;  // cycles within which packets of one source are one span

bool recording = false;
bool running = false;
uint64_t base = 0;
uint64_t interval_cycles = 1000;
std::map<int, Core> cores;
std::map<int, Memory> memories;
std::map<std::pair<int, int>, std::deque<std::pair<uint8_t, uint32_t>>> under_way;  // signals between cores
std::vector<uint64_t> flits_before;
uint64_t flits_interval = 0;
std::vector<Event> events;

uint64_t clock_cycle() { return static_cast<uint64_t>(sc_time_stamp() / PERIOD); }
uint64_t launch_cycle() { return clock_cycle() - base + START_CYCLES; }

void add(Kind kind, int place, int unit, int what, uint64_t begin, uint64_t end, uint32_t first = 0, uint32_t second = 0) {
    events.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint32_t>(end), kind, static_cast<uint8_t>(place),
         static_cast<uint8_t>(unit), static_cast<uint8_t>(what), first, second});
}

int lowest(uint32_t bits) { return bits ? __builtin_ctz(bits) : -1; }

void flush_streamed(Core& core, int node) {
    if (core.streamed) {
        const uint64_t begin = core.interval * interval_cycles;
        add(STREAMED, node, COMPUTE, 0, begin, begin + interval_cycles, core.streamed);
    }
    core.streamed = 0;
}

// Counts what the compute unit did up to a cycle.
void account(Core& core, int node, uint64_t until) {
    uint64_t at = core.accounted;
    const uint32_t cycles = static_cast<uint32_t>(until - at);
    core.accounted = until;
    if (core.cause == WEIGHT_STALL) core.stall += cycles;
    if (core.cause != STREAM) return;
    core.stream += cycles;
    while (at < until) {
        if (at / interval_cycles != core.interval) {
            flush_streamed(core, node);
            core.interval = at / interval_cycles;
        }
        const uint64_t border = (core.interval + 1) * interval_cycles;
        const uint64_t end = border < until ? border : until;
        core.streamed += static_cast<uint32_t>(end - at);
        at = end;
    }
}

// Ends a span of a unit; `whole`: with the last pixel of a COMPUTE.
void close(Core& core, int node, Unit unit, uint64_t now, bool whole) {
    Lane& lane = core.lanes[unit];
    const uint64_t begin = lane.since;
    lane.since = now;
    if (lane.does == NOTHING || begin == now) return;
    if (lane.does == WORKS) {
        if (whole) flush_streamed(core, node);
        add(WORK, node, unit, whole, begin, now, core.stream, core.stall);
        core.stream = core.stall = 0;
        return;
    }
    add(WAIT, node, unit, lane.does, begin, now);
    if (lane.does < STREAM + 1 || lane.does > 3 || core.released + 1 != now) return;
    for (const Release& release : core.releases)
        add(RELEASED, node, unit, release.source, core.released, now, release.node << 8 | release.token, release.number);
}

void look(Core& core, int node, Unit unit, int does, uint64_t now) {
    if (does == core.lanes[unit].does) return;
    close(core, node, unit, now, false);
    core.lanes[unit].does = does;
}

// What holds up a load or store unit: tokens of a range, a missing instruction, its end.
int held_up(bool counts, uint32_t waits, bool empty, bool ended) {
    if (!counts) return NOTHING;
    if (ended) return DONE;
    if (waits) return 1 + lowest(waits);
    return empty ? FETCH : NOTHING;
}

void signal_sent(Core& core, int node, int source, int target, Release& own) {
    const uint32_t number = core.sent[source]++;
    if (target == node)
        own = {0, static_cast<uint8_t>(source), static_cast<uint32_t>(node), number};
    else
        under_way[{node, target}].push_back({static_cast<uint8_t>(source), number});
}

void token_arrived(Core& core, int node, int way, uint8_t token, uint32_t sources, const Release& own) {
    const uint32_t response = sources & 127, request = sources >> 7 & 127, kind = sources >> 14 & 7;
    Release release{token, FROM_MEMORY, response, 0};
    if (way == 0) {
        release.number = core.received[response]++;
    } else if (way == 2) {
        release = own;
        release.token = token;
    } else if (kind != KIND_SIGNAL) {
        release = {token, FROM_STORE, request, core.stored[request]++};
    } else {
        auto& queue = under_way[{static_cast<int>(request), node}];
        if (queue.empty()) return;
        release = {token, queue.front().first, request, queue.front().second};
        queue.pop_front();
    }
    core.releases.push_back(release);
}

void count_bytes(Memory& memory, int node, int way, uint64_t now, uint32_t bytes) {
    if (now / interval_cycles != memory.interval[way]) {
        const uint64_t begin = memory.interval[way] * interval_cycles;
        if (memory.moved[way]) add(MOVED, node, 0, way, begin, begin + interval_cycles, memory.moved[way]);
        memory.interval[way] = now / interval_cycles;
        memory.moved[way] = 0;
    }
    memory.moved[way] += bytes;
}

void close_write(Memory& memory, int node) {
    if (memory.writes) add(WRITTEN, node, 0, memory.traffic, memory.begin, memory.end, memory.source, memory.bytes);
    memory.writes = false;
}

}  // namespace

extern "C" {

// --- what the bench calls ---

// Records from the next start of the chip on, with counts every so many cycles.
void systomesh_trace_start(uint64_t cycles) {
    recording = true;
    running = false;
    interval_cycles = cycles;
    cores.clear();
    memories.clear();
    under_way.clear();
    flits_before.clear();
    flits_interval = 0;
    events.clear();
}

// Ends it; how many events there are, and where they lie until the next start.
uint64_t systomesh_trace_stop(const void** found) {
    if (recording) {
        for (auto& [node, memory] : memories) {
            close_write(memory, node);
            for (int way = 0; way < 2; way++) count_bytes(memory, node, way, ~uint64_t{0}, 0);
        }
    }
    recording = false;
    *found = events.data();
    return events.size();
}

// --- what the monitors call ---

int systomesh_trace_interval() { return static_cast<int>(interval_cycles); }

void systomesh_trace_core(
    int node, int levels_in, int pulses_in, const svBitVecVal* signals, int tokens_in, int sources_in) {
    if (!recording) return;
    const uint32_t levels = levels_in, pulses = pulses_in, tokens = tokens_in;
    const bool counts = levels & 1;
    Core& core = cores[node];
    if (counts && !running) {
        running = true;
        base = clock_cycle();
    }
    if (!running) return;
    const uint64_t now = launch_cycle();
    if (levels != core.levels) {
        const int cause = lowest(levels >> 1 & 255);
        const bool works = cause == STREAM || cause == WEIGHT_STALL || cause == OVERHEAD;
        account(core, node, now);
        look(core, node, COMPUTE, cause < 0 ? NOTHING : works ? WORKS : cause, now);
        core.cause = cause;
        look(core, node, LOAD, held_up(counts, levels >> 9 & 7, levels >> 15 & 1, levels >> 17 & 1), now);
        look(core, node, STORE, held_up(counts, levels >> 12 & 7, levels >> 16 & 1, levels >> 18 & 1), now);
        core.levels = levels;
    }
    if (!counts || !pulses) return;
    for (int unit = 0; unit < 3; unit++)
        if (pulses >> unit & 1) add(ISSUED, node, unit, 0, now, now + 1);
    if (pulses >> 3 & 1) {
        account(core, node, now + 1);
        close(core, node, COMPUTE, now + 1, true);
    }
    if (pulses >> 4 & 1) add(ENDED, node, LOAD, 0, now, now + 1);
    if (pulses >> 5 & 1) add(ENDED, node, STORE, 0, now, now + 1);
    Release own{};
    for (int source = 0; source < SIGNAL_SOURCES; source++) {
        if (!(pulses >> (6 + source) & 1)) continue;
        const unsigned bit = 13 * source + 7;  // its core is behind its token
        const uint64_t word = signals[bit / 32] | (bit / 32 < 2 ? uint64_t{signals[bit / 32 + 1]} << 32 : 0);
        signal_sent(core, node, source, static_cast<int>(word >> bit % 32 & 63), own);
    }
    if (pulses >> 13) {
        core.releases.clear();
        core.released = now;
        for (int way = 0; way < 3; way++)
            if (pulses >> (13 + way) & 1)
                token_arrived(core, node, way, tokens >> 7 * way & 127, static_cast<uint32_t>(sources_in), own);
    }
}

void systomesh_trace_load(int node, int source, int flits) {
    if (!recording) return;
    auto& queue = source >> 7 & 1 ? memories[node].programs : memories[node].loads;
    queue.push_back({static_cast<uint32_t>(source & 127), static_cast<uint32_t>(flits), static_cast<uint32_t>(flits)});
}

void systomesh_trace_read(int node, int beat, int beats) {
    if (!recording || !running) return;
    Memory& memory = memories[node];
    const bool program = beat >> 3 & 1, first = beat >> 4 & 1, last = beat >> 5 & 1;
    auto& queue = program ? memory.programs : memory.loads;
    if (queue.empty()) return;
    const uint64_t now = launch_cycle();
    Load& load = queue.front();
    if (first && !load.begun) {
        load.begun = true;
        load.begin = now;
    }
    if (!last) return;
    count_bytes(memory, node, 0, now, static_cast<uint32_t>(beats));
    load.left -= static_cast<uint32_t>(beats);
    if (load.left) return;
    add(READ, node, program, beat & 7, load.begin, now + 1, load.source, load.flits);
    queue.pop_front();
}

void systomesh_trace_write(int node, int flit, int source) {
    if (!recording || !running) return;
    Memory& memory = memories[node];
    const uint64_t now = launch_cycle();
    const uint32_t lanes = flit & 127;
    const uint8_t traffic = flit >> 7 & 7;
    if (flit >> 10 & 1) {
        const uint32_t from = static_cast<uint32_t>(source);
        if (!memory.writes || from != memory.source || traffic != memory.traffic || now > memory.end + WRITE_GAP) {
            close_write(memory, node);
            memory.writes = true;
            memory.begin = now;
            memory.traffic = traffic;
            memory.source = from;
            memory.bytes = 0;
        }
    }
    memory.end = now + 1;
    memory.bytes += lanes;
    count_bytes(memory, node, 1, now, lanes);
}

void systomesh_trace_flits(int routers, const svBitVecVal* flits) {
    if (!recording || !running) return;
    constexpr int OUTPUTS = 5, BITS = 48;
    flits_before.resize(routers * OUTPUTS);
    const uint64_t begin = flits_interval++ * interval_cycles;
    for (int counter = 0; counter < routers * OUTPUTS; counter++) {
        uint64_t count = 0;
        for (int bit = 0; bit < BITS; bit += 16) {  // 16 divides 48 and 32
            const unsigned at = BITS * counter + bit;
            count |= uint64_t{flits[at / 32] >> at % 32 & 0xFFFF} << bit;
        }
        const auto moved = static_cast<uint32_t>(count - flits_before[counter]);
        flits_before[counter] = count;
        if (moved)
            add(PASSED, counter / OUTPUTS, 0, counter % OUTPUTS, begin, begin + interval_cycles, moved);
    }
}

}  // extern "C"
