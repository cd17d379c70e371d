// Pages: `page_view` when the page loads and whenever a single-page application shows another one.
(function (window, document) {
  "use strict";
  const here = () => location.pathname + location.search;
  let shown, before = document.referrer;
  const show = () => {
    if (shown === here()) return;
    shown = here();
    window.relay("page_view", { page_title: document.title || undefined }, { context: { referrer: before } });
    before = location.href;
    window.dispatchEvent(new Event("relay:page"));
  };
  for (const name of ["pushState", "replaceState"]) {
    const change = history[name];
    history[name] = function () {
      const result = change.apply(history, arguments);
      // The application sets the title after it has set the address.
      setTimeout(show, 0);
      return result;
    };
  }
  addEventListener("popstate", () => setTimeout(show, 0));
  show();
})(window, document);
