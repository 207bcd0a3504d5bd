// When each word of the external memory was written: the bench asks where a wrong byte came from.
//
// The linker puts this between the ports of the memory model and memory.cpp (--wrap), which it leaves as it is.

#include <cstdint>
#include <vector>

#include "svdpi.h"
#include "verilated.h"

namespace {
constexpr unsigned PAGE_BITS = 12;
constexpr unsigned WORD_BITS = 4;
constexpr uint64_t PAGE_WORDS = uint64_t{1} << (PAGE_BITS - WORD_BITS);

bool watching = false;
std::vector<uint32_t> place;  // for each page, 1 + its number among those below, or 0
std::vector<uint64_t> pages;  // those that were written
std::vector<uint64_t> times;  // for each of their words the simulation time of its last write, or 0

uint64_t* times_of(uint64_t page) {
    if (page >= place.size()) place.resize(page + 1, 0);
    if (!place[page]) {
        pages.push_back(page);
        place[page] = static_cast<uint32_t>(pages.size());
        times.resize(times.size() + PAGE_WORDS, 0);
    }
    return &times[(place[page] - 1) * PAGE_WORDS];
}
}  // namespace

extern "C" {

void __real_systomesh_memory_write(unsigned addr, int bytes, const svBitVecVal* data, unsigned long long strobe);

void __wrap_systomesh_memory_write(unsigned addr, int bytes, const svBitVecVal* data, unsigned long long strobe) {
    if (watching) {
        const uint64_t now = Verilated::threadContextp()->time();
        const uint64_t last = (static_cast<uint64_t>(addr) + bytes - 1) >> WORD_BITS;
        for (uint64_t word = addr >> WORD_BITS; word <= last; word++) {
            times_of(word / PAGE_WORDS)[word % PAGE_WORDS] = now;
        }
    }
    __real_systomesh_memory_write(addr, bytes, data, strobe);
}

// Forgets the times so far; notes those from now on.
void systomesh_written_watch() {
    for (const uint64_t page : pages) place[page] = 0;
    pages.clear();
    times.clear();
    watching = true;
}

// How many pages were written; their numbers, and the times of their words in ps, stay valid until anything is written.
uint64_t systomesh_written(const uint64_t** numbers, const uint64_t** ps) {
    *numbers = pages.data();
    *ps = times.data();
    return pages.size();
}

}  // extern "C"
