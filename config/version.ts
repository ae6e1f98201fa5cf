import packageJson from "../package.json" with { type: "json" };

/** Herald's version, semver, from its one place: package.json. */
export const heraldVersion: string = packageJson.version;
