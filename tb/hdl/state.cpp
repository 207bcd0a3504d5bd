// Lets the bench into all state of the model that is public: what flips of single bits aim at (tb/sim/flips.py).

#include <cstdint>

#include "verilated.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"

extern "C" {

// Calls back for every variable that may be written: its scope, its name, its bytes, how many words of how many bits
// it has, and the bytes between words.
void systomesh_state(void (*found)(const char* scope, const char* name, void* data, uint32_t words, uint32_t bits,
                                   uint32_t word_bytes)) {
    const VerilatedScopeNameMap* scopes = Verilated::threadContextp()->scopeNameMap();
    for (const auto& entry : *scopes) {
        const VerilatedVarNameMap* variables = entry.second->varsp();
        if (!variables) continue;
        for (const auto& item : *variables) {
            const VerilatedVar& variable = item.second;
            if (!variable.isPublicRW()) continue;
            uint32_t words = 1;
            for (int dimension = 1; dimension <= variable.udims(); ++dimension) words *= variable.elements(dimension);
            found(entry.first, item.first, variable.datap(), words, variable.entBits(), variable.entSize());
        }
    }
}

}  // extern "C"
