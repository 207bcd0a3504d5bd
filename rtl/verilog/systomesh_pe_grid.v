// ROWS x COLS PEs with the triangular delays before and behind them: the Verilog body of rtl/engines/grid.py, which says what
// each register is. Written as loops over arrays, because simulators then multiply a row of PEs with vector
// instructions and move a row of activations at once; to synthesis it is the same as the Amaranth component
// (tests/formal proves it).
//
// All state but `data` is assigned in place, from the bottom row to the top and from the last column to the first, so
// that each PE still sees its neighbours as they were; nobody outside reads it. Loops over rows are unrolled, so that
// rows lie at constant places; loops over columns are not, so that they become vectors. The counters have values before
// the first condition, which lets Verilator keep them in processor registers.

module systomesh_pe_grid #(
    parameter ROWS = 16,
    parameter COLS = 16
) (
    input  wire               clk,
    input  wire               rst,
    input  wire               enable,
    input  wire               accept,
    input  wire               start,
    input  wire [8*ROWS-1:0]  act,
    input  wire [ROWS-1:0]    load,
    input  wire [8*COLS-1:0]  weights,
    output reg  [32*COLS-1:0] data
);

    reg signed [7:0]  skew     [0:ROWS-1][0:ROWS-1];  // stage, row
    reg signed [7:0]  acts     [0:ROWS-1][0:COLS-1];  // of the PEs; those of column 0 are the skew's last stages
    reg signed [7:0]  active   [0:ROWS-1][0:COLS-1];
    reg signed [7:0]  shadow   [0:ROWS-1][0:COLS-1];
    reg signed [31:0] psum     [0:ROWS-1][0:COLS-1];
    reg signed [31:0] deskew   [0:COLS-1][0:COLS-1];  // stage, column
    reg [COLS-2:0]    switched [0:ROWS-1];
    reg [ROWS-1:0]    switches;
    reg [COLS-1:0]    switching;
    reg [32*COLS-1:0] together;

    integer row, column;
    initial begin
        for (row = 0; row < ROWS; row = row + 1) begin
            switched[row] = 0;
            for (column = 0; column < ROWS; column = column + 1)
                skew[row][column] = 0;
            for (column = 0; column < COLS; column = column + 1) begin
                acts[row][column] = 0;
                active[row][column] = 0;
                shadow[row][column] = 0;
                psum[row][column] = 0;
            end
        end
        for (row = 0; row < COLS; row = row + 1)
            for (column = 0; column < COLS; column = column + 1)
                deskew[row][column] = 0;
        switches = 0;
        data = 0;
    end

    // verilator lint_off BLKSEQ
    // Not a race: only this process reads what it assigns in place.
    always @(posedge clk) begin : step
        reg [31:0] r, c, k;
        r = 0;
        c = 0;
        k = 0;

        if (enable) begin
            for (c = 0; c < COLS - 2; c = c + 1)
                together[32*c +: 32] = deskew[COLS-2][c];
            together[32*(COLS-2) +: 32] = psum[ROWS-1][COLS-2];

            /*verilator unroll_full*/
            for (k = COLS - 2; k >= 1; k = k - 1) begin
                /*verilator unroll_disable*/
                for (c = 0; c < k - 1; c = c + 1)
                    deskew[k][c] = deskew[k-1][c];
                deskew[k][k-1] = psum[ROWS-1][k-1];
            end

            /*verilator unroll_full*/
            for (r = ROWS - 1; r >= 1; r = r - 1) begin
                /*verilator unroll_disable*/
                for (c = 0; c < COLS; c = c + 1)
                    psum[r][c] = psum[r-1][c] + acts[r][c] * active[r][c];
            end
            /*verilator unroll_disable*/
            for (c = 0; c < COLS; c = c + 1)
                psum[0][c] = acts[0][c] * active[0][c];
            together[32*(COLS-1) +: 32] = psum[ROWS-1][COLS-1];
            data <= together;

            switches = {switches[ROWS-2:0], start};
            /*verilator unroll_full*/
            for (r = 0; r < ROWS; r = r + 1) begin
                switching = {switched[r], switches[r]};
                if (|switching) begin
                    /*verilator unroll_disable*/
                    for (c = 0; c < COLS; c = c + 1)
                        active[r][c] = switching[c] ? shadow[r][c] : active[r][c];
                end
                switched[r] = switching[COLS-2:0];
            end
        end

        // Activations move on regardless.
        /*verilator unroll_full*/
        for (r = 0; r < ROWS; r = r + 1) begin
            /*verilator unroll_disable*/
            for (c = COLS - 1; c >= 1; c = c - 1)
                acts[r][c] = acts[r][c-1];
        end
        if (enable) begin
            /*verilator unroll_full*/
            for (k = ROWS - 1; k >= 1; k = k - 1) begin
                /*verilator unroll_disable*/
                for (r = k; r < ROWS; r = r + 1)
                    skew[k][r] = skew[k-1][r];
            end
        end
        if (accept)
            for (r = 0; r < ROWS; r = r + 1)
                skew[0][r] = act[8*r +: 8];
        if (enable)
            for (r = 0; r < ROWS; r = r + 1)
                acts[r][0] = skew[r][r];

        if (|load)
            for (r = 0; r < ROWS; r = r + 1)
                if (load[r])
                    for (c = 0; c < COLS; c = c + 1)
                        shadow[r][c] = weights[8*c +: 8];

        if (rst) begin
            switches = 0;
            for (r = 0; r < ROWS; r = r + 1)
                switched[r] = 0;
        end
    end
    // verilator lint_on BLKSEQ

endmodule
