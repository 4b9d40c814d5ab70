// Points the AI SDK, with its defaults, at a running backend: `openai("NAME")` asks the Responses API.
//
//     npm install ai@6 @ai-sdk/openai@3 zod
//     node ai_sdk.mjs BASE_URL KEY NAME [NAME_OF_A_MODEL_WITH_TOOLS]
//
// Each line is one call of its documentation; the exit status is 0 when all went well.

import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, apiKey, name, withTools] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey });
const model = openai(name);
const keeper = z.object({ night: z.boolean() });

async function run(label, ask) {
  try {
    console.log(`${label}: ${JSON.stringify(await ask())}`);
  } catch (error) {
    console.log(`${label}: ${error.name}: ${error.message}`);
    process.exitCode = 1;
  }
}

await run("text", async () => {
  const answer = await generateText({ model, system: "Be brief.", prompt: "Who keeps tower 3?" });
  return [answer.finishReason, answer.usage.totalTokens];
});
await run("a conversation", async () => {
  const question = { role: "user", content: "Who keeps tower 3?" };
  const first = await generateText({ model, messages: [question], maxOutputTokens: 8 });
  const next = { role: "user", content: "And 4?" };
  const answer = await generateText({ model, messages: [question, ...first.response.messages, next], maxOutputTokens: 8 });
  return [first.usage.inputTokens, answer.usage.inputTokens];
});
await run("a stream", async () => {
  const answer = streamText({ model, prompt: "Hi", maxOutputTokens: 9 });
  let pieces = 0;
  for await (const _ of answer.textStream) pieces++;
  return [pieces, await answer.finishReason];
});
await run("an object", async () => (await generateObject({ model, prompt: "Which?", schema: keeper })).object);

if (withTools !== undefined) {
  const asked = {
    model: openai(withTools),
    prompt: "Ring",
    tools: { ring: tool({ description: "Rings.", inputSchema: z.object({}), execute: async () => "rung" }) },
  };
  await run("tools", async () => {
    const answer = await generateText({ ...asked, toolChoice: "required", stopWhen: stepCountIs(2) });
    return answer.steps.map((step) => step.toolCalls.length > 0);
  });
  await run("tools, streamed", async () => {
    const kinds = new Set();
    for await (const part of streamText({ ...asked, toolChoice: "required" }).fullStream) kinds.add(part.type);
    return [kinds.has("tool-call"), kinds.has("tool-result")];
  });
}
