// Replaces the pieces of the page that the server sends, and shows when the connection is lost. Addresses are relative to the
// page's, so that a proxy may serve it below any path.
// The page is complete without this script; a reload has the same effect.

const connection = document.getElementById("connection");
const clock = () => new Date().toISOString().slice(11, 19);
let asOf = clock();
let isLive = false;

const show = (text, isLost) => {
  connection.textContent = text;
  connection.classList.toggle("lost", isLost);
};

// Replaces a piece. Open details, scroll positions and the keyboard focus are kept.
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

// Requests a piece of the page when a form changes, and keeps the values of the form in the address.
const bind = (form, place, path) => {
  const fields = () => {
    const names = new Set([...form.querySelectorAll("select, input:not([type=hidden])")].map((field) => field.name));
    return [...new FormData(form)].filter(([name]) => names.has(name));
  };
  const refresh = async () => {
    try {
      const response = await fetch(`${path}?${new URLSearchParams(fields())}`);
      if (response.ok) put(place, await response.text());
    } catch {
      // The event stream shows that the connection is lost.
    }
  };
  const submit = () => {
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
    submit();
  });
  form.addEventListener("change", submit);
  let waiting = null;
  return () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      refresh();
    }, 2000);
  };
};

const refreshScatter = bind(document.getElementById("scatter-form"), "scatter", "fragments/scatter");
const refreshFeedback = bind(document.getElementById("feedback-form"), "feedback", "fragments/feedback");

const listen = () => {
  const events = new EventSource(`events?range=${document.querySelector("main").dataset.range}`);
  events.onopen = () => {
    isLive = true;
    show("Live", false);
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
    show(`Connection lost. This is the state of ${asOf} UTC; retrying every second.`, true);
    // A browser does not reconnect after an error response; this page does.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
};

listen();
setInterval(() => {
  if (isLive) show(`Live, as of ${asOf} UTC`, false);
}, 1000);
