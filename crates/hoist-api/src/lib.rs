//! What crosses the wire between Hoist's server and its clients, declared once.
