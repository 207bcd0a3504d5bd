// Synchronous RAM, one read and one write port, read-first; the Verilog body of rtl/lib/ram.py.
// Contents start as zero, so that every simulator agrees with Amaranth's.

module systomesh_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter GRANULARITY = 8,
    parameter ADDR_BITS = 1
) (
    input  wire                         clk,
    input  wire [WIDTH/GRANULARITY-1:0] write_enable,
    input  wire [ADDR_BITS-1:0]         write_addr,
    input  wire [WIDTH-1:0]             write_data,
    input  wire                         read_enable,
    input  wire [ADDR_BITS-1:0]         read_addr,
    output reg  [WIDTH-1:0]             read_data
);

    reg [WIDTH-1:0] mem [0:DEPTH-1];

    integer word;
    initial begin
        for (word = 0; word < DEPTH; word = word + 1)
            mem[word] = {WIDTH{1'b0}};
        read_data = {WIDTH{1'b0}};
    end

    always @(posedge clk)
        if (read_enable)
            read_data <= mem[read_addr];

    // The test of all enables together spares simulators a look at every lane.
    generate
        if (GRANULARITY == WIDTH) begin : whole
            always @(posedge clk)
                if (write_enable[0])
                    mem[write_addr] <= write_data;
        end else begin : lanes
            integer lane;
            always @(posedge clk)
                if (|write_enable)
                    for (lane = 0; lane < WIDTH/GRANULARITY; lane = lane + 1)
                        if (write_enable[lane])
                            mem[write_addr][lane*GRANULARITY +: GRANULARITY] <=
                                write_data[lane*GRANULARITY +: GRANULARITY];
        end
    endgenerate

endmodule
