// A headless Chromium that does what standard input tells it, a JSON object a line, and answers each on standard output.
// What is to be seen there is the test's business.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Chromium's own sandbox does not work for root.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"],
});
const page = await browser.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => {
  // A connection that is cut on purpose is no error of the page's.
  if (message.type() === "error" && !message.text().includes("net::ERR_")) errors.push(message.text());
});

const commands = {
  open: async ({ url }) => {
    const answer = await page.goto(url, { waitUntil: "load" });
    return { status: answer.status(), headers: answer.headers() };
  },
  // Waits until an element's text contains another text, and says when that was.
  wait: async ({ selector, text, timeout }) => {
    await page.waitForFunction(
      (selector, text) => document.querySelector(selector)?.textContent.includes(text),
      { timeout, polling: 20 },
      selector,
      text,
    );
    return { at: Date.now() };
  },
  text: ({ selector }) => page.$eval(selector, (element) => element.textContent.trim()),
  texts: ({ selector }) => page.$$eval(selector, (elements) => elements.map((element) => element.textContent.trim())),
  choose: ({ selector, value }) => page.select(selector, value),
  // Presses a button that loads a page.
  click: async ({ selector }) => {
    await Promise.all([page.waitForNavigation({ waitUntil: "load" }), page.click(selector)]);
  },
  type: async ({ selector, text }) => {
    await page.focus(selector);
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
  },
  // The elements that the Tab key leads to; from the beginning of the page if it was just opened.
  tab: async ({ times }) => {
    const reached = [];
    for (let time = 0; time < times; time++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement.textContent.trim().slice(0, 40)));
    }
    return reached;
  },
  look: async ({ width, height, scheme, path }) => {
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path, fullPage: true });
    return { overflow: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth) };
  },
  axe: async () => {
    await page.evaluate(await (await import("node:fs/promises")).readFile(axe, "utf8"));
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
  },
  errors: () => errors,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ answer: (await commands[command](args)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
