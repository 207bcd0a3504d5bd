// What the simulator's main loop asks of waves.cpp, in models with waves.

#pragma once

#include <cstdint>

#include "Vtop.h"

// Records the present state, at a simulation time in ps, if it lies in the window; before the model is gone, close.
void waves_dump(Vtop& top, uint64_t now);
void waves_close();
