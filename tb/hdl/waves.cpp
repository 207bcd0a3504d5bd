// Waves of launches, each in an FST file: the bench says before a start which cycles and which scopes.
//
// The file's time is that of the launch: its cycle n, as the chip's CYCLES register counts them, begins at n
// nanoseconds. Nothing is recorded, and next to nothing spent, outside the window.

#include "waves.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "verilated_fst_c.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"

namespace {

constexpr uint64_t PERIOD = 10000;  // ps, of the clock
constexpr uint64_t CYCLE = 1000;    // ps, of a cycle in the file
constexpr uint64_t FOREVER = ~uint64_t{0};
constexpr int ALL_LEVELS = 99;

enum { IDLE, ARMED, COUNTING } phase = IDLE;
std::string file;
std::vector<std::string> scopes;
uint64_t first, end;     // of the window, in ps of the file
uint64_t origin;         // the simulation time of cycle 0
uint64_t next_time;
std::unique_ptr<VerilatedFstC> trace;

// The chip is running; null in a design that does not say so, whose cycle 0 is that in which the bench asks.
const uint8_t* running() {
    static const uint8_t* found = nullptr;
    static bool looked = false;
    if (looked) return found;
    looked = true;
    for (const auto& entry : *Verilated::threadContextp()->scopeNameMap()) {
        const size_t length = std::strlen(entry.first);
        constexpr char END[] = ".chip.control";
        if (length < sizeof END || std::strcmp(entry.first + length - (sizeof END - 1), END)) continue;
        if (const VerilatedVar* var = entry.second->varFind("running")) found = static_cast<uint8_t*>(var->datap());
    }
    return found;
}

void close_file() {
    if (trace) trace->close();
    trace.reset();
}

}  // namespace

void waves_dump(Vtop& top, uint64_t now) {
    if (phase == IDLE) return;
    if (phase == ARMED) {
        if (running() && !*running()) return;
        phase = COUNTING;
        origin = now;
        next_time = 0;
    }
    const uint64_t time = (now - origin) * CYCLE / PERIOD;
    const bool over = running() && !*running();
    if (over && time < first) phase = IDLE;
    if (time < first || time < next_time) return;
    if (time >= end) {
        phase = IDLE;
        close_file();
        return;
    }
    if (over) end = std::min(end, time + 1);  // this is the launch's last
    if (!trace) {
        trace = std::make_unique<VerilatedFstC>();
        for (const std::string& scope : scopes) trace->dumpvars(ALL_LEVELS, scope);
        top.trace(trace.get(), ALL_LEVELS);
        trace->open(file.c_str());
    }
    trace->dump(time);
    next_time = time + 1;
}

void waves_close() {
    phase = IDLE;
    close_file();
}

extern "C" {

// Records the next launch: cycles from `from` up to `to`, not included; of scopes (separated by spaces) or, without
// any, of everything.
void systomesh_waves_open(const char* path, const char* wanted, uint64_t from, uint64_t to) {
    waves_close();
    file = path;
    scopes.clear();
    const std::string text = wanted;
    for (size_t at = 0, space; at < text.size(); at = space + 1) {
        space = std::min(text.find(' ', at), text.size());
        scopes.push_back(text.substr(at, space - at));
    }
    first = from * CYCLE;
    end = to > FOREVER / CYCLE ? FOREVER : to * CYCLE;
    phase = ARMED;
}

// Ends the recording.
void systomesh_waves_close() { waves_close(); }

}  // extern "C"
