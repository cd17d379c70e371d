// Forms: `form_start` when a visitor enters a form for the first time, `form_submit` when it is
// sent. Which form, never what was written into it.
(function (window, document) {
  "use strict";
  const started = new WeakMap();
  const about = (form) => ({
    form_id: form.getAttribute("id") || undefined,
    form_name: form.getAttribute("name") || undefined,
    form_destination: form.getAttribute("action") || undefined,
  });
  document.addEventListener(
    "focusin",
    (event) => {
      const form = event.target.form;
      if (!form || started.has(form)) return;
      started.set(form, performance.now());
      window.relay("form_start", about(form));
    },
    true
  );
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target, properties = about(form);
      if (started.has(form)) properties.fill_ms = Math.round(performance.now() - started.get(form));
      window.relay("form_submit", properties);
    },
    true
  );
})(window, document);
