// Check the rules of AXI4 and AXI4-Lite at the ports of the chip, on both sides of them, in every simulation.
//
// violation  {cycle[31:0], channel[2:0], rule[4:0]} of the first broken rule since reset, or 0. Nothing
//            is stopped: the bench reports it. tb/sim/buses.py names channels and rules, in this order:

`timescale 1ns / 1ps

`define AR 3'd0
`define R  3'd1
`define AW 3'd2
`define W  3'd3
`define B  3'd4

`define IN_RESET       5'd1
`define WITHDRAWN      5'd2
`define CHANGED        5'd3
`define UNDEFINED      5'd4
`define UNASKED        5'd5
`define EXCLUSIVE      5'd6
`define LAST           5'd7
`define IDENTIFIER     5'd8
`define NOT_INCR       5'd9
`define NOT_FULL_WIDTH 5'd10
`define MISALIGNED     5'd11
`define TOO_LONG       5'd12
`define CROSSES_4K     5'd13
`define TOO_MANY       5'd14

`define BROKEN(channel, rule) violation = (violation != 0) ? violation : {cycle, channel, rule}

// AXI4. Rules of the chip beyond the standard's: full-width INCR bursts of aligned beats, at most BEATS
// of them, at most BURSTS bursts under way each way, identifier 0, and no beat of data before the
// address of its burst is offered. `unanswered`: a burst was under way when irq rose.
module systomesh_axi_check #(
    parameter BYTES  = 16,
    parameter BEATS  = 256,
    parameter BURSTS = 64
) (
    input  wire               clk,
    input  wire               rst,
    input  wire [31:0]        cycle,
    input  wire               irq,
    output reg  [39:0]        violation,
    output reg                unanswered,

    input  wire               arid,
    input  wire [31:0]        araddr,
    input  wire [7:0]         arlen,
    input  wire [2:0]         arsize,
    input  wire [1:0]         arburst,
    input  wire               arvalid,
    input  wire               arready,
    input  wire               rid,
    input  wire [8*BYTES-1:0] rdata,
    input  wire [1:0]         rresp,
    input  wire               rlast,
    input  wire               rvalid,
    input  wire               rready,

    input  wire               awid,
    input  wire [31:0]        awaddr,
    input  wire [7:0]         awlen,
    input  wire [2:0]         awsize,
    input  wire [1:0]         awburst,
    input  wire               awvalid,
    input  wire               awready,
    input  wire [8*BYTES-1:0] wdata,
    input  wire [BYTES-1:0]   wstrb,
    input  wire               wlast,
    input  wire               wvalid,
    input  wire               wready,
    input  wire               bid,
    input  wire [1:0]         bresp,
    input  wire               bvalid,
    input  wire               bready
);
    localparam SIZE  = $clog2(BYTES);
    localparam QUEUE = 64;  // BURSTS is not more

    // An address in the cycle in which it is first offered.
    task check_address(input [2:0] channel, input id, input [31:0] addr, input [7:0] len, input [2:0] size,
                       input [1:0] burst);
        begin
            if (id != 0) `BROKEN(channel, `IDENTIFIER);
            if (burst != 2'b01) `BROKEN(channel, `NOT_INCR);
            if (size != SIZE[2:0]) `BROKEN(channel, `NOT_FULL_WIDTH);
            if ((addr & (BYTES - 1)) != 0) `BROKEN(channel, `MISALIGNED);
            if ({24'b0, len} >= BEATS) `BROKEN(channel, `TOO_LONG);
            if (({20'b0, addr[11:0]} + (({24'b0, len} + 32'd1) << SIZE)) > 32'd4096) `BROKEN(channel, `CROSSES_4K);
        end
    endtask

    reg               was_reset, was_irq;
    reg               ar_held, r_held, aw_held, w_held, b_held;  // offered and not taken
    reg [45:0]        ar_was, aw_was;
    reg [8*BYTES+3:0] r_was;
    reg [9*BYTES:0]   w_was;
    reg [2:0]         b_was;

    // Lengths of the bursts under way, in order; pointers go round twice, so that full differs from empty.
    reg [7:0] r_len [0:QUEUE-1];
    reg [7:0] w_len [0:QUEUE-1];
    reg [6:0] ar_put, r_take;                      // read bursts accepted, and ended
    reg [6:0] aw_put, aw_accepted, w_take, b_take; // write bursts offered, accepted, with all data, answered
    reg [7:0] r_beat, w_beat;
    reg [6:0] depth;

`ifndef VERILATOR
    integer lane;
    reg     known;
`endif

    initial {violation, unanswered, was_reset, was_irq} = 0;

    // The queues change by blocking assignments: a response may come in the cycle of its request.
    always @(posedge clk) begin
        was_reset <= rst;
        was_irq   <= irq;
        if (rst) begin
            if (!was_reset) violation = 0;
            {ar_held, r_held, aw_held, w_held, b_held} <= 0;
            ar_put = 0;
            r_take = 0;
            aw_put = 0;
            aw_accepted = 0;
            w_take = 0;
            b_take = 0;
            r_beat = 0;
            w_beat = 0;
        end
        // Valid is low from the first edge in reset to the one behind it.
        if (was_reset) begin
            if (arvalid !== 1'b0) `BROKEN(`AR, `IN_RESET);
            if (rvalid  !== 1'b0) `BROKEN(`R, `IN_RESET);
            if (awvalid !== 1'b0) `BROKEN(`AW, `IN_RESET);
            if (wvalid  !== 1'b0) `BROKEN(`W, `IN_RESET);
            if (bvalid  !== 1'b0) `BROKEN(`B, `IN_RESET);
        end
        if (!rst) begin
`ifndef VERILATOR
            if (^{arvalid, arready} === 1'bx || (arvalid && ^{arid, araddr, arlen, arsize, arburst} === 1'bx))
                `BROKEN(`AR, `UNDEFINED);
            if (^{rvalid, rready} === 1'bx || (rvalid && ^{rid, rresp, rlast} === 1'bx)) `BROKEN(`R, `UNDEFINED);
            if (^{awvalid, awready} === 1'bx || (awvalid && ^{awid, awaddr, awlen, awsize, awburst} === 1'bx))
                `BROKEN(`AW, `UNDEFINED);
            known = ^{wlast, wstrb} !== 1'bx;
            for (lane = 0; lane < BYTES; lane = lane + 1)
                if (wstrb[lane] && ^wdata[8*lane +: 8] === 1'bx) known = 0;
            if (^{wvalid, wready} === 1'bx || (wvalid && !known)) `BROKEN(`W, `UNDEFINED);
            if (^{bvalid, bready} === 1'bx || (bvalid && ^{bid, bresp} === 1'bx)) `BROKEN(`B, `UNDEFINED);
`endif
            // Read addresses.
            if (arvalid) begin
                if (!ar_held) check_address(`AR, arid, araddr, arlen, arsize, arburst);
                else if (ar_was != {arid, araddr, arlen, arsize, arburst}) `BROKEN(`AR, `CHANGED);
                if (arready) begin
                    r_len[ar_put[5:0]] = arlen;
                    ar_put = ar_put + 1;
                    depth = ar_put - r_take;
                    if (depth > BURSTS) `BROKEN(`AR, `TOO_MANY);
                end else ar_was <= {arid, araddr, arlen, arsize, arburst};
            end else if (ar_held) `BROKEN(`AR, `WITHDRAWN);
            ar_held <= arvalid && !arready;

            // Read data.
            if (rvalid) begin
                if (r_held && r_was != {rdata, rid, rresp, rlast}) `BROKEN(`R, `CHANGED);
                if (!rready) r_was <= {rdata, rid, rresp, rlast};
                else if (r_take == ar_put) `BROKEN(`R, `UNASKED);
                else begin
                    if (rid != 0) `BROKEN(`R, `IDENTIFIER);
                    if (rresp == 2'b01) `BROKEN(`R, `EXCLUSIVE);
                    if (rlast != (r_beat == r_len[r_take[5:0]])) `BROKEN(`R, `LAST);
                    if (r_beat == r_len[r_take[5:0]]) begin
                        r_beat = 0;
                        r_take = r_take + 1;
                    end else r_beat = r_beat + 1;
                end
            end else if (r_held) `BROKEN(`R, `WITHDRAWN);
            r_held <= rvalid && !rready;

            // Write addresses.
            if (awvalid) begin
                if (!aw_held) begin
                    check_address(`AW, awid, awaddr, awlen, awsize, awburst);
                    w_len[aw_put[5:0]] = awlen;
                    aw_put = aw_put + 1;
                    depth = aw_put - b_take;
                    if (depth > BURSTS) `BROKEN(`AW, `TOO_MANY);
                end else if (aw_was != {awid, awaddr, awlen, awsize, awburst}) `BROKEN(`AW, `CHANGED);
                if (awready) aw_accepted = aw_accepted + 1;
                else aw_was <= {awid, awaddr, awlen, awsize, awburst};
            end else if (aw_held) `BROKEN(`AW, `WITHDRAWN);
            aw_held <= awvalid && !awready;

            // Write data.
            if (wvalid) begin
                if (w_held && w_was != {wdata, wstrb, wlast}) `BROKEN(`W, `CHANGED);
                if (!wready) w_was <= {wdata, wstrb, wlast};
                else if (w_take == aw_put) `BROKEN(`W, `UNASKED);
                else begin
                    if (wlast != (w_beat == w_len[w_take[5:0]])) `BROKEN(`W, `LAST);
                    if (w_beat == w_len[w_take[5:0]]) begin
                        w_beat = 0;
                        w_take = w_take + 1;
                    end else w_beat = w_beat + 1;
                end
            end else if (w_held) `BROKEN(`W, `WITHDRAWN);
            w_held <= wvalid && !wready;

            // Write responses.
            if (bvalid) begin
                if (b_held && b_was != {bid, bresp}) `BROKEN(`B, `CHANGED);
                if (!bready) b_was <= {bid, bresp};
                else if (b_take == w_take || b_take == aw_accepted) `BROKEN(`B, `UNASKED);
                else begin
                    if (bid != 0) `BROKEN(`B, `IDENTIFIER);
                    if (bresp == 2'b01) `BROKEN(`B, `EXCLUSIVE);
                    b_take = b_take + 1;
                end
            end else if (b_held) `BROKEN(`B, `WITHDRAWN);
            b_held <= bvalid && !bready;
        end
        if (irq && !was_irq) unanswered <= (ar_put != r_take) || (aw_put != b_take);
    end
endmodule

// AXI4-Lite.
module systomesh_axil_check (
    input  wire        clk,
    input  wire        rst,
    input  wire [31:0] cycle,
    output reg  [39:0] violation,

    input  wire [15:0] awaddr,
    input  wire        awvalid,
    input  wire        awready,
    input  wire [31:0] wdata,
    input  wire [3:0]  wstrb,
    input  wire        wvalid,
    input  wire        wready,
    input  wire [1:0]  bresp,
    input  wire        bvalid,
    input  wire        bready,
    input  wire [15:0] araddr,
    input  wire        arvalid,
    input  wire        arready,
    input  wire [31:0] rdata,
    input  wire [1:0]  rresp,
    input  wire        rvalid,
    input  wire        rready
);
    reg        was_reset;
    reg        ar_held, r_held, aw_held, w_held, b_held;  // offered and not taken
    reg [15:0] ar_was, aw_was;
    reg [33:0] r_was;
    reg [35:0] w_was;
    reg [1:0]  b_was;
    reg [7:0]  reads, addresses, words;  // accepted and not answered

    initial {violation, was_reset} = 0;

    always @(posedge clk) begin
        was_reset <= rst;
        if (rst) begin
            if (!was_reset) violation = 0;
            {ar_held, r_held, aw_held, w_held, b_held} <= 0;
            {reads, addresses, words} = 0;
        end
        if (was_reset) begin
            if (arvalid !== 1'b0) `BROKEN(`AR, `IN_RESET);
            if (rvalid  !== 1'b0) `BROKEN(`R, `IN_RESET);
            if (awvalid !== 1'b0) `BROKEN(`AW, `IN_RESET);
            if (wvalid  !== 1'b0) `BROKEN(`W, `IN_RESET);
            if (bvalid  !== 1'b0) `BROKEN(`B, `IN_RESET);
        end
        if (!rst) begin
`ifndef VERILATOR
            if (^{arvalid, arready} === 1'bx || (arvalid && ^araddr === 1'bx)) `BROKEN(`AR, `UNDEFINED);
            if (^{rvalid, rready} === 1'bx || (rvalid && ^{rdata, rresp} === 1'bx)) `BROKEN(`R, `UNDEFINED);
            if (^{awvalid, awready} === 1'bx || (awvalid && ^awaddr === 1'bx)) `BROKEN(`AW, `UNDEFINED);
            if (^{wvalid, wready} === 1'bx || (wvalid && ^{wdata, wstrb} === 1'bx)) `BROKEN(`W, `UNDEFINED);
            if (^{bvalid, bready} === 1'bx || (bvalid && ^bresp === 1'bx)) `BROKEN(`B, `UNDEFINED);
`endif
            if (ar_held && !arvalid) `BROKEN(`AR, `WITHDRAWN);
            if (ar_held && arvalid && ar_was != araddr) `BROKEN(`AR, `CHANGED);
            if (aw_held && !awvalid) `BROKEN(`AW, `WITHDRAWN);
            if (aw_held && awvalid && aw_was != awaddr) `BROKEN(`AW, `CHANGED);
            if (w_held && !wvalid) `BROKEN(`W, `WITHDRAWN);
            if (w_held && wvalid && w_was != {wdata, wstrb}) `BROKEN(`W, `CHANGED);
            if (arvalid && arready) reads = reads + 1;
            if (awvalid && awready) addresses = addresses + 1;
            if (wvalid && wready) words = words + 1;

            if (rvalid) begin
                if (r_held && r_was != {rdata, rresp}) `BROKEN(`R, `CHANGED);
                if (rready) begin
                    if (rresp == 2'b01) `BROKEN(`R, `EXCLUSIVE);
                    if (reads == 0) `BROKEN(`R, `UNASKED);
                    reads = reads - 1;
                end
            end else if (r_held) `BROKEN(`R, `WITHDRAWN);
            if (bvalid) begin
                if (b_held && b_was != bresp) `BROKEN(`B, `CHANGED);
                if (bready) begin
                    if (bresp == 2'b01) `BROKEN(`B, `EXCLUSIVE);
                    if (addresses == 0 || words == 0) `BROKEN(`B, `UNASKED);
                    addresses = addresses - 1;
                    words = words - 1;
                end
            end else if (b_held) `BROKEN(`B, `WITHDRAWN);

            ar_held <= arvalid && !arready;
            aw_held <= awvalid && !awready;
            w_held  <= wvalid && !wready;
            r_held  <= rvalid && !rready;
            b_held  <= bvalid && !bready;
            ar_was  <= araddr;
            aw_was  <= awaddr;
            w_was   <= {wdata, wstrb};
            r_was   <= {rdata, rresp};
            b_was   <= bresp;
        end
    end
endmodule
