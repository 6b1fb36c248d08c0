// Before the first paint, so that a dark page does not flash white. A choice made with the button
// wins over the system's.
document.documentElement.dataset.theme =
  localStorage.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
