/**
 * Keeps TCP connections to a Service open and uses each twice a second (HTTP with keep-alive). Prints `["open", number]`
 * when all stand and `["closed", number, code]` for each that ends before it is told to.
 * Usage: node connections-program.ts ADDRESS PORT COUNT
 */
import { connect } from "node:net";
import type { ConnectionEvent } from "./connections.ts";

const REQUEST_INTERVAL_MS = 500;
/** A connection that got no answer for so long is as good as closed. */
const SILENCE_MS = 10_000;

const [address = "", port, count] = process.argv.slice(2);
const print = (event: ConnectionEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
let open = 0;
let ending = false;

for (let number = 1; number <= Number(count); number++) {
  const connection = connect({ host: address, port: Number(port), noDelay: true });
  let code = "closed by the other side";
  const request = (): void => void connection.write(`GET / HTTP/1.1\r\nHost: ${address}\r\n\r\n`);
  let timer: NodeJS.Timeout | undefined;
  connection.on("connect", () => {
    open += 1;
    request();
    timer = setInterval(request, REQUEST_INTERVAL_MS);
    if (open === Number(count)) print(["open", open]);
  });
  connection.on("data", () => undefined);
  connection.setTimeout(SILENCE_MS, () => connection.destroy(new Error("no answer for 10 s")));
  connection.on("error", (error: NodeJS.ErrnoException) => (code = error.code ?? error.message));
  connection.on("close", () => {
    clearInterval(timer);
    if (!ending) print(["closed", number, code]);
  });
}
process.stdin.resume().on("end", () => {
  ending = true;
  process.exit(0);
});
