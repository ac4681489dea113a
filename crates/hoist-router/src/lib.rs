//! Serves the newest route table: the proxy between the world and the processes of apps.
