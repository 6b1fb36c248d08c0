// What every page needs: the colour theme, copying, live sockets, messages, and the lost connection.

const theme = document.documentElement;

function applyTheme(name) {
  const dark = name === "dark" || (name !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  theme.dataset.theme = dark ? "dark" : "light";
  document.dispatchEvent(new CustomEvent("theme-changed"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme(localStorage.theme));

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-toggle-theme]")) {
    localStorage.theme = theme.dataset.theme === "dark" ? "light" : "dark";
    applyTheme(localStorage.theme);
  }
  const toast = event.target.closest(".toast");
  if (toast && event.target.closest("button")) toast.remove();
});

// <copy-button from="id of an element">: copies that element's text.
customElements.define("copy-button", class extends HTMLElement {
  connectedCallback() {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const source = document.getElementById(this.getAttribute("from"));
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        // Clipboards need https or localhost: select the text, so that Ctrl-C does it.
        getSelection().selectAllChildren(source);
        button.textContent = "Press Ctrl-C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    this.replaceChildren(button);
  }
});

// A socket that comes back by itself. `url()` is asked at each attempt, so that it can say from
// where to go on. Codes of the 44xx range are refusals, which no other attempt would change.
export class LiveSocket {
  constructor(url, onMessage) {
    this.url = url;
    this.onMessage = onMessage;
    this.delay = 500;
    this.open();
  }

  open() {
    const address = new URL(this.url(), location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.addEventListener("message", (event) => {
      this.delay = 500;
      connection.back(this);
      this.onMessage(JSON.parse(event.data));
    });
    this.socket.addEventListener("close", (event) => {
      if (this.closed) return;
      if (event.code === 4401) { location.reload(); return; }
      if (event.code >= 4400 && event.code < 4500) { connection.back(this); return; }
      connection.lost(this);
      this.timer = setTimeout(() => this.open(), this.delay);
      this.delay = Math.min(this.delay * 2, 10000);
    });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
    connection.back(this);
  }
}

const connection = {
  missing: new Set(),
  lost(who) { this.missing.add(who); this.show(); },
  back(who) { this.missing.delete(who); this.show(); },
  show() {
    const banner = document.getElementById("connection");
    const wasLost = !banner.hidden;
    banner.hidden = this.missing.size === 0;
    if (wasLost && banner.hidden) document.dispatchEvent(new CustomEvent("connection-back"));
  },
};

// <live-updates src="/ws/tasks/17/">: fires `live` on the body whenever the server has news.
// Fragments listen with hx-trigger="live from:body". It also fires after a connection came back.
customElements.define("live-updates", class extends HTMLElement {
  connectedCallback() {
    this.seen = false;
    this.live = new LiveSocket(() => this.getAttribute("src"), (news) => {
      // The first message says what the page was made from a moment ago, unless this is a comeback.
      if (this.seen || this.hasAttribute("eager")) document.body.dispatchEvent(new CustomEvent("live", { detail: news }));
      this.seen = true;
    });
  }
  disconnectedCallback() { this.live.close(); }
});

function toast(text, kind = "error") {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  close.setAttribute("aria-label", "Close");
  box.append(close);
  document.getElementById("toasts").append(box);
  if (kind !== "error") setTimeout(() => box.remove(), 6000);
}
document.addEventListener("toast", (event) => toast(event.detail.text, event.detail.kind));

const fragments = { waiting: false };
document.addEventListener("htmx:sendError", () => connection.lost(fragments));
document.addEventListener("htmx:afterOnLoad", () => connection.back(fragments));
document.addEventListener("htmx:timeout", () => connection.lost(fragments));
document.addEventListener("htmx:responseError", (event) => {
  const answer = event.detail.xhr;
  toast(answer.getResponseHeader("X-Problem") || `The server answered ${answer.status}.`);
});
// Without a socket on the page, ask now and then whether the server is back.
setInterval(() => {
  if (!connection.missing.has(fragments)) return;
  fetch("/account/alive/", { headers: { "HX-Request": "true" } }).then(() => connection.back(fragments), () => {});
}, 3000);
