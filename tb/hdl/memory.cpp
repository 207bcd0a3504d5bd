// The byte memory behind all ports of the memory model on Verilator.
//
// One anonymous mapping, reserved by systomesh_memory_open() and filled by the bench, which sees it
// as a NumPy array at systomesh_memory_data(). Untouched pages cost nothing.

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "svdpi.h"

namespace {
uint8_t* memory = nullptr;
uint64_t memory_bytes = 0;
}  // namespace

extern "C" {

// Returns 0, or -1 if the system refuses the memory.
int systomesh_memory_open(uint64_t bytes) {
    if (memory) munmap(memory, memory_bytes);
    void* fresh = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory = fresh == MAP_FAILED ? nullptr : static_cast<uint8_t*>(fresh);
    memory_bytes = memory ? bytes : 0;
    return memory ? 0 : -1;
}

void* systomesh_memory_data() { return memory; }

void systomesh_memory_read(unsigned addr, int bytes, svBitVecVal* data) {
    if (static_cast<uint64_t>(addr) + bytes > memory_bytes) {
        std::memset(data, 0, bytes);
    } else if (bytes == 16) {  // a constant size becomes one vector move
        std::memcpy(data, memory + addr, 16);
    } else {
        std::memcpy(data, memory + addr, bytes);
    }
}

void systomesh_memory_write(unsigned addr, int bytes, const svBitVecVal* data, unsigned long long strobe) {
    if (static_cast<uint64_t>(addr) + bytes > memory_bytes) return;
    const uint64_t all = bytes == 64 ? ~uint64_t{0} : (uint64_t{1} << bytes) - 1;
    if (strobe == all) {
        std::memcpy(memory + addr, data, bytes);
        return;
    }
    const auto* source = reinterpret_cast<const uint8_t*>(data);
    for (int lane = 0; lane < bytes; lane++) {
        if (strobe >> lane & 1) memory[addr + lane] = source[lane];
    }
}

}  // extern "C"
