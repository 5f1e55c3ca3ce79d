// Starts Swagger UI. A file of its own, because the page's Content-Security-Policy refuses inline scripts.
"use strict";

// Swagger UI fills each parameter in with its example. Sent all together, the examples of a
// list's filters find nothing, and a repeated Idempotency-Key replays an old answer. So
// what is optional starts empty, and its example stands in the description.
function startOptionalParametersEmpty(parameter) {
  const example = parameter.get("example") ?? parameter.getIn(["schema", "example"]);
  if (parameter.get("required") || example === undefined) {
    return parameter;
  }
  const text = typeof example === "object" ? JSON.stringify(example) : String(example);
  return parameter
    .delete("example")
    .deleteIn(["schema", "example"])
    .update("description", "", (description) => `${description}\n\nExample: \`${text}\``);
}

const OptionalParametersStartEmpty = () => ({
  statePlugins: {
    spec: {
      wrapSelectors: {
        parameterWithMetaByIdentity:
          (original) =>
          (_state, ...rest) =>
            startOptionalParametersEmpty(original(...rest)),
      },
    },
  },
});

const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  plugins: [OptionalParametersStartEmpty],
  deepLinking: true,
  displayOperationId: true,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  // A desk's computer is shared: a key that was typed in is forgotten when the page is left.
  persistAuthorization: false,
  // The public validator would be sent the contract's address; nothing leaves this origin.
  validatorUrl: null,
  oauth2RedirectUrl: `${window.location.origin}/docs/oauth2-redirect.html`,
});

// Every client proves with PKCE that it is the one that asked; a public one has no other proof.
ui.initOAuth({
  clientId: document.getElementById("swagger-ui").dataset.clientId,
  usePkceWithAuthorizationCodeGrant: true,
});
