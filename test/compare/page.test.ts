/** The page, read by a parser as browsers read it: what a text holds stays text. */
import { createHash } from "node:crypto";
import { parse, type DefaultTreeAdapterTypes } from "parse5";
import { expect, test } from "vitest";
import { Comparison, type ComparedToken, type ComparisonData } from "#lib/index.js";

type Node = DefaultTreeAdapterTypes.Node;
type Element = DefaultTreeAdapterTypes.Element;

const HOSTILE = `</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"'><svg onload=alert(1)>&lt;b>\u202e\u0000\u001b\ud800`;

const measure = (logprob: number, kl: number, top1Text: string) => ({ logprob, kl, top1: 3, top1Text });
const token = (text: string, position: number): ComparedToken => ({
  id: 3,
  text,
  position,
  perVariant: [measure(-1, 0, text), measure(-2.5, 0.2, text)],
});

function comparison(text: string, tokens = 3): Comparison {
  const summaryOf = {
    meanKl: 0.1,
    logprob: -3,
    meanLogprobDifference: -0.5,
    top1Agreement: 1,
    perplexity: 2,
  };
  const estimate = (value: number) => ({ value, interval: [value - 0.1, value + 0.1] as [number, number] });
  const data: ComparisonData = {
    model: { name: text, precision: "int8", kvCache: "bfloat16", instructionSet: "reference" },
    reference: 0,
    variants: [
      { label: text, adapters: [] },
      {
        label: `b ${text}`,
        adapters: [{ name: text, scale: 1, generation: 1, precision: "bfloat16", contentHash: "00" }],
      },
    ],
    prompts: [
      {
        prompt: text,
        promptTokens: [1],
        generated: true,
        tokens: Array.from({ length: tokens }, (_, i) => token(text, i + 1)),
        perVariant: [summaryOf, summaryOf],
        generations: [
          { text, tokens: [3], finishReason: "stop" },
          { text, tokens: [3], finishReason: "length" },
        ],
      },
    ],
    summary: [text, `b ${text}`].map((label) => ({
      label,
      meanKl: estimate(0.1),
      meanLogprobDifference: estimate(-0.5),
      top1Agreement: estimate(0.9),
      perplexity: 2,
      perplexityRatio: estimate(1.5),
    })),
    bootstrap: { method: "BCa", confidence: 0.95, resamples: 2000, seed: 0 },
  };
  return new Comparison(data);
}

function elements(node: Node, found: Element[] = []): Element[] {
  if ("tagName" in node) found.push(node);
  if ("childNodes" in node) for (const child of node.childNodes) elements(child, found);
  return found;
}

const textOf = (node: Node): string =>
  "value" in node ? node.value : "childNodes" in node ? node.childNodes.map(textOf).join("") : "";

const read = (html: string): { all: Element[]; errors: string[] } => {
  const errors: string[] = [];
  return { all: elements(parse(html, { onParseError: ({ code }) => errors.push(code) })), errors };
};

test("hostile texts make no element, no attribute and no parse error", () => {
  const [hostile, harmless] = [read(comparison(HOSTILE).toHtml()), read(comparison("harmless").toHtml())];
  expect(hostile.errors).toEqual([]);
  const shape = ({ all }: { all: Element[] }): string[] =>
    all.map(({ tagName, attrs }) => `${tagName} ${attrs.map(({ name }) => name).join(" ")}`);
  expect(shape(hostile)).toEqual(shape(harmless));
  expect(
    shape(hostile).filter((one) => /^(script|img|iframe|object|link|base|form)\b| on/.test(one)),
  ).toEqual([]);
  // And it is there, to be read.
  const prompt = hostile.all.find(({ tagName }) => tagName === "pre")!;
  expect(textOf(prompt)).toContain("<script>alert(1)</script><img src=x onerror=alert(1)>\"'>");
  expect(textOf(prompt)).toContain("⟨U+202E⟩␀␛⟨U+D800⟩");
});

test("the policy lets the page's own style apply and nothing else", () => {
  const html = comparison("text").toHtml();
  const { all } = read(html);
  const policy = all.find(({ attrs }) => attrs.some(({ value }) => value === "Content-Security-Policy"))!;
  const content = policy.attrs.find(({ name }) => name === "content")!.value;
  const style = textOf(all.find(({ tagName }) => tagName === "style")!);
  const hash = createHash("sha256").update(style).digest("base64");
  expect(content).toBe(`default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`);
  expect(all.filter(({ tagName }) => tagName === "style")).toHaveLength(1);
  // The policy would drop them.
  expect(all.flatMap(({ attrs }) => attrs).filter(({ name }) => name === "style")).toEqual([]);
  expect(html).not.toMatch(/(src|href)=|url\(|@import|https?:/);
});

test("it can be read without colours: labelled plots, tables, texts of tokens", () => {
  const { all } = read(comparison("text", 700).toHtml());
  const plots = all.filter(({ tagName }) => tagName === "svg");
  expect(plots).toHaveLength(5);
  for (const { attrs } of plots) {
    expect(attrs.find(({ name }) => name === "role")!.value).toBe("img");
    expect(attrs.find(({ name }) => name === "aria-label")!.value).not.toBe("");
  }
  for (const { attrs } of all.filter(({ tagName }) => ["polyline", "circle", "line"].includes(tagName)))
    for (const { name, value } of attrs)
      if (/^(points|[xy][12]?|c[xy])$/.test(name)) expect(value).toMatch(/^[\d., -]+$/);
  const strips = all.filter(({ attrs }) => attrs.some(({ value }) => value === "strip"));
  expect(strips).toHaveLength(2);
  expect(strips[0]!.childNodes).toHaveLength(700);
  expect(all.filter(({ tagName }) => tagName === "tr").length).toBeGreaterThan(700);
});

function luminance(colour: string): number {
  const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const [r, g, b] = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
const contrast = (a: string, b: string): number => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
};

test("contrasts: 4.5 to 1 behind text, 3 to 1 for lines (WCAG 2.2), in light and dark", () => {
  const style = textOf(read(comparison("text").toHtml()).all.find(({ tagName }) => tagName === "style")!);
  const themes = style.split("@media (prefers-color-scheme:dark)");
  expect(themes).toHaveLength(2);
  for (const theme of themes) {
    const colour = (name: string): string => new RegExp(`--${name}:(#[0-9a-f]{6})`).exec(theme)![1]!;
    const tints = [...theme.matchAll(/background:(#[0-9a-f]{6})\}/g)].map(([, tint]) => tint!);
    const lines = [...theme.matchAll(/stroke:(#[0-9a-f]{6})/g)].map(([, line]) => line!);
    expect(tints).toHaveLength(16);
    expect(lines).toHaveLength(6);
    expect(contrast(colour("muted"), colour("background"))).toBeGreaterThan(4.5);
    for (const tint of tints) expect(contrast(colour("text"), tint)).toBeGreaterThan(4.5);
    for (const line of lines) expect(contrast(line, colour("background"))).toBeGreaterThan(3);
  }
});
