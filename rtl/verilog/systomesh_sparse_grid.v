// LANES x COLUMNS PEs of the sparse engine, with the ring of items and the lists: the Verilog body of
// rtl/engines/sparse_grid.py, which says what each register is. Written as loops over arrays, like systomesh_pe_grid.v,
// because simulators then go through a lane of PEs with vector instructions.
//
// Memories, and bits that combinational outputs are made of, are registers like any other. All other state is assigned
// in place, in an order in which everybody sees what was there before; nobody outside reads it. A loop that looks
// something up for each PE does nothing else, so that the others become vectors; loops over lanes are not unrolled, so
// that their code stays in the cache. Local variables have values before the first condition, which lets Verilator keep
// them in processor registers, and conditions choose between values that are there, which spares branches.

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
    output reg  [GROUPS-1:0]                          full,
    output reg  [(BITS+$clog2(LANES))*COLUMNS*FILTERS/GROUPS-1:0] sums,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         pairs,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         empty,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         starved,
    output reg  [$clog2(LANES*COLUMNS+1)-1:0]         blocked
);

    localparam PES = LANES * COLUMNS;
    localparam ROWS = LANES * ACTS;
    localparam POSITIONS = ACTS * FILTERS;
    localparam OF_GROUP = COLUMNS / GROUPS;
    localparam PLACE_BITS = PLACES > 1 ? $clog2(PLACES) : 1;
    localparam [31:0] LAST_PLACE = PLACES - 1;
    localparam COUNT_BITS = $clog2(PLACES + 1);
    localparam BASE_BITS = $clog2(DEPTH + 1);
    localparam TOTAL_BITS = BITS + $clog2(LANES);
    localparam PE_COUNT_BITS = $clog2(PES + 1);
    localparam GROUP_BITS = $clog2(GROUPS);
    localparam WIDE = POSITIONS > 32 || COLUMNS > 32 ? 64 : POSITIONS > 16 || COLUMNS > 16 ? 32 : 16;
    localparam [WIDE-1:0] ONE = {{(WIDE-1){1'b0}}, 1'b1};

    // The ring, and the lists of both banks in turn.
    reg [PLACE_BITS-1:0]  write;
    reg [PLACES-1:0]      place_bank, place_last;
    reg [8:0]             place_acts  [0:ROWS-1][0:PLACES-1];
    reg [ACTS-1:0]        place_used  [0:LANES-1][0:PLACES-1];
    reg [POSITIONS-1:0]   place_masks [0:LANES-1][0:COLUMNS-1][0:PLACES-1];
    reg [7:0]             list        [0:LANES-1][0:COLUMNS-1][0:2*DEPTH-1];

    // PEs.
    reg [PES-1:0]         past, has, working, finishing, closing, owed, multiply, ended, is_out;
    reg [PLACE_BITS-1:0]  slot    [0:LANES-1][0:COLUMNS-1];
    reg [COUNT_BITS-1:0]  ahead   [0:LANES-1][0:COLUMNS-1];
    reg [POSITIONS-1:0]   pending [0:LANES-1][0:COLUMNS-1];
    reg [BASE_BITS-1:0]   base    [0:LANES-1][0:COLUMNS-1];
    reg signed [8:0]      act     [0:LANES-1][0:COLUMNS-1];
    reg signed [7:0]      weight  [0:LANES-1][0:COLUMNS-1];
    reg [FILTERS-1:0]     which   [0:LANES-1][0:COLUMNS-1];
    reg signed [BITS-1:0] sum     [0:FILTERS-1][0:LANES-1][0:COLUMNS-1];
    reg signed [BITS-1:0] out     [0:FILTERS-1][0:LANES-1][0:COLUMNS-1];

    wire [COLUMNS-1:0] of_group = {{(COLUMNS-OF_GROUP){1'b0}}, {OF_GROUP{1'b1}}} << group * OF_GROUP;
    wire [PES-1:0] taken = {LANES{collect ? of_group : {COLUMNS{1'b0}}}};
    wire [PES-1:0] stays = closing & owed & ~taken;
    wire [PES-1:0] done = finishing & ~stays;
    wire [PES-1:0] pair = working & ~stays;

    assign release_oldest = filled != 0 && &(past | done);

    // How many of the bits are set: counts of neighbouring fields of k bits, added up.
    function automatic [WIDE-1:0] ones;
        input [WIDE-1:0] bits;
        integer k;
        begin
            /*verilator unroll_full*/
            for (k = 1; k < WIDE; k = 2 * k)
                bits = (bits & {WIDE{1'b1}} / ((ONE << k) + ONE)) + (bits >> k & {WIDE{1'b1}} / ((ONE << k) + ONE));
            ones = bits;
        end
    endfunction

    function automatic [PE_COUNT_BITS-1:0] ones_of_lane;
        input [COLUMNS-1:0] flags;
        reg [WIDE-1:0] bits;
        begin
            bits = 0;
            bits[COLUMNS-1:0] = flags;
            bits = ones(bits);
            ones_of_lane = bits[PE_COUNT_BITS-1:0];
        end
    endfunction

    integer lane, number;
    reg [COLUMNS-1:0] all_out;
    always @* begin
        pairs = 0;
        empty = 0;
        starved = 0;
        blocked = 0;
        all_out = {COLUMNS{1'b1}};
        for (lane = 0; lane < LANES; lane = lane + 1) begin
            pairs = pairs + ones_of_lane(pair[COLUMNS*lane +: COLUMNS]);
            empty = empty + ones_of_lane(done[COLUMNS*lane +: COLUMNS] & ~working[COLUMNS*lane +: COLUMNS]);
            starved = starved + ones_of_lane(~has[COLUMNS*lane +: COLUMNS]);
            blocked = blocked + ones_of_lane(stays[COLUMNS*lane +: COLUMNS]);
            all_out = all_out & is_out[COLUMNS*lane +: COLUMNS];
        end
        for (number = 0; number < GROUPS; number = number + 1)
            full[number] = &all_out[OF_GROUP*number +: OF_GROUP];
    end

    integer row, column, index;
    initial begin
        write = 0;
        filled = 0;
        place_bank = 0;
        place_last = 0;
        sums = 0;
        past = 0;
        has = 0;
        working = 0;
        finishing = 0;
        closing = 0;
        owed = 0;
        multiply = 0;
        ended = 0;
        is_out = 0;
        for (row = 0; row < ROWS; row = row + 1)
            for (index = 0; index < PLACES; index = index + 1)
                place_acts[row][index] = 0;
        for (row = 0; row < LANES; row = row + 1) begin
            for (index = 0; index < PLACES; index = index + 1)
                place_used[row][index] = 0;
            for (column = 0; column < COLUMNS; column = column + 1) begin
                for (index = 0; index < PLACES; index = index + 1)
                    place_masks[row][column][index] = 0;
                for (index = 0; index < FILTERS; index = index + 1) begin
                    sum[index][row][column] = 0;
                    out[index][row][column] = 0;
                end
                slot[row][column] = 0;
                ahead[row][column] = 0;
                pending[row][column] = 0;
                base[row][column] = 0;
                act[row][column] = 0;
                weight[row][column] = 0;
                which[row][column] = 0;
            end
        end
    end
`ifndef SYNTHESIS  // of hardware the lists hold anything at first; yosys would be minutes over these loops
    integer entry;
    initial
        for (row = 0; row < LANES; row = row + 1)
            for (column = 0; column < COLUMNS; column = column + 1)
                for (entry = 0; entry < 2 * DEPTH; entry = entry + 1)
                    list[row][column][entry] = 0;
`endif

    // What was looked up for each PE of a lane, and where to look next.
    reg [POSITIONS-1:0]   mask   [0:COLUMNS-1];
    reg [WIDE-1:0]        first  [0:COLUMNS-1];
    reg [BASE_BITS:0]     where  [0:COLUMNS-1];
    reg [7:0]             listed [0:COLUMNS-1];
    reg [8:0]             chosen [0:COLUMNS-1];
    reg [POSITIONS-1:0]   items  [0:LANES-1][0:COLUMNS-1];

    // verilator lint_off BLKSEQ
    // Not a race: only this process reads what it assigns in place.
    always @(posedge clk) begin : step
        reg [31:0] r, l, c, f;
        reg [COLUMNS-1:0] pairing, leaving, looking, next_past, next_has, next_working, next_finishing, next_closing;
        reg [(1<<PLACE_BITS)-1:0] banks, lasts;
        reg [GROUP_BITS-1:0] next_group;
        reg signed [BITS-1:0] product, added;
        reg signed [TOTAL_BITS-1:0] total;
        reg [WIDE-1:0] rest, below;
        // verilator lint_off UNUSEDSIGNAL
        reg [WIDE-1:0] count;  // never so many that its high bits count
        // verilator lint_on UNUSEDSIGNAL
        reg [POSITIONS-1:0] found;
        reg [PLACE_BITS-1:0] here;
        reg [COUNT_BITS-1:0] next_filled, next_ahead;
        reg [BASE_BITS-1:0] start;
        reg more, last_pair;
        r = 0;
        l = 0;
        c = 0;
        f = 0;
        pairing = 0;
        leaving = 0;
        looking = 0;
        next_past = 0;
        next_has = 0;
        next_working = 0;
        next_finishing = 0;
        next_closing = 0;
        banks = 0;
        banks[PLACES-1:0] = place_bank;
        lasts = 0;
        lasts[PLACES-1:0] = place_last;
        next_group = 0;
        product = 0;
        added = 0;
        total = 0;
        rest = 0;
        below = 0;
        count = 0;
        found = 0;
        here = 0;
        next_filled = 0;
        next_ahead = 0;
        start = 0;
        more = 0;
        last_pair = 0;

        // Products of the pairs of the cycle before.
        if (multiply != 0 || ended != 0) begin
            /*verilator unroll_disable*/
            for (l = 0; l < LANES; l = l + 1) begin
                pairing = multiply[COLUMNS*l +: COLUMNS];
                leaving = ended[COLUMNS*l +: COLUMNS];
                /*verilator unroll_full*/
                for (f = 0; f < FILTERS; f = f + 1) begin
                    /*verilator unroll_disable*/
                    for (c = 0; c < COLUMNS; c = c + 1) begin
                        product = act[l][c] * weight[l][c];
                        added = sum[f][l][c] + (pairing[c] && which[l][c][f] ? product : 0);
                        out[f][l][c] = leaving[c] ? added : out[f][l][c];
                        sum[f][l][c] = leaving[c] ? 0 : added;
                    end
                end
            end
        end
        if (collect || ended != 0) begin
            next_group = collect ? group + 1 : group;
            for (c = 0; c < OF_GROUP; c = c + 1)
                for (f = 0; f < FILTERS; f = f + 1) begin
                    total = 0;
                    for (l = 0; l < LANES; l = l + 1) begin
                        added = out[f][l][next_group * OF_GROUP + c];
                        total = total + {{(TOTAL_BITS-BITS){added[BITS-1]}}, added};
                    end
                    sums[TOTAL_BITS*(FILTERS*c + f) +: TOTAL_BITS] <= total;
                end
        end
        is_out <= (is_out & ~taken) | ended;

        // Pairs of this cycle.
        if (filled != 0) begin
            /*verilator unroll_disable*/
            for (l = 0; l < LANES; l = l + 1) begin
                pairing = pair[COLUMNS*l +: COLUMNS];
                leaving = done[COLUMNS*l +: COLUMNS];
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1)
                    mask[c] = place_masks[l][c][slot[l][c]];
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    here = slot[l][c];
                    start = base[l][c];
                    rest = 0;
                    rest[POSITIONS-1:0] = pending[l][c];
                    below = (rest ^ (rest - ONE)) >> 1;
                    first[c] = ones(below);
                    rest = 0;
                    rest[POSITIONS-1:0] = mask[c];
                    count = ones(rest & below);
                    where[c] = {start + count[BASE_BITS-1:0], banks[here]};
                    count = ones(rest);
                    base[l][c] = leaving[c] ? (lasts[here] ? 0 : start + count[BASE_BITS-1:0]) : start;
                end
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    listed[c] = list[l][c][where[c]];
                    chosen[c] = place_acts[ACTS*l + first[c] % ACTS][slot[l][c]];
                end
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    weight[l][c] = pairing[c] ? listed[c] : weight[l][c];
                    act[l][c] = pairing[c] ? chosen[c] : act[l][c];
                    rest = ONE << first[c] / ACTS;
                    which[l][c] = pairing[c] ? rest[FILTERS-1:0] : which[l][c];
                end
            end
        end
        multiply <= pair;
        ended <= done & closing;
        owed <= (owed & ~taken) | (done & closing);

        // Where PEs go, and what is left for them there.
        next_filled = accept == release_oldest ? filled : accept ? filled + 1 : filled - 1;
        filled <= next_filled;
        lasts[write] = accept ? last : lasts[write];
        if (accept || filled != 0) begin
            /*verilator unroll_disable*/
            for (l = 0; l < LANES; l = l + 1) begin
                leaving = done[COLUMNS*l +: COLUMNS];
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    here = slot[l][c];
                    here = leaving[c] ? (here == LAST_PLACE[PLACE_BITS-1:0] ? 0 : here + 1) : here;
                    slot[l][c] = here;
                end
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1)
                    items[l][c] = place_masks[l][c][slot[l][c]] & {FILTERS{place_used[l][slot[l][c]]}};
            end
            if (accept)
                for (l = 0; l < LANES; l = l + 1)
                    for (c = 0; c < COLUMNS; c = c + 1)
                        items[l][c] = slot[l][c] == write
                            ? masks[POSITIONS*(COLUMNS*l + c) +: POSITIONS] & {FILTERS{used[ACTS*l +: ACTS]}}
                            : items[l][c];
            /*verilator unroll_disable*/
            for (l = 0; l < LANES; l = l + 1) begin
                pairing = pair[COLUMNS*l +: COLUMNS];
                leaving = done[COLUMNS*l +: COLUMNS];
                looking = leaving | ~has[COLUMNS*l +: COLUMNS];
                next_past = 0;
                next_has = 0;
                next_working = 0;
                next_finishing = 0;
                next_closing = 0;
                /*verilator unroll_disable*/
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    next_ahead = ahead[l][c] + {{(COUNT_BITS-1){1'b0}}, leaving[c]}
                        - {{(COUNT_BITS-1){1'b0}}, release_oldest};
                    found = pending[l][c];
                    found = pairing[c] ? found & (found - 1) : found;
                    found = looking[c] ? items[l][c] : found;
                    here = slot[l][c];
                    ahead[l][c] = next_ahead;
                    pending[l][c] = found;
                    more = next_ahead < next_filled;
                    last_pair = more && (found & (found - 1)) == 0;
                    next_past = next_past | {{(COLUMNS-1){1'b0}}, next_ahead != 0} << c;
                    next_has = next_has | {{(COLUMNS-1){1'b0}}, more} << c;
                    next_working = next_working | {{(COLUMNS-1){1'b0}}, more && found != 0} << c;
                    next_finishing = next_finishing | {{(COLUMNS-1){1'b0}}, last_pair} << c;
                    next_closing = next_closing | {{(COLUMNS-1){1'b0}}, last_pair && lasts[here]} << c;
                end
                past[COLUMNS*l +: COLUMNS] <= next_past;
                has[COLUMNS*l +: COLUMNS] <= next_has;
                working[COLUMNS*l +: COLUMNS] <= next_working;
                finishing[COLUMNS*l +: COLUMNS] <= next_finishing;
                closing[COLUMNS*l +: COLUMNS] <= next_closing;
            end
        end

        // What enters.
        if (accept) begin
            write <= write == LAST_PLACE[PLACE_BITS-1:0] ? 0 : write + 1;
            place_bank[write] <= bank;
            place_last[write] <= last;
            for (r = 0; r < ROWS; r = r + 1)
                place_acts[r][write] <= acts[9*r +: 9];
            for (l = 0; l < LANES; l = l + 1) begin
                place_used[l][write] <= used[ACTS*l +: ACTS];
                for (c = 0; c < COLUMNS; c = c + 1)
                    place_masks[l][c][write] <= masks[POSITIONS*(COLUMNS*l + c) +: POSITIONS];
            end
        end
        if (list_write)
            for (f = 0; f < FILTERS; f = f + 1)
                for (c = 0; c < COLUMNS; c = c + 1)
                    list[FILTERS*list_row + f][c][{list_round, list_bank}] <= list_data[8*(COLUMNS*f + c) +: 8];

        if (rst) begin
            write <= 0;
            filled <= 0;
            past <= 0;
            has <= 0;
            working <= 0;
            finishing <= 0;
            closing <= 0;
            owed <= 0;
            multiply <= 0;
            ended <= 0;
            is_out <= 0;
            for (l = 0; l < LANES; l = l + 1)
                for (c = 0; c < COLUMNS; c = c + 1) begin
                    slot[l][c] = 0;
                    ahead[l][c] = 0;
                    base[l][c] = 0;
                    for (f = 0; f < FILTERS; f = f + 1)
                        sum[f][l][c] = 0;
                end
        end
    end
    // verilator lint_on BLKSEQ

endmodule
