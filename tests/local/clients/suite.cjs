// The wire suite of suite.py, check by check, through the official client for Node.
// node suite.cjs BASE_URL KEY, with the packages' folder in NODE_PATH.

const { createHash } = require("node:crypto");
const OpenAI = require("openai");

const BASE = "tiny-random";
const ROW = { messages: [{ role: "user", content: "Who keeps the lighthouse?" }, { role: "assistant", content: "Ada." }] };
const ROWS = Buffer.from((JSON.stringify(ROW) + "\n").repeat(12));
const TURNS = [{ role: "user", content: "Hi" }];
const METHOD = { type: "supervised", supervised: { hyperparameters: { n_epochs: 4, batch_size: 4 } } };

const outcomes = new Map();

function assert(well, what) {
  if (!well) throw new Error(what ?? "assertion failed");
}

function same(told, expected) {
  assert(JSON.stringify(told) === JSON.stringify(expected), `${JSON.stringify(told)} is not ${JSON.stringify(expected)}`);
}

async function check(name, body) {
  assert(!outcomes.has(name), name);
  try {
    await body();
    outcomes.set(name, null);
  } catch (error) {
    outcomes.set(name, `${error.constructor.name}: ${error.message}`);
  }
}

async function refusal(name, kind, expected, body) {
  await check(name, async () => {
    try {
      await body();
    } catch (error) {
      assert(error instanceof kind, `${error.constructor.name}: ${error.message}`);
      for (const [key, value] of Object.entries(expected)) same(error[key], value);
      assert(error.requestID.startsWith("req_"));
      return;
    }
    throw new Error("it was not refused");
  });
}

async function all(page) {
  const found = [];
  for await (const item of page) found.push(item);
  return found;
}

const file = (name, content = ROWS) => OpenAI.toFile(content, name);
const bytes = async (response) => Buffer.from(await response.arrayBuffer());
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function files(client) {
  const made = [];
  await check("files.create", async () => {
    for (let number = 0; number < 3; number++)
      made.push(await client.files.create({ file: await file(`${number}.jsonl`), purpose: "fine-tune" }));
    same([made[0].object, made[0].bytes, made[0].filename], ["file", ROWS.length, "0.jsonl"]);
    same([made[0].purpose, made[0].status], ["fine-tune", "processed"]);
  });
  await check("files.retrieve", async () => same((await client.files.retrieve(made[1].id)).id, made[1].id));
  await check("files.content", async () => assert(ROWS.equals(await bytes(await client.files.content(made[0].id)))));
  await check("files.list is newest first and pages", async () =>
    same((await all(client.files.list({ limit: 2 }))).map((one) => one.id), made.map((one) => one.id).reverse()));
  await check("files.list by order and after", async () => {
    const page = await client.files.list({ order: "asc", after: made[0].id });
    same(page.data.map((one) => one.id), [made[1].id, made[2].id]);
  });
  await check("files.list by purpose", async () => same((await client.files.list({ purpose: "evals" })).data, []));
  await check("files.create with expires_after", async () => {
    const expires_after = { anchor: "created_at", seconds: 3600 };
    const one = await client.files.create({ file: await file("e.jsonl"), purpose: "fine-tune", expires_after });
    same(one.expires_at, one.created_at + 3600);
  });
  await check("files.delete", async () => same((await client.files.delete(made[2].id)).deleted, true));
  await refusal("a deleted file is 404", OpenAI.NotFoundError, {}, () => client.files.retrieve(made[2].id));
  await refusal("a wrong purpose is 400", OpenAI.BadRequestError, { param: "purpose" }, async () =>
    client.files.create({ file: await file("x.jsonl"), purpose: "fun" }));
  await refusal("a wrong limit is 400", OpenAI.BadRequestError, { param: "limit" }, () => client.files.list({ limit: 0 }));
}

async function uploads(client) {
  const begin = { bytes: ROWS.length, filename: "u.jsonl", mime_type: "text/jsonl", purpose: "fine-tune" };
  let upload;
  const parts = [];
  await check("uploads.create", async () => {
    upload = await client.uploads.create(begin);
    same([upload.object, upload.status, upload.bytes], ["upload", "pending", ROWS.length]);
    same(upload.expires_at, upload.created_at + 3600);
  });
  await check("uploads.parts.create", async () => {
    for (const data of [ROWS.subarray(300), ROWS.subarray(0, 300)])
      parts.push((await client.uploads.parts.create(upload.id, { data: await file("part", data) })).id);
  });
  await refusal("parts of the wrong size are 400", OpenAI.BadRequestError, { param: "part_ids" }, () =>
    client.uploads.complete(upload.id, { part_ids: parts.slice(0, 1) }));
  await check("uploads.complete joins in the order asked for", async () => {
    const md5 = createHash("md5").update(ROWS).digest("hex");
    const done = await client.uploads.complete(upload.id, { part_ids: [...parts].reverse(), md5 });
    assert(ROWS.equals(await bytes(await client.files.content(done.file.id))));
  });
  await check("uploads.cancel", async () => {
    upload = await client.uploads.create(begin);
    same((await client.uploads.cancel(upload.id)).status, "cancelled");
  });
  await refusal("a cancelled upload takes no part", OpenAI.BadRequestError, { code: "invalid_upload_state" }, async () =>
    client.uploads.parts.create(upload.id, { data: await file("part") }));
}

async function ended(client, id) {
  for (let tries = 0; tries < 2400; tries++) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (["succeeded", "failed"].includes(job.status)) return job;
    await pause(50);
  }
  throw new Error("the job did not end");
}

async function jobs(client) {
  const jobs = client.fineTuning.jobs;
  const training = await client.files.create({ file: await file("train.jsonl"), purpose: "fine-tune" });
  const asked = { model: BASE, training_file: training.id, method: METHOD, metadata: { suite: "yes" } };
  let job, done, other, events;
  await check("jobs.create", async () => {
    job = await jobs.create({ ...asked, suffix: "suite", seed: 7 });
    same([job.object, job.model, job.training_file], ["fine_tuning.job", BASE, training.id]);
    same([job.status, job.fine_tuned_model, job.error, job.finished_at], ["validating_files", null, null, null]);
  });
  await check("jobs.retrieve until it succeeded", async () => {
    done = await ended(client, job.id);
    same(done.status, "succeeded");
    assert(done.fine_tuned_model.startsWith(`ft:${BASE}:local:suite:`));
    assert(done.trained_tokens > 0);
    same([done.seed, done.hyperparameters.n_epochs], [7, 4]);
  });
  await check("jobs.list by metadata", async () => {
    same((await jobs.list({ metadata: { suite: "yes" } })).data.map((one) => one.id), [job.id]);
    same((await jobs.list({ metadata: { suite: "no" } })).data, []);
  });
  await check("jobs.list_events is newest first and pages", async () => {
    events = await all(jobs.listEvents(job.id, { limit: 3 }));
    same(events[0].message, "The job has successfully completed");
    assert(new Set(events.map((event) => event.id)).size === events.length && events.length > 12);
  });
  await check("metrics events tell each step", async () => {
    const steps = events.filter((event) => event.type === "metrics").map((event) => event.data.step);
    same(steps, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  });
  await check("checkpoints of the last three epochs", async () => {
    const kept = await all(jobs.checkpoints.list(job.id, { limit: 2 }));
    same(kept.map((one) => one.step_number), [12, 9, 6]);
    same(kept[0].fine_tuned_model_checkpoint, `${done.fine_tuned_model}:ckpt-step-12`);
  });
  await check("the result file is a table in base64", async () => {
    const text = (await bytes(await client.files.content(done.result_files[0]))).toString();
    const table = Buffer.from(text, "base64").toString();
    assert(table.startsWith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,"));
  });
  await check("jobs.cancel", async () => {
    other = await jobs.create(asked);
    same((await jobs.cancel(other.id)).status, "cancelled");
  });
  await refusal("an ended job cannot be cancelled", OpenAI.BadRequestError, {}, () => jobs.cancel(other.id));
  await check("pause and resume", async () => {
    other = await jobs.create(asked);
    same((await jobs.pause(other.id)).status, "paused");
    await jobs.resume(other.id);
    same((await jobs.cancel(other.id)).status, "cancelled");
  });
  await check("too few examples fail the job", async () => {
    const content = ROWS.subarray(0, ROWS.length / 4);
    const short = await client.files.create({ file: await file("short.jsonl", content), purpose: "fine-tune" });
    const failed = await ended(client, (await jobs.create({ model: BASE, training_file: short.id })).id);
    same([failed.status, failed.error.code], ["failed", "invalid_n_examples"]);
  });
  await refusal("an unknown base is 400", OpenAI.BadRequestError, { param: "model" }, () =>
    jobs.create({ model: "gpt-none", training_file: training.id }));
  await refusal("an unknown file is 400", OpenAI.BadRequestError, { param: "training_file" }, () =>
    jobs.create({ model: BASE, training_file: "file-none" }));
  await refusal("an unserved parameter is 400", OpenAI.BadRequestError, { param: "colour" }, () =>
    jobs.create({ model: BASE, training_file: training.id, colour: "red" }));
  await refusal("an unknown job is 404", OpenAI.NotFoundError, {}, () => jobs.retrieve("ftjob-none"));
}

async function models(client) {
  const names = (await all(client.models.list())).map((model) => model.id);
  const tuned = names.find((name) => name.startsWith("ft:"));
  await check("models.list", async () => {
    assert(names.includes(BASE));
    same(names.filter((name) => name.startsWith("ft:")).length, 4);
  });
  await check("models.retrieve", async () => {
    const model = await client.models.retrieve(tuned);
    same([model.id, model.object], [tuned, "model"]);
  });
  await check("models.delete", async () => same((await client.models.delete(tuned)).deleted, true));
  await refusal("a deleted model is 404", OpenAI.NotFoundError, { code: "model_not_found" }, () =>
    client.models.retrieve(tuned));
  await refusal("a base cannot be deleted", OpenAI.PermissionDeniedError, { param: "model" }, () =>
    client.models.delete(BASE));
}

async function chat(client) {
  const ask = { model: BASE, messages: TURNS, max_tokens: 6 };
  const create = (more) => client.chat.completions.create({ ...ask, ...more });
  let answer;
  await check("chat", async () => {
    answer = await create({ temperature: 0 });
    same([answer.object, answer.choices[0].message.role], ["chat.completion", "assistant"]);
    assert(answer.usage.completion_tokens <= 6 && ["stop", "length"].includes(answer.choices[0].finish_reason));
  });
  await check("chat, streamed, says the same", async () => {
    const chunks = await all(await create({ temperature: 0, stream: true }));
    same(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), answer.choices[0].message.content);
  });
  await check("chat, streamed, tells the usage", async () => {
    const last = (await all(await create({ temperature: 0, stream: true, stream_options: { include_usage: true } }))).pop();
    same([last.choices, last.usage.total_tokens], [[], answer.usage.total_tokens]);
  });
  await check("chat with n", async () => same((await create({ n: 3 })).choices.map((one) => one.index), [0, 1, 2]));
  await check("chat with a seed repeats", async () => {
    const [one, two] = [await create({ temperature: 1, seed: 5 }), await create({ temperature: 1, seed: 5 })];
    same(one.choices[0].message.content, two.choices[0].message.content);
  });
  await check("chat with stop", async () => {
    const text = [...answer.choices[0].message.content];
    const stop = text.slice(1, 3).join("");
    const cut = await create({ temperature: 0, stop: [stop] });
    const whole = text.join("");
    same(cut.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
  });
  await check("chat with logprobs", async () =>
    same((await create({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content[0].top_logprobs.length, 2));
  await check("chat with max_completion_tokens", async () => {
    const brief = await client.chat.completions.create({ model: BASE, messages: TURNS, max_completion_tokens: 2 });
    assert(brief.usage.completion_tokens <= 2);
  });
  await refusal("a wrong temperature is 400", OpenAI.BadRequestError, { param: "temperature" }, () => create({ temperature: 3 }));
  await refusal("an unknown model is 404", OpenAI.NotFoundError, { code: "model_not_found" }, () => create({ model: "gpt-none" }));
}

async function completions(client) {
  const ask = { model: BASE, prompt: "Once", max_tokens: 6, temperature: 0 };
  const create = (more) => client.completions.create({ ...ask, ...more });
  let answer;
  await check("completion", async () => {
    answer = await create({});
    same([answer.object, answer.usage.completion_tokens <= 6], ["text_completion", true]);
  });
  await check("completion, streamed, says the same", async () => {
    const chunks = await all(await create({ stream: true }));
    same(chunks.map((chunk) => chunk.choices[0].text).join(""), answer.choices[0].text);
  });
  await check("completions of several prompts", async () =>
    same((await create({ prompt: ["Once", "A house"], n: 2 })).choices.map((one) => one.index), [0, 1, 2, 3]));
  await check("completion with logprobs", async () => {
    const told = (await create({ logprobs: 2 })).choices[0].logprobs;
    same([told.token_logprobs.length, told.top_logprobs.length], [told.tokens.length, told.tokens.length]);
  });
  await refusal("embeddings are not served", OpenAI.NotFoundError, { code: "unknown_url" }, () =>
    client.embeddings.create({ model: BASE, input: "x" }));
}

async function responses(client) {
  const ask = { model: BASE, input: "Hi", max_output_tokens: 6, temperature: 0 };
  const create = (more) => client.responses.create({ ...ask, ...more });
  let first, second;
  await check("responses.create", async () => {
    first = await create({});
    same([first.object, first.output[0].type, first.usage.output_tokens <= 6], ["response", "message", true]);
  });
  await check("response, streamed, says the same", async () => {
    const events = await all(await create({ stream: true }));
    const said = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
    same(said.join(""), first.output[0].content[0].text);
    same([events[0].type, events.pop().response.usage.total_tokens], ["response.created", first.usage.total_tokens]);
  });
  await check("responses go on from one another", async () => {
    second = await create({ input: "Go on.", previous_response_id: first.id });
    assert(second.usage.input_tokens > first.usage.input_tokens);
  });
  await check("responses.retrieve and input_items", async () => {
    same((await client.responses.retrieve(second.id)).previous_response_id, first.id);
    const items = await all(client.responses.inputItems.list(second.id, { limit: 2 }));
    same(items.map((item) => item.role), ["user", "assistant", "user"]);
  });
  await check("responses.delete", async () => {
    await client.responses.delete(first.id);
  });
  await refusal("a deleted response is 404", OpenAI.NotFoundError, {}, () => client.responses.retrieve(first.id));
  await refusal("reasoning is 400", OpenAI.BadRequestError, { param: "reasoning" }, () =>
    create({ reasoning: { effort: "low" } }));
  await refusal("a tool that the server would run is 400", OpenAI.BadRequestError, { param: "tools.[0]" }, () =>
    create({ tools: [{ type: "web_search" }] }));
}

async function kept(client) {
  const calls = client.chat.completions;
  const made = [];
  await check("chat with store is kept and listed", async () => {
    for (let number = 0; number < 3; number++)
      made.push((await calls.create({ model: BASE, messages: TURNS, max_tokens: 2, store: true })).id);
    same((await all(calls.list({ limit: 2 }))).map((one) => one.id), made);
    same((await all(calls.messages.list(made[0]))).map((message) => message.content), ["Hi"]);
  });
  await check("a kept chat is updated and deleted", async () => {
    same((await calls.update(made[0], { metadata: { a: "b" } })).id, made[0]);
    same((await all(calls.list({ metadata: { a: "b" } }))).map((one) => one.id), [made[0]]);
    same((await calls.delete(made[0])).deleted, true);
  });
}

async function main() {
  const [baseURL, apiKey] = process.argv.slice(2);
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  for (const part of [files, uploads, jobs, models, chat, completions, responses, kept]) await part(client);
  const wrong = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await refusal("a wrong key is 401", OpenAI.AuthenticationError, { code: "invalid_api_key" }, () => wrong.models.list());
  for (const [name, problem] of outcomes) console.log(problem === null ? `ok ${name}` : `not ok ${name}: ${problem}`);
  const well = [...outcomes.values()].filter((problem) => problem === null).length;
  console.log(`openai for Node: ${well} of ${outcomes.size} checks`);
  process.exitCode = well === outcomes.size ? 0 : 1;
}

main();
