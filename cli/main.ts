/** `kubectl herald COMMAND`: what an administrator asks of Herald. So far: convert. */
import { heraldVersion } from "../config/version.ts";
import { readTextFileIfPresent } from "../sys/files.ts";
import { commandLineArguments, exit, printError, printOut } from "../sys/process.ts";
import { convertCommand } from "./convert/command.ts";

const STANDARD_INPUT = "/dev/stdin";
const USAGE = `kubectl herald ${heraldVersion}\n\nCommands:\n  convert   Turn MetalLB's former ConfigMap into resources (--help for its flags)\n`;

const [command = "", ...rest] = commandLineArguments();
switch (command) {
  case "convert": {
    const { code, output, complaints } = convertCommand(rest, readText);
    printError(complaints);
    printOut(output);
    // A process that ends by itself writes all of its output first.
    if (code !== 0) exit(code);
    break;
  }
  case "":
  case "--help":
    printOut(USAGE);
    break;
  default:
    printError(`kubectl herald: unknown command ${JSON.stringify(command)}\n\n${USAGE}`);
    exit(1);
}

/** @throws Error when there is no such file. */
function readText(path: string): string {
  const text = readTextFileIfPresent(path === "-" ? STANDARD_INPUT : path);
  if (text === undefined) throw new Error(`${path} is not there`);
  return text;
}
