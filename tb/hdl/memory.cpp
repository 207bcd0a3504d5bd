// The byte memory behind all ports of the memory model on Verilator.
//
// One anonymous mapping, reserved by systomesh_memory_open() and filled by the bench, which sees it
// as a NumPy array at systomesh_memory_data(). Untouched pages cost nothing.
//
// Between systomesh_memory_watch() and the next one, every page that a port writes is kept as it was
// before, so that the bench can tell what has changed without looking at the rest.

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "svdpi.h"

namespace {
constexpr unsigned PAGE_BITS = 12;
constexpr uint64_t PAGE_BYTES = uint64_t{1} << PAGE_BITS;

uint8_t* memory = nullptr;
uint64_t memory_bytes = 0;

std::vector<uint8_t> unkept;   // for each page, whether it must be kept before it is written
std::vector<uint64_t> pages;   // those that were kept, in the order of their first writes
std::vector<uint8_t> before;   // their bytes

// The mapping consists of whole pages, so the last one is there to its end.
void keep(uint64_t page) {
    unkept[page] = 0;
    pages.push_back(page);
    const uint8_t* bytes = memory + (page << PAGE_BITS);
    before.insert(before.end(), bytes, bytes + PAGE_BYTES);
}

void keep_before_write(uint64_t addr, uint64_t bytes) {
    const uint64_t first = addr >> PAGE_BITS, last = (addr + bytes - 1) >> PAGE_BITS;
    if (unkept[first]) keep(first);
    if (unkept[last]) keep(last);
}
}  // namespace

extern "C" {

// Returns 0, or -1 if the system refuses the memory.
int systomesh_memory_open(uint64_t bytes) {
    if (memory) munmap(memory, memory_bytes);
    void* fresh = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory = fresh == MAP_FAILED ? nullptr : static_cast<uint8_t*>(fresh);
    memory_bytes = memory ? bytes : 0;
    unkept.assign((memory_bytes + PAGE_BYTES - 1) >> PAGE_BITS, 0);
    return memory ? 0 : -1;
}

void* systomesh_memory_data() { return memory; }

// Forgets the pages kept so far; keeps those written from now on.
void systomesh_memory_watch() {
    std::fill(unkept.begin(), unkept.end(), 1);
    pages.clear();
    before.clear();
}

// How many pages were kept; their numbers and their bytes stay valid until anything is written.
uint64_t systomesh_memory_kept(const uint64_t** numbers, const uint8_t** bytes) {
    *numbers = pages.data();
    *bytes = before.data();
    return pages.size();
}

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
    keep_before_write(addr, bytes);
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
