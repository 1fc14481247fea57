// A certified OpenID provider for tests: `node provider.mjs REDIRECT_URI` prints its issuer. Whoever signs in as NAME is NAME@northwind.example.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [redirectUri] = process.argv.slice(2);
let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "tallyboard", client_secret: "between the two of us", redirect_uris: [redirectUri] }],
    claims: { email: ["email", "email_verified"], openid: ["sub", "groups"] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({ sub, email: `${sub}@northwind.example`, email_verified: sub !== "eve", groups: sub === "alice" ? ["admins"] : [] }),
    }),
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
  });
  answer = provider.callback();
  console.log(issuer);
});
