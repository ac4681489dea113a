//! What goes wrong in a world: each seed draws its own mix.

use crate::random::Random;

/// Chances in a thousand, per act.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub lose: u64,
    pub delay: u64,
    pub repeat: u64,
    pub process_dies: u64,
    pub router_dies: u64,
    pub controller_dies: u64,
    pub commit_refused: u64,
    pub look_skipped: u64,
    pub look_late: u64,
    pub probe_misses: u64,
    pub probe_flakes: u64,
}

/// Each seed draws its own mix of faults: some worlds have none of a kind, some have much.
pub fn draw(random: &mut Random) -> Faults {
    let mut some = |most: u64| {
        if random.permille(400) {
            0
        } else {
            random.below(most)
        }
    };
    Faults {
        lose: some(300),
        delay: some(500),
        repeat: some(200),
        process_dies: some(20),
        router_dies: some(10),
        controller_dies: some(40),
        commit_refused: some(200),
        look_skipped: some(500),
        look_late: some(500),
        probe_misses: some(200),
        probe_flakes: if random.permille(800) {
            0
        } else {
            random.below(100)
        },
    }
}
