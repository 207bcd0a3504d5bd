// One port of the external memory model: an AXI4 slave with latency, bandwidth and random stalls.
//
// All ports share one byte memory: on Verilator it is memory.cpp, reached by DPI-C once a beat; on
// other simulators it is the array in systomesh_store.v. Requests are answered in order, QUEUE of
// them may be outstanding in each direction, and one beat a cycle is sustained if the rate allows.
//
// latency  cycles from the AR handshake to the first RVALID, and from the last W handshake to BVALID
//          (at least 2; a lower setting counts as 2)
// rate     bandwidth in 1/256 bytes per cycle, reads and writes together (token bucket of one beat)
// limit    bytes of memory; a beat beyond it is answered by DECERR, reads as zero and writes nothing
// stall    probability in 1/256 that a handshake is held back in a cycle, drawn from seed
// now      cycles since reset
//
// Only what the chip uses is supported: full-width INCR bursts of aligned beats (systomesh_bus_check.v sees to it).

`timescale 1ns / 1ps

module systomesh_memory #(
    parameter BYTES = 16,
    parameter QUEUE = 64
) (
    input  wire               clk,
    input  wire               rst,

    input  wire [31:0]        now,
    input  wire [32:0]        limit,
    input  wire [15:0]        latency,
    input  wire [15:0]        rate,
    input  wire [7:0]         stall,
    input  wire [31:0]        seed,

    input  wire               arid,
    input  wire [31:0]        araddr,
    input  wire [7:0]         arlen,
    input  wire [2:0]         arsize,
    input  wire [1:0]         arburst,
    input  wire               arvalid,
    output wire               arready,
    output wire               rid,
    output wire [8*BYTES-1:0] rdata,
    output wire [1:0]         rresp,
    output wire               rlast,
    output wire               rvalid,
    input  wire               rready,

    input  wire               awid,
    input  wire [31:0]        awaddr,
    input  wire [7:0]         awlen,
    input  wire [2:0]         awsize,
    input  wire [1:0]         awburst,
    input  wire               awvalid,
    output wire               awready,
    input  wire [8*BYTES-1:0] wdata,
    input  wire [BYTES-1:0]   wstrb,
    input  wire               wlast,
    input  wire               wvalid,
    output wire               wready,
    output wire               bid,
    output wire [1:0]         bresp,
    output reg                bvalid,
    input  wire               bready
);
    localparam SIZE  = $clog2(BYTES);
    localparam INDEX = $clog2(QUEUE);
    localparam [31:0] COST = 256 * BYTES;

`ifdef VERILATOR
    import "DPI-C" function void systomesh_memory_read(
        input int unsigned addr, input int bytes, output bit [8*BYTES-1:0] data);
    import "DPI-C" function void systomesh_memory_write(
        input int unsigned addr, input int bytes, input bit [8*BYTES-1:0] data, input longint unsigned strobe);
`endif

    // Random numbers. -----------------------------------------------------------------------------
    reg [31:0] lfsr;
    wire [31:0] shift1 = lfsr ^ (lfsr << 13);
    wire [31:0] shift2 = shift1 ^ (shift1 >> 17);
    wire [31:0] shift3 = shift2 ^ (shift2 << 5);
    wire hold_ar = lfsr[7:0] < stall;
    wire hold_r  = lfsr[15:8] < stall;
    wire hold_w  = lfsr[23:16] < stall;
    wire hold_b  = lfsr[31:24] < stall;
    wire hold_aw = (lfsr[7:0] ^ lfsr[27:20]) < stall;
    wire [31:0] wait_cycles = (latency < 2) ? 32'd1 : {16'b0, latency} - 32'd1;

    // Read requests. ------------------------------------------------------------------------------
    reg [31:0]    ar_addr [0:QUEUE-1];
    reg [7:0]     ar_len  [0:QUEUE-1];
    reg           ar_id   [0:QUEUE-1];
    reg [31:0]    ar_time [0:QUEUE-1];
    reg [INDEX:0] ar_put, ar_take;
    reg [7:0]     r_beat;

    wire ar_empty = ar_put == ar_take;
    wire ar_full  = ar_put == (ar_take ^ QUEUE[INDEX:0]);
    assign arready = !ar_full && !hold_ar;

    wire [INDEX-1:0] ar_head = ar_take[INDEX-1:0];
    wire [31:0]      r_age   = now - ar_time[ar_head];
    // Signed comparison of times, so that the counter may wrap.
    wire             r_due   = !ar_empty && !r_age[31];

    // Read data: two slots, the first one visible. ------------------------------------------------
    reg [1:0]         r_count;
    reg [8*BYTES-1:0] r_data0, r_data1;
    reg [3:0]         r_info0, r_info1;  // id, resp, last

    assign rvalid = r_count != 0;
    assign rdata  = r_data0;
    assign {rid, rresp, rlast} = r_info0;

    // Write requests and data. --------------------------------------------------------------------
    reg [31:0]    aw_addr [0:QUEUE-1];
    reg [7:0]     aw_len  [0:QUEUE-1];
    reg           aw_id   [0:QUEUE-1];
    reg [INDEX:0] aw_put, aw_take;
    reg [7:0]     w_beat;
    reg           w_error;

    wire aw_empty = aw_put == aw_take;
    wire aw_full  = aw_put == (aw_take ^ QUEUE[INDEX:0]);
    assign awready = !aw_full && !hold_aw;
    wire [INDEX-1:0] aw_head = aw_take[INDEX-1:0];

    // Write answers. ------------------------------------------------------------------------------
    reg [31:0]    b_time [0:QUEUE-1];
    reg [2:0]     b_info [0:QUEUE-1];
    reg [2:0]     b_out;
    reg [INDEX:0] b_put, b_take;
    wire b_empty = b_put == b_take;
    wire b_full  = b_put == (b_take ^ QUEUE[INDEX:0]);
    wire [INDEX-1:0] b_head = b_take[INDEX-1:0];
    wire [31:0] b_age = now - b_time[b_head];
    assign {bid, bresp} = b_out;

    // Bandwidth: reads and writes take turns when there are not enough bytes for both. ------------
    reg [31:0] bucket;
    reg        write_turn;
    wire [31:0] cap = COST + {16'b0, rate} - 32'd1;

    wire read_can  = r_due && !r_count[1] && !hold_r;
    assign wready  = !aw_empty && !b_full && !hold_w
                     && ((bucket >= 2 * COST) || (bucket >= COST && (write_turn || !read_can)));
    wire do_write  = wvalid && wready;
    wire [31:0] left = bucket - (do_write ? COST : 32'd0);
    wire do_read   = read_can && (left >= COST);
    wire [31:0] filled = left - (do_read ? COST : 32'd0) + {16'b0, rate};

    reg [31:0]        r_addr, w_addr;
    reg [8*BYTES-1:0] r_new;
    reg               r_ok, w_ok;
    reg               w_end;

    always @(posedge clk) begin
        if (rst) begin
            lfsr       <= seed ^ 32'h9E37_79B9 ^ {31'b0, seed == 32'h9E37_79B9};
            ar_put     <= 0;
            ar_take    <= 0;
            r_beat     <= 0;
            r_count    <= 0;
            aw_put     <= 0;
            aw_take    <= 0;
            w_beat     <= 0;
            w_error    <= 0;
            b_put      <= 0;
            b_take     <= 0;
            bvalid     <= 0;
            bucket     <= COST;
            write_turn <= 0;
        end else begin
            if (stall != 0) lfsr <= shift3;
            bucket <= (filled > cap) ? cap : filled;

            if (arvalid && arready) begin
                ar_addr[ar_put[INDEX-1:0]] <= araddr;
                ar_len[ar_put[INDEX-1:0]]  <= arlen;
                ar_id[ar_put[INDEX-1:0]]   <= arid;
                ar_time[ar_put[INDEX-1:0]] <= now + wait_cycles;
                ar_put <= ar_put + 1;
            end
            if (awvalid && awready) begin
                aw_addr[aw_put[INDEX-1:0]] <= awaddr;
                aw_len[aw_put[INDEX-1:0]]  <= awlen;
                aw_id[aw_put[INDEX-1:0]]   <= awid;
                aw_put <= aw_put + 1;
            end
            if (do_read) begin
                r_addr = ar_addr[ar_head] + ({24'b0, r_beat} << SIZE);
                r_ok   = ({1'b0, r_addr} + BYTES) <= limit;
                r_new  = 0;
`ifdef VERILATOR
                if (r_ok) systomesh_memory_read(r_addr, BYTES, r_new);
`else
                if (r_ok) r_new = systomesh_tb.store.words[r_addr >> SIZE];
`endif
                if (r_beat == ar_len[ar_head]) begin
                    r_beat  <= 0;
                    ar_take <= ar_take + 1;
                end else r_beat <= r_beat + 1;
            end
            if (rvalid && rready) begin
                r_data0 <= r_data1;
                r_info0 <= r_info1;
            end
            if (do_read) begin
                if (r_count == {1'b0, rvalid && rready}) begin
                    r_data0 <= r_new;
                    r_info0 <= {ar_id[ar_head], {2{!r_ok}}, r_beat == ar_len[ar_head]};
                end else begin
                    r_data1 <= r_new;
                    r_info1 <= {ar_id[ar_head], {2{!r_ok}}, r_beat == ar_len[ar_head]};
                end
            end
            r_count <= r_count + {1'b0, do_read} - {1'b0, rvalid && rready};

            if (do_write) begin
                w_addr = aw_addr[aw_head] + ({24'b0, w_beat} << SIZE);
                w_ok   = ({1'b0, w_addr} + BYTES) <= limit;
                w_end  = w_beat == aw_len[aw_head];
`ifdef VERILATOR
                if (w_ok) systomesh_memory_write(w_addr, BYTES, wdata, 64'(wstrb));
`else
                if (w_ok) systomesh_tb.store.write(w_addr >> SIZE, wdata, wstrb);
`endif
                if (w_end) begin
                    w_beat  <= 0;
                    w_error <= 0;
                    aw_take <= aw_take + 1;
                    b_time[b_put[INDEX-1:0]] <= now + wait_cycles;
                    b_info[b_put[INDEX-1:0]] <= {aw_id[aw_head], {2{!w_ok || w_error}}};
                    b_put <= b_put + 1;
                end else begin
                    w_beat  <= w_beat + 1;
                    w_error <= w_error || !w_ok;
                end
            end
            if (do_read != do_write) write_turn <= do_read;

            if (!bvalid || bready) begin
                bvalid <= !b_empty && !b_age[31] && !hold_b;
                if (!b_empty && !b_age[31] && !hold_b) begin
                    b_out  <= b_info[b_head];
                    b_take <= b_take + 1;
                end
            end
        end
    end
endmodule
