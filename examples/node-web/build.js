// What a bundler would do: makes `dist` from `src`. Its output is part of the slug.
const fs = require("node:fs");
const greeting = require("greeting");

const page = fs.readFileSync("src/page.html", "utf8");
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/page.html", page.replace("{greeting}", greeting("Node")));
console.log("made dist/page.html");
