// What the timeline of a run is made of, told to tb/hdl/trace.cpp: monitors that tb/model/monitors.py binds into the
// chip. They call C++ when something changes or happens, not in every cycle. All see the values seen the clock edge,
// as the chip's own counters do.

`timescale 1ns / 1ps

// A core. Indices 0, 1, 2 of units are load, compute, store (`rtl.contract.isa.Unit`).
module systomesh_monitor_core (
    input wire clk,
    input wire [5:0] node,
    input wire running,                // its counters count, which they do not while it is reset
    input wire [7:0] causes,           // one of them: what the compute unit does, by the numbers of its counters
    input wire [2:0] load_waits,       // for a token of range 0, 1 or 2
    input wire [2:0] store_waits,
    input wire [1:0] empty,            // load, store: no instruction is here
    input wire [1:0] ended,            // load, store: behind END
    input wire [2:0] issued,           // an instruction leaves the head of the queue
    input wire last_pixel,             // the engine takes the last pixel of a COMPUTE
    input wire load_sent,              // the last flit of a LOAD's request leaves
    input wire store_drained,          // the last accumulator of a STORE is read, or a TABLE is copied
    input wire [6:0] signalled,        // a signal leaves: of COMPUTEs 0, 1, 2, of STOREs, of SYNCs of the three units
    input wire [90:0] signals,         // its core and token
    input wire [2:0] increments,       // tokens that arrive: by responses, by requests, by own signals
    input wire [20:0] tokens,
    input wire response_first,
    input wire [6:0] response_source,
    input wire request_first,
    input wire [6:0] request_source,
    input wire [2:0] request_kind
);
    import "DPI-C" function void systomesh_trace_core(
        input int node, input int levels, input int pulses, input bit [90:0] signals, input int tokens,
        input int sources
    );

    wire [18:0] levels = {ended, empty, store_waits, load_waits, causes & {8{running}}, running};
    wire [15:0] pulses = {increments, signalled, store_drained, load_sent, last_pixel, issued};
    reg [18:0] seen = 0;
    reg [6:0] response_held = 0, request_held = 0;
    reg [2:0] kind_held = 0;
    wire [6:0] response_now = response_first ? response_source : response_held;
    wire [6:0] request_now = request_first ? request_source : request_held;
    wire [2:0] kind_now = request_first ? request_kind : kind_held;

    always @(posedge clk) begin
        seen <= levels;
        response_held <= response_now;
        request_held <= request_now;
        kind_held <= kind_now;
        if (levels != seen || (running && pulses != 0))
            systomesh_trace_core(
                {26'b0, node}, {13'b0, levels}, {16'b0, pulses}, signals, {11'b0, tokens},
                {15'b0, kind_now, request_now, response_now}
            );
    end
endmodule

// A memory node.
module systomesh_monitor_memory (
    input wire clk,
    input wire [6:0] node,
    input wire running,
    input wire request_first,          // a packet comes in
    input wire [6:0] request_source,
    input wire load_taken,             // a LOAD is complete, and goes to one of the queues
    input wire load_program,           // it is of a fetch unit
    input wire [27:0] load_flits,
    input wire read,                   // a beat of a burst is taken
    input wire read_first,
    input wire read_last,
    input wire read_program,
    input wire [2:0] read_traffic,
    input wire [6:0] read_beats,       // of the burst
    input wire write,                  // a flit of a packet is taken
    input wire write_first,
    input wire write_last,
    input wire [6:0] write_source,     // beside the first
    input wire [2:0] write_traffic,
    input wire [6:0] write_lanes       // bytes of each of its flits
);
    import "DPI-C" function void systomesh_trace_load(input int node, input int source, input int flits);
    import "DPI-C" function void systomesh_trace_read(input int node, input int beat, input int beats);
    import "DPI-C" function void systomesh_trace_write(input int node, input int flit, input int source);

    reg [6:0] source_held = 0;
    wire [6:0] source_now = request_first ? request_source : source_held;

    always @(posedge clk) begin
        source_held <= source_now;
        if (running) begin
            if (load_taken)
                systomesh_trace_load({25'b0, node}, {24'b0, load_program, source_now}, {4'b0, load_flits});
            if (read && (read_first || read_last))
                systomesh_trace_read(
                    {25'b0, node}, {26'b0, read_last, read_first, read_program, read_traffic}, {25'b0, read_beats}
                );
            if (write)
                systomesh_trace_write(
                    {25'b0, node}, {20'b0, write_last, write_first, write_traffic, write_lanes}, {25'b0, write_source}
                );
        end
    end
endmodule

// All routers: their counters of flits by output, every so many cycles and at the end.
module systomesh_monitor_mesh #(
    parameter ROUTERS = 1
) (
    input wire clk,
    input wire running,
    input wire [240*ROUTERS-1:0] flits
);
    import "DPI-C" function int systomesh_trace_interval();
    import "DPI-C" function void systomesh_trace_flits(input int routers, input bit [240*ROUTERS-1:0] flits);

    reg seen = 0;
    reg [31:0] left = 0;

    always @(posedge clk) begin
        seen <= running;
        left <= left - 1;
        if ((running && !seen) || left == 0) left <= systomesh_trace_interval() - 1;
        if (seen && (left == 0 || !running)) systomesh_trace_flits(ROUTERS, flits);
    end
endmodule
