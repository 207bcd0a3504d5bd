// The byte memory behind all ports on simulators without DPI-C: an array, loaded and dumped by file.
//
// A rising edge of `load` reads `count` words from word `first` on from memory_in.bin, one of `dump`
// writes them to memory_out.bin (both in the working directory of the simulation); `done` answers
// with the same level. In memory_in.bin the last byte of a word comes first, in memory_out.bin the
// first ($fread fills from the top, %u writes 32-bit words in the order of the host).

`timescale 1ns / 1ps

module systomesh_store #(
    parameter BYTES = 16,
    parameter WORDS = 4096
) (
    input  wire        load,
    input  wire        dump,
    input  wire [31:0] first,
    input  wire [31:0] count,
    output reg         done
);
    reg [8*BYTES-1:0] words [0:WORDS-1];
    integer file, status, index;

    initial begin
        done = 0;
        for (index = 0; index < WORDS; index = index + 1) words[index] = 0;
    end

    function [8*BYTES-1:0] mask(input [BYTES-1:0] strobe);
        integer lane;
        for (lane = 0; lane < BYTES; lane = lane + 1) mask[8*lane +: 8] = {8{strobe[lane]}};
    endfunction

    task write(input [31:0] index, input [8*BYTES-1:0] value, input [BYTES-1:0] strobe);
        words[index] = (words[index] & ~mask(strobe)) | (value & mask(strobe));
    endtask

    always @(load or dump) begin
        if (load) begin
            file = $fopen("memory_in.bin", "rb");
            status = $fread(words, file, first, count);
            $fclose(file);
        end
        if (dump) begin
            file = $fopen("memory_out.bin", "wb");
            for (index = first; index < first + count; index = index + 1) $fwrite(file, "%u", words[index]);
            $fclose(file);
        end
        done = load | dump;
    end
endmodule
