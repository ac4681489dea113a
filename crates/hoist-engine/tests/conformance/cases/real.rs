//! What only real processes can show: logs in full, children, trees, volumes, isolation and limits.

use std::time::{Duration, Instant};

use hoist_core::id::BuildId;
use hoist_core::model::ExitCause;
use hoist_engine::{RestartPolicy, TaskId, Tree};

use super::tasks::release_command;
use crate::conformance::Bench;
use crate::conformance::looking::*;

pub(super) async fn logs_have_the_last_words(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "flood 30000; cry last words; exit 1");
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, _) = exited(bench, &slot(&id, 1)).await;
    let lines = log(bench, &process.id);
    let out: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("o "))
        .collect();
    assert_eq!(
        out,
        (0..30_000)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        lines.iter().filter(|line| *line == "e last words").count(),
        1
    );
}

pub(super) async fn logs_stay_below_their_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "flood 60000; exit 0");
    spec.restart = RestartPolicy::Never;
    spec.process.log_bytes_max = 512 << 10;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, _) = exited(bench, &slot(&id, 1)).await;
    let files = std::fs::read_dir(bench.dir().join("logs"))
        .unwrap()
        .flatten();
    let total: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(total <= 512 << 10, "{total}");
    assert_eq!(log(bench, &process.id).pop().unwrap(), "o 59999");
}

pub(super) async fn children_end_with_their_process(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "fork; say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    assert!(!bench.alive(&token));
}

pub(super) async fn a_shell_is_stopped_at_once(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    spec.process.argv = ["/bin/sh", "-c", "(echo up; exec sleep 1000); echo after"]
        .map(str::to_owned)
        .into();
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    let begin = Instant::now();
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

pub(super) async fn a_shell_is_stopped_at_any_moment(bench: &mut dyn Bench) {
    for round in 1..=60 {
        let id = workload("web", round);
        let mut spec = spec(bench, &id, "");
        // Two commands, so that the shell stays and starts the first as a process of its own.
        spec.process.argv = ["/bin/sh", "-c", "sleep 1000; echo after"]
            .map(str::to_owned)
            .into();
        spec.process.stop_grace = Duration::from_secs(50);
        bench.engine().apply(&spec, 1).await.unwrap();
        // From before the shell is executed until after it has started what it runs.
        tokio::time::sleep(Duration::from_micros(round * 300)).await;
        let begin = Instant::now();
        bench.engine().remove(&id).await.unwrap();
        gone(bench, &id).await;
        assert!(begin.elapsed() < Duration::from_secs(40), "round {round}");
    }
}

pub(super) async fn a_program_without_a_handler_is_stopped_at_once(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    spec.process.argv = ["/bin/sh", "-c", "echo up; exec sleep 1000"]
        .map(str::to_owned)
        .into();
    bench.engine().run(&spec).await.unwrap();
    let process = until(bench, "the task", |seen| {
        seen.task_processes.get(&id).cloned()
    })
    .await;
    logged(bench, &process, "o up").await;
    let begin = Instant::now();
    bench.engine().stop_task(&id).await.unwrap();
    let exit = ended(bench, &id).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
}

/// Ending the shell would end its namespace, and the child in the middle of its last words.
pub(super) async fn a_shell_waits_for_its_polite_child(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    let polite = "trap 'sleep 0.5; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let script = format!("sh -c \"{polite}\" & wait; wait; echo after");
    spec.process.argv = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    bench.engine().run(&spec).await.unwrap();
    let process = until(bench, "the task", |seen| {
        seen.task_processes.get(&id).cloned()
    })
    .await;
    logged(bench, &process, "o up").await;
    bench.engine().stop_task(&id).await.unwrap();
    ended(bench, &id).await;
    let lines = log(bench, &process);
    assert!(lines.contains(&"o bye".to_owned()), "{lines:?}");
}

pub(super) async fn a_stop_needs_no_answer(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "say up; idle");
    spec.process.stop_grace = Duration::from_millis(100);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o up").await;
    bench.freeze_supervisor(&slot(&id, 1));
    bench.engine().remove(&id).await.unwrap();
    gone(bench, &id).await;
    dead(bench, &token).await;
}

pub(super) async fn a_slug_never_changes_and_each_life_begins_with_it(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let script =
        "read new.txt; write new.txt x; read new.txt; read hello.txt; write hello.txt mine; exit 1";
    let spec = spec(bench, &id, script);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = until(bench, "a restart", |seen| {
        find(seen, &slot(&id, 1))
            .filter(|p| p.restarts >= 2)
            .cloned()
    })
    .await;
    let one_life = [
        "o No such file or directory (os error 2)",
        "o written",
        "o x",
        "o from the slug",
        "o written",
    ];
    let lines = log(bench, &process.id);
    for life in lines.chunks_exact(one_life.len()).take(2) {
        assert_eq!(life, one_life);
    }
    let Tree::Slug(slug) = spec.process.tree else {
        unreachable!()
    };
    assert_eq!(
        std::fs::read_to_string(slug.join("hello.txt")).unwrap(),
        "from the slug\n"
    );
    assert!(!slug.join("new.txt").exists());
}

pub(super) async fn a_writable_tree_keeps_changes(bench: &mut dyn Bench) {
    let id = TaskId::Build("hello".parse().unwrap(), BuildId::from_random([2; 16]));
    let mut spec = task(bench, &id, "write made.txt built; print HOME");
    let tree = bench.dir().join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    spec.process.tree = Tree::Writable(tree.clone());
    bench.engine().run(&spec).await.unwrap();
    assert_eq!(ended(bench, &id).await.code, 0);
    assert_eq!(
        std::fs::read_to_string(tree.join("made.txt")).unwrap(),
        "built"
    );
}

pub(super) async fn a_volume_outlives_its_process(bench: &mut dyn Bench) {
    let (old, new) = (workload("web", 1), workload("web", 2));
    let volumes = vec![
        (bench.dir().join("volume"), "/data".to_owned()),
        (bench.dir().join("inner"), "/app/deep/inside".to_owned()),
    ];
    let mut spec = spec(
        bench,
        &old,
        "write /data/kept yes; write /app/deep/inside/too yes; idle",
    );
    spec.process.volumes = volumes;
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&old, 1)).await;
    until(bench, "two files", |_| {
        (log(bench, &process.id) == ["o written", "o written"]).then_some(())
    })
    .await;
    bench.engine().remove(&old).await.unwrap();
    gone(bench, &old).await;
    spec.id = new.clone();
    spec.process.argv = bench.command(&token(), "read /data/kept; read deep/inside/too; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&new, 1)).await;
    until(bench, "two files", |_| {
        (log(bench, &process.id) == ["o yes", "o yes"]).then_some(())
    })
    .await;
    assert_eq!(
        std::fs::read_to_string(bench.dir().join("volume/kept")).unwrap(),
        "yes"
    );
}

pub(super) async fn only_own_processes_are_visible(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let spec = spec(bench, &id, "count; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o 1").await;
}

pub(super) async fn an_app_is_not_root(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "read /etc/shadow; read /app/private; idle");
    let Tree::Slug(slug) = &spec.process.tree else {
        unreachable!()
    };
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(slug.join("private"), "only for the owner").unwrap();
    std::fs::set_permissions(slug.join("private"), std::fs::Permissions::from_mode(0o600)).unwrap();
    spec.process.stop_grace = Duration::from_secs(1);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o Permission denied (os error 13)").await;
}

pub(super) async fn the_machine_is_out_of_reach(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let secret = bench.dir().join("secret");
    std::fs::write(&secret, "of the rack").unwrap();
    let script = format!(
        "read {}; write /usr/here x; write /etc/here x; write /tmp/here x; idle",
        secret.display()
    );
    let spec = spec(bench, &id, &script);
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(bench, &slot(&id, 1)).await;
    logged(bench, &process.id, "o written").await;
    let lines = log(bench, &process.id);
    assert_eq!(lines[0], "o No such file or directory (os error 2)");
    for line in &lines[1..3] {
        assert!(
            line.contains("Read-only file system") || line.contains("Permission denied"),
            "{line}"
        );
    }
}

pub(super) async fn memory_has_a_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "say hungry; eat");
    spec.process.memory_bytes = 64 << 20;
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (process, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (137, Some(9), ExitCause::OutOfMemory)
    );
    let last = log(bench, &process.id).pop().unwrap();
    assert!(last.contains("out of memory"), "{last}");
}

pub(super) async fn processes_have_a_limit(bench: &mut dyn Bench) {
    let id = workload("web", 1);
    let mut spec = spec(bench, &id, "fork; fork; fork; fork; fork; fork; fork; fork");
    spec.process.pids_max = 5;
    spec.restart = RestartPolicy::Never;
    bench.engine().apply(&spec, 1).await.unwrap();
    let (_, exit) = exited(bench, &slot(&id, 1)).await;
    assert_eq!(exit.code, 101);
}

pub(super) async fn cpu_time_has_a_limit(bench: &mut dyn Bench) {
    let id = release_command(1);
    let mut spec = task(bench, &id, "");
    // Works for a while, then says its own CPU time in hundredths of a second.
    let work = "i=0; while [ $i -lt 120000 ]; do i=$((i+1)); done; read -r stat < /proc/$$/stat; set -- $stat; echo $((${14}+${15}))";
    spec.process.argv = ["/bin/sh", "-c", work].map(str::to_owned).into();
    spec.process.cpu_millicores = 100;
    let begin = Instant::now();
    bench.engine().run(&spec).await.unwrap();
    ended(bench, &id).await;
    let took = begin.elapsed();
    let process = look(bench).await.task_processes[&id].clone();
    let said = log(bench, &process).pop().unwrap();
    let used = Duration::from_millis(10 * said.strip_prefix("o ").unwrap().parse::<u64>().unwrap());
    assert!(
        used >= Duration::from_millis(30),
        "too little work to measure: {used:?}"
    );
    assert!(
        took > used * 4,
        "{used:?} of CPU time in {took:?}, with a tenth of a core"
    );
}
