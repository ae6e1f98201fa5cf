/** What a release is refused for. */

export interface ReleaseState {
  readonly version: string;
  /** Text of CHANGELOG.md. */
  readonly changelog: string;
  /** Lines of `git status --porcelain`. */
  readonly changedFiles: readonly string[];
}

/** One sentence for each reason, none when the release may be made. */
export function releaseRefusals({ version, changelog, changedFiles }: ReleaseState): string[] {
  const refusals: string[] = [];
  if (changedFiles.length > 0) refusals.push(`${changedFiles.length} files differ from the commit that is checked out: commit or remove them, the first is "${changedFiles[0]}"`);
  const headings = changelog.split("\n").filter((line) => line.startsWith("## "));
  const isTold = headings.some((line) => line === `## ${version}` || line.startsWith(`## ${version} `));
  if (!isTold) refusals.push(`CHANGELOG.md has no heading "## ${version}": give what is under "## Unreleased" the version's name`);
  return refusals;
}
