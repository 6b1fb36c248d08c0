// <visible-ticks seconds="5">: fires `tick` on the body every so often, while somebody can see the
// page. Fragments listen with hx-trigger="tick from:body".
customElements.define("visible-ticks", class extends HTMLElement {
  connectedCallback() {
    this.timer = setInterval(() => {
      if (!document.hidden) document.body.dispatchEvent(new CustomEvent("tick"));
    }, Number(this.getAttribute("seconds")) * 1000);
  }
  disconnectedCallback() { clearInterval(this.timer); }
});
