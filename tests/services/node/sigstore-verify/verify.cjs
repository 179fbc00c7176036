// Verify a bundle as npm does: node verify.cjs HOME TRUSTED_ROOT BUNDLE IDENTITY ISSUER; exit 0 when it holds.
"use strict";
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [home, root, bundle, identity, issuer] = process.argv.slice(2);
const load = createRequire(`${home}/package.json`);
const { TrustedRoot } = load("@sigstore/protobuf-specs");
const { bundleFromJSON } = load("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = load("@sigstore/verify");

const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(read(root))), {});
try {
  verifier.verify(toSignedEntity(bundleFromJSON(read(bundle))), {
    subjectAlternativeName: identity,
    extensions: { issuer },
  });
} catch (error) {
  console.error(`${error.name}: ${error.code ?? ""} ${error.message}`);
  process.exit(1);
}
