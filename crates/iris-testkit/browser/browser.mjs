// A headless Chromium that runs the commands on standard input, one JSON object per line, and writes the result of each to
// standard output.

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
  // A connection that a test cuts is not an error of the page.
  if (message.type() === "error" && !message.text().includes("net::ERR_")) errors.push(message.text());
});

const commands = {
  open: async ({ url }) => {
    const response = await page.goto(url, { waitUntil: "load" });
    return { status: response.status(), headers: response.headers() };
  },
  // Waits until an element contains a text. Returns the time of that.
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
  // Clicks a button that loads a page.
  click: async ({ selector }) => {
    await Promise.all([page.waitForNavigation({ waitUntil: "load" }), page.click(selector)]);
  },
  type: async ({ selector, text }) => {
    await page.focus(selector);
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
  },
  // Returns the texts of the elements that the Tab key reaches, from the beginning of a newly opened page.
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
