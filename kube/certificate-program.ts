/**
 * The child process of `certificates.ts`: a CertificateRequest as JSON on standard input, an IssuedCertificate on standard
 * output. What goes wrong is a message on standard error and the exit code 1.
 */
import { readStandardInput } from "../sys/child-process.ts";
import { exit, printError, printOut } from "../sys/process.ts";
import { makeCertificate } from "./certificate-maker.ts";
import type { CertificateRequest } from "./certificates.ts";

try {
  // Its only caller is certificates.ts, which writes a request of this shape.
  const request = JSON.parse(await readStandardInput()) as CertificateRequest;
  printOut(JSON.stringify(await makeCertificate(request)));
} catch (error) {
  printError(error instanceof Error ? error.message : String(error));
  exit(1);
}
