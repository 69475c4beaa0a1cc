// As a field changes, the same page is asked for with it, and its drawing takes this one's place.
(() => {
  const main = document.querySelector("#content");
  let asked = 0;
  const draw = async (form) => {
    const mine = ++asked;
    const address = `${location.pathname}?${new URLSearchParams(new FormData(form))}`;
    document.querySelector("#drawn").classList.add("waiting");
    // What is typed while another member is fetched would be lost with its form.
    document.querySelector("#fields").inert = form.id === "choose";
    const answer = await fetch(address);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asked) return;
    document.querySelector("#fields").inert = false;
    const fault = document.querySelector("#fault");
    document.querySelector("#drawn").classList.remove("waiting");
    fault.textContent = answer.ok ? "" : found.querySelector(".sentence")?.textContent ?? "no answer";
    if (!answer.ok) return;
    history.replaceState(null, "", address);
    document.querySelector("#drawn").replaceWith(found.querySelector("#drawn"));
    document.querySelector("#said").replaceWith(found.querySelector("#said"));
    // Another member has other axes and parameters; its form comes with it.
    if (form.id === "choose") document.querySelector("#fields").replaceWith(found.querySelector("#fields"));
  };
  main.addEventListener("change", (event) => {
    const form = event.target.closest("form");
    if (form && form.reportValidity()) draw(form).catch(() => form.submit());
  });
  main.addEventListener("submit", (event) => {
    event.preventDefault();
    draw(event.target).catch(() => event.target.submit());
  });
})();
