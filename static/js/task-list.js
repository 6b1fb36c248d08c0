// The table of tasks: tick all, how many are ticked, which buttons make sense, and the question
// before a delete.

const boxes = () => [...document.querySelectorAll('#task-rows input[name="task"]')];

function showTicks() {
  const all = boxes();
  const ticked = all.filter((box) => box.checked).length;
  const said = document.getElementById("ticked");
  if (!said) return;
  const words = ticked ? `${ticked} ticked` : "Tick tasks to act on several";
  if (said.textContent !== words) said.textContent = words;
  for (const button of document.querySelectorAll("#bulk [data-needs]")) {
    const atMost = Number(button.dataset.atMost ?? Infinity);
    button.disabled = ticked < Number(button.dataset.needs) || ticked > atMost;
  }
  const tickAll = document.getElementById("tick-all");
  tickAll.checked = ticked > 0 && ticked === all.length;
  tickAll.indeterminate = ticked > 0 && ticked < all.length;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "tick-all") {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  showTicks();
});
document.addEventListener("htmx:afterSettle", showTicks);
showTicks();

document.addEventListener("htmx:load", ({ target }) => {
  if (target.id !== "confirm-delete") return;
  target.removeAttribute("open");
  target.showModal();
});
document.addEventListener("submit", (event) => event.target.closest("dialog")?.close());
