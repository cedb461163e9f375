"use strict";
(function () {
  // Changes are sent one after the other, each with what its form said when it was made; the builder is then shown anew.
  const waiting = [];
  let busy = false;

  function said(form, submitter) {
    const values = {};
    for (const [name, value] of new FormData(form, submitter)) (values[name] = values[name] || []).push(value);
    return values;
  }

  function send(form, submitter) {
    const item = { id: form.id, kind: form.dataset.kind, url: form.action, values: said(form, submitter), acts: Boolean(submitter) };
    const same = waiting.findIndex((one) => one.id && one.id === item.id && !one.acts);
    if (same >= 0 && !item.acts) waiting.splice(same, 1, item);
    else waiting.push(item);
    next();
  }

  async function next() {
    if (busy || !waiting.length) return;
    busy = true;
    const item = waiting.shift();
    // What this window changed itself just before is no change from elsewhere.
    const live = item.id && document.getElementById(item.id);
    const seen = live && live.dataset.kind === item.kind && live.querySelector("input[name=seen]");
    if (seen) item.values.seen = [seen.value];
    try {
      await htmx.ajax("POST", item.url, { target: "#builder", swap: "outerHTML", values: item.values });
    } finally {
      busy = false;
      next();
    }
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest("#builder form.block");
    if (form && window.htmx) send(form, null);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("#builder form");
    if (!form || !window.htmx) return;
    event.preventDefault();
    send(form, event.submitter);
  });

  // What somebody types, or opened, while a count is under way is theirs: a swap keeps it, and the cursor where it was.
  let typing = null;
  let opened = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "builder") return;
    const at = document.activeElement;
    const text = at && at.matches("input:not([type=checkbox]), textarea");
    typing = at && at.id ? { id: at.id, value: at.value, was: at.defaultValue, text, start: text && at.type !== "date" ? at.selectionStart : null } : null;
    opened = Array.from(document.querySelectorAll("#builder details[open] > summary[id]"), (s) => s.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    const builder = document.getElementById("builder");
    if (!builder) return;
    for (const id of opened) {
      const again = document.getElementById(id);
      if (again) again.parentElement.open = true;
    }
    const asked = waiting.length ? null : document.getElementById(builder.dataset.focus);
    const wanted = asked || (typing && document.getElementById(typing.id));
    if (!wanted) return;
    const edit = asked && asked.matches("form.block") && asked.querySelector("details.edit");
    if (edit) edit.open = true;
    wanted.focus({ preventScroll: !asked });
    if (!asked && typing.text && typing.value !== typing.was && wanted.value !== typing.value) {
      wanted.value = typing.value;
      if (typing.start !== null) wanted.setSelectionRange(typing.start, typing.start);
    }
  });

  // Names that occur, as somebody types one.
  let asking = 0;
  document.addEventListener("input", (event) => {
    const from = event.target.dataset && event.target.dataset.names;
    if (!from) return;
    clearTimeout(asking);
    asking = setTimeout(async () => {
      const answer = await fetch(from + "&q=" + encodeURIComponent(event.target.value), { headers: { "HX-Request": "true" } });
      const list = document.getElementById(event.target.getAttribute("list"));
      if (answer.ok && list) list.innerHTML = await answer.text();
    }, 150);
  });
})();
