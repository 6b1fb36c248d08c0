// One dialog asks before any container is stopped. It stands outside the list, which comes anew
// every few seconds.

const dialog = document.getElementById("confirm-stop");
const form = dialog.querySelector("[data-stopping]");

document.addEventListener("click", ({ target }) => {
  const asking = target.closest("[data-stop]");
  if (!asking) return;
  form.action = asking.dataset.address;
  dialog.querySelector("[data-name]").textContent = asking.dataset.stop;
  dialog.querySelector("[data-serving]").hidden = !asking.dataset.serves;
  dialog.showModal();
});

form.addEventListener("submit", () => {
  const button = form.querySelector("button");
  button.disabled = true;
  button.textContent = "Stopping, up to 10 s …";
});
