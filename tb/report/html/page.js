"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// One after the other, so that those of the first screen are seen before the others are drawn.
async function draw() {
  for (const { key, data, layout } of read("figures")) {
    await Plotly.newPlot(key, data, layout, {
      responsive: true,
      displaylogo: false,
      showSendToCloud: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
    await new Promise((next) => setTimeout(next));
  }
}

const drawn = draw();

// Texts rise, numbers fall at the first click; cells without a value stay last.
function sort(table, column, heading) {
  const falls = heading.getAttribute("aria-sort") === "ascending";
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...table.tBodies[0].rows];
  const numbers = rows.every((row) => value(row) === undefined || !Number.isNaN(Number(value(row))));
  const first = heading.getAttribute("aria-sort") === "none" && numbers;
  const sign = falls || first ? -1 : 1;
  const compare = numbers ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b);
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return x === undefined || y === undefined ? (x === undefined) - (y === undefined) : sign * compare(x, y);
  });
  table.tBodies[0].append(...rows);
  for (const each of table.tHead.rows[0].cells) each.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll(".sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) =>
    heading.firstElementChild.addEventListener("click", () => sort(table, column, heading)));
}

document.getElementById("save").addEventListener("click", () => {
  const { file, text } = read("csv");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = file;
  link.click();
  URL.revokeObjectURL(link.href);
});
