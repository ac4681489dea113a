//! Holds workloads and tells the truth about them: the engine trait, its implementations and one suite for all.
