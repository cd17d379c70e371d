// Outbound links: `click` with `outbound`, `link_url` and `link_domain` for a link to another host.
(function (window, document) {
  "use strict";
  const on = (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link || !/^https?:$/.test(link.protocol) || link.hostname === location.hostname) return;
    window.relay("click", { outbound: true, link_url: link.href, link_domain: link.hostname });
  };
  document.addEventListener("click", on, true);
  // The middle button opens a link, too.
  document.addEventListener("auxclick", (event) => event.button === 1 && on(event), true);
})(window, document);
