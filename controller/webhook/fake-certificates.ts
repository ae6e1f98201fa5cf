/** Certificates made in this process, for tests: real ones, without a child process for each. */
import { makeCertificate } from "../../kube/certificate-maker.ts";
import type { CertificateMaker } from "./certificate-keeper.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Counts what it made. */
export class QuickMaker implements CertificateMaker {
  authorities = 0;
  servers = 0;

  readonly makeAuthority: CertificateMaker["makeAuthority"] = ({ commonName, wallMs, days }) => {
    this.authorities++;
    return makeCertificate({ subject: { commonName, organization: "metallb" }, names: [], key: "ecdsa", role: "authority", notBeforeMs: wallMs, notAfterMs: wallMs + days * DAY_MS });
  };

  readonly issueServerCertificate: CertificateMaker["issueServerCertificate"] = ({ names, wallMs, days, authority }) => {
    this.servers++;
    const issuer = authority === undefined ? {} : { issuer: authority };
    return makeCertificate({ subject: { commonName: names[0] }, names, key: "ecdsa", role: "server", notBeforeMs: wallMs, notAfterMs: wallMs + days * DAY_MS, ...issuer });
  };
}
