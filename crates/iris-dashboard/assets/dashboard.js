// Puts the pieces of the page that the server sends into their places, and shows when the connection is lost.
// The page is complete without it; a reload does the same.

const connection = document.getElementById("connection");
const clock = () => new Date().toISOString().slice(11, 19);
let asOf = clock();
let isLive = false;

const say = (text, isLost) => {
  connection.textContent = text;
  connection.classList.toggle("lost", isLost);
};

// Open details, scroll positions and the keyboard's focus survive the replacement.
const put = (place, html) => {
  const target = document.getElementById(place);
  if (!target) return;
  const open = [...target.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = target.contains(document.activeElement) ? document.activeElement : null;
  const regions = [...target.querySelectorAll(".scroll")];
  const scrolled = regions.map((region) => [region.scrollLeft, region.scrollTop]);
  const region = regions.indexOf(focused);
  const summary = focused?.closest("summary")?.parentElement.id;
  target.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  [...target.querySelectorAll(".scroll")].forEach((element, index) => {
    [element.scrollLeft, element.scrollTop] = scrolled[index] ?? [0, 0];
    if (index === region) element.focus({ preventScroll: true });
  });
  if (summary) document.getElementById(summary)?.querySelector("summary").focus({ preventScroll: true });
};

// A form whose answer is a piece of the page; its values stay in the address.
const asked = (form, place, path) => {
  const fields = () => {
    const names = new Set([...form.querySelectorAll("select, input:not([type=hidden])")].map((field) => field.name));
    return [...new FormData(form)].filter(([name]) => names.has(name));
  };
  const refresh = async () => {
    try {
      const answer = await fetch(`${path}?${new URLSearchParams(fields())}`);
      if (answer.ok) put(place, await answer.text());
    } catch {
      // The event stream shows that the connection is lost.
    }
  };
  const ask = () => {
    const address = new URL(location);
    for (const [name, value] of fields()) {
      address.searchParams.set(name, value);
      for (const hidden of document.querySelectorAll(`input[type=hidden][name=${name}]`)) hidden.value = value;
    }
    history.replaceState(null, "", address);
    refresh();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  form.addEventListener("change", ask);
  let waiting = null;
  return () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      refresh();
    }, 2000);
  };
};

const refreshScatter = asked(document.getElementById("scatter-form"), "scatter", "/fragments/scatter");
const refreshFeedback = asked(document.getElementById("feedback-form"), "feedback", "/fragments/feedback");

const listen = () => {
  const events = new EventSource(`/events?range=${document.querySelector("main").dataset.range}`);
  events.onopen = () => {
    isLive = true;
    say("Live", false);
  };
  events.onmessage = (event) => {
    const { place, html } = JSON.parse(event.data);
    asOf = clock();
    put(place, html);
    if (place === "predictions" || place === "models") refreshScatter();
    if (place === "mispredictions") refreshFeedback();
  };
  events.onerror = () => {
    isLive = false;
    say(`Connection lost. This is the state of ${asOf} UTC; retrying every second.`, true);
    // A browser gives up when the server answers with an error; this page does not.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
};

listen();
setInterval(() => {
  if (isLive) say(`Live, as of ${asOf} UTC`, false);
}, 1000);
