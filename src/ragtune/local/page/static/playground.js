// The playground: asks through /v1 like any client, base and tuned model side by side, word by word.
"use strict";

const find = (id) => document.getElementById(id);
const [model, beside, system, temperature, length, question] = ["model", "beside", "system", "temperature", "length", "question"].map(find);
const [turns, said, code, send, stop, save, clear] = ["turns", "said", "code", "send", "stop", "save", "clear"].map(find);
let dialogue = [];
let asking = null;

function mode() {
  return document.querySelector("input[name=mode]:checked").value;
}

function models() {
  const base = model.selectedOptions[0]?.dataset.base;
  return base && beside.checked ? [base, model.value] : [model.value];
}

function body(name, position, asked, before) {
  const shared = { model: name, temperature: Number(temperature.value), max_tokens: Number(length.value) };
  if (mode() === "completion") return { ...shared, prompt: asked };
  const messages = system.value.trim() ? [{ role: "system", content: system.value }] : [];
  return { ...shared, messages: [...messages, ...talk(before, position), { role: "user", content: asked }] };
}

function talk(before, position) {
  return before.flatMap((turn) => [
    { role: "user", content: turn.question },
    { role: "assistant", content: turn.answers[position] ?? "" },
  ]);
}

// JSON's strings are Python's too, but for line separators, which read better escaped.
function python(value) {
  const text = JSON.stringify(value, null, 4).replace(/[\u2028\u2029]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16)}`);
  return text.replaceAll("\n", "\n    ");
}

function showCode() {
  const names = models();
  // Before the next question is written, the last one is shown.
  const again = !question.value && dialogue.length > 0;
  const before = again ? dialogue.slice(0, -1) : dialogue;
  const asked = body(names.at(-1), names.length - 1, again ? dialogue.at(-1).question : question.value, before);
  const route = mode() === "chat" ? "chat.completions" : "completions";
  const answer = mode() === "chat" ? "message.content" : "text";
  const lines = Object.entries(asked).map(([name, value]) => `    ${name}=${python(value)},`);
  code.textContent = [
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${code.dataset.address}/v1")  # the key comes from OPENAI_API_KEY`,
    `reply = client.${route}.create(`,
    ...lines,
    ")",
    `print(reply.choices[0].${answer})`,
  ].join("\n");
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

function showTurn(asked, names) {
  const turn = element("article", "turn");
  turn.append(element("p", "asked", asked));
  const answers = element("div", "answers");
  const places = names.map((name, position) => {
    const place = element("section", position === names.length - 1 && names.length > 1 ? "answer tuned" : "answer");
    place.append(element("h3", "", name), element("p"), element("div", "note"));
    answers.append(place);
    return place;
  });
  turn.append(answers);
  turns.append(turn);
  return places;
}

function button(words, label, press) {
  const made = element("button", "", words);
  made.type = "button";
  made.ariaLabel = label;
  made.addEventListener("click", press);
  return made;
}

// Thumbs and a correction under an answer; of a longer talk the turns before the question are kept with it.
function showThumbs(place, asked, prompt, answer, history) {
  if (mode() !== "chat" || !answer.trim()) return;
  const name = place.children[0].textContent;
  const row = element("div", "thumbs actions");
  const note = element("span", "status");
  note.setAttribute("role", "status");
  const say = async (verdict) => {
    try {
      const reply = await fetch("/playground/feedback", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: name, question: asked, answer, system: prompt, history, by: find("by").value, ...verdict }),
      });
      if (!reply.ok) throw new Error(await refusal(reply));
      note.textContent = "kept";
      return true;
    } catch (error) {
      note.textContent = error.message;
      return false;
    }
  };
  const thumbs = [[1, "Good", "👍"], [-1, "Bad", "👎"]].map(([verdict, words, sign]) =>
    button(sign, `${words}: ${name}`, async (event) => {
      if (!(await say({ verdict }))) return;
      for (const one of thumbs) one.ariaPressed = String(one === event.target);
    }));
  const correct = button("Correct", `Correct: ${name}`, () => {
    const form = element("form", "correct");
    const text = element("textarea");
    [text.value, text.rows, text.maxLength, text.ariaLabel] = [answer, 2, 100000, "Right would have been"];
    const keep = element("button", "main", "Keep correction");
    form.append(text, keep);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (text.value.trim() && (await say({ correction: text.value }))) {
        form.remove();
        correct.disabled = false;
      }
    });
    row.append(form);
    correct.disabled = true;
    text.focus();
  });
  row.append(...thumbs, correct, note);
  place.append(row);
}

// Server-sent events: `data: {...}` lines, blocks apart by a blank line, the last one says [DONE].
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

// The dialogue stays on the page: the reader logs in beside it and goes on.
async function refusal(reply) {
  if (reply.status === 401) return "The session has ended. Log in again in another tab, then go on here.";
  return (await reply.json()).error.message;
}

async function ask(name, position, place, signal) {
  const [, text, note] = place.children;
  const route = mode() === "chat" ? "/v1/chat/completions" : "/v1/completions";
  const begin = performance.now();
  let tokens = null;
  let reason = null;
  try {
    const reply = await fetch(route, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body(name, position, question.value, dialogue), stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    if (!reply.ok) throw new Error(await refusal(reply));
    for await (const event of events(reply)) {
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices[0];
      text.textContent += choice?.delta?.content ?? choice?.text ?? "";
      reason = choice?.finish_reason ?? reason;
      tokens = event.usage?.completion_tokens ?? tokens;
    }
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    note.textContent = `${tokens ?? "?"} tokens in ${seconds} s${reason === "length" ? "; cut at the most tokens" : ""}`;
  } catch (error) {
    note.textContent = error.name === "AbortError" ? "stopped" : error.message;
    if (error.name !== "AbortError") note.classList.add("bad");
  }
  return text.textContent;
}

// An answer that was stopped or broke off is no answer to judge.
function complete(place) {
  const note = place.querySelector(".note");
  return note.textContent !== "stopped" && !note.classList.contains("bad");
}

async function askAll() {
  const names = models();
  const asked = question.value;
  if (!asked.trim() || asking) return;
  if (dialogue.length && dialogue[0].answers.length !== names.length) startAnew();
  asking = new AbortController();
  [send.disabled, stop.hidden, said.textContent] = [true, false, ""];
  const places = showTurn(asked, names);
  places[0].scrollIntoView({ block: "nearest" });
  const answers = await Promise.all(names.map((name, n) => ask(name, n, places[n], asking.signal)));
  asking = null;
  const prompt = system.value.trim() && system.value;
  places.forEach((place, n) => { if (complete(place)) showThumbs(place, asked, prompt, answers[n], talk(dialogue, n)); });
  dialogue.push({ question: asked, answers });
  [send.disabled, stop.hidden, save.disabled, clear.disabled] = [false, true, false, false];
  if (mode() === "chat") question.value = "";
  question.focus();
  showCode();
}

function startAnew() {
  dialogue = [];
  turns.replaceChildren();
  [save.disabled, clear.disabled, said.textContent] = [true, true, ""];
  showCode();
}

async function keep() {
  try {
    await store();
  } catch (error) {
    said.textContent = error.message;
  }
}

async function store() {
  const reply = await fetch("/playground/dialogues", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      mode: mode(),
      models: models(),
      system: system.value,
      temperature: Number(temperature.value),
      max_tokens: Number(length.value),
      turns: dialogue,
    }),
  });
  if (!reply.ok) throw new Error(await refusal(reply));
  location.assign((await reply.json()).path);
}

function reopen(kept) {
  document.querySelector(`input[name=mode][value=${kept.mode}]`).checked = true;
  const wanted = kept.models.at(-1);
  if ([...model.options].some((option) => option.value === wanted)) model.value = wanted;
  else said.textContent = `${wanted} is not on this server any more.`;
  beside.checked = kept.models.length > 1;
  [system.value, temperature.value, length.value] = [kept.system, kept.temperature, kept.max_tokens];
  dialogue = kept.turns;
  for (const [number, turn] of dialogue.entries()) {
    showTurn(turn.question, kept.models).forEach((place, n) => {
      place.children[1].textContent = turn.answers[n] ?? "";
      showThumbs(place, turn.question, kept.system.trim() && kept.system, turn.answers[n] ?? "", talk(dialogue.slice(0, number), n));
    });
  }
  clear.disabled = dialogue.length === 0;
}

function showMode() {
  const chat = mode() === "chat";
  system.disabled = !chat;
  find("question-label").textContent = chat ? "Question" : "Text to go on with";
}

find("ask").addEventListener("submit", (event) => { event.preventDefault(); askAll(); });
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); askAll(); }
});
document.addEventListener("input", () => { showMode(); showCode(); });
model.addEventListener("change", startAnew);
for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", startAnew);
stop.addEventListener("click", () => asking?.abort());
save.addEventListener("click", keep);
clear.addEventListener("click", startAnew);
find("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(code.textContent);
  find("copy").textContent = "Copied";
});
if (find("dialogue")) reopen(JSON.parse(find("dialogue").textContent));
find("by").value = localStorage.getItem("by") ?? "";
find("by").addEventListener("change", () => localStorage.setItem("by", find("by").value));
showMode();
showCode();
