// Verifies and signs messages with mailauth: node dkim_peer.mjs MODULE_FOLDER; one JSON object a line, in and out.
//   {verify: BASE64, keys: {NAME: TEXT}}  ->  {results: ["pass", ...]}
//   {sign: BASE64, domain, selector, algorithm, pem, forms}  ->  {fields: TEXT}
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { dkimVerify } = createRequire(process.argv[2] + "/")("mailauth/lib/dkim/verify");
const { dkimSign } = createRequire(process.argv[2] + "/")("mailauth/lib/dkim/sign");

for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.verify) {
        const resolver = async (name, kind) => {
            if (kind === "TXT" && order.keys[name]) return [[order.keys[name]]];
            throw Object.assign(new Error("none"), { code: "ENOTFOUND" });
        };
        const found = await dkimVerify(Buffer.from(order.verify, "base64"), { resolver });
        console.log(JSON.stringify({ results: found.results.map((it) => it.status.result) }));
    } else {
        const made = await dkimSign(Buffer.from(order.sign, "base64"), {
            canonicalization: order.forms,
            signatureData: [
                {
                    signingDomain: order.domain,
                    selector: order.selector,
                    privateKey: order.pem,
                    algorithm: order.algorithm,
                    canonicalization: order.forms,
                },
            ],
        });
        console.log(JSON.stringify({ fields: made.signatures, errors: made.errors.map(String) }));
    }
}
