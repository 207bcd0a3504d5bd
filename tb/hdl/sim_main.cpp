// Main program of a Verilator simulation driven by cocotb, with the clock made here.
//
// The order of events within a time step is that of cocotb's own verilator.cpp (eval, value-change
// callbacks, read-write, read-only, next time). What differs: `clk` toggles here every HALF_PERIOD
// instead of through a timed VPI callback, and while no callback is due the loop only evaluates the
// model and looks for value changes, so that a run that waits for an interrupt costs little more
// than a bare C++ loop (systomesh_bare_cycles() is that loop, for the comparison).

#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include <cstdint>
#include <ctime>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vpi.h"

#if VM_TRACE
#include "waves.h"
#endif

#if VM_COVERAGE
#include <string>

#include "verilated_cov.h"
#endif

extern "C" void vlog_startup_routines_bootstrap(void);

namespace {

constexpr uint64_t HALF_PERIOD = 5000;  // ps
constexpr uint64_t NEVER = ~uint64_t{0};

std::unique_ptr<Vtop> top;
uint64_t now = 0;
uint64_t next_edge = HALF_PERIOD;

double processor_seconds() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

constexpr long SAMPLE_US = 1000;
uint64_t sample_base = 0, sample_room = 0;
uint64_t* sample_place = nullptr;
volatile uint64_t sample_count = 0;

void take_sample(int, siginfo_t*, void* context) {
    const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    const uint64_t at = registers.gregs[REG_RIP];
#else
    const uint64_t at = registers.pc;
#endif
    if (sample_count < sample_room) sample_place[sample_count] = at - sample_base;
    sample_count = sample_count + 1 < sample_room ? sample_count + 1 : sample_room;
}

void dump_waves() {
#if VM_TRACE
    waves_dump(*top, now);
#endif
}

// Calls value-change callbacks until none has anything new to say; true if any was called.
bool call_value_callbacks() {
    bool any = false;
    while (VerilatedVpi::callValueCbs()) any = true;
    return any;
}

void evaluate() {
    top->eval();
    dump_waves();
}

// One time step with all its callbacks; true if any was called.
bool step_with_callbacks() {
    bool any = false;
    do {
        do {
            top->eval_step();
            VerilatedVpi::clearEvalNeeded();
            VerilatedVpi::doInertialPuts();
            any |= call_value_callbacks();
        } while (VerilatedVpi::evalNeeded());
        any |= VerilatedVpi::callCbs(cbReadWriteSynch);
        VerilatedVpi::doInertialPuts();
        any |= call_value_callbacks();
    } while (VerilatedVpi::evalNeeded());
    top->eval_end_step();
    any |= VerilatedVpi::callCbs(cbReadOnlySynch);
    dump_waves();
    return any;
}

// Goes to the next time at which anything happens; true if a callback was called, or is about to be.
bool advance() {
    const uint64_t deadline = VerilatedVpi::cbNextDeadline();
    const bool timed = deadline <= next_edge;
    now = timed ? deadline : next_edge;
    bool any = VerilatedVpi::callCbs(cbNextSimTime);
    any |= call_value_callbacks();
    if (now == next_edge) {
        next_edge += HALF_PERIOD;
        top->clk = !top->clk;
        any |= call_value_callbacks();
    }
    if (timed) {
        VerilatedVpi::callTimedCbs();
        call_value_callbacks();
    }
    return any || timed;
}

// Clock edges only, until a callback was called or is due.
void run_quiet() {
    const uint64_t deadline = VerilatedVpi::cbNextDeadline();
    while (next_edge < deadline) {
        now = next_edge;
        next_edge += HALF_PERIOD;
        top->clk = !top->clk;
        if (VL_UNLIKELY(VerilatedVpi::callValueCbs())) return;
        evaluate();
        if (VL_UNLIKELY(VerilatedVpi::callValueCbs() || Verilated::gotFinish())) return;
    }
}

}  // namespace

double sc_time_stamp() { return static_cast<double>(now); }

extern "C" {

// Runs clock cycles with nothing but the model; the processor time that took, in seconds. Call it
// between clock edges, from a callback.
double systomesh_bare_cycles(uint64_t cycles) {
    const double start = processor_seconds();
    for (uint64_t edge = 0; edge < 2 * cycles; edge++) {
        top->clk = !top->clk;
        top->eval();
    }
    return processor_seconds() - start;
}

// The same, and where it was every SAMPLE_US of processor time: addresses within this program, in
// `samples`. Returns how many there are.
uint64_t systomesh_sample_cycles(uint64_t cycles, uint64_t* samples, uint64_t room) {
    Dl_info program;
    dladdr(reinterpret_cast<void*>(&systomesh_sample_cycles), &program);
    sample_base = reinterpret_cast<uint64_t>(program.dli_fbase);
    sample_place = samples;
    sample_room = room;
    sample_count = 0;
    struct sigaction act = {};
    act.sa_sigaction = take_sample;
    act.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGPROF, &act, nullptr);
    itimerval every = {{0, SAMPLE_US}, {0, SAMPLE_US}}, never = {};
    setitimer(ITIMER_PROF, &every, nullptr);
    systomesh_bare_cycles(cycles);
    setitimer(ITIMER_PROF, &never, nullptr);
    return sample_count;
}

// The bench asks whether it must start a clock of its own.
int systomesh_has_clock() { return 1; }

}  // extern "C"

int main(int argc, char** argv) {
    Verilated::commandArgs(argc, argv);
    Verilated::fatalOnVpiError(false);
#if VM_TRACE
    Verilated::traceEverOn(true);
#endif
    top = std::make_unique<Vtop>("");
    vlog_startup_routines_bootstrap();
    VerilatedVpi::callCbs(cbStartOfSimulation);
    call_value_callbacks();

    while (!Verilated::gotFinish()) {
        bool any = step_with_callbacks();
        any |= advance();
        // After a step without callbacks none can be waiting except for a change or a time.
        if (!any) {
            evaluate();
            if (!VerilatedVpi::callValueCbs() && !Verilated::gotFinish()) run_quiet();
        }
    }
    top->final();
    VerilatedVpi::callCbs(cbEndOfSimulation);
#if VM_TRACE
    waves_close();
#endif
#if VM_COVERAGE
    const std::string coverage = Verilated::commandArgsPlusMatch("coverage=");
    if (!coverage.empty()) Verilated::threadContextp()->coveragep()->write(coverage.substr(coverage.find('=') + 1));
#endif
    const bool failed = Verilated::threadContextp()->errorCount() > 0;
    top.reset();
    return failed ? 1 : 0;
}
