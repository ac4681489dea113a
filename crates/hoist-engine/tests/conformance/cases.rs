//! The cases. Each begins with an empty engine and leaves the rest to the bench.

mod attached;
mod beside;
mod life;
mod real;
mod tasks;

use super::Case;
use attached::*;
use beside::*;
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
        attached_bytes_pass_as_they_are,
        output_and_errors_stay_apart_and_out_of_the_log,
        attached_exits_are_told,
        what_cannot_be_executed_says_so_to_the_caller,
        what_may_not_be_executed_is_126["real"],
        a_terminal_has_the_size_it_is_given,
        a_resized_terminal_is_noticed,
        ctrl_c_is_a_signal,
        a_session_is_interrupted,
        ctrl_d_ends_the_input_of_a_terminal,
        last_words_wait_for_who_attends,
        a_dropped_session_ends_its_process,
        a_session_is_stopped,
        an_attached_task_runs_once_for_ever,
        an_attached_task_ends_at_its_limit,
        a_command_has_the_variables_of_its_process,
        a_command_beside_nothing_is_not_found,
        a_command_runs_beside_a_one_off,
        a_command_ends_with_its_process,
        many_commands_run_beside_one_process,
        a_slot_is_restarted_without_a_count,
        a_restart_ends_a_pause_between_restarts,
        logs_have_the_last_words["real"],
        logs_stay_below_their_limit["real"],
        children_end_with_their_process["real"],
        a_shell_is_stopped_at_once["real"],
        a_shell_is_stopped_at_any_moment["real"],
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
        a_command_sees_its_process_as_the_first["real", "pid"],
        a_command_is_who_its_process_is["real"],
        a_terminal_has_a_name["real", "mount"],
        a_shell_controls_its_jobs["real"],
        output_can_be_opened_by_name["real"],
        what_a_command_leaves_behind_is_ended["real"],
        a_command_shares_the_limits_of_its_process["real", "memory"],
        one_that_eats_memory_harms_no_other["real", "memory"],
        one_that_forks_without_end_harms_no_other["real", "pids"],
    ]
}
