// Lets the bench into the RAMs of the chip: the bytes of each, found by its place in the hierarchy.

#include <cstdint>

#include "verilated.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"

extern "C" {

// Calls back for every RAM with its hierarchical name, its bytes, its words and the bytes of a word.
void systomesh_inside(void (*found)(const char* name, void* data, uint32_t words, uint32_t word_bytes)) {
    const VerilatedScopeNameMap* scopes = Verilated::threadContextp()->scopeNameMap();
    for (const auto& entry : *scopes) {
        const VerilatedVar* mem = entry.second->varFind("mem");
        if (!mem || mem->udims() != 1) continue;
        found(entry.first, mem->datap(), mem->elements(1), mem->entSize());
    }
}

}  // extern "C"
