// What has every word typed in its name, and a verdict of the kind chosen, stays; the rest is hidden.
(() => {
  const form = document.querySelector(".filter");
  const [typed, kind, told] = ["input", "select", "output"].map((tag) => form.querySelector(tag));
  const all = [...document.querySelectorAll("[data-name]")];
  const parts = all.filter((one) => one.classList.contains("part"));
  const find = () => {
    const words = typed.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of all) {
      const named = words.every((word) => one.dataset.name.includes(word));
      one.hidden = !(named && (!kind.value || one.dataset.kinds.split(" ").includes(kind.value)));
    }
    const left = parts.filter((one) => !one.hidden).length;
    told.textContent = left === parts.length ? "" : `${left} of ${parts.length}`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", find);
  form.hidden = false;
  find();
})();
