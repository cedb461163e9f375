"use strict";
for (const button of document.querySelectorAll("[data-set-lang]")) {
  button.addEventListener("click", () => {
    const lang = button.dataset.setLang;
    document.documentElement.dataset.lang = lang;
    document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
    for (const b of document.querySelectorAll("[data-set-lang]")) b.setAttribute("aria-pressed", String(b === button));
  });
}
