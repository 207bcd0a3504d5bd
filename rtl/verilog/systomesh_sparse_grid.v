// LANES x COLUMNS PEs of the sparse engine, with the ring of items and the lists: the Verilog body of
// rtl/engines/sparse_grid.py, which says what each register is. A loop over PEs, of which Amaranth would emit a copy each.

module systomesh_sparse_grid #(
    parameter LANES = 8,
    parameter COLUMNS = 32,
    parameter ACTS = 8,     // activations of a PE
    parameter FILTERS = 2,  // its slots of the lanes' row
    parameter PLACES = 9,   // items in the ring
    parameter DEPTH = 96,
    parameter GROUPS = 8,
    parameter BITS = 24     // of the sum of a PE
) (
    input  wire                                       clk,
    input  wire                                       rst,
    input  wire                                       accept,
    input  wire [9*LANES*ACTS-1:0]                    acts,
    input  wire [LANES*ACTS-1:0]                      used,
    input  wire [LANES*ACTS*COLUMNS*FILTERS-1:0]      masks,
    input  wire                                       bank,
    input  wire                                       last,
    output reg  [$clog2(PLACES+1)-1:0]                filled,
    output wire                                       release_oldest,
    input  wire                                       list_write,
    input  wire                                       list_bank,
    input  wire [$clog2(DEPTH > 2 ? DEPTH : 2)-1:0]   list_round,
    input  wire [$clog2(LANES/FILTERS > 2 ? LANES/FILTERS : 2)-1:0] list_row,
    input  wire [8*COLUMNS*FILTERS-1:0]               list_data,
    input  wire                                       collect,
    input  wire [$clog2(GROUPS)-1:0]                  group,
    output wire [GROUPS-1:0]                          full,
    output reg  [(BITS+$clog2(LANES))*COLUMNS*FILTERS/GROUPS-1:0] sums,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         pairs,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         empty,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         starved,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         blocked
);

    localparam PES = LANES * COLUMNS;
    localparam POSITIONS = ACTS * FILTERS;
    localparam COLS = COLUMNS * FILTERS;
    localparam OF_GROUP = COLUMNS / GROUPS;
    localparam PLACE_BITS = PLACES > 1 ? $clog2(PLACES) : 1;
    localparam [31:0] LAST_PLACE = PLACES - 1;
    localparam COUNT_BITS = $clog2(PLACES + 1);
    localparam RANK_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
    localparam ROW_BITS = $clog2(LANES/FILTERS > 2 ? LANES/FILTERS : 2);
    localparam BASE_BITS = $clog2(DEPTH + 1);
    localparam TOTAL_BITS = BITS + $clog2(LANES);

    reg [PLACE_BITS-1:0] write;
    reg [PLACES-1:0]     place_bank, place_last;
    wire [PES-1:0]       is_left, is_pair, is_empty, is_starved, is_blocked, is_full;
    wire [PES*FILTERS*BITS-1:0] outs;
    wire [GROUPS-1:0]    taken;

    assign taken = {{(GROUPS-1){1'b0}}, collect} << group;
    assign release_oldest = filled != 0 && &is_left;

    initial begin
        write = 0;
        filled = 0;
        place_bank = 0;
        place_last = 0;
    end

    always @(posedge clk) begin
        if (accept) begin
            write <= write == LAST_PLACE[PLACE_BITS-1:0] ? 0 : write + 1;
            place_bank[write] <= bank;
            place_last[write] <= last;
        end
        if (accept != release_oldest)
            filled <= accept ? filled + 1 : filled - 1;
        if (rst) begin
            write <= 0;
            filled <= 0;
        end
    end

    function [BASE_BITS-1:0] ones;
        input [POSITIONS-1:0] bits;
        integer k;
        begin
            ones = 0;
            for (k = 0; k < POSITIONS; k = k + 1)
                ones = ones + {{(BASE_BITS-1){1'b0}}, bits[k]};
        end
    endfunction

    genvar r, c, f, g;
    generate
        for (r = 0; r < LANES; r = r + 1) begin : lane
            reg [9*ACTS-1:0] place_acts [0:PLACES-1];
            reg [ACTS-1:0]   place_used [0:PLACES-1];
            integer place;
            initial
                for (place = 0; place < PLACES; place = place + 1) begin
                    place_acts[place] = 0;
                    place_used[place] = 0;
                end
            always @(posedge clk)
                if (accept) begin
                    place_acts[write] <= acts[9*ACTS*r +: 9*ACTS];
                    place_used[write] <= used[ACTS*r +: ACTS];
                end

            for (c = 0; c < COLUMNS; c = c + 1) begin : pe
                localparam PE = r * COLUMNS + c;
                localparam GROUP = c / OF_GROUP;
                localparam [31:0] ROW = PE / COLS;

                reg [POSITIONS-1:0]  place_masks [0:PLACES-1];
                reg [7:0]            list [0:2*DEPTH-1];
                reg [PLACE_BITS-1:0] slot;
                reg [COUNT_BITS-1:0] ahead;
                reg                  fresh, owed, multiply, ended, is_out;
                reg [POSITIONS-1:0]  rest;
                reg [BASE_BITS-1:0]  base;
                reg signed [8:0]     act;
                reg signed [7:0]     weight;
                reg [FILTERS-1:0]    which;
                reg [FILTERS*BITS-1:0] sum, out, added;

                wire [POSITIONS-1:0] mask = place_masks[slot];
                wire [POSITIONS-1:0] pending = fresh ? mask & {FILTERS{place_used[slot]}} : rest;
                wire [POSITIONS-1:0] after = pending & (pending - 1);
                wire [POSITIONS-1:0] one = pending & ~after;
                wire has = ahead < filled;
                wire ends = place_last[slot];
                wire stays = has && after == 0 && ends && owed && !taken[GROUP];
                wire done = has && after == 0 && !stays;
                wire pair = has && pending != 0 && !stays;
                wire [BASE_BITS-1:0] rank = base + ones(mask & (one - 1));
                wire [9*ACTS-1:0] of_item = place_acts[slot];
                wire signed [16:0] product = act * weight;

                assign is_left[PE] = ahead != 0 || done;
                assign is_pair[PE] = pair;
                assign is_empty[PE] = done && pending == 0;
                assign is_starved[PE] = !has;
                assign is_blocked[PE] = stays;
                assign is_full[PE] = is_out;
                assign outs[PE*FILTERS*BITS +: FILTERS*BITS] = out;

                integer k, word;
                always @* begin
                    added = sum;
                    for (k = 0; k < FILTERS; k = k + 1)
                        if (multiply && which[k])
                            added[BITS*k +: BITS] = sum[BITS*k +: BITS] + {{(BITS-17){product[16]}}, product};
                end

                initial begin
                    for (word = 0; word < PLACES; word = word + 1)
                        place_masks[word] = 0;
                    for (word = 0; word < 2 * DEPTH; word = word + 1)
                        list[word] = 0;
                    slot = 0;
                    ahead = 0;
                    fresh = 1;
                    owed = 0;
                    multiply = 0;
                    ended = 0;
                    is_out = 0;
                    rest = 0;
                    base = 0;
                    act = 0;
                    weight = 0;
                    which = 0;
                    sum = 0;
                    out = 0;
                end

                always @(posedge clk) begin : step
                    reg [FILTERS-1:0] hits;
                    reg [8:0] chosen;
                    integer a, p;
                    if (accept)
                        place_masks[write] <= masks[POSITIONS*PE +: POSITIONS];
                    if (list_write && list_row == ROW[ROW_BITS-1:0])
                        list[{list_round, list_bank}] <= list_data[8*(PE % COLS) +: 8];
                    if (done) begin
                        slot <= slot == LAST_PLACE[PLACE_BITS-1:0] ? 0 : slot + 1;
                        fresh <= 1;
                        base <= ends ? 0 : base + ones(mask);
                    end else if (pair) begin
                        fresh <= 0;
                        rest <= after;
                    end
                    if (done != release_oldest)
                        ahead <= done ? ahead + 1 : ahead - 1;
                    if (done && ends)
                        owed <= 1;
                    else if (taken[GROUP])
                        owed <= 0;

                    multiply <= pair;
                    ended <= done && ends;
                    if (pair) begin
                        weight <= list[{rank[RANK_BITS-1:0], place_bank[slot]}];
                        chosen = 0;
                        hits = 0;
                        for (p = 0; p < FILTERS; p = p + 1)
                            for (a = 0; a < ACTS; a = a + 1)
                                if (one[p*ACTS + a]) begin
                                    chosen = of_item[9*a +: 9];
                                    hits[p] = 1;
                                end
                        act <= chosen;
                        which <= hits;
                    end
                    if (ended) begin
                        out <= added;
                        sum <= 0;
                    end else if (multiply)
                        sum <= added;
                    if (ended)
                        is_out <= 1;
                    else if (taken[GROUP])
                        is_out <= 0;

                    if (rst) begin
                        slot <= 0;
                        ahead <= 0;
                        fresh <= 1;
                        owed <= 0;
                        multiply <= 0;
                        ended <= 0;
                        is_out <= 0;
                        base <= 0;
                        sum <= 0;
                    end
                end
            end
        end

        for (g = 0; g < GROUPS; g = g + 1) begin : ready
            wire [LANES*OF_GROUP-1:0] of_group;
            for (f = 0; f < LANES; f = f + 1) begin : lane
                assign of_group[f*OF_GROUP +: OF_GROUP] = is_full[f*COLUMNS + g*OF_GROUP +: OF_GROUP];
            end
            assign full[g] = &of_group;
        end
    endgenerate

    // Sums of a group of columns over the lanes.
    integer row, place;
    reg [BITS-1:0] addend;
    always @* begin
        sums = 0;
        for (row = 0; row < LANES; row = row + 1)
            for (place = 0; place < OF_GROUP * FILTERS; place = place + 1) begin
                addend = outs[BITS * ((row * COLUMNS + group * OF_GROUP) * FILTERS + place) +: BITS];
                sums[TOTAL_BITS*place +: TOTAL_BITS] = sums[TOTAL_BITS*place +: TOTAL_BITS]
                    + {{(TOTAL_BITS-BITS){addend[BITS-1]}}, addend};
            end
    end

    integer i;
    always @* begin
        pairs = 0;
        empty = 0;
        starved = 0;
        blocked = 0;
        for (i = 0; i < PES; i = i + 1) begin
            pairs = pairs + {{($clog2(PES+1)-1){1'b0}}, is_pair[i]};
            empty = empty + {{($clog2(PES+1)-1){1'b0}}, is_empty[i]};
            starved = starved + {{($clog2(PES+1)-1){1'b0}}, is_starved[i]};
            blocked = blocked + {{($clog2(PES+1)-1){1'b0}}, is_blocked[i]};
        end
    end

endmodule
