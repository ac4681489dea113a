//! The cases. Each begins with an empty engine and leaves the rest to the bench.

mod life;
mod real;
mod tasks;

use super::Case;
use life::*;
use real::*;
use tasks::*;

macro_rules! cases {
    ($($name:ident $([$($need:literal),*])?),* $(,)?) => {
        vec![$(Case {
            name: stringify!($name),
            needs: &[$($($need),*)?],
            run: |bench| Box::pin($name(bench)),
        }),*]
    };
}

/// All cases, in the order of a process's life.
pub(crate) fn all() -> Vec<Case> {
    cases![
        apply_twice_is_one,
        shrinking_takes_the_highest,
        remove_of_what_is_absent_is_done,
        removed_is_gone_with_all_its_slots,
        a_process_serves_on_the_address_it_is_given,
        restarts_are_counted_and_pause_longer_each_time,
        never_means_never,
        exit_status_and_cause_are_told,
        a_stop_is_a_signal_first_and_a_kill_at_last,
        a_stop_ends_a_pause_between_restarts,
        a_removal_goes_on_over_a_crash_of_the_rack,
        a_crash_of_the_rack_touches_no_process,
        a_lost_supervisor_leaves_no_orphan_and_is_held_again,
        something_that_changed_is_hinted,
        variables_arrive_whole,
        a_port_of_its_own_choice_is_seen,
        a_check_runs_beside_the_process,
        a_task_runs_once_for_ever,
        a_task_ends_at_its_limit,
        a_task_is_stopped_and_forgotten,
        what_cannot_be_started_is_refused,
        logs_have_the_last_words["real"],
        logs_stay_below_their_limit["real"],
        children_end_with_their_process["real"],
        a_shell_is_stopped_at_once["real"],
        a_program_without_a_handler_is_stopped_at_once["real"],
        a_shell_waits_for_its_polite_child["real", "pid"],
        a_stop_needs_no_answer["real"],
        a_slug_never_changes_and_each_life_begins_with_it["real"],
        a_writable_tree_keeps_changes["real"],
        a_volume_outlives_its_process["real", "mount"],
        only_own_processes_are_visible["real", "pid"],
        an_app_is_not_root["real", "user"],
        the_machine_is_out_of_reach["real", "mount"],
        memory_has_a_limit["real", "memory"],
        processes_have_a_limit["real", "pids"],
        cpu_time_has_a_limit["real", "cpu"],
    ]
}
