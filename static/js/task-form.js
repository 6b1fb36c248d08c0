// The editor of a task. Everything here also works without scripts, one page load at a time.

const form = () => document.getElementById("task-form");
let changed = false;

function changedByScript(element) {
  changed = true;
  showWhatMatters();
  element.dispatchEvent(new CustomEvent("rows-changed", { bubbles: true }));
}

// Adding and removing rows without asking the server.
class RowList extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.value.startsWith("add:")) { event.preventDefault(); this.add().querySelector("input:not([type=hidden]), select").focus(); }
      if (button?.value.startsWith("remove:")) { event.preventDefault(); this.remove_(button.closest("[data-row]")); }
      if (button?.dataset.value !== undefined) addValue(button);
    });
  }

  get rows() { return this.querySelector(".rows"); }

  add() {
    const taken = [...this.rows.children].map((row) => Number.parseInt(row.dataset.row, 36) || 0);
    const key = (Math.max(0, ...taken) + 1).toString(36);
    this.rows.insertAdjacentHTML("beforeend", this.querySelector("template").innerHTML.replaceAll("__key__", key));
    changedByScript(this);
    return this.rows.lastElementChild;
  }

  remove_(row) {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    (next?.querySelector("input:not([type=hidden]), select") || this.querySelector(":scope > button")).focus();
    changedByScript(this);
  }
}
customElements.define("row-list", RowList);

// A valid value of a flag, put behind those that are there.
function addValue(button) {
  const row = button.closest(".row-parameter");
  if (!row) return;
  const input = row.querySelector("[name=parameters-values]");
  const values = input.value.split(",").map((value) => value.trim()).filter(Boolean);
  if (!values.includes(button.dataset.value)) input.value = [...values, button.dataset.value].join(", ");
  changedByScript(input);
}

// What is known of a row's flag, from the list of the engine's flags.
function explain(row) {
  const name = row.querySelector("[name=parameters-name]").value.trim().replace(/^-+/, "").replaceAll("_", "-");
  const known = document.querySelector(`#known-flags [data-flag="${CSS.escape(name)}"] .flag-about`);
  const about = row.querySelector(".flag-about");
  const wanted = known?.innerHTML ?? "";
  if (about.innerHTML !== wanted) about.innerHTML = wanted;
}

// The engine's flags: filter them, and add one by a click.
class FlagList extends HTMLElement {
  connectedCallback() {
    const filter = this.querySelector("input");
    filter.addEventListener("input", (event) => {
      event.stopPropagation();
      const words = filter.value.toLowerCase().split(/\s+/);
      for (const entry of this.querySelectorAll("[data-flag]")) {
        entry.hidden = !words.every((word) => entry.textContent.toLowerCase().includes(word));
      }
    });
    this.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      const entry = button?.closest("[data-flag]");
      if (!entry) return;
      event.preventDefault();
      const row = this.rowOf(entry.dataset.flag);
      if (button.dataset.value !== undefined) addValue(row.querySelector(`[data-value="${CSS.escape(button.dataset.value)}"]`));
      row.querySelector("[name=parameters-values]").focus();
    });
  }

  // The row of this flag, else the first empty one, else a new one.
  rowOf(flag) {
    const list = document.querySelector("row-list[group=parameters]");
    const nameIn = (row) => row.querySelector("[name=parameters-name]");
    const rows = [...list.rows.children];
    const row = rows.find((one) => nameIn(one).value === flag) || rows.find((one) => !nameIn(one).value) || list.add();
    nameIn(row).value = flag;
    explain(row);
    changedByScript(row);
    return row;
  }
}
customElements.define("flag-list", FlagList);

// Inputs that mean nothing in this deployment mode, or beside this choice, are out of sight.
function showWhatMatters() {
  const mode = document.getElementById("field-deployment_mode")?.value;
  for (const field of document.querySelectorAll("[data-modes]")) {
    const wrong = [...field.querySelectorAll(".field-error")].some((error) => error.textContent);
    field.hidden = !field.dataset.modes.split(" ").includes(mode) && !wrong;
  }
  for (const field of document.querySelectorAll("[data-unless]")) {
    const [place, value] = field.dataset.unless.split(" ");
    const wrong = field.querySelector(".field-error").textContent !== "";
    field.hidden = document.getElementById(`field-${place}`)?.value !== value && !wrong;
  }
  for (const row of document.querySelectorAll(".row-objective")) {
    const own = row.querySelector("[name=objectives-name]").value === "metric";
    for (const part of row.querySelectorAll("[data-own-metric]")) part.hidden = !own;
  }
  for (const list of document.querySelectorAll("row-list[most]")) {
    list.querySelector(":scope > button").hidden = list.rows.children.length >= Number(list.getAttribute("most"));
  }
}

function markInvalid() {
  for (const error of document.querySelectorAll("#task-form .field-error[id]")) {
    const input = document.getElementById(error.id.replace(/^error-/, "field-"));
    if (!input?.matches("input, select, textarea")) continue;
    if (error.textContent) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
  showWhatMatters();
}

function begin() {
  if (!form()) return;
  changed ||= form().hasAttribute("data-changed");
  showWhatMatters();
}

document.addEventListener("input", (event) => {
  if (!form()?.contains(event.target)) return;
  changed = true;
  if (event.target.name === "parameters-name") explain(event.target.closest("[data-row]"));
  showWhatMatters();
});
// Enter in an input would press a button that somebody without scripts needs.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && form()?.contains(event.target) && event.target.matches("input:not([type=checkbox])")) event.preventDefault();
});
document.addEventListener("click", (event) => {
  const target = document.querySelector(event.target.closest(".problems a")?.getAttribute("href") || null);
  if (!target) return;
  event.preventDefault();
  target.closest("[hidden]")?.removeAttribute("hidden");
  target.focus();
  target.scrollIntoView({ block: "center" });
  goToPlace(target, event.target.closest("li").textContent);
});

// In the JSON text, the place that a message names.
function goToPlace(area, message) {
  const place = area.matches("#field-document") && message.match(/line (\d+), column (\d+)/);
  if (!place) return;
  const before = area.value.split("\n").slice(0, place[1] - 1).reduce((sum, line) => sum + line.length + 1, 0);
  area.setSelectionRange(before + Number(place[2]) - 1, before + Number(place[2]));
}

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "editor") begin();
  if (event.target.id === "known-flags") document.querySelectorAll(".row-parameter").forEach(explain);
  markInvalid();
});
document.addEventListener("submit", (event) => { if (event.target === form()) changed = false; });
window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
begin();
