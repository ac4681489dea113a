// Serves the page that the build made.
const fs = require("node:fs");
const http = require("node:http");

const page = fs.readFileSync("dist/page.html");

const server = http.createServer((request, response) => {
  if (request.url === "/health") {
    response.writeHead(204).end();
    return;
  }
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
});

server.listen(process.env.PORT, "127.0.0.1", () => {
  console.log(`listening on ${process.env.PORT} (${process.env.NODE_ENV})`);
});

process.on("SIGTERM", () => {
  // Requests in flight end first; connections that only wait do not hold it up.
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
