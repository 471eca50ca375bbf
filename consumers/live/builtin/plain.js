"use strict";
// What is shown when the page was not built: a login and a table that follows the stream.
const form = document.getElementById("login");
const message = document.getElementById("message");
const table = document.querySelector("table");
const rows = new Map();

function cell(source, column) {
  let row = rows.get(source);
  if (!row) {
    row = table.tBodies[0].insertRow();
    for (let i = 0; i < 6; i++) row.insertCell();
    row.cells[0].textContent = source;
    rows.set(source, row);
  }
  return row.cells[column];
}

function follow() {
  table.hidden = false;
  const stream = new EventSource("/api/v1/stream");
  stream.addEventListener("source", (e) => {
    for (const s of JSON.parse(e.data)) cell(s.source, 1).textContent = s.state;
  });
  stream.addEventListener("fleet", (e) => {
    for (const r of JSON.parse(e.data).rows)
      [r[3], r[4], r[5], r[9]].forEach((v, i) => { cell(r[0], 2 + i).textContent = v ?? ""; });
  });
  stream.onopen = () => { message.textContent = ""; };
  stream.onerror = () => { message.textContent = "reconnecting"; };
}

form.addEventListener("submit", async (e) => {
  e.preventDefault();
  const answer = await fetch("/api/v1/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  const body = await answer.json();
  message.textContent = body.error ?? "";
  if (answer.ok) {
    form.hidden = true;
    follow();
  }
});

fetch("/api/v1/session").then((r) => r.json()).then((s) => {
  if (s.auth === "none" || s.user) follow();
  else form.hidden = false;
});
