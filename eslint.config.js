import tseslint from "typescript-eslint";

/** TypeScript layers, lowest first: a folder may import from itself and from those before it. */
const LAYERS = [
  ["errors"],
  ["schema"],
  ["patterns"],
  ["files"],
  ["native"],
  ["templates"],
  ["tokenizer"],
  ["adapters"],
  ["client"],
  ["generate"],
  ["compare"],
  ["model"],
  ["training", "collaboration"],
  ["server"],
  ["cli"],
];
// adapters/ reads files and hands the engine their tensors; it knows no request and no text, and so lies below client/, whose requests
// lease its versions. model/ loads what client/ is put together from; its sources/ part depends on errors/, schema/ and files/ alone.

const higherThan = (group, level, name) =>
  LAYERS.slice(level + 1)
    .flat()
    .concat(group.filter((other) => other !== name));

const layerRules = LAYERS.flatMap((group, level) =>
  group
    .filter((name) => higherThan(group, level, name).length > 0)
    .map((name) => ({
      files: [`lib/${name}/**/*.ts`],
      rules: {
        "no-restricted-imports": [
          "error",
          {
            patterns: [
              {
                group: higherThan(group, level, name).flatMap((higher) => [
                  `**/${higher}/*`,
                  `**/${higher}/**`,
                ]),
                message: `lib/${name} may not import from a higher layer.`,
              },
            ],
          },
        ],
      },
    })),
);

/** Benchmarks and build scripts share scripts/lib/ and know nothing else of each other. */
const toolRule = (files, group, message) => ({
  files,
  rules: { "no-restricted-imports": ["error", { patterns: [{ regex: group, message }] }] },
});
const toolRules = [
  toolRule(["scripts/**/*.mjs"], "/bench/", "scripts/ may not import from bench/: move it to scripts/lib."),
  toolRule(
    ["bench/**/*.mjs"],
    "/scripts/(?!lib/)",
    "bench/ may import from scripts/lib alone: move it there.",
  ),
  toolRule(["scripts/lib/**/*.mjs"], "^\\.\\./", "scripts/lib may import from itself alone."),
];

export default tseslint.config(
  { ignores: ["dist/", "build/", "build-native/", "node_modules/", "docs/api/", "coverage/", "**/.venv/"] },
  {
    files: ["lib/**/*.ts"],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Options are interfaces that only extend the types of their sets: their names show in editors and docs.
      "@typescript-eslint/no-empty-object-type": ["error", { allowInterfaces: "with-single-extends" }],
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      "@typescript-eslint/require-await": "off",
      "no-console": "error",
      eqeqeq: "error",
    },
  },
  {
    files: ["test/**/*.ts", "bench/**/*.ts", "examples/**/*.ts"],
    extends: [...tseslint.configs.recommended],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
  ...layerRules,
  ...toolRules,
);
