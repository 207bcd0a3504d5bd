// A stand-in for systomesh_chip with the same ports: registers and an engine that copies memory.
//
// START copies PROGRAM_STRIDE bytes from PROGRAM_BASE to ACTIVE_CORES_LOW in bursts of 16 beats and
// raises irq. It writes through memory node 1, and reads through node 0, or through node 1 as well if
// ACTIVE_CORES_HIGH is 1. A copy of zero bytes never ends by itself (a hang); the watchdog counts
// cycles since the start.

`timescale 1ns / 1ps

module systomesh_chip #(
    parameter BYTES = 16
) (
    input  wire               clk,
    input  wire               rst,
    output wire               irq,
    input  wire [15:0]        s_axil_awaddr,
    input  wire               s_axil_awvalid,
    output wire               s_axil_awready,
    input  wire [31:0]        s_axil_wdata,
    input  wire [3:0]         s_axil_wstrb,
    input  wire               s_axil_wvalid,
    output wire               s_axil_wready,
    output wire [1:0]         s_axil_bresp,
    output reg                s_axil_bvalid,
    input  wire               s_axil_bready,
    input  wire [15:0]        s_axil_araddr,
    input  wire               s_axil_arvalid,
    output wire               s_axil_arready,
    output reg  [31:0]        s_axil_rdata,
    output wire [1:0]         s_axil_rresp,
    output reg                s_axil_rvalid,
    input  wire               s_axil_rready,

    output wire               m0_axi_arid,
    output wire [31:0]        m0_axi_araddr,
    output wire [7:0]         m0_axi_arlen,
    output wire [2:0]         m0_axi_arsize,
    output wire [1:0]         m0_axi_arburst,
    output wire               m0_axi_arvalid,
    input  wire               m0_axi_arready,
    input  wire               m0_axi_rid,
    input  wire [8*BYTES-1:0] m0_axi_rdata,
    input  wire [1:0]         m0_axi_rresp,
    input  wire               m0_axi_rlast,
    input  wire               m0_axi_rvalid,
    output wire               m0_axi_rready,
    output wire               m0_axi_awid,
    output wire [31:0]        m0_axi_awaddr,
    output wire [7:0]         m0_axi_awlen,
    output wire [2:0]         m0_axi_awsize,
    output wire [1:0]         m0_axi_awburst,
    output wire               m0_axi_awvalid,
    input  wire               m0_axi_awready,
    output wire [8*BYTES-1:0] m0_axi_wdata,
    output wire [BYTES-1:0]   m0_axi_wstrb,
    output wire               m0_axi_wlast,
    output wire               m0_axi_wvalid,
    input  wire               m0_axi_wready,
    input  wire               m0_axi_bid,
    input  wire [1:0]         m0_axi_bresp,
    input  wire               m0_axi_bvalid,
    output wire               m0_axi_bready,

    output wire               m1_axi_arid,
    output wire [31:0]        m1_axi_araddr,
    output wire [7:0]         m1_axi_arlen,
    output wire [2:0]         m1_axi_arsize,
    output wire [1:0]         m1_axi_arburst,
    output wire               m1_axi_arvalid,
    input  wire               m1_axi_arready,
    input  wire               m1_axi_rid,
    input  wire [8*BYTES-1:0] m1_axi_rdata,
    input  wire [1:0]         m1_axi_rresp,
    input  wire               m1_axi_rlast,
    input  wire               m1_axi_rvalid,
    output wire               m1_axi_rready,
    output wire               m1_axi_awid,
    output wire [31:0]        m1_axi_awaddr,
    output wire [7:0]         m1_axi_awlen,
    output wire [2:0]         m1_axi_awsize,
    output wire [1:0]         m1_axi_awburst,
    output wire               m1_axi_awvalid,
    input  wire               m1_axi_awready,
    output wire [8*BYTES-1:0] m1_axi_wdata,
    output wire [BYTES-1:0]   m1_axi_wstrb,
    output wire               m1_axi_wlast,
    output wire               m1_axi_wvalid,
    input  wire               m1_axi_wready,
    input  wire               m1_axi_bid,
    input  wire [1:0]         m1_axi_bresp,
    input  wire               m1_axi_bvalid,
    output wire               m1_axi_bready
);
    localparam SIZE = $clog2(BYTES);
    localparam BURST = 16;

    // Registers. ----------------------------------------------------------------------------------
    reg [31:0] base, length, watchdog, target, select, cycles;
    reg        busy, finished, failed, raised;
    reg [7:0]  error;
    assign irq = raised;

    assign s_axil_awready = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
    assign s_axil_wready  = s_axil_awready;
    assign s_axil_arready = !s_axil_rvalid;
    assign s_axil_bresp = 0;
    assign s_axil_rresp = 0;

    wire write = s_axil_awready;
    wire control = write && s_axil_awaddr == 16'h04;
    wire start = control && s_axil_wdata[0] && !busy;

    // Copy engine: read requests run ahead by the words that the buffer can take. --------------------
    reg [31:0] words, ar_left, ar_addr, aw_left, aw_addr, w_left;
    reg        arvalid, awvalid;
    reg [31:0] ar_words;
    reg        same;
    reg [3:0]  w_beat;
    reg [8*BYTES-1:0] buffer [0:255];
    reg [31:0] put, take;
    wire [31:0] ar_now = (ar_left < BURST) ? ar_left : BURST;
    wire [31:0] aw_now = (aw_left < BURST) ? aw_left : BURST;

    assign m0_axi_arid = 0;
    assign m0_axi_araddr = ar_addr;
    assign m0_axi_arlen = ar_now[7:0] - 8'd1;
    assign m0_axi_arsize = SIZE[2:0];
    assign m0_axi_arburst = 2'b01;
    assign m0_axi_arvalid = arvalid && !same;
    assign m1_axi_arid = 0;
    assign m1_axi_araddr = ar_addr;
    assign m1_axi_arlen = m0_axi_arlen;
    assign m1_axi_arsize = SIZE[2:0];
    assign m1_axi_arburst = 2'b01;
    assign m1_axi_arvalid = arvalid && same;
    wire arready = same ? m1_axi_arready : m0_axi_arready;
    wire rvalid = same ? m1_axi_rvalid : m0_axi_rvalid;
    wire [8*BYTES-1:0] rdata = same ? m1_axi_rdata : m0_axi_rdata;
    wire [1:0] rresp = same ? m1_axi_rresp : m0_axi_rresp;
    assign m0_axi_rready = 1'b1;
    assign m1_axi_awid = 0;
    assign m1_axi_awaddr = aw_addr;
    assign m1_axi_awlen = aw_now[7:0] - 8'd1;
    assign m1_axi_awsize = SIZE[2:0];
    assign m1_axi_awburst = 2'b01;
    assign m1_axi_awvalid = awvalid;
    assign m1_axi_wdata = buffer[take[7:0]];
    assign m1_axi_wstrb = {BYTES{1'b1}};
    assign m1_axi_wvalid = put != take;
    assign m1_axi_wlast = ({28'b0, w_beat} == BURST - 1) || (w_left == 1);
    assign m1_axi_bready = 1'b1;

    // Unused channels. ------------------------------------------------------------------------------
    assign {m0_axi_awid, m0_axi_awaddr, m0_axi_awlen, m0_axi_awsize, m0_axi_awburst, m0_axi_awvalid} = 0;
    assign {m0_axi_wdata, m0_axi_wstrb, m0_axi_wlast, m0_axi_wvalid} = 0;
    assign m0_axi_bready = 1'b1;
    assign m1_axi_rready = 1'b1;

    always @(posedge clk) begin
        if (rst) begin
            s_axil_bvalid <= 0;
            s_axil_rvalid <= 0;
            s_axil_rdata <= 0;
            {base, length, watchdog, target, select, cycles} <= 0;
            {busy, finished, failed, raised, error, same} <= 0;
            {words, ar_left, ar_addr, aw_left, aw_addr, w_left, put, take, w_beat, ar_words} <= 0;
            {arvalid, awvalid} <= 0;
        end else begin
            if (write) s_axil_bvalid <= 1;
            else if (s_axil_bready) s_axil_bvalid <= 0;
            if (write) case (s_axil_awaddr)
                16'h10: base <= s_axil_wdata;
                16'h14: length <= s_axil_wdata;
                16'h18: watchdog <= s_axil_wdata;
                16'h24: select <= s_axil_wdata;
                16'h30: target <= s_axil_wdata;
                16'h34: same <= s_axil_wdata[0];
                default: ;
            endcase
            if (s_axil_arvalid && s_axil_arready) begin
                s_axil_rvalid <= 1;
                case (s_axil_araddr)
                    16'h00: s_axil_rdata <= 32'h53594D31;
                    16'h08: s_axil_rdata <= {28'b0, raised, failed, finished, busy};
                    16'h0C: s_axil_rdata <= {14'b0, 2'd3, 8'd0, error};
                    16'h10: s_axil_rdata <= base;
                    16'h14: s_axil_rdata <= length;
                    16'h18: s_axil_rdata <= watchdog;
                    16'h1C: s_axil_rdata <= cycles;
                    16'h28: s_axil_rdata <= select + 32'd1000;
                    16'h2C: s_axil_rdata <= 32'd1;
                    default: s_axil_rdata <= 0;
                endcase
            end else if (s_axil_rready) s_axil_rvalid <= 0;

            if (control && s_axil_wdata[1]) raised <= 0;
            if (control && s_axil_wdata[2]) {busy, finished, failed, raised, error} <= 0;
            if (start) begin
                {finished, failed, raised, error} <= 0;
                busy <= 1;
                cycles <= 0;
                ar_left <= length >> SIZE;
                aw_left <= length >> SIZE;
                w_left <= length >> SIZE;
                ar_addr <= base;
                aw_addr <= target;
                {put, take, w_beat, ar_words} <= 0;
                words <= (length >> SIZE);
            end else if (busy) begin
                cycles <= cycles + 1;
                if (arvalid && arready) begin
                    arvalid <= 0;
                    ar_left <= ar_left - ar_now;
                    ar_addr <= ar_addr + (ar_now << SIZE);
                    ar_words <= ar_words + ar_now;
                end else if (!arvalid && ar_left != 0 && ar_words + BURST - take <= 256) arvalid <= 1;
                if (awvalid && m1_axi_awready) begin
                    awvalid <= 0;
                    aw_left <= aw_left - aw_now;
                    aw_addr <= aw_addr + (aw_now << SIZE);
                end else if (!awvalid && aw_left != 0) awvalid <= 1;
                if (rvalid) begin
                    buffer[put[7:0]] <= rdata;
                    put <= put + 1;
                end
                if (m1_axi_wvalid && m1_axi_wready) begin
                    take <= take + 1;
                    w_left <= w_left - 1;
                    w_beat <= m1_axi_wlast ? 4'd0 : w_beat + 4'd1;
                end
                if (rvalid && rresp != 0 && !failed) {failed, error} <= {1'b1, 8'd9};
                if (m1_axi_bvalid && m1_axi_bresp != 0 && !failed) {failed, error} <= {1'b1, 8'd10};
                if (m1_axi_bvalid) words <= (words <= BURST) ? 0 : words - BURST;
                if (m1_axi_bvalid && words <= BURST) begin
                    {busy, raised} <= 2'b01;
                    finished <= !failed && m1_axi_bresp == 0;
                end
                if (watchdog != 0 && cycles == watchdog) begin
                    {busy, raised, failed, error} <= {3'b011, 8'd11};
                end
            end
        end
    end
endmodule
