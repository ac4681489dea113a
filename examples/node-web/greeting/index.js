// A package beside the app, so that the example builds without a network.
module.exports = (name) => `hello from ${name}`;
