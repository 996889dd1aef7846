#!/usr/bin/env node
import { runProgram } from "./program.js";

// A reader that has gone, such as `head`, is no fault.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });

process.exitCode = await runProgram(process.argv.slice(2));
