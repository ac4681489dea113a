//! The server: commands, store, control loop, API, builds and logs of one rack.
