// Scroll depth: `scroll` with `scroll_depth` 25, 50, 75, 90 and 100, each once a page, and only
// after the visitor did something: what a browser scrolls by itself nobody has read.
(function (window, document) {
  "use strict";
  let touched, reached, start;
  const reset = () => {
    touched = false;
    reached = 0;
    start = performance.now();
  };
  const measure = () => {
    if (!touched) return;
    const page = document.documentElement;
    const depth = Math.round(((window.scrollY + window.innerHeight) / page.scrollHeight) * 100);
    for (const step of [25, 50, 75, 90, 100]) {
      if (depth >= step && reached < step) {
        reached = step;
        window.relay("scroll", { scroll_depth: step, elapsed_ms: Math.round(performance.now() - start) });
      }
    }
  };
  reset();
  for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
    addEventListener(kind, () => (touched = true), { passive: true, capture: true });
  }
  addEventListener("scroll", measure, { passive: true });
  addEventListener("relay:page", reset);
})(window, document);
